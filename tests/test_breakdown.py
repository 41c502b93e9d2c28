"""Breakdowns: counts by hand over known places, weights against a count of cells, the command line."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from geobench import Predictions, ResultError, UnknownNameError, get_metrics
from geobench.analysis.breakdown import breakdown, to_rows
from geobench.analysis.details import DetailedResult, load_detailed
from geobench.analysis.groupings import group_labels
from geobench.analysis.weights import CELL_KM2, COLUMNS, ROWS, cells_of, weighted_share, weights
from geobench.checkpoints import Checkpoint
from geobench.geo import sample_sphere
from geobench.metrics import ScoredImages, scores_of
from geobench.statistics.intervals import Clusters, share_interval

PARIS, LYON, PORTO = (48.86, 2.35), (45.76, 4.84), (41.15, -8.61)
LIMA, OSAKA, SEA = (-12.05, -77.04), (34.69, 135.5), (0, -30)


@pytest.fixture
def detailed(make_result):
    """Return a function that makes a result: true places, predicted ones (None: failed) and columns of the set."""

    def make(truth, predicted, **columns):
        failed = np.array([place is None for place in predicted])
        places = np.array([(np.nan, np.nan) if place is None else place for place in predicted], dtype=float)
        predictions = Predictions(places[:, None], np.where(failed, np.nan, 0.5)[:, None], failed)
        truth = np.array(truth, dtype=float)
        result = make_result(
            n=len(truth),
            failed=int(failed.sum()),
            expected=len(truth),
            scores=scores_of(ScoredImages(predictions.errors_km(truth)), get_metrics()),
        )
        names = np.array([f"photo-{number}.jpg" for number in range(len(truth))], dtype=object)
        extra = pd.DataFrame(columns, dtype=str) if columns else None
        return DetailedResult(replace(result, predictions=predictions, truth=truth, names=names, extra=extra))

    return make


def group(found, name):
    return next(row for row in [*found.groups, *found.overall] if row.name == name)


def test_each_group_has_the_scores_of_its_images(detailed):
    found = breakdown(detailed([PARIS, LYON, PORTO, LIMA, OSAKA], [PARIS, PARIS, None, LIMA, SEA]), smallest=1)
    assert [(row.name, row.n) for row in found.groups] == [("Europe", 3), ("Asia", 1), ("South America", 1)]
    europe = group(found, "Europe")
    assert europe.scores["acc_25km"] == pytest.approx(100 / 3)
    assert europe.scores["acc_750km"] == pytest.approx(200 / 3)  # Paris is 392 km from Lyon; the failed one is a miss
    assert europe.scores["median_km"] == pytest.approx(391, abs=2)
    assert group(found, "all images").scores["acc_1km"] == 40
    low, high = europe.intervals["acc_750km"]
    assert 0 <= low < 200 / 3 < high <= 100
    assert group(found, "Asia").intervals["acc_750km"] is None  # one place: nothing is known of the scatter


def test_country_and_region_are_shares_of_the_images_that_have_one(detailed):
    found = breakdown(detailed([PARIS, LYON, PORTO, SEA, SEA], [PARIS, PARIS, None, SEA, PARIS]), "country", 1)
    assert {row.name: row.n for row in found.groups} == {"France": 2, "Portugal": 1, "at sea": 2}
    assert group(found, "France").scores["country"] == 100 and group(found, "France").scores["region"] == 50
    assert group(found, "Portugal").scores["country"] == 0  # failed
    assert group(found, "at sea").scores["country"] is None
    assert group(found, "all images").scores["country"] == pytest.approx(200 / 3)
    assert any("2 images at sea" in note for note in found.notes)


def test_small_groups_are_joined_and_counted_never_dropped(detailed):
    found = breakdown(detailed([PARIS, LYON, PORTO, LIMA, OSAKA], [PARIS] * 5), "country", 2)
    assert [(row.name, row.n) for row in found.groups] == [("France", 2), ("3 others", 3)]
    assert sum(row.n for row in found.groups) == 5
    assert any("3 groups of fewer than 2" in note for note in found.notes)


def test_scenes_have_names_and_any_column_is_a_grouping(detailed):
    made = detailed([PARIS, LYON, PORTO, LIMA], [PARIS] * 4, S3_Label=["0", "1", "2", ""], camera=["x", "x", "y", ""])
    assert list(group_labels(made, "scene")[0]) == ["indoor", "natural", "urban", "blank"]
    assert {row.name: row.n for row in breakdown(made, "CAMERA", 1).groups} == {"x": 2, "y": 1, "blank": 1}
    with pytest.raises(UnknownNameError, match="did you mean camera"):
        breakdown(made, "camra")
    with pytest.raises(ResultError, match="no column S3_Label"):
        breakdown(detailed([PARIS], [PARIS]), "scene")


def test_a_measured_column_is_put_into_five_parts_in_order_and_said(detailed):
    measured = detailed(
        [PARIS] * 101, [PARIS] * 101, Prob=[f"{number / 100 + 0.001:.3f}" for number in range(100)] + [""]
    )
    found = breakdown(measured, "prob")
    assert [row.name for row in found.groups[:2]] == ["0.001 to 0.191", "0.201 to 0.391"]
    assert [row.n for row in found.groups] == [20, 20, 20, 20, 20, 1]
    assert found.groups[-1].name == "blank"
    assert "Prob is continuous: its values are in 5 bins of about as many images each." in found.notes
    whole = detailed([PARIS] * 100, [PARIS] * 100, Album=[str(number) for number in range(100)])
    assert [row.name for row in breakdown(whole, "album").groups] == ["100 others"]


def test_images_are_drawn_by_photographer_where_the_set_has_one(detailed):
    truth, predicted = [PARIS] * 20 + [LYON] * 20, [PARIS] * 40
    shifted = [(a + number / 100, b) for number, (a, b) in enumerate(truth)]
    alone = breakdown(detailed(shifted, predicted))
    together = breakdown(detailed(shifted, predicted, AUTHOR=[str(number // 10) for number in range(40)]))
    wide = [np.diff(group(f, "all images").intervals["acc_200km"])[0] for f in (alone, together)]
    assert wide[1] > 1.5 * wide[0]
    assert any("one AUTHOR" in note for note in together.notes)


def checkpoint(coordinates):
    values = {"model": "knn", "id": "mine-s0-0a0b0c0d", "config": {}, "variant": "", "seed": 0, "dataset": "mine"}
    values |= {"images": 3, "unreadable": 0, "encoder": "tiny", "encoder_weights": "tiny-1", "crops": 1}
    values |= {"augmentation": {}, "limit": None, "created": "2024-05-06", "versions": {}, "device": "cpu"}
    Checkpoint(**values, seconds=1.0, weights="0").save({"a": np.zeros(1)}, np.array(coordinates, dtype=float))


def test_the_distance_to_the_training_set_is_that_to_its_nearest_point(detailed):
    checkpoint([PARIS, (-12.0, -77.04)])
    made = detailed([PARIS, (48.861, 2.35), LIMA, (48.86, 3.35), LYON, OSAKA], [PARIS] * 6)
    found = breakdown(made, "training-distance", 1)
    assert [row.name for row in found.groups] == [
        "0 km: a training place", "up to 1 km", "1 to 25 km", "25 to 200 km", "200 to 750 km", "over 750 km",
    ]  # fmt: skip
    assert all(row.n == 1 for row in found.groups)


def test_without_the_checkpoint_the_distance_is_refused_in_one_line(detailed):
    with pytest.raises(ResultError, match="is not on this machine"):
        breakdown(detailed([PARIS], [PARIS]), "training-distance")
    untrained = detailed([PARIS], [PARIS])
    with pytest.raises(ResultError, match="are unknown"):
        breakdown(DetailedResult(replace(untrained.result, checkpoint="")), "training-distance")


def test_cells_have_one_area_and_cover_the_sphere():
    counts = np.bincount(cells_of(sample_sphere(400_000, np.random.default_rng(0))), minlength=ROWS * COLUMNS)
    assert counts.min() > 0 and np.std(counts) / np.mean(counts) == pytest.approx(1 / np.sqrt(np.mean(counts)), rel=0.1)
    assert pytest.approx(510_065_600, rel=1e-4) == ROWS * COLUMNS * CELL_KM2
    poles = cells_of(np.array([[90.0, 180.0], [-90.0, -180.0], [0.0, 180.0], [0.0, -180.0]]))
    assert poles[0] // COLUMNS == ROWS - 1 and poles[1] == 0 and poles[2] == poles[3]


def test_by_area_every_cell_with_images_counts_the_same(detailed):
    # Three images of one cell are right, the one of another is wrong: 75 % of the images, half of the cells.
    found = breakdown(detailed([PARIS, PARIS, PARIS, LIMA], [PARIS] * 4), smallest=1)
    assert group(found, "all images").scores["acc_25km"] == 75
    assert group(found, "weighted by area").scores["acc_25km"] == pytest.approx(50)
    assert group(found, "weighted by area").n == round((3 * (1 / 3) + 1) ** 2 / (3 * (1 / 3) ** 2 + 1))
    assert group(found, "weighted by area").scores["median_km"] is None


def test_a_set_without_inhabitants_has_no_scores_weighted_by_population(detailed):
    found = breakdown(detailed([SEA, (-80, 60)], [SEA, SEA]), smallest=1)
    assert group(found, "weighted by area").scores["acc_25km"] == 50
    nobody = group(found, "weighted by population")
    assert (nobody.n, set(nobody.scores.values()), set(nobody.intervals.values())) == (0, {None}, {None})


def test_values_that_differ_by_blanks_around_them_are_one_group(detailed):
    found = breakdown(detailed([PARIS] * 4, [PARIS, LIMA, PARIS, PARIS], weather=["a", "a ", " a", " "]), "weather", 1)
    assert [(row.name, row.n) for row in found.groups if row.name in ("a", "blank")] == [("a", 3), ("blank", 1)]


def test_a_column_with_the_name_of_a_grouping_is_used_or_said_not_to_be(detailed):
    result = detailed([PARIS, LIMA], [PARIS] * 2, Country=["Gallia", "Peru"], scene=["beach", "town"])
    found = breakdown(result, "country", 1)
    assert {row.name for row in found.groups} == {"France", "Peru"}
    assert "These are countries of the positions; the set's own column Country is not used." in found.notes
    assert {row.name for row in breakdown(result, "scene", 1).groups} == {"beach", "town"}
    assert not any("not used" in note for note in breakdown(result, "continent", 1).notes)


def test_by_population_a_cell_counts_by_its_inhabitants_and_the_empty_sea_not_at_all():
    truth = np.array([OSAKA, OSAKA, LIMA, SEA], dtype=float)
    found = weights(truth, "population")
    assert found.unweighted == 1 and found.values[3] == 0 and found.cells == 2
    assert found.values[0] == found.values[1] and found.values.mean() == pytest.approx(1)
    osaka, lima = 2 * found.values[0], found.values[2]
    assert 1.5 < osaka / lima < 8  # Kansai and Chugoku have 20 to 30 million people, central Peru some 10
    assert 0 < found.covered < 0.05
    world = weights(sample_sphere(60_000, np.random.default_rng(0)), "area")
    assert world.covered == pytest.approx(1) and world.cells == ROWS * COLUMNS


def test_equal_weights_give_the_interval_without_weights():
    rng = np.random.default_rng(3)
    clusters = Clusters(np.unique(rng.integers(0, 40, 200), return_inverse=True)[1])
    for hits in (rng.random(200) < 0.3, np.zeros(200, dtype=bool), np.ones(200, dtype=bool)):
        share, (low, high) = weighted_share(hits, np.full(200, 2.5), clusters)
        expected = share_interval(hits, clusters)
        assert share == pytest.approx(100 * hits.mean()) and (low, high) == pytest.approx([100 * e for e in expected])


def test_the_weighted_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(600):
        weight = rng.choice([0.3, 1.0, 4.0], 300)
        chance = np.where(weight > 2, 0.6, 0.2)
        truth = 100 * (1.3 * 0.2 + 4.0 * 0.6) / 5.3
        _, (low, high) = weighted_share(rng.random(300) < chance, weight, Clusters(np.arange(300)))
        held += low <= truth <= high
    assert 0.925 < held / 600 < 0.975


def test_the_command_shows_every_group_and_the_same_numbers_as_csv_and_json(detailed, cli):
    path = detailed([PARIS, LYON, LIMA], [PARIS, PARIS, None], S3_Label=["0", "0", "2"]).result.save()
    shown = cli("breakdown", path, "--by", "scene", "--smallest", 1).output
    assert "indoor" in shown and "urban" in shown and "Continent 2500 km" in shown and "weighted by area" in shown
    rows = json.loads(cli("breakdown", path, "--by", "scene", "--smallest", 1, "--json").stdout)
    assert [row["group"] for row in rows[:2]] == ["indoor", "urban"] and rows[0]["acc_750km"] == 100
    table = cli("breakdown", path, "--by", "scene", "--smallest", 1, "--format", "csv").stdout
    read = list(csv.DictReader(io.StringIO(table)))
    assert [float(row["n"]) for row in read] == [row["n"] for row in rows]
    assert rows == to_rows(breakdown(load_detailed(path), "scene", 1))
    assert "| indoor" in cli("breakdown", path, "--by", "scene", "--smallest", 1, "--format", "markdown").output


def test_what_cannot_be_grouped_is_one_line(detailed, cli):
    path = detailed([PARIS, LYON], [PARIS, PARIS]).result.save()
    for by, code in (("scene", 1), ("training-distance", 1), ("contient", 2)):
        told = cli("breakdown", path, "--by", by, exit_code=code).output
        assert told.startswith("Error: ") and told.count("\n") == 1
    assert "no such file" in cli("breakdown", "nothing.json", exit_code=1).output
