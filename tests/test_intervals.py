import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import quantile_test
from statsmodels.stats.proportion import proportion_confint

from geobench import Metric, get_metrics
from geobench.geo import FARTHEST_KM
from geobench.metrics import ScoredImages, accuracies, image_values, scores_of
from geobench.statistics import intervals as statistics
from geobench.statistics.intervals import (
    Clusters,
    clustered_mean,
    clusters_of,
    median_interval,
    share_interval,
)


def simulation():
    path = Path(__file__).parent / "benchmarks/coverage.py"
    specification = importlib.util.spec_from_file_location("coverage_simulation", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


coverage = simulation()


def score(errors):
    return scores_of(ScoredImages(errors), get_metrics())


def intervals(errors, clusters, metrics=None):
    """Return the intervals of the scores of ``errors``."""
    metrics = metrics or get_metrics()
    return statistics.intervals(image_values(ScoredImages(errors), metrics), clusters, metrics)


ALIKE = 0.2  # correlation within a cluster
SETS = [
    pytest.param(make, n, alike, id=f"{make.__name__}-{n}")
    for n in (237, 2997)
    for make, alike in ((coverage.alone, 0.0), (coverage.pairs, ALIKE), (coverage.photographers, ALIKE))
]


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
@pytest.mark.parametrize(("make", "n", "alike"), SETS)
def test_in_1000_draws_the_interval_of_an_accuracy_holds_the_truth_in_93_to_97_percent(make, n, alike, share):
    assert 93 <= coverage.accuracy_coverage(make(n), share, alike) <= 97


@pytest.mark.parametrize(("make", "n", "alike"), SETS)
def test_in_1000_draws_the_interval_of_the_median_holds_the_truth_in_93_to_97_percent(make, n, alike):
    assert 93 <= coverage.median_coverage(make(n), alike) <= 97


FEW = [
    pytest.param(make, g, id=f"{make.__name__}-{g}") for make in (coverage.equal, coverage.unequal) for g in (2, 3, 6)
]


@pytest.mark.parametrize(("make", "photographers"), FEW)
def test_in_1000_draws_the_intervals_of_few_photographers_hold_the_truth_and_none_is_too_narrow(make, photographers):
    clusters = make(240, photographers)
    for alike in (0.0, 0.1):
        assert coverage.accuracy_coverage(clusters, 0.5, alike) >= 94
        assert coverage.median_coverage(clusters, alike) >= 94
        assert coverage.mean_coverage(clusters, alike) >= 94
        assert coverage.narrow(clusters, 0.5, alike) == 0


@pytest.mark.parametrize("photographers", [2, 3, 6])
def test_few_photographers_never_make_an_interval_surer_than_independent_images_do(photographers):
    clusters = coverage.equal(240, photographers)
    for share in coverage.SHARES:
        drawn = coverage.hits(np.random.default_rng(1), clusters, share, 0.0, 1000)
        low, high = share_interval(drawn, clusters)
        least, most = share_interval(drawn, coverage.alone(240))
        assert (high - low >= most - least).all()
        assert (clustered_mean(drawn.astype(float), clusters).effect >= 1).all()


@pytest.mark.parametrize(("make", "n", "alike"), SETS)
def test_the_floor_of_few_clusters_changes_nothing_for_many(make, n, alike, monkeypatch):
    clusters = make(n)
    drawn = coverage.hits(np.random.default_rng(2), clusters, 0.3, alike, 100)
    errors = coverage.errors_of(np.random.default_rng(2), clusters, alike, 100)[0]
    found = [*share_interval(drawn, clusters), *median_interval(errors, clusters)]
    monkeypatch.setattr(statistics, "FEW", 0)
    np.testing.assert_array_equal(found, [*share_interval(drawn, clusters), *median_interval(errors, clusters)])
    assert not clusters.few


@pytest.mark.parametrize("make", [coverage.pairs, coverage.photographers])
def test_the_design_effect_of_many_clusters_may_be_below_1(make):
    drawn = coverage.hits(np.random.default_rng(2), make(237), 0.3, 0.0, 100)
    assert 20 < (clustered_mean(drawn.astype(float), make(237)).effect < 1).sum() < 80


def test_clusters_are_few_by_their_effective_number():
    assert coverage.equal(240, 9).few and not coverage.equal(240, 10).few
    assert coverage.unequal(240, 10).few and coverage.unequal(240, 10).effective == pytest.approx(1.55, abs=0.01)
    assert coverage.equal(240, 10).effective == 10
    assert not coverage.alone(4).few and Clusters(np.array([0, 0, 1])).few and Clusters(np.zeros(5, dtype=np.intp)).few


def test_an_interval_that_forgets_the_photographers_holds_the_truth_far_too_seldom():
    clusters = coverage.photographers(2997)
    drawn = coverage.hits(np.random.default_rng(0), clusters, 0.5, ALIKE, 1000)
    assert coverage.holds(*share_interval(drawn, coverage.alone(2997)), 0.5) < 60


@pytest.mark.parametrize("hits", [0, 1, 7, 500, 999, 1000])
def test_of_images_alone_it_is_wilsons_interval(hits):
    found = share_interval(np.arange(1000) < hits, coverage.alone(1000))
    # n − 1 and t in place of n and z move it by less than 0.3 % of itself.
    assert np.allclose(found, proportion_confint(hits, 1000, method="wilson"), rtol=0.003, atol=1e-12)


def test_the_standard_error_is_that_of_a_regression_with_clustered_errors():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 40, 300)
    values = rng.normal(size=40)[labels] + rng.normal(size=300)
    judge = sm.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": labels})
    mean = clustered_mean(values, Clusters(labels))
    assert mean.value == pytest.approx(judge.params[0])
    assert mean.se == pytest.approx(judge.bse[0])


