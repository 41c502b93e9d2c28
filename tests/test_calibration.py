"""Calibration: hand-made images, scikit-learn as the judge of order, models that do and do not say probabilities."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from geobench import Predictions, ResultError, get_models
from geobench.analysis.calibration import (
    check_probabilities,
    claimed_probability,
    confidence_of,
    distances_km,
    reliability,
    selection,
    selective_accuracy,
    top_k_coverage,
)
from geobench.analysis.details import DetailedResult
from geobench.analysis.tables import calibration_rows
from geobench.geo import FARTHEST_KM

KM = 1 / 111.1950797  # degrees of latitude, R = 6371.0088 km


def predictions(kilometres, scores, failed=()):
    """Return predictions so many km north of 0, 0 (n, k), those numbered in ``failed`` without an answer."""
    latitudes = np.asarray(kilometres, dtype=float) * KM
    coordinates = np.stack([latitudes, np.zeros_like(latitudes)], axis=2)
    scores, flags = np.array(scores, dtype=float), np.isin(np.arange(len(latitudes)), failed)
    coordinates[flags], scores[flags] = np.nan, np.nan
    return Predictions(coordinates, scores, flags)


def test_coverage_of_the_top_k_counts_an_image_from_the_first_hit_on():
    answered = predictions([[30, 2, 1], [0.5, 900, 900], [60, 70, 24], [1, 1, 1]], np.full((4, 3), 0.1), failed=[3])
    distances = distances_km(answered, np.zeros((4, 2)))
    assert distances[:3] == pytest.approx(np.array([[30, 2, 1], [0.5, 900, 900], [60, 70, 24]]))
    assert (distances[3] == FARTHEST_KM).all()
    assert top_k_coverage(distances, 25).tolist() == [25, 50, 75]
    assert top_k_coverage(distances, 2500).tolist() == [75, 75, 75]


def test_accuracy_over_the_surest_images_is_that_of_a_count_by_hand():
    hits = np.array([True, False, True, False])
    assert selective_accuracy(hits, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx([100, 50, 200 / 3, 50])
    assert selective_accuracy(hits, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx([0, 50, 100 / 3, 50])


def test_within_a_tie_the_accuracy_is_the_mean_over_all_orders():
    hits = np.array([False, True, True, False, True])
    confidence = np.array([2.0, 1.0, 1.0, 1.0, 0.0])
    rng = np.random.default_rng(0)
    orders = [selective_accuracy(hits, confidence + rng.uniform(0, 0.5, 5)) for _ in range(4000)]
    assert selective_accuracy(hits, confidence) == pytest.approx(np.mean(orders, axis=0), abs=1.5)
    assert selective_accuracy(hits, np.zeros(5)) == pytest.approx(np.full(5, 60))


def test_a_perfect_order_gains_all_a_reversed_one_loses_and_none_gains_nothing():
    hits = np.arange(10) < 4
    assert selection(hits, -np.arange(10.0)).gain == pytest.approx(1)
    assert selection(hits, np.zeros(10)).gain == pytest.approx(0)
    assert selection(hits, np.arange(10.0)).gain < 0
    assert selection(hits, -np.arange(10.0)).half == pytest.approx(80)
    assert np.isnan(selection(np.ones(3, dtype=bool), np.arange(3.0)).gain)


def test_auroc_is_that_of_scikit_learn_ties_and_failed_images_too():
    rng = np.random.default_rng(1)
    hits = rng.random(300) < 0.3
    confidence = np.round(rng.normal(size=300) + hits, 1)
    assert selection(hits, confidence).auroc == pytest.approx(roc_auc_score(hits, confidence))
    answered = predictions(np.where(hits, 1, 500)[:, None], confidence[:, None], failed=np.flatnonzero(~hits)[:20])
    finite = np.where(np.isfinite(confidence_of(answered)), confidence_of(answered), -99)
    assert selection(hits, confidence_of(answered)).auroc == pytest.approx(roc_auc_score(hits, finite))


def test_the_claim_for_a_radius_is_the_sum_of_the_scores_near_the_best_prediction():
    answered = predictions([[0, 10, 300, 5], [0, 0, 0, 0], [0, 9, 9, 9]], [[0.4, 0.3, 0.2, 0.1]] * 3, failed=[2])
    assert claimed_probability(answered, 25) == pytest.approx([0.8, 1.0, 0.0])
    assert claimed_probability(answered, 1) == pytest.approx([0.4, 1.0, 0.0])
    assert claimed_probability(answered, 750) == pytest.approx([1.0, 1.0, 0.0])


def test_expected_calibration_error_is_that_of_the_bins_by_hand():
    # Five bins: two images claim 0.1 and one is right; two claim 0.9 and both are; one claims 1 and is wrong.
    found = reliability(np.array([True, False, True, True, False]), np.array([0.1, 0.1, 0.9, 0.9, 1.0]), bins=5)
    assert found.n.tolist() == [2, 0, 0, 0, 3]
    assert found.hit[[0, 4]] == pytest.approx([50, 200 / 3])
    assert found.error == pytest.approx((2 * 40 + 3 * (280 / 3 - 200 / 3)) / 5)


def test_claims_that_hold_have_a_calibration_error_of_nothing_but_chance():
    rng = np.random.default_rng(2)
    claimed = rng.random(40_000)
    assert reliability(rng.random(40_000) < claimed, claimed).error < 1.5
    assert reliability(rng.random(40_000) < claimed**2, claimed).error > 10


@pytest.mark.parametrize("scores", [[[1.0, 49.0]], [[0.7, 0.4]], [[0.2, -0.1]], [[np.nan, 0.1]]])
def test_scores_that_are_not_probabilities_are_refused(scores):
    answered = predictions(np.zeros((1, 2)), scores)
    with pytest.raises(ResultError, match="knn: the scores of 1 images are not probabilities: those of image number 0"):
        check_probabilities(answered, "knn")


def test_models_say_whether_their_scores_are_probabilities():
    says = {name: model.probabilities for name, model in get_models().items()}
    assert says["geoclip"] and says["random"] and not says["knn"] and not says["classifier"]
    assert not says["most-frequent"]  # of a cell that may be as large as a country, not of the place at its centre


def test_calibration_error_is_shown_for_probabilities_alone(make_result):
    ours = DetailedResult(make_result(model="geoclip"))
    assert {row["ece"] is None for row in calibration_rows(ours)} == {False}
    other = DetailedResult(make_result(model="knn"))
    assert {row["ece"] for row in calibration_rows(other)} == {None}
    assert calibration_rows(other, probabilities=True)[1]["ece"] == pytest.approx(12.5)
    # Of four images at 0.5 (the failed one claims 0 and is wrong) one is within 25 km: (3·|50 − 33.3| + 0) / 4.


@pytest.mark.parametrize(("score", "said"), [(0.5, True), (0.95, False)])
def test_too_little_kept_mass_is_said_with_what_to_do(make_result, cli, score, said):
    result = make_result(model="geoclip")
    predictions = replace(result.predictions, scores=np.where(result.predictions.failed[:, None], np.nan, score))
    path = replace(result, predictions=predictions).save()
    shown = cli("calibration", path).output
    assert f"The 1 kept hold {score:.0%} on average." in shown
    assert ("That is too little: what lies beyond the 1 is not counted" in shown) == said
    assert ("Keep more: geobench run --top-k 100" in shown) == said
    assert json.loads(cli("calibration", path, "--json").stdout)[0]["kept_mass"] == pytest.approx(score)
    assert json.loads(cli("calibration", path, "--ranks-only", "--json").stdout)[0]["kept_mass"] is None


def test_the_command_shows_a_table_and_the_same_numbers_as_json(make_result, cli):
    path = make_result(model="geoclip").save()
    shown = cli("calibration", path).output
    assert "City 25 km" in shown and "ECE" in shown and "--top-k 100" in shown
    rows = json.loads(cli("calibration", path, "--json").stdout)
    assert [row["km"] for row in rows] == [1, 25, 200, 750, 2500]
    assert rows[1]["accuracy"] == rows[1]["top_1"] == 25.0 and rows[1]["ece"] is not None
    assert json.loads(cli("calibration", path, "--ranks-only", "--format", "json").stdout)[0]["ece"] is None
    assert cli("calibration", path, "--format", "csv").output.startswith(
        "dataset,subset,model,checkpoint,gallery,seed,"
    )


def test_scores_wrongly_called_probabilities_are_one_line(make_result, cli):
    result = make_result()
    scores = np.where(result.predictions.failed[:, None], np.nan, 3.0)
    changed = Predictions(result.predictions.coordinates, scores, result.predictions.failed)
    path = replace(result, predictions=changed).save()
    told = cli("calibration", path, "--probabilities", exit_code=1).output
    assert "not probabilities" in told and told.count("\n") == 1


def test_a_result_without_its_predictions_is_one_line(make_result, cli):
    path = make_result().save()
    path.with_name(path.stem + ".predictions.csv").unlink()
    told = cli("calibration", path, exit_code=1).output
    assert "are not next to" in told and told.count("\n") == 1
    assert "no such file" in cli("calibration", "results/none.json", exit_code=1).output


def test_predictions_without_scores_are_not_said_to_be_in_no_order(make_result, cli):
    result = make_result()
    none = np.full_like(result.predictions.scores, np.nan)
    path = replace(
        result, predictions=Predictions(result.predictions.coordinates, none, result.predictions.failed)
    ).save()
    rows = json.loads(cli("calibration", path, "--json").stdout)
    assert {row[name] for row in rows for name in ("half", "area", "gain", "auroc", "ece")} == {None}
    assert rows[1]["accuracy"] == 25.0
    assert "have no scores" in cli("calibration", path).output
