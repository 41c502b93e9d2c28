import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench import Metric, Predictions, UnknownNameError, get_metric, get_metrics
from geobench.geo import FARTHEST_KM, errors_km
from geobench.metrics import ScoredImages, accuracies, headings, scores_of

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


def test_metrics_are_ordered_by_distance_then_as_they_come_and_none_comes_twice():
    assert [metric.name for metric in get_metrics(thresholds_km=[100, 1, 100.0])] == [
        "acc_1km", "acc_100km", "median_km", "mean_km", "geoscore"
    ]  # fmt: skip
    assert [metric.name for metric in get_metrics("nobody knows it")] == [metric.name for metric in get_metrics()]


@pytest.mark.parametrize("name", ["acc_0.5km", "acc_20015km", "geoscore@2000", "acc_25km", "country", "city"])
def test_a_metric_has_the_name_that_it_is_asked_for_by(name):
    assert get_metric(name).name == name


@pytest.mark.parametrize("name", ["acc_km", "acc_-1km", "acc_30000km", "geoscore@", "geoscore@nan", "acc_25mi"])
def test_a_name_that_is_not_a_metric_is_an_error(name):
    with pytest.raises(UnknownNameError):
        get_metric(name)


def test_a_score_below_10_has_a_decimal_and_shares_have_one_more_in_comparisons():
    median, city = get_metric("median_km"), get_metric("acc_25km")
    assert [median.decimals(value) for value in (0.3, 9.99, 10, 500)] == [1, 1, 0, 0]
    assert [city.decimals(value) for value in (0.3, 50.0)] == [1, 1]
    assert (city.comparison_digits, median.comparison_digits) == (2, 0)


def test_headings_are_all_different():
    metrics = [get_metric("median_km"), Metric("other", "Median km", np.abs), Metric("n2", "n", np.abs)]
    assert headings(metrics, ["n"]) == {
        "median_km": "Median km (median_km)", "other": "Median km (other)", "n2": "n (n2)"
    }  # fmt: skip


def test_part_of_the_images_has_their_predictions_and_columns():
    predictions = Predictions.of(np.array([[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, 5.0]]]), np.ones((3, 1)))
    truth, extra = np.zeros((3, 2)), pd.DataFrame({"AUTHOR": ["a", "b", "c"]})
    whole = ScoredImages(predictions.errors_km(truth), truth, predictions, extra)
    for rows in (np.array([True, False, True]), np.array([0, 2])):
        part = whole.take(rows)
        assert len(part) == 2 and part.has_predictions
        assert part.extra["AUTHOR"].to_list() == ["a", "c"]
        assert part.predictions.coordinates[1, 0].tolist() == [4.0, 5.0]
        assert part.errors_km.tolist() == whole.errors_km[[0, 2]].tolist()


def test_country_region_and_city_are_those_of_the_positions():
    montmartre, versailles, marseille, basel, mid_atlantic = (
        (48.887, 2.343), (48.804, 2.120), (43.296, 5.370), (47.558, 7.588), (30.0, -40.0)
    )  # fmt: skip
    truth = np.array([montmartre, montmartre, montmartre, montmartre, mid_atlantic, montmartre])
    predicted = np.array([versailles, marseille, basel, mid_atlantic, montmartre])
    answered = np.array([True] * 5 + [False])
    predictions = Predictions.scatter(Predictions.of(predicted[:, None], np.ones((5, 1))), answered)
    images = ScoredImages(predictions.errors_km(truth), truth, predictions)
    values = {name: get_metric(name).values(images).tolist() for name in ("country", "region", "city")}
    assert values["country"][:4] == [1, 1, 0, 0] and values["country"][5] == 0
    assert values["region"][:4] == [1, 0, 0, 0] and values["region"][5] == 0
    assert values["city"][:4] == [1, 0, 0, 0] and values["city"][5] == 0
    assert all(math.isnan(value[4]) for value in values.values())  # at sea: none of them applies
    assert images.cities[0] == "FR Île-de-France / Paris"
    assert get_metric("city").score(images) == pytest.approx(100 / 5)


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