def test_clusters_of_equal_size_have_a_degree_of_freedom_each_but_one():
    rng = np.random.default_rng(0)
    assert clustered_mean(rng.normal(size=60), Clusters(np.arange(60) // 6)).freedom == pytest.approx(9)
    assert clustered_mean(rng.normal(size=60), coverage.alone(60)).freedom == pytest.approx(59)


def test_the_design_effect_is_that_of_the_textbook():
    # Five clusters of 4 images, all of a cluster right or all wrong: one observation each, times g / (g − 1).
    hits = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0], 4)
    mean = clustered_mean(hits, Clusters(np.arange(20) // 4))
    assert mean.effect == pytest.approx(4 * 5 / 4)
    assert mean.alike == 1.0


def test_where_none_is_right_a_cluster_counts_as_one_image():
    low, high = share_interval(np.zeros(100), Clusters(np.arange(100) // 10))
    alone = share_interval(np.zeros(10), coverage.alone(10))
    assert low == 0
    assert high == pytest.approx(alone[1])
    assert share_interval(np.zeros(100), coverage.alone(100))[1] == pytest.approx(0.0379, abs=0.0001)  # t² / (100 + t²)


def test_the_interval_of_the_median_is_that_of_order_statistics():
    errors = np.random.default_rng(5).lognormal(6, 2, 401)
    judge = quantile_test(errors, q=np.median(errors)).confidence_interval()
    ordered = np.sort(errors)
    found = np.searchsorted(ordered, median_interval(errors, coverage.alone(401)))
    exact = np.searchsorted(ordered, [judge.low, judge.high])
    assert np.abs(found - exact).max() <= 1


def test_the_median_of_errors_that_are_all_the_same_is_sure():
    low, high = median_interval(np.full(50, FARTHEST_KM), coverage.alone(50))
    assert low == high == FARTHEST_KM


def test_intervals_are_as_wide_as_the_bootstrap_over_clusters_says():
    rng = np.random.default_rng(11)
    clusters = Clusters(np.arange(3000) // 3)
    errors = coverage.errors_of(rng, clusters, 0.4, 1)[0, :, 0] * 300
    drawn = [np.flatnonzero(np.isin(clusters.labels, [g])) for g in range(1000)]
    again = [score(errors[np.concatenate([drawn[g] for g in rng.integers(0, 1000, 1000)])]) for _ in range(400)]
    for name, (low, high) in intervals(errors, clusters).items():
        ends = np.percentile([scores[name] for scores in again], [2.5, 97.5])
        assert high - low == pytest.approx(ends[1] - ends[0], rel=0.2), name


@given(st.lists(st.floats(0, FARTHEST_KM), min_size=1, max_size=40), st.integers(1, 5))
def test_every_score_lies_in_its_interval_and_that_in_its_range(errors, size):
    errors = np.array(errors)
    scores = score(errors)
    found = intervals(errors, Clusters(np.arange(len(errors)) // size))
    several = [metric.name for metric in get_metrics() if metric.kind != "median" or len(errors) >= 6]
    assert list(found) == (several if len(errors) > size else [])
    for name, (low, high) in found.items():
        assert low - 1e-9 <= scores[name] <= high + 1e-9
    levels = [metric.name for metric in accuracies(get_metrics())]
    assert all(0 <= low <= high <= 100 + 1e-9 for low, high in (found[name] for name in levels if found))
    assert not found or (found["mean_km"][0] >= 0 and found["geoscore"][1] <= 5000)


@pytest.mark.parametrize(
    ("errors", "labels"),
    [
        ([0.0, 9.0] * 3, [0, 0, 1, 1, 2, 2]),  # in each cluster half are below the median: no scatter between them
        ([0.0, 1.0, 8.0, 9.0] * 2, [0, 0, 0, 0, 1, 1, 1, 1]),
    ],
)
def test_the_median_lies_in_its_interval_where_clusters_do_not_differ(errors, labels):
    low, high = intervals(np.array(errors), Clusters(np.array(labels)))["median_km"]
    assert low <= np.median(errors) <= high


def test_one_cluster_counts_as_one_observation():
    hits = np.repeat([1.0, 0.0], 500)[:, None]
    low, high = (float(end[0]) for end in share_interval(hits, Clusters(np.zeros(1000, dtype=np.intp))))
    assert low < 0.1 and high > 0.9
    values = np.random.default_rng(0).normal(size=1000)
    mean = clustered_mean(values, Clusters(np.zeros(1000, dtype=np.intp)))
    assert (mean.se, mean.freedom) == (pytest.approx(values.std()), 1)


def places(*latitudes):
    return np.array([(latitude, 0.0) for latitude in latitudes])


def groups(clusters):
    """Return the clusters as sets of rows."""
    return {frozenset(np.flatnonzero(clusters.labels == label).tolist()) for label in set(clusters.labels)}


def test_images_of_one_coordinate_belong_together():
    clusters = clusters_of(places(1.0, 2.0, 1.00000000001, -0.0, 0.0))
    assert groups(clusters) == {frozenset({0, 2}), frozenset({1}), frozenset({3, 4})}
    assert clusters.by == "coordinate"


@pytest.mark.parametrize("column", ["AUTHOR", "author", "Photographer", "owner"])
def test_images_of_one_photographer_belong_together_where_the_set_names_him(column):
    extra = pd.DataFrame({"S16_Label": list("aaaa"), column: ["x", "y", "x", "y"]})
    clusters = clusters_of(places(1, 1, 2, 2), extra)
    assert groups(clusters) == {frozenset({0, 2}), frozenset({1, 3})}
    assert clusters.by == column


def test_an_image_without_a_photographer_goes_by_its_coordinate():
    extra = pd.DataFrame({"AUTHOR": ["x", "", " ", "x", ""]})
    assert groups(clusters_of(places(1, 1, 1, 2, 3), extra)) == {frozenset({0, 3}), frozenset({1, 2}), frozenset({4})}


def test_photos_of_one_photographer_are_one_cluster_and_those_of_nobody_are_grouped_by_place():
    extra = pd.DataFrame({"AUTHOR": ["x", "x", "x"]})
    assert groups(clusters_of(places(1, 1, 2), extra)) == {frozenset({0, 1, 2})}
    extra = pd.DataFrame({"AUTHOR": ["", "unknown", ""]})
    assert groups(clusters_of(places(1, 1, 2), extra)) == {frozenset({0, 1}), frozenset({2})}


def test_where_all_images_are_at_one_place_each_stands_alone():
    clusters = clusters_of(places(0, 0, 0))
    assert len(clusters.sizes) == 3
    assert clusters.by == "image"


def test_an_interval_is_that_of_the_images_that_the_metric_applies_to_and_their_clusters():
    rng = np.random.default_rng(3)
    errors, labels = rng.lognormal(6, 2, 300), np.arange(300) // 5
    applies = rng.random(300) < 0.4
    kinds = {
        "share": lambda images: np.where(applies, images.errors_km < 500, np.nan),
        "mean": lambda images: np.where(applies, images.errors_km, np.nan),
        "median": lambda images: np.where(applies, images.errors_km, np.nan),
    }
    part = Clusters(np.unique(labels[applies], return_inverse=True)[1])
    for kind, values in kinds.items():
        some = Metric(f"some_{kind}", "Some", values, kind=kind)
        every = Metric("every", "Every", lambda images, v=values: v(ScoredImages(errors))[applies], kind=kind)
        (found,) = intervals(errors, Clusters(labels), [some]).values()
        (expected,) = intervals(errors[applies], part, [every]).values()
        assert found == pytest.approx(expected), kind
        assert found[0] < some.score(ScoredImages(errors)) < found[1]
    none = Metric("none", "None", lambda images: np.full(len(images), np.nan))
    assert intervals(errors, Clusters(labels), [none]) == {}


def test_the_interval_of_a_mean_is_clipped_to_the_range_of_the_metric():
    errors = np.array([0.0, 0.0, 1.0, 9.0])
    free = Metric("free", "Free", lambda images: images.errors_km)
    bound = Metric("bound", "Bound", lambda images: images.errors_km, low=0.0, high=5.0)
    found = intervals(errors, coverage.alone(4), [free, bound])
    assert found["free"][0] < 0 and found["free"][1] > 5
    assert found["bound"] == (0.0, 5.0)
