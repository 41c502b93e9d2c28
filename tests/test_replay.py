import json
import time
from pathlib import Path

import numpy as np
import pytest

from geobench import Predictions, ResultError, get_metrics
from geobench.geo import FARTHEST_KM, sample_sphere
from geobench.metrics import ScoredImages, scores_of
from geobench.published.replay import RULES, Rule, geodesic_km, replay, replay_file, sphere, spread

# Im2GPS, photo Connecticut_00004_364162616, as the ISNs' authors answered it: their file says 749.34 km.
CONNECTICUT = np.array([[41.387237, -72.984205]])
ISNS_ANSWER = np.array([[37.254961, -79.871593]])


def of(coordinates, failed=()):
    coordinates = np.array(coordinates, dtype=float)
    marks = np.isin(np.arange(len(coordinates)), failed)
    coordinates[marks] = np.nan
    return Predictions(coordinates[:, None], np.ones((len(coordinates), 1)), marks)


def by_name(replayed):
    return {one.rule.name: one for one in replayed}


def test_an_error_of_749_34_km_leaves_the_750_km_bin_on_the_larger_sphere():
    found = by_name(replay(of(ISNS_ANSWER), CONNECTICUT))
    assert sphere(6371.0)(ISNS_ANSWER, CONNECTICUT)[0] == pytest.approx(749.34, abs=0.005)
    assert sphere(6378.137)(ISNS_ANSWER, CONNECTICUT)[0] == pytest.approx(750.18, abs=0.005)
    assert found["sphere 6371 km, ≤"].scores["acc_750km"] == 100.0
    assert found["sphere 6371.0088 km, ≤"].scores["acc_750km"] == 100.0
    assert found["sphere 6378.137 km, ≤"].scores["acc_750km"] == found["sphere 6378.137 km, <"].scores["acc_750km"] == 0
    # GeoScore: 5000 · (exp(−749.34 / 1492.7) − exp(−750.18 / 1492.7)) = 5000 · (0.605318 − 0.604977) = 1.70
    assert spread(replay(of(ISNS_ANSWER), CONNECTICUT)) == pytest.approx(
        {"acc_1km": 0, "acc_25km": 0, "acc_200km": 0, "acc_750km": 100, "acc_2500km": 0}
        | {"median_km": 0.84, "mean_km": 0.84, "geoscore": 1.70},
        abs=0.005,
    )


def test_our_rule_gives_the_scores_of_our_tables():
    rng = np.random.default_rng(0)
    truth = sample_sphere(400, rng)
    predictions = of(truth + rng.normal(0, 3, truth.shape).clip(-5, 5), failed=[3, 9])
    predictions.coordinates[:, 0] = predictions.coordinates[:, 0].clip([-90, -180], [90, 180])
    ours = replay(predictions, truth)[0]
    table = scores_of(ScoredImages(predictions.errors_km(truth)), get_metrics())
    assert ours.n == 400
    assert ours.scores == pytest.approx({name: table[name] for name in ours.scores}, abs=1e-12)
    assert ours.hits["acc_200km"] == round(table["acc_200km"] * 4)


def test_geodesics_are_those_of_geopy():
    geopy = pytest.importorskip("geopy.distance", reason="geopy judges the geodesics; pip install geopy")
    rng = np.random.default_rng(1)
    a, b = sample_sphere(300, rng), sample_sphere(300, rng)
    b[:100] = a[:100] + rng.normal(0, 0.01, (100, 2)).clip(-0.1, 0.1)
    b = b.clip([-90, -180], [90, 180])
    expected = [geopy.geodesic(p, q).km for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(geodesic_km(a, b), expected, rtol=1e-9, atol=1e-9)


def test_an_error_of_exactly_the_threshold_counts_by_one_rule_and_not_by_the_other():
    rules = [Rule("exactly 25 km", lambda a, b: np.full(len(a), 25.0), inclusive) for inclusive in (True, False)]
    with_it, without = replay(of([[0.0, 0.0]]), np.zeros((1, 2)), rules)
    assert (with_it.rule.name, without.rule.name) == ("exactly 25 km, ≤", "exactly 25 km, <")
    assert (with_it.hits["acc_25km"], without.hits["acc_25km"]) == (1, 0)
    assert with_it.hits["acc_200km"] == without.hits["acc_200km"] == 1


def test_a_failed_image_is_a_miss_or_dropped_or_placed_in_the_gulf_of_guinea():
    truth = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [50.0, 50.0]])
    predictions = of(truth, failed=[1, 2])  # the two that were answered are right
    found = by_name(replay(predictions, truth))
    ours = found["sphere 6371.0088 km, ≤"]
    dropped = found["sphere 6371.0088 km, ≤, failures dropped"]
    zero = found["sphere 6371.0088 km, ≤, failures at 0, 0"]
    assert [(one.n, one.hits["acc_1km"], one.hits["acc_200km"]) for one in (ours, dropped, zero)] == [
        (4, 2, 2),
        (2, 2, 2),
        (4, 3, 4),
    ]
    assert (ours.scores["acc_1km"], dropped.scores["acc_1km"], zero.scores["acc_1km"]) == (50.0, 100.0, 75.0)
    assert ours.scores["median_km"] == FARTHEST_KM / 2


