from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench import PluginError, Predictions, ResultError
from geobench.geo import FARTHEST_KM
from geobench.predictions import extra_columns

FILE = Path("p.predictions.csv")
NAMES = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=8)


def of(n, k=1, failed=()):
    marks = np.isin(np.arange(n), failed)
    coordinates = np.arange(n * k * 2, dtype=float).reshape(n, k, 2)
    coordinates[marks] = np.nan
    return Predictions(coordinates, np.where(marks[:, None], np.nan, np.ones((n, k))), marks)


@st.composite
def tables(draw):
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    point = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
    coordinates = draw(st.lists(st.lists(point, min_size=k, max_size=k), min_size=n, max_size=n))
    scores = draw(st.lists(st.lists(st.floats(allow_nan=False), min_size=k, max_size=k), min_size=n, max_size=n))
    failed = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    truth = np.array(draw(st.lists(point, min_size=n, max_size=n)))
    names = draw(st.lists(NAMES, min_size=n, max_size=n, unique=True))
    predictions = Predictions(np.array(coordinates), np.array(scores), failed)
    predictions.coordinates[failed] = np.nan
    predictions.scores[failed] = np.nan
    return predictions, names, truth


@given(tables())
def test_predictions_read_back_exactly(drawn):
    predictions, names, truth = drawn
    predictions.save(FILE, names, truth)
    again, table = Predictions.load(FILE)
    np.testing.assert_array_equal(again.coordinates, predictions.coordinates)
    np.testing.assert_array_equal(again.scores, predictions.scores)
    np.testing.assert_array_equal(again.failed, predictions.failed)
    np.testing.assert_array_equal(table[["latitude", "longitude"]], truth)
    assert table["image"].to_list() == names


def test_images_called_na_keep_their_names():
    names = ["NA", "nan", "null", "007", "1e3", "None"]
    of(6).save(FILE, names, np.zeros((6, 2)))
    assert Predictions.load(FILE)[1]["image"].to_list() == names


def test_the_file_has_a_row_per_image_and_the_columns_that_are_documented():
    of(3, 2, failed=[1]).save(FILE, ["a", "b", "c"], np.array([(0.0, 1.0), (0.0, 0.0), (8.0, 9.0)]))
    lines = FILE.read_text().splitlines()
    assert lines[0] == (
        "image,latitude,longitude,status,error_km,latitude_1,longitude_1,score_1,latitude_2,longitude_2,score_2"
    )
    assert lines[1] == "a,0.0,1.0,ok,0.0,0.0,1.0,1.0,2.0,3.0,1.0"
    assert lines[2] == f"b,0.0,0.0,failed,{FARTHEST_KM!r},,,,,,"
    assert len(lines) == 4


def test_the_columns_of_the_test_set_come_back_as_text():
    extra = pd.DataFrame({"AUTHOR": ["007", "NA", 'a,"b"'], "place": ["", "Łódź", "two\nlines"], "label": [1, 2, 3]})
    of(3, 2).save(FILE, ["a", "b", "c"], np.zeros((3, 2)), extra)
    table = Predictions.load(FILE)[1]
    assert extra_columns(table).equals(extra.astype(str))
    assert list(table.columns[-3:]) == ["AUTHOR", "place", "label"]


def test_a_column_of_the_test_set_that_is_called_like_one_of_ours_gets_another_name():
    names = ["status", "score_1", "score_7", "latitude_2", "error_km", "table_status", "score_urban"]
    extra = pd.DataFrame({name: [f"{name}!"] for name in names})
    of(1).save(FILE, ["a"], np.zeros((1, 2)), extra)
    predictions, table = Predictions.load(FILE)
    assert predictions.coordinates.shape == (1, 1, 2)
    kept = extra_columns(table)
    assert sorted(kept.iloc[0]) == sorted(f"{name}!" for name in names)
    assert kept["table_score_1"].item() == "score_1!"
    assert kept["score_urban"].item() == "score_urban!"


def test_a_file_from_before_such_columns_were_kept_is_read():
    FILE.write_text("image,latitude,longitude,status,error_km,latitude_1,longitude_1,score_1\na,0,0,ok,0,0,0,1\n")
    assert extra_columns(Predictions.load(FILE)[1]).empty


def test_a_file_that_is_cut_off_anywhere_is_an_error_that_names_it():
    of(1, 1).save(FILE, ["a.jpg"], np.array([(0.5, 0.25)]))
    whole = FILE.read_bytes()
    for size in range(len(whole)):
        FILE.write_bytes(whole[:size])
        with pytest.raises(ResultError, match=r"^p\.predictions\.csv is not a readable predictions file .* run the"):
            Predictions.load(FILE)


