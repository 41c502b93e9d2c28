"""Wrong numbers that a table once gave without a word: oracles by rounding, and intervals of few photographers."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from geobench import get_metrics
from geobench.analysis.weights import weighted_mean, weighted_share
from geobench.metrics import ScoredImages, image_values
from geobench.report.formats import report
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
