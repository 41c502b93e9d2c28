"""Wrong numbers that a table once gave without a word: oracles by rounding, intervals of few photographers, images."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import get_metrics
from geobench.analysis.weights import weighted_mean, weighted_share
from geobench.metrics import ScoredImages, image_values
from geobench.published.verdicts import _differences
from geobench.report.formats import report
from geobench.report.rows import rows
from geobench.results import read_results
from geobench.statistics.intervals import clusters_of, intervals
from geobench.statistics.paired import difference, linearised

FOLDER = "results"


def write_rounded(metadata, path, written):
    with metadata.open(newline="") as file:
        places = [(float(row["latitude"]), float(row["longitude"])) for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("lat", "lon"), *((written(lat), written(lon)) for lat, lon in places)])


@pytest.mark.parametrize(
    "written", [lambda x: f"{x:.4f}", lambda x: f"{x:.3f}", lambda x: repr(float(np.float32(x)))], ids=["4", "3", "f32"]
)
def test_the_users_gallery_of_rounded_test_coordinates_is_called_an_oracle(cli, photos, tmp_path, written):
    """He saves the test set's coordinates with fewer digits and offers them as a gallery: the ceiling is 100 %."""
    images, metadata = photos(20)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    write_rounded(metadata, tmp_path / "rounded.csv", written)
    (row,) = json.loads(cli("ceiling", "--datasets", "mine", "--galleries", tmp_path / "rounded.csv", "--json").stdout)
    assert (row["acc_1km"], row["in_gallery"], row["oracle"]) == (100, 20, True)


def test_a_run_against_rounded_test_coordinates_takes_no_part_in_the_comparison(cli, photos, tmp_path):
    images, metadata = photos(20)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    write_rounded(metadata, tmp_path / "rounded.csv", lambda x: f"{x:.4f}")
    for gallery in (tmp_path / "rounded.csv", "land:20"):
        cli("run", "--models", "random", "--datasets", "mine", "--galleries", gallery)
    rounded, land = sorted(json.loads(report("json", FOLDER)), key=lambda row: row["gallery"] == "land:20")
    assert (rounded["oracle"], land["oracle"]) == (True, False)
    assert "(oracle)" in report("markdown", FOLDER)


def two_photographers(hits=(1, 1), images=50):
    """Return the errors of two photographers' photos, of which so many of each are right, and their clusters."""
    errors = np.concatenate([np.r_[np.zeros(right), np.full(images - right, 5000.0)] for right in hits])
    extra = pd.DataFrame({"AUTHOR": np.repeat(["a", "b"], images)})
    truth = np.stack([np.arange(2 * images) / 10, np.zeros(2 * images)], axis=1)
    return errors, clusters_of(truth, extra)


def values(errors):
    return image_values(ScoredImages(errors), get_metrics())


def test_two_photographers_with_the_same_score_do_not_make_it_certain():
    """Each has one photo of fifty right; the table said 2.0 [2.0, 2.0]."""
    errors, clusters = two_photographers()
    alone = clusters_of(np.stack([np.arange(100) / 10, np.zeros(100)], axis=1))
    found, independent = (intervals(values(errors), among, get_metrics()) for among in (clusters, alone))
    for name in ("acc_1km", "mean_km", "geoscore"):
        width, least = (ends[name][1] - ends[name][0] for ends in (found, independent))
        assert width > least > 0, name
    assert clusters.few and not alone.few


def test_weighted_scores_of_two_photographers_are_not_certain_either():
    errors, clusters = two_photographers()
    _, (low, high) = weighted_share(errors < 1, np.ones(100), clusters)
    _, (least, most) = weighted_share(errors < 1, np.ones(100), clusters_of(np.arange(200.0).reshape(100, 2) / 10))
    assert high - low > most - least > 1
    _, (low, high) = weighted_mean(errors, np.ones(100), clusters)
    assert high - low > 100


def test_two_photographers_with_the_same_change_do_not_make_a_difference_certain():
    """One photo of fifty gained by each: the difference was +2.00 [+1.99, +1.99], that of the medians nothing."""
    a, clusters = two_photographers((10, 10))
    b, _ = two_photographers((11, 11))
    for metric in get_metrics():
        before, after = (linearised(values(each), clusters, [metric])[metric.name] for each in (a, b))
        if metric.kind == "share":
            before, after = (values(each)[metric.name] for each in (a, b))
        gap = metric.summary(values(b)[metric.name]) - metric.summary(values(a)[metric.name])
        found = difference(metric, before, after, clusters, gap)
        assert np.isfinite([found.low, found.high, found.p]).all(), metric.name
        assert found.low <= 0 <= found.high and found.p > 0.05, metric.name
        if metric.name in ("acc_1km", "mean_km", "geoscore"):
            assert found.low < found.value < found.high, metric.name


