import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geobench import Predictions, ResultError, ScoredImages, get_metric, get_metrics, get_results
from geobench.data import places
from geobench.metrics import scores_of
from geobench.results import PREDICTIONS, SCHEMA, load_result, read_results

FOLDER = Path("results")


def test_a_result_is_read_back_as_it_was_saved(make_result):
    result = make_result()
    path = result.save(FOLDER)
    assert load_result(path) == result


def test_a_result_and_its_predictions_lie_side_by_side_under_a_name_that_says_what_they_are(make_result):
    path = make_result(key="0123456789abcdef").save(FOLDER)
    assert path.name == "mine_knn_training-3_s0_01234567.json"
    assert sorted(p.name for p in FOLDER.iterdir()) == [path.name, f"{path.stem}.predictions.csv"]


def test_the_name_of_a_file_holds_no_character_that_a_file_system_minds(make_result):
    result = make_result(key="0123456789abcdef", gallery="/photos/my places.csv", dataset="a/b:c")
    assert result.stem == "a-b-c_knn_-photos-my-places.csv_s0_01234567"
    assert make_result(key="0123456789abcdef", gallery="").stem == "mine_knn_no-gallery_s0_01234567"


def test_scores_can_be_computed_again_from_the_predictions_alone(make_result):
    result = make_result()
    path = result.save(FOLDER)
    predictions, table = Predictions.load(path.with_suffix(".predictions.csv"))
    errors = predictions.errors_km(table[["latitude", "longitude"]].to_numpy())
    assert scores_of(ScoredImages(errors), get_metrics()) == result.scores
    assert table["error_km"].to_list() == errors.tolist()


def test_places_are_looked_up_once_for_a_result_however_often_its_scores_are_computed(make_result, monkeypatch):
    looked_up = []
    find = places.find_places
    monkeypatch.setattr(
        places, "find_places", lambda coordinates: looked_up.append(len(coordinates)) or find(coordinates)
    )
    path = make_result((0.0, 1.0, 10.0, 80.0), scores={"acc_1km": 25.0, "country": float("nan")}).save(FOLDER)
    result = load_result(path, predictions=True)
    assert get_metric("country").score(result.scored) is not None
    assert looked_up == [4, 4], "of the true and of the predicted positions"


def test_a_failed_image_is_counted_and_n_stays(make_result):
    result = make_result((0.0, None, 0.0, None))
    assert (result.n, result.failed) == (4, 2)
    assert result.scores["acc_1km"] == result.scores["acc_2500km"] == 50.0


def test_get_results_is_a_table_with_a_row_per_result_the_newest_last(make_result):
    make_result(key="b" * 16, created="2024-01-02T00:00:00+00:00", model="later").save(FOLDER)
    make_result(key="a" * 16, created="2024-01-03T00:00:00+00:00", model="latest").save(FOLDER)
    make_result(key="c" * 16, created="2024-01-01T00:00:00+00:00", model="first").save(FOLDER)
    table = get_results(FOLDER)
    assert table["model"].to_list() == ["first", "later", "latest"]
    assert list(table.columns[:15]) == [
        "dataset", "model", "checkpoint", "gallery", "seed", "n", "failed",
        "acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km", "median_km", "mean_km", "geoscore",
    ]  # fmt: skip
    assert {"encoder", "crops", "gallery_hash", "gallery_distinct", "trained_on", "device", "seconds"} < set(table)


def test_get_results_of_a_folder_that_is_empty_or_not_there_is_empty():
    assert get_results(FOLDER).empty
    FOLDER.mkdir()
    assert get_results(FOLDER).empty


def test_a_truncated_result_is_an_error_that_names_the_file_and_the_remedy(make_result):
    path = make_result().save(FOLDER)
    for size in (0, 1, path.stat().st_size // 2, path.stat().st_size - 3):
        os.truncate(path, size)
        with pytest.raises(ResultError) as caught:
            get_results(FOLDER)
        assert str(path) in str(caught.value)
        assert "move it away and run the model again" in str(caught.value)
        assert "\n" not in str(caught.value)
        path.unlink()
        make_result().save(FOLDER)


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"key": "x"}', "\xff"])
def test_json_that_is_no_result_is_refused(text):
    Path("x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultError, match=r"x\.json is not a readable result"):
        load_result(Path("x.json"))


def test_a_record_without_one_of_its_entries_is_refused(make_result):
    path = make_result().save(FOLDER)
    record = json.loads(path.read_text())
    del record["gallery_hash"]
    path.write_text(json.dumps(record))
    with pytest.raises(
        ResultError, match=r"does not fit this version \(missing: gallery_hash\): geobench 0\.1\.0 wrote"
    ):
        load_result(path)


def edited(path, **changes):
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in record.items() if value is not ...}))
    return path


def test_a_record_of_a_newer_version_names_it_and_what_to_do(make_result):
    path = edited(make_result().save(FOLDER), schema=SCHEMA + 1, energy_kwh=3, versions={"geobench": "7.0"})
    with pytest.raises(ResultError) as caught:
        load_result(path)
    assert f"(form {SCHEMA + 1}; unknown: energy_kwh): geobench 7.0 wrote it in form {SCHEMA + 1}" in str(caught.value)
    assert "read it with that version, or move it away and run the model again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_of_an_older_version_lacks_what_came_later(make_result):
    result = make_result(key="0123456789abcdef", images_key="", table_hash="", weights="", precision="")
    later = ("subset", "in_gallery", "training_seed", "images_key", "table_hash", "weights", "code", "precision")
    path = edited(result.save(FOLDER), schema=..., **dict.fromkeys(later, ...))
    assert load_result(path) == result
    assert load_result(path).key == "0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": "4"}, "of another type: n"),
        ({"seed": True}, "of another type: seed"),
        ({"seconds": float("nan")}, "of another type: seconds"),
        ({"scores": {"acc_1km": "3"}}, "scores that are not numbers: acc_1km"),
        ({"scores": 3}, "of another type: scores"),
        ({"versions": None}, "of another type: versions): geobench unknown wrote it"),
    ],
)
def test_entries_that_do_not_fit_are_named(make_result, changes, said):
    path = edited(make_result().save(FOLDER), **changes)
    with pytest.raises(ResultError, match=re.escape(said)):
        load_result(path)


