"""Shards of predictions and features, made apart and merged: the bytes of one piece, or a line that says why not."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geobench import (
    Dataset,
    GeobenchError,
    Model,
    Options,
    Predictions,
    extract,
    files,
    get_dataset,
    get_encoder,
    run,
    train,
)
from geobench.cache.removal import Selection, plan_removal
from geobench.errors import MergeError, SettingError
from geobench.features import shards as feature_shards
from geobench.features.parts import extract_shard
from geobench.merge import merge
from geobench.models import hash_table
from geobench.preflight import Plan
from geobench.sharding import Part, Shard, complete, find_parts

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_encoder")
GEOCLIP = {"batch_size": 16, "queue_length": 16, "hidden_dim": 32, "epochs": 1}
N = 23


# Which images are in a shard


@pytest.mark.parametrize(("n", "of"), [(1, 1), (5, 5), (23, 5), (4_723_695, 16)])
def test_every_image_is_in_one_shard_and_no_shard_is_much_larger(n, of):
    rows = [Shard(number, of).rows(n) for number in range(1, of + 1)]
    assert rows[0].start == 0 and rows[-1].stop == n
    assert all(before.stop == after.start for before, after in pairwise(rows))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


@pytest.mark.parametrize("text", ["0/5", "6/5", "3", "3/", "a/b", "-1/5", "3/5/7", "1/0", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(SettingError, match="is no shard; the third of sixteen is 3/16"):
        Shard.parse(text)


# What may be merged


def part(folder, number, of, name="geoclip", **settings):
    folder.mkdir(parents=True, exist_ok=True)
    stated = {"dataset": "mine", "model": name, "seed": 0, "config": {"k": 1, "voting": "mean"}} | settings
    record = folder / f"x_{name}.{number}-of-{of}.json"
    made = Part(record, "predictions", Shard(number, of), f"{name} on mine", stated, {"images_key": "a"})
    made.save()
    return made


def refused(parts):
    with pytest.raises(MergeError) as error:
        complete(parts)
    assert "\n" not in str(error.value) and str(error.value).startswith("nothing was merged: ")
    return str(error.value)


def test_a_missing_shard_is_named(tmp_path):
    said = refused([part(tmp_path, i, 5) for i in (1, 2, 4)])
    assert (
        f"shard 3/5, 5/5 of geoclip on mine is missing ({tmp_path}/x_geoclip.1-of-5.json and 2 more are there)" in said
    )


def test_a_doubled_shard_is_named_with_both_files(tmp_path):
    parts = [part(tmp_path / "a", i, 5) for i in range(1, 6)] + [part(tmp_path / "b", 4, 5)]
    said = refused(parts)
    assert f"shard 4/5 of geoclip on mine is there twice: {parts[3].path} and {parts[5].path}" in said


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"seed": 1}, "seed is 1, and for "),
        ({"dataset": "other"}, "dataset is 'other', and for "),
        ({"config": {"k": 9, "voting": "mean"}}, "k is 9, and for "),
    ],
)
@pytest.mark.parametrize("beside", [(1, 2, 4, 5), (1, 2, 3, 4, 5)], ids=["in its place", "beside it"])
def test_a_foreign_shard_is_named_with_what_differs(tmp_path, other, reason, beside):
    parts = [part(tmp_path / "a", i, 5) for i in beside] + [part(tmp_path / "b", 3, 5, **other)]
    said = refused(parts)
    assert f"{parts[-1].path} is shard 3/5 of something else: {reason}{parts[0].path}" in said
    assert ("shard 3/5 of geoclip on mine is missing" in said) == (3 not in beside)
    assert "voting" not in said


def test_shards_of_two_divisions_overlap(tmp_path):
    said = refused([part(tmp_path, i, 2) for i in (1, 2)] + [part(tmp_path, i, 5) for i in range(1, 6)])
    assert "there are both 5 and 2 shards, such as " in said and said.count("leave one division out") == 1


def test_two_shards_that_differ_are_told_apart(tmp_path):
    parts = [part(tmp_path / "a", 1, 2, n=100), part(tmp_path / "b", 2, 2, n=200)]
    said = refused(parts)
    assert f"{parts[1].path} is shard 2/2 of something else: n is 200, and for {parts[0].path} 100" in said


def test_several_wholes_are_merged_at_once_in_the_order_of_their_shards(tmp_path):
    parts = [part(tmp_path, i, 3, name) for name in ("geoclip", "knn") for i in (3, 1, 2)]
    wholes = complete(parts)
    assert [[part.shard.number for part in whole] for whole in wholes] == [[1, 2, 3]] * 2


def test_records_are_found_once_and_nothing_else_is_one(tmp_path):
    for number in (1, 2):
        part(tmp_path / "shards", number, 2)
    (tmp_path / "shards/.x_geoclip.2-of-2.json.ab12cd34.json").write_text('{"kind": "pre')  # of a killed process
    (tmp_path / "best-of-2024_knn_training_s0_01234567.json").write_text('{"schema": 2}')  # a result
    assert len(find_parts([tmp_path, tmp_path / "shards", tmp_path / "shards/x_geoclip.1-of-2.json"])) == 2
    with pytest.raises(MergeError, match="does not exist"):
        find_parts([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MergeError, match="holds no shard"):
        find_parts([tmp_path / "empty"])
    with pytest.raises(MergeError, match="is no record of a shard"):
        find_parts([tmp_path / "best-of-2024_knn_training_s0_01234567.json"])
    (tmp_path / "shards/x_geoclip.1-of-2.predictions.csv").touch()
    assert len(find_parts(sorted((tmp_path / "shards").glob("[!.]*")))) == 2  # as a shell's pattern has it


# Predictions


@pytest.fixture
def mine(photos, own_home, register, monkeypatch):
    """Return the folder of 23 photos of a registered set, which features are extracted of two by two."""
    images, _ = photos(N, own_home / "data" / "mine")
    register("dataset", Dataset("mine", "My photos", default_encoder="tiny", count=N))
    monkeypatch.setattr(feature_shards, "SHARD_ROWS", 2)
    return images


@pytest.fixture
def models(mine):
    """Return trained models of several kinds."""
    sets = {"classifier": {"min_images": 1, "max_images": [20], "batch_size": 16, "epochs": 1}, "geoclip": GEOCLIP}
    names = ("knn", "random", "most-frequent", "classifier", "geoclip")
    return [train(name, encoder="tiny", settings=sets.get(name)).spec for name in names]


@pytest.fixture
def knn(mine):
    return train("knn", encoder="tiny").spec


def predict(models, of, folder="parts", **more):
    for number in range(1, of + 1):
        done = run(models, ["mine"], shard=f"{number}/{of}", folder=folder, device="cpu", **more)
        assert not done.failures and not done.results and len(done.parts) >= len(models), done.failures


def written(folder):
    """Return the predictions and what the records state, but for time, by name."""
    found = {path.name: path.read_bytes() for path in Path(folder).glob("*.csv")}
    left_out = ("created", "seconds", "peak_memory_mb", "device")
    for path in Path(folder).glob("[!.]*.json"):
        found[path.name] = {k: v for k, v in json.loads(path.read_text()).items() if k not in left_out}
    return found


def test_five_shards_are_one_to_the_byte(models, mine, monkeypatch):
    sorted(mine.iterdir())[7].write_bytes(b"no photo")
    how = {"galleries": ["20", "land:200"], "seeds": [0, 1], "options": Options(top_k=3, crops=5)}
    whole = run(models, ["mine"], folder="whole", device="cpu", **how)
    assert not whole.failures and {result.failed for result in whole.results if result.crops} == {1}
    monkeypatch.setenv("GEOBENCH_HOME", shutil.copytree(os.environ["GEOBENCH_HOME"], "elsewhere"))
    shutil.rmtree("elsewhere/features")
    train("knn", encoder="tiny", force=True)  # its features
    predict(models, 5, **how)
    assert not list(Path("parts").glob("*.json"))  # no result yet
    made = merge(["parts"], "parts")
    assert len(made) == len(whole.results)
    assert written("parts") == written("whole")
    kept = {path: path.stat().st_mtime_ns for path in Path("parts").glob("*.json")}
    run(models, ["mine"], folder="parts", device="cpu", **how)
    assert kept == {path: path.stat().st_mtime_ns for path in Path("parts").glob("*.json")}


def test_a_shard_uses_the_features_of_the_whole_if_they_are_there(knn, tiny_encoder, monkeypatch):
    features("test")
    monkeypatch.setattr(type(tiny_encoder), "preprocess", lambda self, image: pytest.fail("encoded again"))
    predict([knn], 3)
    merge(["parts"], "parts")
    (record,) = Path("parts").glob("[!.]*.json")
    assert json.loads(record.read_text())["distinct_images"] == N


def test_force_encodes_a_shard_once_for_all_of_its_results(mine, tiny_encoder, monkeypatch):
    geoclip = train("geoclip", encoder="tiny", settings=GEOCLIP).spec
    seen, real = [], type(tiny_encoder).preprocess
    monkeypatch.setattr(type(tiny_encoder), "preprocess", lambda self, image: seen.append(1) or real(self, image))
    done = run(
        [geoclip], ["mine"], shard="1/5", folder="a", device="cpu", force=True, galleries=["10"], seeds=[0, 1, 2]
    )
    assert len(done.parts) == 3
    assert len(seen) == 4  # images


def test_a_shard_that_is_there_is_kept_and_a_changed_one_is_made_again(knn):
    predict([knn], 2)
    (first, _) = sorted(Path("parts/shards").glob("*.csv"))
    before = first.stat().st_mtime_ns
    predict([knn], 2)
    assert first.stat().st_mtime_ns == before
    first.write_bytes(first.read_bytes()[:-20])
    predict([knn], 2)
    merge(["parts"], "parts")


def test_where_the_whole_is_there_is_nothing_to_predict(knn):
    run([knn], ["mine"], folder="parts", device="cpu")
    said = Said()
    done = run([knn], ["mine"], folder="parts", device="cpu", shard="1/2", progress=said)
    assert not done.parts and any("the whole is there" in line for line in said.lines)


class Said:
    """A progress that keeps what is said."""

    def __init__(self):
        from geobench.progress import SILENT

        self.lines, self.track, self.say = [], SILENT.track, self._say

    def _say(self, line):
        self.lines.append(line)


def test_a_shard_trains_nothing(mine):
    with pytest.raises(GeobenchError, match="geobench train knn"):
        run(["knn"], ["mine"], shard="1/2", device="cpu")


def test_what_concerns_the_whole_is_refused(knn):
    with pytest.raises(SettingError, match="a dry run is of whole test sets"):
        run([knn], ["mine"], shard="1/2", dry_run=True)


def test_a_shard_in_which_no_photo_can_be_read_is_merged(knn, mine):
    sorted(mine.iterdir(), key=lambda path: int(path.stem.split("-")[1]))[4].write_bytes(b"no photo")
    run([knn], ["mine"], folder="whole", device="cpu", limit=6, options=Options(top_k=2))
    predict([knn], 6, limit=6, options=Options(top_k=2))
    merge(["parts"], "parts")
    assert written("parts") == written("whole")


def edited(path):
    """Replace a photo with another of the same size, and put its time back."""
    before, size = path.stat(), path.stat().st_size
    for shade in range(256):
        Image.new("RGB", (60, 40), (200, shade, 10)).save(path, quality=50)
        content = path.read_bytes()
        if len(content) <= size:
            break
    path.write_bytes(content + bytes(size - len(content)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_photos_edited_in_place_are_noticed_and_their_shard_is_made_again(knn, mine):
    predict([knn], 2)
    edited(mine / "photo-3.jpg")
    with pytest.raises(MergeError, match=r"1-of-2.json: shard 1/2 was made of other images .* photo-3.jpg"):
        merge(["parts"], "parts")
    predict([knn], 2)  # as the line says
    merge(["parts"], "parts")
    run([knn], ["mine"], folder="whole", device="cpu", force=True)
    assert [path.read_bytes() for path in Path("parts").glob("*.csv")] == [
        path.read_bytes() for path in Path("whole").glob("*.csv")
    ]


def test_a_shard_of_photos_that_were_copied_again_replaces_the_old_one(knn, mine):
    predict([knn], 2)
    for path in mine.iterdir():
        os.utime(path, (1, 1))
    predict([knn], 2)
    assert len(list(Path("parts/shards").glob("*.json"))) == 2
    merge(["parts"], "parts")


def test_without_digests_only_the_same_photos_are_merged(knn, mine):
    predict([knn], 2)
    for path in Path("parts/shards").glob("*.json"):
        one = Part.load(path)
        Part(path, one.kind, one.shard, one.what, one.settings, {**one.about, "digests": None}).save()
    merge(["parts"], "parts")
    os.utime(mine / "photo-0.jpg", (1, 1))
    with pytest.raises(MergeError, match="what was read of them is not known"):
        merge(["parts"], "parts")
    predict([knn], 2)  # not kept: nothing tells that these are the same photos
    merge(["parts"], "parts")


def test_more_shards_than_images_and_services_are_refused_at_once(knn):
    with pytest.raises(
        SettingError, match=f"mine: there are only {N} images, so there can be no more than {N} shards, not 24"
    ):
        run([knn], ["mine"], shard="1/24")
    with pytest.raises(SettingError, match="chat:tiny asks a service"):
        run(["chat:tiny"], ["mine"], shard="1/2")


def test_a_model_of_decoded_images_is_predicted_in_shards(mine, register):
    class Mean(Model):
        name, input, uses_gallery, trainable = "mean", "images", False, False

        def predict(self, images, gallery=None, top_k=1):
            places = np.array(
                [[np.asarray(image)[..., 0].mean() / 4, np.asarray(image)[..., 1].mean()] for image in images]
            )
            return Predictions.of(places[:, None], np.zeros((len(images), 1)))

    register("model", Mean)
    sorted(mine.iterdir())[3].write_bytes(b"")
    run(["mean"], ["mine"], folder="whole", device="cpu")
    predict(["mean"], 4)
    merge(["parts"], "parts")
    assert written("parts") == written("whole")


def test_a_photo_that_is_edited_meanwhile_is_noticed(knn, mine, monkeypatch):
    real = Plan.load

    def load(self, spec):
        Image.new("RGB", (60, 40), (200, 10, 10)).save(sorted(mine.iterdir())[0])
        return real(self, spec)

    monkeypatch.setattr(Plan, "load", load)
    done = run([knn], ["mine"], folder="a", device="cpu", shard="1/3")
    assert done.failures and not done.parts and not list(Path("a").glob("shards/*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v["settings"].update(seed=7), "was changed after it was written"),
        (lambda v: v["about"].pop("in_training"), "was changed after it was written"),
        (lambda v: v.update(settings=[1]), "was changed after it was written"),
        (lambda v: v.update(form=0), "was written by another version"),
        (lambda v: v.clear(), "is not the record of a shard, or damaged"),
    ],
)
def test_a_record_that_is_not_as_it_was_written_is_refused(knn, change, said):
    predict([knn], 2)
    record = sorted(Path("parts/shards").glob("*.json"))[1]
    values = json.loads(record.read_text())
    change(values)
    record.write_text(json.dumps(values))
    with pytest.raises(MergeError, match=said):
        merge(["parts"], "parts")
    assert not list(Path("parts").glob("*.json"))


def test_predictions_that_were_edited_are_refused(knn):
    predict([knn], 2)
    beside = sorted(Path("parts/shards").glob("*.csv"))[1]
    beside.write_text(beside.read_text().replace("ok", "failed", 1))
    with pytest.raises(MergeError, match="was changed after shard 2/2 was written; predict it again"):
        merge(["parts"], "parts")


def test_another_table_here_is_refused(knn, mine):
    predict([knn], 2)
    table = mine.parent / "metadata.csv"
    table.write_text(re.sub(r"photo-3.jpg,[^,]*,", "photo-3.jpg,1.25,", table.read_text()))
    with pytest.raises(MergeError, match="mine has another table here than for the shards"):
        merge(["parts"], "parts")


def test_copies_with_other_times_are_the_same_photos_and_others_are_not(knn, mine):
    predict([knn], 3)
    for path in mine.iterdir():
        os.utime(path, (1, 1))
    merge(["parts"], "parts")
    assert len(list(Path("parts").glob("*.json"))) == 1
    assert run([knn], ["mine"], folder="parts", device="cpu").results[0].created < "9"
    assert len(list(Path("parts").glob("*.json"))) == 1  # kept
    last = sorted(mine.iterdir(), key=lambda path: int(path.stem.split("-")[1]))[-1]
    Image.new("RGB", (60, 40), (200, 10, 10)).save(last)
    with pytest.raises(
        MergeError, match=rf"3-of-3.json: shard 3/3 was made of other images than those here, such as {last.name}"
    ):
        merge(["parts"], "other")


def test_a_photo_that_only_the_shard_could_not_read_is_no_miss(knn, mine):
    lost = sorted(mine.iterdir())[0]
    content = lost.read_bytes()
    lost.write_bytes(b"")
    predict([knn], 3)
    lost.write_bytes(content)
    with pytest.raises(MergeError, match=f"counts {lost.name} as an image that cannot be read, and here it can be"):
        merge(["parts"], "parts")


# Features


def features(purpose="test"):
    data = get_dataset("mine")
    return extract(data, data.table(purpose), get_encoder("tiny"), purpose=purpose)


def shard_of_features(number, of, **more):
    data = get_dataset("mine")
    table = data.table("test")
    return extract_shard(data, table, get_encoder("tiny"), Shard(number, of), table_hash=hash_table(table), **more)


def arrays(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in ("about.json",)}


def test_five_shards_of_features_from_five_homes_are_one_to_the_byte(mine, own_home, monkeypatch):
    sorted(mine.iterdir())[5].write_bytes(b"no photo")
    expected = features()
    folders = []
    for number in range(1, 6):
        home = Path(f"home-{number}").absolute()
        shutil.copytree(own_home / "data", home / "data")
        for path in home.rglob("*.jpg"):
            os.utime(path, (number, number))
        monkeypatch.setenv("GEOBENCH_HOME", str(home))
        folders.append(shard_of_features(number, 5))
    here = Path("here").absolute()
    shutil.copytree(own_home / "data", here / "data")
    monkeypatch.setenv("GEOBENCH_HOME", str(here))
    (made,) = merge(folders)
    assert arrays(made) == arrays(expected.folder)
    found = features()
    assert found.folder == made and int((~found.ok).sum()) == 1
    assert all(folder.is_dir() for folder in folders)  # they are left


def test_the_plain_command_uses_shards_on_a_shared_home(mine, tiny_encoder, monkeypatch):
    for number in (1, 3):
        shard_of_features(number, 3)
    seen, real = [], type(tiny_encoder).preprocess
    monkeypatch.setattr(type(tiny_encoder), "preprocess", lambda self, image: seen.append(1) or real(self, image))
    found = features()
    assert 0 < len(seen) <= 9 and len(found) == N and found.ok.all()


@pytest.mark.parametrize("damage", [b"", b"no photo", None], ids=["empty", "text", "truncated"])
def test_a_damaged_photo_is_a_failure_of_its_shard_and_not_its_end(mine, damage):
    path = sorted(mine.iterdir())[2]
    path.write_bytes(path.read_bytes()[:400] if damage is None else damage)
    folders = [shard_of_features(number, 2) for number in (1, 2)]
    merge(folders)
    assert int((~features().ok).sum()) == 1


def test_features_of_other_photos_are_refused_and_not_used_afterwards(mine, own_home, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(own_home / "data", other / "data")
    Image.new("RGB", (60, 40), (200, 10, 10)).save(other / "data/mine/images/photo-0.jpg")
    monkeypatch.setenv("GEOBENCH_HOME", str(other))
    folders = [shard_of_features(number, 2) for number in (1, 2)]
    monkeypatch.setenv("GEOBENCH_HOME", str(own_home))
    with pytest.raises(MergeError, match=r"shard 1/2 was made of other images than those here, such as photo-0\.jpg"):
        merge(folders)
    found = np.array(features().array)
    monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / "clean"))
    shutil.copytree(own_home / "data", tmp_path / "clean/data")
    assert np.array_equal(found, np.array(features().array))


def test_shards_made_before_an_image_changed_are_not_used(mine):
    folders = [shard_of_features(number, 2) for number in (1, 2)]
    edited(mine / "photo-3.jpg")
    with pytest.raises(MergeError, match=r"shard 1/2 was made of other images than those here, such as photo-3\.jpg"):
        merge(folders)
    found = np.array(features().array)
    shutil.rmtree(features().folder)
    for folder in folders:
        shutil.rmtree(folder)
    assert np.array_equal(found, np.array(features().array))


def test_force_uses_no_shards(mine, tiny_encoder, monkeypatch):
    shard_of_features(1, 1)
    seen, real = [], type(tiny_encoder).preprocess
    monkeypatch.setattr(type(tiny_encoder), "preprocess", lambda self, image: seen.append(1) or real(self, image))
    data = get_dataset("mine")
    extract(data, data.table("test"), get_encoder("tiny"), force=True)
    assert len(seen) >= N


def test_an_image_that_changes_while_a_shard_is_made_is_noticed(mine, tiny_encoder, monkeypatch):
    real = type(tiny_encoder).preprocess
    changed = []

    def preprocess(self, image):
        if not changed:
            changed.append(Image.new("RGB", (60, 40), (200, 10, 10)).save(mine / "photo-0.jpg"))
        return real(self, image)

    monkeypatch.setattr(type(tiny_encoder), "preprocess", preprocess)
    with pytest.raises(GeobenchError, match="changed while they were read"):
        shard_of_features(1, 2)
    assert not list(Path(os.environ["GEOBENCH_HOME"]).glob("features/*/*-of-*.json"))


def test_of_several_sets_of_features_all_are_checked_before_any_is_joined(mine, own_home):
    good = [shard_of_features(number, 2) for number in (1, 2)]
    bad = [shard_of_features(number, 2, crops=5) for number in (1, 2)]
    next((bad[1] / "shards").iterdir()).write_bytes(b"")
    with pytest.raises(MergeError, match="is missing or damaged"):
        merge([*good, *bad])
    assert all(path.name.endswith((".partial", ".lock")) for path in (own_home / "features").iterdir())


def test_a_block_that_was_exchanged_is_named(mine):
    folders = [shard_of_features(number, 2) for number in (1, 2)]
    first, second = (sorted((folder / "shards").iterdir())[0] for folder in folders)
    second.write_bytes(first.read_bytes())
    with pytest.raises(MergeError, match=rf"shard 2/2 of the features of mine .*{second.name} is missing or damaged"):
        merge(folders)


def test_a_block_that_is_missing_or_damaged_is_named(mine):
    folders = [shard_of_features(number, 2) for number in (1, 2)]
    block = sorted((folders[1] / "shards").iterdir())[1]
    block.write_bytes(b"")
    with pytest.raises(MergeError, match=rf"shard 2/2 of the features of mine .*{block.name} is missing or damaged"):
        merge(folders)
    shard_of_features(2, 2)
    merge(folders)


def test_features_of_another_encoder_are_refused(mine, tiny_encoder, monkeypatch):
    folders = [shard_of_features(number, 2) for number in (1, 2)]
    monkeypatch.setattr(type(tiny_encoder), "weights_key", lambda self: "tiny-2")
    with pytest.raises(MergeError, match="have another encoder weights than there is here: 'tiny-1', not 'tiny-2'"):
        merge(folders)


def test_more_shards_than_blocks_are_refused(mine):
    with pytest.raises(
        SettingError, match="there are only 12 blocks of 2 images, so there can be no more than 12 shards, not 13"
    ):
        shard_of_features(1, 13)


def test_cache_keeps_what_a_shard_works_on(mine):
    folder = shard_of_features(1, 2)
    selection = Selection(names=[f"features/{folder.name}"])
    assert plan_removal(selection).removed
    with files.locked(folder.with_suffix(""), print):
        assert not plan_removal(selection).removed


# The commands


def test_the_commands(cli, knn, own_home):
    for number in (1, 2):
        cli("run", "--models", knn, "--datasets", "mine", "--shard", f"{number}/2", "--predict-only")
    output = cli("merge", "results/shards").output
    assert "merged 2 shards, 23 images: results/mine_knn_" in output and "Street" in output
    cli("run", "--models", knn, "--datasets", "mine", "--predict-only", "--results", "one")
    cli("merge", "one", "--results", "one")
    assert written("one") == written("results")
    folders = [cli("features", "mine", "--shard", f"{n}/2", "--crops", 5).output.splitlines()[-1] for n in (1, 2)]
    assert cli("merge", *folders).output.splitlines()[-1].startswith(str(own_home / "features"))
    assert cli("report", "--format", "csv").output.count("mine,") == 1  # shards are no results


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["run", "--models", "random", "--datasets", "mine", "--shard", "1/2"], "add --predict-only to --shard 1/2", 2),
        (
            ["run", "--models", "random", "--datasets", "mine", "--shard", "3/2", "--predict-only"],
            "'3/2' is no shard",
            2,
        ),
        (["features", "mine", "--shard", "1/2", "--force"], "--force would remove what other shards have made", 2),
        (["features", "mine", "--shard", "1/99"], "no more than 12 shards, not 99", 2),
        (["merge", "nowhere"], "nowhere does not exist", 1),
    ],
)
def test_a_wrong_command_is_one_line(cli, mine, arguments, said, code):
    result = cli(*arguments, exit_code=code)
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and said in lines[0] and "Traceback" not in result.output


def test_a_shard_that_was_killed_is_missing_and_goes_on(mine, own_home, tmp_path, tiny_encoder):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    process = subprocess.Popen([sys.executable, script], env=environment)
    try:
        end = time.monotonic() + 60
        while len(list(own_home.glob("features/*.partial/shards/*"))) < 2:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (killed,) = own_home.glob("features/*.1-of-2.partial")
    second = shard_of_features(2, 2)
    with pytest.raises(MergeError, match=r"shard 1/2 of the features of mine .* is missing"):
        merge([second])
    before = {path.name: path.stat().st_mtime_ns for path in (killed / "shards").glob("[!.]*")}
    first = shard_of_features(1, 2)
    assert first == killed
    after = {path.name: path.stat().st_mtime_ns for path in (killed / "shards").iterdir()}
    assert before.items() <= after.items()  # what was there is not made again
    merge([first, second])
    assert len(features()) == N


SLOW = """
import time
from tests.conftest import TinyEncoder
from geobench import Dataset, get_dataset
from geobench.features import shards
from geobench.features.parts import extract_shard
from geobench.models import hash_table
from geobench.plugins import registry
from geobench.sharding import Shard

write = shards.Shards.write
shards.Shards.write = lambda self, *args: (time.sleep(0.3), write(self, *args))
shards.SHARD_ROWS = 2
registry().datasets["mine"] = data = Dataset("mine", "My photos", default_encoder="tiny", count=23)
table = data.table("test")
extract_shard(data, table, TinyEncoder(), Shard(1, 2), table_hash=hash_table(table))
"""
