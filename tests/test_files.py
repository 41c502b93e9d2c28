import json
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobench import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_home_is_geobench_home_else_the_cache_folder(own_home, monkeypatch):
    assert files.home() == own_home
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("GEOBENCH_HOME")
        else:
            monkeypatch.setenv("GEOBENCH_HOME", value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(own_home / "cache"))
        assert files.home().name == "geobench"
        assert files.home() != own_home


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # so that the rename is one step
    assert path.read_text() == "half"
    assert names(path.parent) == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(path.parent) == ["file.txt"]


def test_an_error_names_the_requested_file(tmp_path):
    folder = tmp_path / "folder"
    (folder / "taken").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as told:
        files.write_text(folder / "taken", "text")
    assert told.value.filename == str(folder / "taken")
    long = folder / ("n" * 250)
    for make in (files.replacing, files.replacing_folder):
        with pytest.raises(OSError, match="File name too long") as told, make(long):
            pass
        assert told.value.filename == str(long)
    assert names(folder) == ["taken"]


def test_the_temporary_file_is_hidden_and_keeps_the_suffix(tmp_path):
    with files.replacing(tmp_path / "a.json") as temporary:
        assert temporary.name.startswith(".a.json.")
        assert temporary.suffix == ".json"


def test_a_folder_replaces_another_atomically(tmp_path):
    path = tmp_path / "place" / "folder"
    for text in ("old", "new"):
        with files.replacing_folder(path) as made:
            (made / f"{text}.txt").write_text(text)
    assert names(path) == ["new.txt"]
    assert names(path.parent) == ["folder"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "place" / "folder"
    with files.replacing_folder(path) as made:
        (made / "old.txt").touch()
    with pytest.raises(ValueError, match="stop"), files.replacing_folder(path) as made:
        (made / "new.txt").touch()
        raise ValueError("stop")
    assert names(path) == ["old.txt"]
    assert names(path.parent) == ["folder"]


def test_json_and_arrays_read_back(tmp_path):
    value = {"name": "Zürich", "scores": [0.1, None], "n": 3}
    files.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value
    assert "Zürich" in (tmp_path / "a.json").read_text(encoding="utf-8")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    files.write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)


def test_arrays_that_would_need_pickle_are_refused(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        files.write_array(tmp_path / "a.npy", np.array([{}], dtype=object))
    assert names(tmp_path) == ["work"]


def test_a_digest_is_16_hexadecimal_digits_and_the_same_on_every_machine():
    # printf '"a"\0[1, 2]\0' | sha256sum
    assert files.digest("a", [1, 2]) == "c369057b566fe6cd"
    assert files.digest({"b": 1, "a": 2}) == files.digest({"a": 2, "b": 1})


def test_a_digest_depends_on_values_types_shapes_and_order():
    zeros = np.zeros(4)
    parts = [
        (zeros,), (zeros.reshape(2, 2),), (zeros.astype(np.float32),), (zeros.astype(np.int64),),
        (np.zeros(8, dtype=np.float32),),
        ("ab",), ("a", "b"), ("b", "a"), (b"ab",), (1,), ("1",), (None,), (), ([],), ({},), (0.1,), (0.2,),
    ]  # fmt: skip
    assert len({files.digest(*part) for part in parts}) == len(parts)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
def test_the_digest_of_an_array_does_not_depend_on_its_memory_layout(values):
    array = np.array([values, values[::-1]])
    assert files.digest(array) == files.digest(np.asfortranarray(array)) == files.digest(array[:, ::-1][:, ::-1])


def test_waiting_for_a_lock_is_reported(tmp_path):
    lines, order = [], []

    def second():
        with files.locked(tmp_path / "work" / "thing", lines.append):
            order.append("second")

    with files.locked(tmp_path / "work" / "thing", lines.append):
        assert lines == []
        thread = Thread(target=second)
        thread.start()
        while thread.is_alive() and not lines:
            time.sleep(0.01)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert lines == ["another process is working on thing; waiting for it."]


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="stop"), files.locked(tmp_path / "thing", print):
        raise ValueError("stop")
    with files.locked(tmp_path / "thing", pytest.fail):
        assert Path(f"{tmp_path}/thing.lock").exists()
