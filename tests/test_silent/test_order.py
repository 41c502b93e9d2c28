"""Wrong numbers of files of predictions by others in which it is open which prediction of an image is its best."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import ResultError
from geobench.data.registration import add_positions
from geobench.published.scoring import score_file

N = 30


@pytest.fixture
def truth():
    """The test set ``exam`` of thirty positions, without photos; returns its table."""
    rng = np.random.default_rng(0)
    places = {"latitude": rng.uniform(-50, 60, N), "longitude": rng.uniform(-120, 120, N)}
    table = pd.DataFrame({"image": [f"photo-{n}.jpg" for n in range(N)], **places})
    add_positions("exam", table, "Exam")
    return table


def two_guesses(truth, good=None, bad=None, first="bad"):
    """Return two predictions per image, one 11 km off and one on the other side of the equator, with more columns."""
    near = truth.assign(latitude=truth["latitude"] + 0.1, **(good or {}))
    far = truth.assign(latitude=-truth["latitude"], **(bad or {}))
    return pd.concat([far, near] if first == "bad" else [near, far])


def scored(table, **options):
    table.to_csv("theirs.csv", index=False)
    return score_file(Path("theirs.csv"), "exam", **options)


def test_equal_scores_leave_the_best_prediction_open(truth):
    """The order of the lines decided: 0.0 %, or 38.0 % with the same lines the other way round."""
    for first in ("bad", "good"):
        with pytest.raises(ResultError, match=r"are both for 'photo-\d+\.jpg' with the score 0\.5 \(such images: 30\)"):
            scored(two_guesses(truth, {"score": 0.5}, {"score": 0.5}, first))
    alike = pd.concat([truth.assign(score=0.5), truth.assign(score=0.5, longitude=truth["longitude"])])
    alike["latitude"] += 0.1
    assert scored(alike).scores["acc_25km"] == 100.0  # equal, but of one position


def test_a_prediction_without_a_score_does_not_give_way_to_the_next(truth):
    """60 of 150 first answers had the score nan: the second ones counted, City 23.3 in place of 38.0, Failed 0."""
    scores = np.where(np.arange(N) < 10, np.nan, 0.9)
    with pytest.raises(ResultError, match=r"has no score, while another prediction for .photo-0\.jpg. has one"):
        scored(two_guesses(truth, {"score": scores}, {"score": 0.1}))


def test_a_best_answer_without_a_position_is_a_miss(truth):
    """The second guess counted."""
    table = two_guesses(truth, {"rank": 1}, {"rank": 2}, "good").reset_index(drop=True)
    table.loc[:9, ["latitude", "longitude"]] = np.nan
    result = scored(table)
    assert (result.failed, result.scores["acc_25km"]) == (10, pytest.approx(100 * 20 / N))


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ({"rank": 2}, {"rank": 3}, "the ranks begin at 2, but 1 is the best"),
        ({"rank": [2, *[1] * (N - 1)]}, {"rank": 3}, r"the ranks of 'photo-0\.jpg' begin at 2, not at 1"),
        ({"rank": 2, "score": 0.7}, {"rank": 1, "score": 0.2}, "rank and score order the predictions .* differently"),
        ({"score": 1}, {"score": 2}, "the scores of every image are 1 to 2: if they are ranks"),
    ],
)
def test_ranks_and_scores_that_cannot_be_what_they_are_called_are_refused(truth, good, bad, said):
    with pytest.raises(ResultError, match=said):
        scored(two_guesses(truth, good, bad))


def test_what_the_user_names_counts(truth):
    table = two_guesses(truth, {"rank": 2, "score": 0.7}, {"rank": 1, "score": 0.2})
    assert scored(table, columns={"score": "score"}).scores["acc_25km"] == 100.0
    assert scored(table, columns={"rank": "rank"}).scores["acc_25km"] < 50.0
    table = two_guesses(truth, {"score": 1}, {"score": 2})
    assert scored(table, columns={"rank": "score"}).scores["acc_25km"] == 100.0
    assert scored(table, columns={"score": "score"}).scores["acc_25km"] < 50.0


def test_a_column_of_places_is_no_rank(truth):
    """Ids of GeoNames under ``place`` were taken for ranks: 31.3 % in place of 100 %."""
    ids = np.random.default_rng(1).permutation(2 * N)
    table = two_guesses(truth, {"place": ids[:N], "probability": 0.7}, {"place": ids[N:], "probability": 0.2})
    assert scored(table).scores["acc_25km"] == 100.0


def test_hemispheres_in_columns_of_their_own_sign_the_predictions_of_others(truth):
    """City 11.3 in place of 38.0."""
    signs = {
        "lat_ref": np.where(truth["latitude"] < 0, "S", "N"),
        "lon_ref": np.where(truth["longitude"] < 0, "W", "E"),
    }
    near = truth.assign(latitude=(truth["latitude"] + 0.01).abs(), longitude=truth["longitude"].abs(), **signs)
    assert scored(near).scores["acc_25km"] == 100.0
    with pytest.raises(ResultError, match=r"latitude has the hemisphere '' .*, which is neither N nor S"):
        scored(near.assign(lat_ref=["", *near["lat_ref"][1:]]))


def test_a_probability_is_claimed_once_however_many_predictions_other_images_have(truth, cli):
    """One image with four more predictions made the calibration error 59.7 in place of 1.0 points."""
    far = truth.assign(latitude=-truth["latitude"], probability=0.15)
    more = pd.concat([far, *(far.iloc[:1].assign(latitude=10.0 * n, probability=0.01) for n in range(1, 5))])
    errors = {}
    for name, table in (("alone", far), ("more", more)):
        table.to_csv("theirs.csv", index=False)
        cli("score", "theirs.csv", "--dataset", "exam", "--name", name)
        (path,) = Path("results").glob(f"*{name}*.json")
        rows = json.loads(cli("calibration", path, "--probabilities", "--json").stdout)
        errors[name] = {row["metric"]: row["ece"] for row in rows}["acc_25km"]
    assert errors["more"] == pytest.approx(errors["alone"], abs=0.5) and errors["alone"] == pytest.approx(15.0)