def test_a_failed_image_is_a_miss_that_is_0_km_in_the_mean_or_in_no_mean():
    """Errors of 0 and 222.39 km (2° of latitude at R 6371), and one image without an answer."""
    truth = np.zeros((3, 2))
    found = by_name(replay(of([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]], failed=[2]), truth))
    zero, none = found["WGS-84 geodesic, ≤, failures 0 km in the mean"], found["sphere 6371 km, ≤, failures in no mean"]
    dropped = found["sphere 6371 km, ≤, failures dropped"]
    assert (zero.n, none.n, dropped.n) == (3, 3, 2)
    assert [one.scores["acc_1km"] for one in (zero, none, dropped)] == pytest.approx([100 / 3, 100 / 3, 50.0])
    assert zero.scores["mean_km"] == pytest.approx(221.15 / 3, abs=0.01), "the ellipsoid is flatter: 221.15 km"
    assert zero.scores["median_km"] == pytest.approx(221.15, abs=0.01), "of 0, 221.15 and half the Earth"
    assert none.scores["mean_km"] == none.scores["median_km"] == pytest.approx(222.39 / 2, abs=0.01)
    assert zero.scores["geoscore"] < 5000 * 2 / 3, "no answer earns no points"


def test_by_0_below_d_an_exact_hit_loses():
    found = by_name(replay(of([[0.0, 0.0], [0.001, 0.0]]), np.zeros((2, 2))))
    assert found["sphere 6371 km, 0 < d ≤"].hits["acc_1km"] == 1
    assert found["sphere 6371 km, ≤"].hits["acc_1km"] == 2
    assert found["sphere 6371 km, 0 < d ≤"].scores["median_km"] == found["sphere 6371 km, ≤"].scores["median_km"]


def test_rows_without_a_distance_are_out_of_n_and_a_distance_of_the_threshold_is_a_miss():
    rule = next(rule for rule in RULES if rule.name == "sphere 6371 km, <, failures dropped")
    exactly = Rule(rule.earth, lambda a, b: np.full(len(a), 25.0), rule.inclusive, rule.failures)
    (found,) = replay(of([[0.0, 0.0], [0.0, 0.0]], failed=[1]), np.zeros((2, 2)), [exactly])
    assert (found.n, found.hits["acc_25km"], found.hits["acc_200km"], found.scores["mean_km"]) == (1, 0, 1, 25.0)


def test_where_no_image_failed_the_rules_on_failures_change_nothing():
    predictions, truth = of([[1.0, 1.0], [2.0, 2.0]]), np.zeros((2, 2))
    found = [one.scores for one in replay(predictions, truth) if one.rule.earth == RULES[0].earth]
    assert len(found) == 3
    assert found[0] == found[1] == found[2]


def test_where_every_image_failed_and_is_dropped_there_is_no_score():
    found = by_name(replay(of([[0.0, 0.0]], failed=[0]), np.zeros((1, 2))))
    dropped = found["sphere 6371.0088 km, ≤, failures dropped"]
    assert dropped.n == 0
    assert np.isnan(dropped.scores["acc_1km"])
    assert spread(list(found.values()))["acc_1km"] == 100.0  # missed, or 0, 0, which here is right


def test_every_peer_says_where_its_rule_was_read_and_no_rule_stands_twice():
    assert len({rule.name for rule in RULES}) == len(RULES) == 14
    assert RULES[0].users[0][0] == "geobench"
    assert all(name and source for rule in RULES for name, source in rule.users)
    peers = {name: rule.name for rule in RULES for name, _ in rule.users}
    assert peers["GeoCLIP"] == "WGS-84 geodesic, ≤"
    assert peers["PIGEON"] == "sphere 6378.137 km, <"
    assert peers["OSV-5M"] == "sphere 6371 km, <"


def test_the_command_replays_a_result_by_its_predictions_or_its_record(cli, make_result):
    path = make_result((0.0, 6.74, None), longitude=0.0).save()
    assert replay_file(path) == replay_file(path.with_suffix(".predictions.csv"))
    told = cli("replay", path).output
    # 6.74° of latitude: 749.5 km at R 6371, 750.3 at 6378.137, and 745.3 along the ellipsoid
    # 2 of 3 where the failed image is placed at 0, 0, which is right here; none where an exact hit loses
    assert "Points due to convention alone, lowest to highest rule: 66.67 at 1 km" in told
    assert "sphere 6378.137 km, <" in told
    assert "PIGEON: LukasHaas/PIGEON, evaluation/metrics.py" in told


def test_the_command_prints_json(cli, make_result):
    path = make_result((0.0, 6.74, None), longitude=0.0).save()
    told = json.loads(cli("replay", path, "--json").stdout)
    by_rule = {rule["rule"]: rule for rule in told["rules"]}
    assert by_rule["sphere 6371 km, ≤"]["hits"]["acc_750km"] == by_rule["WGS-84 geodesic, ≤"]["hits"]["acc_750km"] == 2
    assert by_rule["sphere 6378.137 km, ≤"]["hits"]["acc_750km"] == 1
    assert by_rule["WGS-84 geodesic, ≤"]["users"][0]["name"] == "GeoCLIP"
    assert told["spread"]["acc_750km"] == pytest.approx(100 - 100 / 3)  # dropped: 2 of 2; the larger sphere: 1 of 3


def test_a_file_that_is_no_predictions_file_is_one_line(cli):
    with pytest.raises(ResultError, match=r"nowhere\.predictions\.csv"):
        replay_file(Path("nowhere.json"))
    assert "nowhere.csv: no such file." in cli("replay", "nowhere.csv", exit_code=1).stderr
    Path("notes.csv").write_text("a,b\n1,2\n")
    told = cli("replay", "notes.csv", exit_code=1)
    assert "notes.csv is not a readable predictions file" in told.stderr
    assert told.stderr.count("\n") == 1


def test_25_600_predictions_are_replayed_in_seconds():
    rng = np.random.default_rng(2)
    truth = sample_sphere(25_600, rng)
    predictions = of(sample_sphere(25_600, rng))
    started = time.monotonic()
    replay(predictions, truth)
    assert time.monotonic() - started < 5
