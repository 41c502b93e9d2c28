"""What a larger gallery brings and costs, and the smallest that does as well as the best."""

import csv
import json
from pathlib import Path

import pytest

from geobench import get_metrics, train
from geobench.experiments.frontier import frontier, smallest_line, smallest_within
from geobench.geo import haversine_km
from geobench.metrics import ScoredImages, accuracies, scores_of
from geobench.results import read_results

pytestmark = pytest.mark.usefixtures("one_thread")

GEOCLIP = {"batch_size": 32, "queue_length": 64, "hidden_dim": 32, "dim": 24, "epochs": 3}


@pytest.fixture
def trained():
    return train("geoclip", "bluemarble", encoder="tiny", limit=200, settings=GEOCLIP)


@pytest.mark.parametrize(
    ("sizes", "values", "lows", "expected"),
    [
        ([1, 5, 21], [4.0, 9.0, 9.5], [3.0, 7.7, 8.2], 1),  # 9.0 lies above 8.2, 4.0 does not
        ([1, 5, 21], [4.0, 8.1, 9.5], [3.0, 7.0, 8.2], 2),
        ([21, 5, 1], [9.5, 9.0, 4.0], [8.2, 7.7, 3.0], 1),  # in any order
        ([1, 5, 21], [8.2, 9.0, 9.5], [7.0, 7.7, 8.2], 0),  # the end belongs to the interval
        ([1, 5, 21], [9.0, 9.5, 9.0], [8.0, 9.2, 8.0], 1),  # the best is not the largest
        ([5, 1], [7.0, 7.0], [6.0, 6.0], 1),
        ([1, 5], [0.0, 0.0], [0.0, 0.0], 0),
    ],
)
def test_the_smallest_within_the_interval_of_the_best(sizes, values, lows, expected):
    assert smallest_within(sizes, values, lows) == expected


def test_each_gallery_has_the_accuracy_of_its_result_and_what_it_costs(trained):
    found = frontier(["geoclip"], ["bluemarble"], ["land:500", "50"], limit=60)
    assert [(point.gallery, point.gallery_size) for point in found.points] == [
        ("training:50", 50),
        ("land:500", 500),
    ]
    before = {path: path.stat().st_mtime_ns for path in Path("results").glob("*")}
    results = {result.gallery: result for result in read_results(Path("results"))[0]}
    for point in found.points:
        result = results[point.gallery]
        assert point.scores == result.scores and point.n == 60
        low, high = point.intervals["acc_2500km"]
        assert low <= point.scores["acc_2500km"] <= high
        assert point.gallery_mb == round(point.gallery_size * 24 * 4 / 2**20, 2)  # 24 numbers of four bytes
        assert 0 < point.batch_ms < point.latency_ms
        assert point.peak_memory_mb > 10
        errors = haversine_km(result.predictions.coordinates[:, 0], result.truth)
        assert scores_of(ScoredImages(errors), get_metrics())["acc_2500km"] == point.scores["acc_2500km"]
    ((model, dataset, smallest),) = found.smallest()
    assert (model, dataset) == ("geoclip", "bluemarble") and list(smallest) == [
        metric.name for metric in accuracies(get_metrics()) if any(p.scores[metric.name] > 0 for p in found.points)
    ]

    small, large = frontier(["geoclip"], ["bluemarble"], ["50", "sphere:200k"], limit=60).points
    assert {path: path.stat().st_mtime_ns for path in before} == before  # results are kept, costs measured anew
    assert small.scores == found.points[0].scores
    assert large.latency_ms > 2 * small.latency_ms
    assert large.peak_memory_mb > small.peak_memory_mb + 10  # 18 MiB of embeddings


def test_an_accuracy_that_is_0_with_every_gallery_is_left_out_and_named():
    named = {"acc_200km": "5k", "acc_750km": "1k", "acc_2500km": "1k"}
    line = smallest_line("knn on mine", named, get_metrics())
    assert "5k at 200 km, 1k at 750 km, 1k at 2500 km. Not at 1 km, 25 km: no gallery has a single hit" in line
    none = smallest_line("knn on mine", {}, get_metrics())
    assert "best, knn on mine: none. Not at 1 km, 25 km, 200 km, 750 km, 2500 km" in none


def test_a_model_without_embeddings_has_no_size_for_them(cli):
    train("random", limit=50)
    done = cli(
        "frontier",
        "--models",
        "random",
        "--datasets",
        "bluemarble",
        "--galleries",
        "20,land:30",
        "--limit",
        40,
        "--json",
    )
    points = json.loads(done.stdout)["points"]
    assert [point["gallery_mb"] for point in points] == [None, None]
    assert all(point["acc_25km_low"] <= point["acc_25km"] <= point["acc_25km_high"] for point in points)


def test_the_command_shows_costs_and_the_smallest_gallery_writes_a_table_and_names_what_failed(cli, trained):
    arguments = ("frontier", "--models", "geoclip", "--datasets", "bluemarble", "--galleries", "50,1M", "--limit", 40)
    done = cli(*arguments, "--output", "f.csv", exit_code=1)
    shown = done.stdout
    assert "is larger than its source, which has 200" in done.stderr
    assert "training:50" in shown and "Peak" in shown and "[low, high]" in shown
    assert "Smallest gallery within the 95 % confidence interval of the best, geoclip on bluemarble: training:" in shown
    with Path("f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["gallery_size"]) for row in rows] == [50]
    assert {"latency_ms", "batch_ms", "gallery_mb", "peak_memory_mb", "acc_1km", "acc_1km_high"} <= set(rows[0])


def test_a_model_that_uses_no_gallery_has_no_frontier(cli):
    train("most-frequent", limit=50)
    output = cli(
        "frontier", "--models", "most-frequent", "--datasets", "bluemarble", "--galleries", "5", exit_code=1
    ).output
    assert "most-frequent: no gallery is used, so there is no frontier to show." in output
