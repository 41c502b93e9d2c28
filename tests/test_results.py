import json
import os
from pathlib import Path

import pytest

from geobench import Predictions, ResultError, get_results, metrics
from geobench.results import load_result, load_results

FOLDER = Path("results")


def test_a_result_is_read_back_as_it_was_saved(make_result):
    result = make_result()
    path = result.save(FOLDER)
    assert load_result(path) == result


def test_a_result_and_its_predictions_lie_side_by_side_under_a_name_that_says_what_they_are(make_result):
    path = make_result().save(FOLDER)
    assert path.name == "mine_knn_training-3_s0_01234567.json"
    assert sorted(p.name for p in FOLDER.iterdir()) == [path.name, f"{path.stem}.predictions.csv"]


def test_the_name_of_a_file_holds_no_character_that_a_file_system_minds(make_result):
    result = make_result(gallery="/photos/my places.csv", dataset="a/b:c")
    assert result.stem == "a-b-c_knn_-photos-my-places.csv_s0_01234567"
    assert make_result(gallery="").stem == "mine_knn_no-gallery_s0_01234567"


def test_scores_can_be_computed_again_from_the_predictions_alone(make_result):
    result = make_result()
    path = result.save(FOLDER)
    predictions, table = Predictions.load(path.with_suffix(".predictions.csv"))
    errors = predictions.errors_km(table[["latitude", "longitude"]].to_numpy())
    assert metrics.score(errors) == result.scores
    assert table["error_km"].to_list() == errors.tolist()


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
    with pytest.raises(ResultError, match=r"x\.json is no readable result"):
        load_result(Path("x.json"))


def test_a_record_without_one_of_its_entries_is_refused(make_result):
    path = make_result().save(FOLDER)
    record = json.loads(path.read_text())
    del record["gallery_hash"]
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError, match="KeyError: 'gallery_hash'"):
        load_result(path)


def test_a_record_that_another_process_is_writing_is_left_alone(make_result):
    path = make_result().save(FOLDER)
    (FOLDER / f".{path.name}.x1y2z3.json").write_text('{"half')
    assert len(load_results(FOLDER)) == 1
