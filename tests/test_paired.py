import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from geobench import get_metrics
from geobench.metrics import ScoredImages, accuracies, image_values, scores_of
from geobench.statistics import paired
from geobench.statistics.intervals import Clusters
from geobench.statistics.paired import accuracy_difference, holm, mean_difference, sign_flip_p

SCORES = [metric.name for metric in get_metrics()]
ACCURACIES = [metric.name for metric in accuracies(get_metrics())]


def score(errors):
    return scores_of(ScoredImages(errors), get_metrics())


def linearised(errors, clusters):
    return paired.linearised(image_values(ScoredImages(errors), get_metrics()), clusters, get_metrics())


def alone(n):
    return Clusters(np.arange(n), "image")


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 5), (10, 2), (0, 9), (25, 40), (700, 610)])
def test_of_images_alone_it_is_mcnemars_exact_test(gained, lost):
    """Hand-made pairs: 20 right by both, 30 by neither."""
    change = np.repeat([1, -1, 0], [gained, lost, 50])
    found = sign_flip_p(change)
    assert found == pytest.approx(mcnemar([[20, lost], [gained, 30]], exact=True).pvalue, abs=1e-12)
    if gained + lost:
        assert found == pytest.approx(binomtest(gained, gained + lost).pvalue, abs=1e-12)


def test_with_clusters_it_is_the_share_of_all_exchanges_that_go_as_far():
    rng = np.random.default_rng(0)
    for _ in range(20):
        sums = rng.integers(-6, 7, 9)
        flips = np.array(list(itertools.product([1, -1], repeat=9))) @ np.abs(sums)
        assert sign_flip_p(sums) == pytest.approx(np.mean(np.abs(flips) >= abs(sums.sum())))


def test_one_photographer_who_took_all_the_difference_proves_nothing():
    assert sign_flip_p(np.repeat([1], 12)) < 0.001
    assert sign_flip_p([12]) == 1.0


def test_what_would_take_too_long_is_near_the_exact_value(monkeypatch):
    rng = np.random.default_rng(1)
    sums = rng.integers(-9, 10, 400)
    exact = sign_flip_p(sums)
    monkeypatch.setattr(paired, "EXACT_STEPS", 10)
    assert sign_flip_p(sums) != exact
    assert sign_flip_p(sums) == pytest.approx(exact, abs=0.01)


def test_no_p_value_of_few_clusters_is_below_the_least_that_swapping_them_can_give():
    assert sign_flip_p([3, 2, 4, 5]) == 2 / 2**4
    assert sign_flip_p([3.25, 2.5, 4.125, 5.3]) == 2 / 2**4  # by the normal distribution it would be 0.049
    assert sign_flip_p([0.3]) == 1.0


@pytest.mark.parametrize("photographers", [2, 3])
def test_a_difference_that_few_photographers_share_is_no_surer_than_that_of_independent_images(photographers):
    a, b = np.tile(np.arange(40) < 20, photographers), np.tile(np.arange(40) < 22, photographers)
    clusters = Clusters(np.repeat(np.arange(photographers), 40))
    found, independent = accuracy_difference(a, b, clusters), accuracy_difference(a, b, alone(len(a)))
    assert found.high - found.low > independent.high - independent.low > 5
    assert found.low < found.value < found.high and found.p >= 2 / 2**photographers
    means = mean_difference(a.astype(float), b.astype(float), clusters)
    least = mean_difference(a.astype(float), b.astype(float), alone(len(a)))
    assert means.high - means.low > least.high - least.low > 0 and means.p > 0.05


