"""Room in GEOBENCH_HOME: what lies there is listed, removed where nothing needs it, swept after killed processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import geobench
from geobench import SettingError, UnknownNameError, files, holding
from geobench.cache.entries import find_entries
from geobench.cache.kinds import KINDS, Removal
from geobench.cache.leftovers import HOUR_S, sweep
from geobench.cache.removal import IN_USE, LINK, NEEDED, UNKNOWN, Selection, plan_removal, remove
from geobench.cli import main
from geobench.data.download.fetch import Target

TINY_GEOCLIP = ("batch_size=4", "queue_length=8", "hidden_dim=16", "dim=16", "epochs=1", "fourier_rows=8")
DAY_S = 86_400


@pytest.fixture
def trained(one_thread):
    """Train a small geoclip and run it; return its checkpoint and a function that runs it again, for the answers."""
    settings = {name: int(value) for name, value in (text.split("=") for text in TINY_GEOCLIP)}
    checkpoint = geobench.train("geoclip", "bluemarble", encoder="tiny", settings=settings, device="cpu")

    def answers():
        options = geobench.Options(top_k=3, workers=0)
        result = geobench.evaluate(checkpoint.spec, "bluemarble", "land:200", options, limit=12)
        return result.predictions.coordinates, result.predictions.scores, result.in_training

    answers()
    return checkpoint, answers


@pytest.fixture(autouse=True)
def let_go():
    """Return a function by which this process lets go of the caches that it uses, as if it had ended."""
    holding.let_go()
    return holding.let_go


def names(kind=None):
    return [entry.name for entry in find_entries() if kind in (None, entry.kind.name)]


def age(path, seconds):
    """Make it seem that everything at ``path`` was last used so long ago."""
    then = time.time() - seconds
    for each in (path, *path.rglob("*")):
        os.utime(each, (then, then))


def kept(plan):
    return {entry.name: reason for entry, reason in plan.kept}


# -- what is there


def test_all_that_a_training_and_a_run_leave_is_of_a_known_kind(trained, own_home):
    checkpoint, _ = trained
    found = {entry.name: entry for entry in find_entries()}
    kinds = sorted({entry.kind.name for entry in found.values()})
    assert kinds == ["checkpoints", "features", "galleries", "locks"]
    (gallery,) = (entry for entry in found.values() if entry.kind.name == "galleries")
    assert (gallery.what, gallery.datasets) == (
        f"land:200 of {checkpoint.spec}",
        ("bluemarble",),
    )
    assert [path.suffix for path in gallery.paths] == [".json", ".npy"]
    whats = sorted(entry.what for entry in found.values() if entry.kind.name == "features")
    assert whats == ["test, tiny", "train, tiny"]
    total = sum(path.stat().st_size for path in own_home.rglob("*") if path.is_file())
    assert sum(entry.bytes for entry in found.values()) == total


def test_every_folder_that_geobench_writes_in_its_home_is_that_of_a_kind():
    source = Path(geobench.__file__).parent
    written = set()
    for path in [*source.rglob("*.py"), *(source.parent / "plugins").rglob("*.py")]:
        written |= set(re.findall(r"""home\(\) / "(\w+)["/]""", path.read_text(encoding="utf-8")))
    known = {kind.pattern.partition("/")[0] for kind in KINDS if kind.pattern}
    assert {"features", "galleries", "checkpoints", "contents", "answers"} <= written
    assert written - {"experiments"} <= known  # that one holds only locks


def test_what_nobody_knows_is_listed_and_never_removed(own_home, cli):
    (own_home / "features").mkdir(parents=True)
    for name in ("notes.txt", "features/mine.txt"):
        (own_home / name).write_text("mine")
    (own_home / "more").mkdir()
    (own_home / "more" / "deep.txt").write_text("mine")
    assert names("other") == ["features/mine.txt", "more", "notes.txt"]
    output = cli("cache", "remove", "--kind", "other", "--needed", "--yes").output
    assert "kept 3 entries (12.0 B) of other: not made by this version of geobench" in output
    assert names("other") == ["features/mine.txt", "more", "notes.txt"]


def test_an_archives_list_is_of_the_sets_that_it_holds_and_needed_by_their_trainings(photos, own_home, cli, tmp_path):
    images, metadata = photos(12)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in images.iterdir():
            archive.write(path, path.name)
    cli("datasets", "add", "zipped", "--images", tmp_path / "photos.zip", "--metadata", metadata, "--encoder", "tiny")
    (index,) = (entry for entry in find_entries() if entry.kind.name == "index")
    assert index.datasets == ("zipped",)
    assert index.what == str(tmp_path / "photos.zip")
    assert kept(plan_removal(Selection(kinds=["index"]))) == {index.name: IN_USE}
    holding.let_go()
    assert plan_removal(Selection(kinds=["index"])).removed == [index]
    geobench.train("knn", "zipped", settings={"k": 2}, device="cpu")
    holding.let_go()
    assert kept(plan_removal(Selection(kinds=["index"]))) == {index.name: NEEDED}
    remove(plan_removal(Selection(kinds=["index"]), needed=True))
    assert not names("index")
    geobench.evaluate("knn", "zipped")
    assert names("index") == [index.name]


# -- removal


def test_what_is_removed_is_made_again_with_the_same_answers(trained, own_home):
    _, answers = trained
    before, listed = answers(), names()
    holding.let_go()
    plan = remove(plan_removal(Selection(kinds=["features", "galleries"]), needed=True))
    assert len(plan.removed) == 3
    assert not names("features") + names("galleries")
    assert {path.suffix for folder in ("features", "galleries") for path in (own_home / folder).iterdir()} == {".lock"}
    after = answers()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    of_training = {entry.name for entry in plan.removed if entry.about.get("purpose") == "train"}
    assert set(listed) - set(names()) == of_training  # nobody needed these


def test_the_features_that_a_checkpoint_consists_of_stay_as_long_as_it_does(cli):
    spec = geobench.train("knn", "bluemarble", encoder="tiny", limit=30, settings={"k": 2}, device="cpu").spec
    geobench.train("most-frequent", "bluemarble", encoder="tiny", limit=30, device="cpu")
    holding.let_go()
    (features,) = names("features")
    plan = plan_removal(Selection(kinds=["features"]), needed=True)
    assert kept(plan) == {features: f"{spec} consists of these; remove it first"}
    cli("cache", "remove", next(name for name in names("checkpoints") if "/knn/" in name), "--yes")
    assert [entry.name for entry in plan_removal(Selection(kinds=["features"]), needed=True).removed] == [features]


def test_without_its_features_a_checkpoint_says_how_to_have_them_again(own_home, cli, tiny_encoder):
    spec = geobench.train("knn", "bluemarble", encoder="tiny", limit=30, settings={"k": 2}, device="cpu").spec
    holding.let_go()
    shutil.rmtree(own_home / names("features")[0])
    with pytest.raises(geobench.FeatureError, match="the features that it refers to are not there") as caught:
        geobench.evaluate(spec, "bluemarble", limit=3)
    cli(*str(caught.value).split("geobench ")[-1].split(), "--workers", "0", "--device", "cpu")
    assert geobench.evaluate(spec, "bluemarble", limit=3).failed == 0


def test_what_a_checkpoint_refers_to_stays_unless_that_is_asked_for(trained):
    checkpoint, _ = trained
    holding.let_go()
    plan = plan_removal(Selection(kinds=["features", "galleries"]))
    assert [entry.what for entry in plan.removed] == ["test, tiny"]
    assert [(entry.kind.name, reason) for entry, reason in plan.kept] == [("features", NEEDED), ("galleries", NEEDED)]
    assert len(plan_removal(Selection(kinds=["features", "galleries"]), needed=True).removed) == 3
    remove(plan_removal(Selection(names=[f"checkpoints/geoclip/{checkpoint.id}"])))
    assert not names("checkpoints")
    assert len(plan_removal(Selection(kinds=["features", "galleries"])).removed) == 3  # nobody refers to them now


def test_the_features_of_a_training_that_is_interrupted_or_damaged_stay(trained, own_home):
    checkpoint, _ = trained
    holding.let_go()
    (checkpoint.folder / "checkpoint.json").write_text("{")
    assert NEEDED in kept(plan_removal(Selection(kinds=["features"]))).values()
    checkpoint.folder.rename(checkpoint.folder.with_name(f".{checkpoint.id}.partial"))
    assert names("trainings") == [f"checkpoints/geoclip/.{checkpoint.id}.partial"]
    assert list(kept(plan_removal(Selection(kinds=["features"]))).values()) == [NEEDED]
    assert len(plan_removal(Selection(kinds=["galleries"])).removed) == 1  # those of a training begin with its end


def test_features_of_another_encoder_or_other_images_are_not_those_of_a_checkpoint(trained, own_home):
    holding.let_go()
    (needed,) = kept(plan_removal(Selection(kinds=["features"])))
    record = own_home / needed / "about.json"
    about = json.loads(record.read_text())
    for change in ({"encoder": "other"}, {"images_key": "0123456789abcdef"}, {"dataset": "other"}):
        record.write_text(json.dumps(about | change))
        assert len(plan_removal(Selection(kinds=["features"])).removed) == 2, change
    record.write_text(json.dumps({name: value for name, value in about.items() if name != "images_key"}))
    assert list(kept(plan_removal(Selection(kinds=["features"])))) == [needed]


def test_what_a_running_process_uses_stays(trained, own_home):
    _, answers = trained
    answers()
    everything = Selection(names=[name for name in names() if not name.endswith(".lock")])
    plan = plan_removal(everything, needed=True)
    assert (set(kept(plan).values()), plan.removed) == ({IN_USE}, [])
    holding.let_go()
    assert not kept(plan_removal(everything, needed=True))

    held = [path for entry in find_entries() for path in entry.in_use if path.is_file()]
    assert len(held) == 4  # two features, a gallery, a checkpoint
    script = "import sys, time; from pathlib import Path; from geobench import holding; "
    script += "[holding.use(Path(path)) for path in sys.argv[1:]]; print(flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", script, *map(str, held)], stdout=subprocess.PIPE)
    other.stdout.readline()
    plan = plan_removal(everything, needed=True)
    assert set(kept(plan).values()) == {IN_USE}
    assert not plan.removed
    other.kill()
    other.wait()
    assert not kept(plan_removal(everything, needed=True))


def test_what_came_into_use_after_it_was_listed_stays(trained):
    _, answers = trained
    holding.let_go()
    plan = plan_removal(Selection(kinds=["features"]), needed=True)
    answers()  # uses the test images' features
    done = remove(plan)
    assert [(len(done.removed), reason) for _, reason in done.kept] == [(1, IN_USE)]
    answers()


def test_a_folder_whose_lock_is_taken_stays(own_home):
    for name in ("features/0123456789abcdef.partial", "checkpoints/knn/.mine-s0-01234567.partial"):
        folder = own_home / name
        folder.mkdir(parents=True)
        lock = folder.with_name(name.rpartition("/")[2].removesuffix(".partial"))
        with files.locked(lock, print):
            assert kept(plan_removal(Selection(names=[name]))) == {name: IN_USE}
        assert remove(plan_removal(Selection(names=[name]))).removed
        assert not folder.exists()


def test_interrupted_work_is_removed_only_by_age_or_name(own_home):
    state = own_home / "features" / "0123456789abcdef.partial"
    (state / "shards").mkdir(parents=True)
    (state / "shards" / "a.safetensors").write_bytes(b"1234")
    name = "features/0123456789abcdef.partial"
    assert sweep() == []
    assert kept(plan_removal(Selection(kinds=["extractions"]))) == {name: "removed only by age or name"}
    assert not plan_removal(Selection(kinds=["extractions"], older_than_s=DAY_S)).removed
    age(state, 2 * DAY_S)
    assert [entry.bytes for entry in plan_removal(Selection(older_than_s=DAY_S)).removed] == [4]
    assert [entry.name for entry in plan_removal(Selection(names=[name])).removed] == [name]
    assert state.is_dir()


def test_what_cannot_be_made_again_is_never_removed(own_home, cli):
    for name in ("answers/chat-0123", "data/mine", "contents/0123", "weights/ViT-L-14", "subsets/mine", "digests"):
        (own_home / name).mkdir(parents=True)
        (own_home / name / "file.json").write_text("{}")
    age(own_home, 1000 * DAY_S)
    before = sorted(own_home.rglob("*"))
    never = [kind.name for kind in KINDS if kind.removal is Removal.NEVER]
    assert {"answers", "data", "contents", "weights", "audits", "digests"} <= set(never)
    for arguments in (["--older-than", "30d"], ["--kind", ",".join(never)], ["--dataset", "mine", "--needed"]):
        output = cli("cache", "remove", *arguments, "--yes").output
        assert "removed 0 entries" in output
    assert (
        "kept 1 entry (2.0 B) of answers: of chat models, paid for"
        in cli("cache", "remove", "--kind", "answers").output
    )
    cli("cache", "remove", "answers/chat-0123", "--yes", exit_code=1)
    assert sorted(own_home.rglob("*")) == before


def test_reading_is_use_and_counts_for_age(trained, own_home):
    _, answers = trained
    age(own_home, 40 * DAY_S)
    holding.let_go()
    month = Selection(older_than_s=30 * DAY_S, kinds=["features", "galleries", "checkpoints"])
    plan = plan_removal(month, needed=True)
    assert (len(plan.removed), [entry.kind.name for entry, _ in plan.kept]) == (3, ["checkpoints"])
    answers()
    holding.let_go()
    assert [entry.about["purpose"] for entry in plan_removal(month, needed=True).removed] == ["train"]
    large = [path for path in own_home.rglob("*") if path.suffix in (".npy", ".safetensors")]
    assert all(path.stat().st_mtime < time.time() - 30 * DAY_S for path in large)  # a backup would copy them again


def test_where_no_lock_can_tell_what_is_used_nothing_is_removed_or_swept_soon(trained, own_home, monkeypatch):
    holding.let_go()
    monkeypatch.setattr(holding, "fcntl", None)  # as on Windows
    plan = plan_removal(Selection(kinds=["features"]), needed=True)
    assert (plan.removed, set(kept(plan).values())) == ([], {UNKNOWN})
    left = own_home / "galleries" / ".0123456789abcdef.npy.abcdefgh.npy"
    left.write_bytes(b"1")
    age(left, HOUR_S)
    assert sweep() == []
    age(left, 2 * DAY_S)
    assert len(sweep()) == 1


def test_a_data_set_selects_what_was_made_of_it_or_of_models_trained_on_it(trained):
    holding.let_go()
    assert len(plan_removal(Selection(dataset="bluemarble"), needed=True).removed) == 3
    assert not plan_removal(Selection(dataset="other"), needed=True).removed


def test_a_link_is_not_followed(own_home, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    (away / "features.npy").write_bytes(b"1")
    (own_home / "features").mkdir(parents=True)
    (own_home / "features" / "0123456789abcdef").symlink_to(away)
    assert kept(plan_removal(Selection(kinds=["features"]))) == {"features/0123456789abcdef": LINK}
    assert (away / "features.npy").exists()


def test_a_selection_of_nothing_or_of_what_is_not_there_is_refused(own_home):
    with pytest.raises(SettingError, match="nothing is selected"):
        plan_removal(Selection())
    with pytest.raises(UnknownNameError, match="unknown kind 'gallery'; did you mean galleries"):
        Selection(kinds=["gallery"])
    with pytest.raises(UnknownNameError, match=r"unknown entry 'features/1'.*geobench cache --entries"):
        plan_removal(Selection(names=["features/1"]))


def test_the_command_lists_shows_asks_and_removes(trained, cli, own_home):
    checkpoint, _ = trained
    holding.let_go()
    rows = {row["kind"]: row for row in json.loads(cli("cache", "--json").output)}
    features = sum(path.stat().st_size for path in (own_home / "features").rglob("*") if path.is_file())
    assert rows["features"]["entries"] == 2
    assert rows["features"]["bytes"] == features
    assert 0 < rows["features"]["bytes_needed"] < features
    assert f"in {own_home}" in cli("cache").output
    assert {entry["kind"] for entry in json.loads(cli("cache", "--entries", "--json").output)} == rows.keys() - {
        "locks"
    }
    entries = json.loads(cli("cache", "--entries", "--kind", "features,galleries", "--json").output)
    assert {entry["needed_by"] for entry in entries} == {"", checkpoint.spec}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry["last_used"]) for entry in entries)

    dry = cli("cache", "remove", "--kind", "features", "--dry-run").output
    assert "would remove 1 entry" in dry
    assert "of features: a checkpoint here refers to this (--needed removes it as well)" in dry
    refused = CliRunner().invoke(main, ["cache", "remove", "--kind", "features"], input="n\n")
    assert "Nothing is removed." in refused.output
    assert len(names("features")) == 2
    assert "removed 1 entry" in cli("cache", "remove", "--kind", "features", "--yes").output
    assert len(names("features")) == 1
    removed = json.loads(cli("cache", "remove", "--kind", "features", "--needed", "--yes", "--json").output)
    assert [entry["entry"] for entry in removed["removed"]] and not names("features")


@pytest.mark.parametrize("value", ["30", "d", "3m", "-1d", "0d"])
def test_an_age_that_is_none_is_refused(value, cli):
    assert "is no age; use hours, days, weeks or years" in cli("cache", "--older-than", value, exit_code=2).output


# -- leftovers


def killed_while(block, home):
    """Run Python in a process, wait until it says that it is in the middle, and return it; kill it yourself."""
    code = "import time\nfrom pathlib import Path\nfrom geobench import files\nimport numpy as np\n" + block
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"GEOBENCH_HOME": str(home)}
    )
    assert process.stdout.readline() == b"now\n"
    return process


MIDDLE = "print('now', flush=True); time.sleep(60)"
WRITING = {
    "a gallery": f"""
