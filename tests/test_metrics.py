import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench import get_metric, get_metrics
from geobench.geo import FARTHEST_KM, errors_km
from geobench.metrics import ScoredImages, accuracies, scores_of

NONE_FAILED = np.zeros(1, dtype=bool)
AT_25_KM = 0.2248300909311345  # degrees of latitude: 25 km / 6371.0088 km · 180 / π


def score(errors):
    """Return the scores of ``errors`` by the metrics of every test set."""
    return scores_of(ScoredImages(errors), get_metrics())


def geoscore(errors):
    return get_metric("geoscore").score(ScoredImages(errors))


def test_an_image_at_exactly_25_km_counts_as_city_level():
    errors = errors_km(np.array([(AT_25_KM, 0.0)]), np.array([(0.0, 0.0)]), NONE_FAILED)
    assert errors[0] == 25.0
    assert score(errors)["acc_25km"] == 100.0
    assert score(np.nextafter(errors, np.inf))["acc_25km"] == 0.0


def test_scores_are_worked_out_by_hand():
    errors = np.array([0.0, 1.0, 25.0, 200.0, 750.0, 2500.0, 2500.5, 20000.0])
    scores = score(errors)
    assert [scores[f"acc_{km}km"] for km in (1, 25, 200, 750, 2500)] == [
        25.0,
        37.5,
        50.0,
        62.5,
        75.0,
    ]  # 2, 3, 4, 5, 6 of 8
    assert scores["median_km"] == 475.0  # between 200 and 750
    assert scores["mean_km"] == pytest.approx(25976.5 / 8)


def test_scores_come_in_the_order_of_the_fields_tables():
    assert list(score(np.zeros(1))) == [
        "acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km", "median_km", "mean_km", "geoscore"
    ]  # fmt: skip


def test_geoscore_is_5000_at_the_place_itself():
    assert geoscore(np.zeros(4)) == 5000.0


def test_geoscore_falls_by_e_every_1492_7_km():
    assert geoscore(np.array([1492.7])) == pytest.approx(5000 / math.e)
    assert geoscore(np.array([0.0, 1492.7])) == pytest.approx(2500 + 2500 / math.e)


def test_failed_images_are_misses_and_n_is_unchanged():
    predicted = np.array([(0.0, 0.0), (math.nan, math.nan), (0.0, 0.0), (math.nan, math.nan)])
    failed = np.array([False, True, False, True])
    errors = errors_km(predicted, np.zeros((4, 2)), failed)
    assert errors.tolist() == [0.0, FARTHEST_KM, 0.0, FARTHEST_KM]
    scores = score(errors)
    assert scores["acc_1km"] == scores["acc_2500km"] == 50.0
    assert scores["geoscore"] == pytest.approx(2500, abs=0.01)  # 5000·exp(−20015 / 1492.7) is 0.0075


def test_what_stands_in_the_row_of_a_failed_image_changes_nothing():
    truth, failed = np.zeros((1, 2)), np.array([True])
    assert errors_km(truth, truth, failed)[0] == FARTHEST_KM


def test_all_images_failed_still_have_scores():
    scores = score(errors_km(np.full((3, 2), np.nan), np.zeros((3, 2)), np.ones(3, dtype=bool)))
    assert scores["acc_2500km"] == 0.0
    assert scores["median_km"] == scores["mean_km"] == pytest.approx(FARTHEST_KM)


@given(st.lists(st.floats(0, FARTHEST_KM), min_size=1, max_size=30))
def test_scores_stay_in_their_ranges_and_wider_levels_hold_more(errors):
    scores = score(np.array(errors))
    levels = [scores[metric.name] for metric in accuracies(get_metrics())]
    assert levels == sorted(levels)
    assert 0 <= levels[0] <= levels[-1] <= 100
    assert 0 < scores["geoscore"] <= 5000
    assert min(errors) <= scores["median_km"] <= max(errors)