@pytest.mark.parametrize(
    "text",
    [
        "image,latitude,longitude,status,error_km\na,0,0,ok,0\n",
        "image,latitude,longitude,status,latitude_1,longitude_1,score_1\na,0,0,maybe,0,0,1\n",
        "image,latitude,longitude,status,latitude_1,longitude_1,score_1\na,0,0,ok,95,0,1\n",
        "image,latitude,longitude,status,latitude_1,longitude_1,score_1\na,0,0,ok,north,0,1\n",
        "image,latitude,longitude,status,latitude_1,longitude_1,score_1\na,0,200,ok,0,0,1\n",
        "model,latitude,longitude,status,latitude_1,longitude_1,score_1\na,0,0,ok,0,0,1\n",
        "\xff",
    ],
    ids=[
        "no predictions",
        "unknown status",
        "out of range",
        "no number",
        "truth out of range",
        "no image column",
        "no UTF-8",
    ],
)
def test_what_is_no_predictions_file_is_refused(text):
    FILE.write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultError, match="is not a readable predictions file"):
        Predictions.load(FILE)


def test_a_predictions_file_that_is_not_there_is_named():
    with pytest.raises(ResultError, match=r"nowhere\.csv is not a readable predictions file"):
        Predictions.load(Path("nowhere.csv"))


def test_well_formed_predictions_pass():
    for predictions in (of(3), of(3, 5), of(3, failed=[0, 2]), of(0)):
        checked = predictions.check(len(predictions), "the model m")
        for name in ("coordinates", "scores", "failed"):
            np.testing.assert_array_equal(getattr(checked, name), getattr(predictions, name))


@pytest.mark.parametrize(
    ("coordinates", "scores"),
    [
        ((2, 1, 2), (2, 1)),
        ((3, 2), (3,)),
        ((3, 1, 3), (3, 1)),
        ((3, 2, 2), (3, 1)),
        ((3, 1, 2), (2, 1)),
        ((3, 0, 2), (3, 0)),
        ((3, 1, 2), (3,)),
    ],
)
def test_predictions_of_a_wrong_shape_name_who_made_them(coordinates, scores):
    wrong = Predictions(np.zeros(coordinates), np.zeros(scores), np.zeros(3, dtype=bool))
    with pytest.raises(PluginError, match=r"the model m returned predictions of shape .* for 3 images they must"):
        wrong.check(3, "the model m")


def test_marks_of_failure_of_a_wrong_shape_are_refused():
    wrong = Predictions(np.zeros((3, 1, 2)), np.zeros((3, 1)), np.zeros(2, dtype=bool))
    with pytest.raises(PluginError, match=r"returned ``failed`` of shape \(2,\)"):
        wrong.check(3, "the model m")


@pytest.mark.parametrize("value", [(np.nan, 0), (0, np.nan), (np.inf, 0), (90.5, 0), (0, -181)])
@pytest.mark.parametrize("rank", [0, 1])
def test_coordinates_that_are_nan_or_out_of_range_are_named(value, rank):
    wrong = of(4, 2, failed=[0])
    wrong.coordinates[2, rank] = value
    with pytest.raises(PluginError, match=f"the model m returned 1 .* first for image number 2 at rank {rank + 1}"):
        wrong.check(4, "the model m")


def test_errors_count_the_best_prediction_only():
    predictions = Predictions.of(np.array([[(1.0, 0.0), (0.0, 0.0)]]), np.ones((1, 2)))
    assert predictions.errors_km(np.zeros((1, 2)))[0] == pytest.approx(111.195080)


def test_answers_are_put_into_the_rows_of_the_readable_images():
    scattered = Predictions.scatter(of(2, 3), np.array([False, True, False, True]))
    assert scattered.failed.tolist() == [True, False, True, False]
    assert len(scattered) == 4
    np.testing.assert_array_equal(scattered.coordinates[[1, 3]], of(2, 3).coordinates)
    assert np.isnan(scattered.coordinates[[0, 2]]).all()
    assert np.isnan(scattered.scores[[0, 2]]).all()


def test_an_image_that_the_model_itself_marks_as_failed_stays_failed():
    scattered = Predictions.scatter(of(2, failed=[0]), np.array([True, False, True]))
    assert scattered.failed.tolist() == [True, True, False]
    assert scattered.errors_km(np.zeros((3, 2)))[:2].tolist() == [FARTHEST_KM, FARTHEST_KM]


def test_predictions_of_groups_of_images_are_joined_in_their_order():
    one = Predictions.of(np.array([[[1.0, 2.0]]]), np.array([[0.5]]))
    joined = Predictions.concatenate([one, Predictions.none(2), one])
    assert len(joined) == 4 and joined.failed.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(joined.coordinates[[0, 3], 0], [[1.0, 2.0], [1.0, 2.0]])
    assert joined.scores[3, 0] == 0.5
    np.testing.assert_array_equal(joined[joined.failed].failed, [True, True])


def test_predictions_with_different_numbers_per_image_are_not_joined():
    one, two = (Predictions.of(np.zeros((1, k, 2)), np.zeros((1, k))) for k in (1, 2))
    with pytest.raises(PluginError, match="must have one number of predictions per image, not 1, 2"):
        Predictions.concatenate([one, two])
    with pytest.raises(PluginError, match="not no group"):
        Predictions.concatenate([])