with files.replacing(files.home() / "galleries" / "0123456789abcdef.npy") as path:
    files.new_array(path, np.float32, (10, 10)); {MIDDLE}""",
    "a folder": f"""
with files.replacing_folder(files.home() / "checkpoints" / "knn" / "mine-s0-01234567") as path:
    (path / "weights.safetensors").write_bytes(b"1" * 400); {MIDDLE}""",
    "safetensors": f"""
folder = files.home() / "features" / "0123456789abcdef.partial" / "shards"
with files.locked(files.home() / "features" / "0123456789abcdef", print):
    folder.mkdir(parents=True); (folder / ".tmpAb3dE6").write_bytes(b"1" * 400); {MIDDLE}""",
    "a log of answers": f"""
folder = files.home() / "answers" / "chat-0123456789abcdef"
with files.locked(folder / "answers.jsonl", print), files.replacing(folder / "about.json") as path:
    path.write_bytes(b"1" * 400); {MIDDLE}""",
}  # fmt: skip


@pytest.mark.parametrize("what", WRITING)
def test_what_a_killed_process_was_writing_is_swept_and_what_a_living_one_writes_is_not(what, own_home):
    process = killed_while(WRITING[what], own_home)
    for path in own_home.rglob(".*"):
        age(path, HOUR_S)
    before = sorted(own_home.rglob("*"))
    assert sweep() == []
    assert sorted(own_home.rglob("*")) == before
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [entry.kind.name for entry in find_entries() if entry.kind.name == "leftovers"] == ["leftovers"]
    (swept,) = sweep()
    assert swept.bytes >= 400
    assert not swept.path.exists()
    assert sweep() == []


def test_sweeping_leaves_states_that_a_run_resumes_whole_files_and_files_of_yours(own_home):
    yours = [
        "features/0123456789abcdef/features.npy", "features/0123456789abcdef.partial/shards/0-1.safetensors",
        "checkpoints/knn/.mine-s0-01234567.partial/state.safetensors", "checkpoints/knn/.mine-s0-01234567.lock",
        "data/mine/.photos.abcdefgh/a.jpg", "data/.photos.abcdefgh/a.jpg", "data/mine/.a.abcdefgh",
        "data/mine/.mine.tar.part", "data/.notes",
        "checkpoints/knn/.a.abcdefgh.lock", "features/.a.npy.abcdefgh.txt",
    ]  # fmt: skip
    for name in yours:
        (own_home / name).parent.mkdir(parents=True, exist_ok=True)
        (own_home / name).write_bytes(b"1")
    age(own_home, 1000 * DAY_S)
    assert sweep() == []
    assert all((own_home / name).is_file() for name in yours)


def test_a_fresh_file_without_a_lock_stays_for_a_moment(own_home):
    path = own_home / "galleries" / ".0123456789abcdef.npy.abcdefgh.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1")
    assert sweep() == []
    age(path, 10)
    assert sweep(HOUR_S) == []
    assert [found.path for found in sweep()] == [path]


def test_what_a_killed_registration_left_is_swept(own_home):
    folder = own_home / "data" / ".mine.abcdefgh"
    folder.mkdir(parents=True)
    for name in ("dataset.toml", ".metadata.csv.hgfedcba.csv"):
        (folder / name).write_text("1")
    age(folder, 10)
    assert folder in [found.path for found in sweep()]


def test_the_only_copy_of_what_was_to_be_replaced_stays(own_home):
    folder = own_home / "checkpoints" / "knn" / ".mine-s0-01234567.abcdefgh"
    (folder / ".replaced").mkdir(parents=True)
    (folder / ".replaced" / "weights.safetensors").write_bytes(b"old")
    age(own_home, DAY_S)
    assert [found.path.name for found in sweep()] == []
    folder.with_name("mine-s0-01234567").mkdir()
    assert [found.path for found in sweep()] == [folder]


def test_of_a_download_the_part_stays_until_the_file_is_there(own_home, register):
    source = {"file": "photos.tar", "urls": ["https://example.org/photos.tar"]}
    dataset = geobench.Dataset("theirs", "Theirs", sources=[source])
    register("dataset", dataset)
    dataset.folder.mkdir(parents=True)
    part = Target(dataset.folder / "photos.tar").part
    part.path.write_bytes(b"123")
    part.note.write_text("{}")
    age(own_home, HOUR_S)
    assert sweep() == []
    assert names("downloads") == ["data/theirs/.photos.tar.part"]
    assert {entry.name: entry.bytes for entry in find_entries()} == {
        "data/theirs": 2, "data/theirs/.photos.tar.part": 3,
    }  # fmt: skip
    (dataset.folder / "photos.tar").write_bytes(b"123")
    unpacking = dataset.folder / ".photos.tar.abcdefgh.tar"
    unpacking.write_bytes(b"1")
    age(own_home, HOUR_S)
    assert sorted(found.path for found in sweep()) == sorted([part.path, part.note, unpacking])
    assert [path.name for path in dataset.folder.iterdir()] == ["photos.tar"]


def test_a_command_sweeps_what_is_more_than_an_hour_old_and_says_so(own_home, cli, monkeypatch):
    old, new = (own_home / "galleries" / f".0123456789abcde{n}.npy.abcdefgh.npy" for n in (1, 2))
    old.parent.mkdir(parents=True)
    for path, seconds in ((old, 2 * HOUR_S), (new, HOUR_S / 2)):
        path.write_bytes(bytes(1_500_000))
        age(path, seconds)
    monkeypatch.setenv("RANK", "1")
    train = ("train", "random", "--data", "bluemarble", "--device", "cpu")
    cli(*train)
    assert old.exists()  # the first process of a group sweeps
    monkeypatch.delenv("RANK")
    output = cli(*train).output
    assert "removed 1 leftover of killed processes (1.5 MB)." in output
    assert (old.exists(), new.exists()) == (False, True)
    assert "removed 1 leftover" in cli("cache", "sweep").output
    assert "there are no leftovers" in cli("cache", "sweep").output