def test_a_result_that_is_not_there_is_named():
    with pytest.raises(ResultError, match=r"^nowhere\.json: no such file\.$"):
        load_result(Path("nowhere.json"))


def test_a_result_comes_back_with_its_predictions_and_the_columns_of_the_test_set(make_result):
    extra = pd.DataFrame({"AUTHOR": ["a", "b", "007", ""], "status": ["1", "2", "NA", "x,y"]})
    result = replace(make_result(), extra=extra)
    path = result.save(FOLDER)
    again = load_result(path, predictions=True)
    assert again == result
    assert again.path == path
    assert again.names.tolist() == result.names.tolist()
    np.testing.assert_array_equal(again.errors, result.errors)
    assert again.extra.rename(columns={"table_status": "status"}).equals(extra)


def test_a_record_may_lie_without_its_predictions(make_result):
    path = make_result().save(FOLDER)
    path.with_suffix(PREDICTIONS).unlink()
    assert load_result(path, predictions=True).predictions is None


@pytest.mark.parametrize(
    "changes",
    [{"n": 5}, {"failed": 0}, {"scores": {"acc_1km": 50.0}}, {"scores": {"median_km": None}}],
    ids=["n", "failed", "scores", "a score that is not known"],
)
def test_scores_that_the_predictions_no_longer_give_are_an_error(make_result, changes):
    path = edited(make_result(key="0123456789abcdef").save(FOLDER), **changes)
    load_result(path)
    with pytest.raises(ResultError, match=r"its predictions no longer yield its scores \(.* in the record"):
        load_result(path, predictions=True)


def test_an_edited_prediction_is_found(make_result):
    path = make_result(longitude=0.0).save(FOLDER)
    beside = path.with_suffix(PREDICTIONS)
    beside.write_text(beside.read_text().replace(",10.0,", ",0.0,"))
    with pytest.raises(ResultError, match="acc_1km 25 in the record, 50 from the predictions"):
        load_result(path, predictions=True)


def test_predictions_that_are_cut_short_are_an_error(make_result):
    path = make_result().save(FOLDER)
    os.truncate(path.with_suffix(PREDICTIONS), 150)
    with pytest.raises(ResultError, match="is not a readable predictions file"):
        load_result(path, predictions=True)


def test_every_damaged_result_of_a_folder_is_named(make_result):
    sound = make_result()
    sound.save(FOLDER)
    for name in ("a", "b"):
        (FOLDER / f"{name}.json").write_text("{")
    found, damaged = read_results(FOLDER)
    assert found == [sound]
    assert [line.partition(" ")[0] for line in damaged] == ["results/a.json", "results/b.json"]
    with pytest.raises(ResultError, match=r"results/a\.json .* results/b\.json"):
        get_results(FOLDER)


def test_a_record_that_another_process_is_writing_is_left_alone(make_result):
    path = make_result().save(FOLDER)
    (FOLDER / f".{path.name}.x1y2z3.json").write_text('{"half')
    assert len(get_results(FOLDER)) == 1


def test_a_record_with_fewer_or_more_scores_than_there_are_metrics_is_read(make_result):
    result = make_result()
    path = result.save(FOLDER)
    known = json.loads(path.read_text())["scores"]
    fewer = {"acc_25km": known["acc_25km"]}
    for scores in (fewer, {}, known | {"a_metric_of_a_plugin_that_is_gone": 3.0}):
        assert load_result(edited(path, scores=scores), predictions=True).scores == result.scores
    assert load_result(edited(path, scores=fewer)).scores == fewer  # without predictions nothing can be added


def test_a_table_of_results_has_the_metrics_that_came_later(make_result):
    result = make_result()
    edited(result.save(FOLDER), scores={})
    assert get_results(FOLDER).iloc[0]["acc_25km"] == result.scores["acc_25km"]


def test_a_score_that_cannot_be_computed_is_null_in_the_record(make_result):
    result = make_result(scores={"acc_1km": 25.0, "country": float("nan")})
    path = result.save(FOLDER)
    assert json.loads(path.read_text())["scores"] == {"acc_1km": 25.0, "country": None}
    assert np.isnan(load_result(path).scores["country"])


def test_a_frame_has_a_row_for_each_image_and_the_columns_of_the_test_set(make_result):
    result = replace(make_result(), extra=pd.DataFrame({"AUTHOR": list("abcd"), "status": list("wxyz")}))
    frame = result.to_frame()
    assert list(frame.columns) == [
        *("image", "latitude", "longitude", "predicted_latitude", "predicted_longitude", "score", "error_km", "status"),
        *("AUTHOR", "status of the test set"),
    ]
    assert frame["image"].tolist() == result.names.tolist()
    assert frame["predicted_latitude"].tolist()[:3] == [0.0, 1.0, 10.0]
    assert np.isnan(frame["predicted_latitude"][3])
    assert frame["error_km"].round().tolist() == [0, 111, 1112, 20015]
    assert frame["status"].tolist() == ["ok", "ok", "ok", "failed"]