def test_the_difference_of_medians_is_known_if_every_cluster_has_half_its_images_below_the_median():
    """Fifty places with a near and a far photo each: the share below the median does not scatter between them."""
    a = np.stack([np.linspace(1, 2, 50), np.linspace(100, 200, 50)], axis=1).ravel()
    clusters = Clusters(np.arange(100) // 2)
    assert np.isfinite(paired.linearised_median(a, clusters)).all()


def test_adjusted_p_values_are_holms():
    rng = np.random.default_rng(2)
    for size in (1, 2, 7):
        p_values = rng.random(size) ** 3
        assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []


def test_a_difference_in_accuracy_is_worked_out_by_hand():
    # Of 100 images B alone has 12, A alone 4. Bonett and Price: (13 − 5) / 102 ± t · √((18/102 − 0.0784²) / 102)
    a, b = np.zeros(100, bool), np.zeros(100, bool)
    a[:4], b[4:16] = True, True
    found = accuracy_difference(a, b, alone(100))
    assert found.value == pytest.approx(8.0)
    half = 1.984217 * np.sqrt((18 / 102 - (8 / 102) ** 2) / 102 * 100 / 99)
    assert (found.low, found.high) == pytest.approx((100 * (8 / 102 - half), 100 * (8 / 102 + half)), rel=1e-5)
    assert found.p == pytest.approx(binomtest(12, 16).pvalue)


def test_no_difference_at_all_has_an_interval_around_nothing():
    hits = np.arange(50) < 20
    found = accuracy_difference(hits, hits, alone(50))
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.low == -found.high < 0


def test_a_difference_of_means_of_images_alone_is_students():
    rng = np.random.default_rng(4)
    a = rng.normal(size=80)
    b = a + rng.normal(0.3, 1, 80)
    judge = ttest_rel(b, a)
    found = mean_difference(a, b, alone(80))
    assert found.p == pytest.approx(judge.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(judge.confidence_interval()))


def test_a_difference_that_is_the_same_for_every_image_is_sure():
    assert mean_difference(np.arange(9.0), np.arange(9.0), alone(9)).p == 1.0
    assert mean_difference(np.arange(9.0), np.arange(9.0) + 1, alone(9)).p == 2 / 2**9  # all of one sign


def test_linearised_values_have_the_scores_for_their_means():
    errors = np.random.default_rng(6).lognormal(6, 2, 2001)
    scores = score(errors)
    for name, values in linearised(errors, alone(2001)).items():
        assert values.mean() == pytest.approx(scores[name], rel=0.01 if name == "median_km" else 1e-12), name


def test_the_influence_on_the_median_scatters_as_the_bootstrapped_median_does():
    rng = np.random.default_rng(7)
    errors = rng.lognormal(6, 2, 2001)
    medians = [np.median(rng.choice(errors, 2001)) for _ in range(600)]
    values = linearised(errors, alone(2001))["median_km"]
    assert values.std() / np.sqrt(2001) == pytest.approx(np.std(medians), rel=0.15)


def race(errors, seeds=None):
    """Return the leaders among models with these errors; ``seeds`` says how many rows each model's mean is over."""
    models = np.split(np.array(errors), np.cumsum(seeds)[:-1]) if seeds else [np.array([e]) for e in errors]
    clusters = alone(len(errors[0]))
    scores = [{n: np.mean([score(e)[n] for e in m]) for n in SCORES} for m in models]
    values = [{n: np.mean([linearised(e, clusters)[n] for e in m], axis=0) for n in SCORES} for m in models]
    return paired.leaders(scores, values, [len(m) for m in models], clusters, get_metrics())


def test_models_that_are_not_significantly_worse_share_the_first_place():
    base = np.random.default_rng(8).lognormal(6, 2, 1000)
    nearly = base.copy()
    nearly[:3] *= 50
    best, same, worse = race([base, nearly, base * 3])
    assert best == frozenset(SCORES)
    assert same >= set(ACCURACIES)
    assert not worse & {"acc_200km", "acc_750km", "acc_2500km", "median_km", "mean_km", "geoscore"}


def test_the_smallest_median_is_the_best():
    rng = np.random.default_rng(9)
    near, far = rng.lognormal(1, 1, 500), rng.lognormal(7, 1, 500)
    assert race([far, near])[1] == frozenset(SCORES)
    assert "median_km" not in race([far, near])[0]


def test_a_mean_over_seeds_is_tested_on_the_mean_of_its_hits():
    """Two seeds against one: an image that one seed of two has right counts half, and the test stays exact."""
    none = np.full(40, 5000.0)
    some, others = none.copy(), none.copy()
    some[:6], others[6:12] = 0.5, 0.5
    told = race([some, others, none], seeds=[2, 1])
    assert "acc_1km" in told[0]
    # Twelve images by half a hit each, none the other way: p = 2 · 2⁻¹² even though each seed alone has but 6.
    assert "acc_1km" not in told[1]


def test_more_rivals_need_a_clearer_difference():
    best = np.full(60, 5000.0)
    best[:7] = 0.5  # p = 2 · 2⁻⁷ = 0.0156 against one that has none of them
    none = np.full(60, 5000.0)
    assert "acc_1km" not in race([best, none])[1]
    others = [none + further for further in range(4)]  # as many misses, other models
    assert all("acc_1km" in each for each in race([best, *others]))
    assert "acc_1km" not in race([best, none, none, none, none])[1]  # copies are one rival


def test_where_no_model_has_an_image_right_none_is_the_best():
    far = np.full(20, 300.0)
    told = race([far, far])
    assert told[0] == told[1] == frozenset(SCORES) - {"acc_1km", "acc_25km", "acc_200km"}