def spread(errors, labels, extra=None):
    """Return the intervals of ``errors``; ``labels`` tell which images are at one place."""
    truth = np.stack([np.asarray(labels, float), np.zeros(len(labels))], axis=1)
    return intervals(values(np.asarray(errors, float)), clusters_of(truth, extra), get_metrics())


def test_one_image_has_no_interval():
    """A run with --limit 1 said: mean 2.7 [2.7, 2.7]."""
    assert spread([2.7], [1]) == {}


@pytest.mark.parametrize(("n", "has_one"), [(2, False), (5, False), (6, True)])
def test_the_lowest_and_highest_of_five_values_are_no_interval_of_a_median(n, has_one):
    found = spread(np.arange(1, n + 1), range(n))
    assert ("median_km" in found) is has_one and "mean_km" in found


def test_a_difference_of_a_single_image_is_not_significant():
    """``compare`` of two models on one photo said: +2 km [+2, +2], p < 0.0001."""
    mean = next(metric for metric in get_metrics() if metric.name == "mean_km")
    alone = clusters_of(np.zeros((1, 2)))
    found = difference(mean, np.array([1.0]), np.array([3.0]), alone, 2.0)
    assert (found.value, found.p) == (2.0, 1.0) and np.isnan([found.low, found.high]).all()
    three = clusters_of(np.arange(6.0).reshape(3, 2))
    assert difference(mean, np.zeros(3), np.full(3, 2.0), three, 2.0).p == 0.25  # 2 of the 8 ways to swap three images


def test_photos_of_one_photographer_have_no_interval_and_the_table_says_why(make_result):
    """The column says that she took them all; the table said 11.7 [5.7, 22.6] as of sixty independent photos."""
    for who in (["anna"] * 20, ["anna"] * 19 + ["bob"]):
        extra = pd.DataFrame({"photographer": who})
        make_result([1.0] * 20, extra=extra, model=f"by{len(set(who))}", checkpoint=f"mine-s0-{len(set(who))}").save()
    one, two = json.loads(report("json", FOLDER))
    assert one["acc_1km_low"] is None and two["acc_1km_low"] is not None
    assert "All that by1@mine-s0-1 was tested on are one cluster by photographer" in one["doubts"]["few clusters"]
    assert "rest on 2 clusters by photographer: rough estimates" in two["doubts"]["few clusters"]


def test_the_table_says_that_an_interval_rests_on_five_images(make_result):
    make_result([1.0] * 5).save()
    assert "rest on 5 images: rough estimates." in report("table", FOLDER)


def test_copies_of_a_result_under_other_names_do_not_share_the_first_place_with_a_better_one(make_result):
    """Seven images gained, none lost: p = 0.0156; beside four copies of the worse one 5 × 0.0156 was no difference."""
    worse = [0.0] * 50 + [80.0] * 50
    make_result([0.0] * 57 + [80.0] * 43, model="better", checkpoint="mine-s0-b").save()
    for name in "acdef":
        make_result(worse, model=f"copy-{name}", checkpoint=f"mine-s0-{name}").save()
    best = {row.results[0].model for row in rows(read_results(Path(FOLDER))[0], "none") if "acc_1km" in row.best}
    assert best == {"better"}


def test_a_row_that_was_not_measured_like_the_published_one_is_not_set_above_or_below_it(make_result):
    """An oracle was "above" PlaNet, and a file with answers for half of the images "below" ISNs."""
    row = {"n": "4", "training_images": 0, "model": "x", "source": "y"} | {m.name: 50.0 for m in get_metrics()}
    row |= dict.fromkeys(("crops", "gallery", "trained_on", "encoder"), "")
    for changes, reason in (
        ({"in_gallery": 4}, "the gallery holds 4 of the true positions"),
        ({"in_training": 1}, "trained on 1 of the test images"),
        ({"failed": 2}, "2 images without a prediction"),
    ):
        result = make_result([0.0, 1.0, 2.0, 3.0], **changes)
        assert reason in list(_differences(result, row))
    assert not list(_differences(make_result([0.0, 1.0, 2.0, 3.0]), row))
