"""Stories in which a table would be wrong without a word: a model tested on what it learnt, an outdated audit."""

import csv
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geobench import (
    CheckpointError,
    DatasetError,
    FeatureError,
    Model,
    Options,
    Predictions,
    evaluate,
    extract,
    files,
    get_dataset,
    get_model,
    run,
    train,
)
from geobench.audits.fitting import FittingSubsets
from geobench.audits.leakage import audit
from geobench.audits.subsets import get_subsets, score_subset
from geobench.checkpoints import get_checkpoints
from geobench.data.raster import RasterDataset
from geobench.data.registration import add_dataset
from geobench.evaluate import overlap_warning, rows_in_training
from geobench.features import cache
from geobench.features.digests import are_among, sorted_digests
from geobench.features.shards import Shards
from geobench.images.digests import as_array, digest_of
from geobench.models import TestSet
from geobench.progress import Progress
from geobench.provenance import is_tested_on_training
from geobench.published.scoring import score_file
from geobench.results import load_result, read_results
from geobench.statistics.intervals import clusters_of

GEOCLIP = {"batch_size": 4, "queue_length": 8, "hidden_dim": 16, "epochs": 1, "dim": 16, "head_dim": 16}
MODELS = {"knn": {"k": 1}, "geoclip": GEOCLIP, "random": {}, "most-frequent": {}, "pixels": {}}


class Saying(Progress):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)

    def about(self, text):
        return [line for line in self.lines if text in line]


class Pixels(Model):
    """Learns the mean brightness of each photo, and answers with the position of the nearest."""

    name = "pixels"
    input = "images"
    uses_gallery = False

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        names = training_set.table["image"]
        images = [training_set.dataset.read_image(name, "train") for name in names]
        self.brightness = np.array([np.asarray(image).mean() for image in images])
        self.coordinates = training_set.coordinates

    def predict(self, images, gallery, top_k=1):
        found = np.array([np.abs(self.brightness - np.asarray(image).mean()).argmin() for image in images])
        return Predictions.of(self.coordinates[found][:, None], np.ones((len(images), 1)))

    def state(self):
        return {"brightness": self.brightness, "coordinates": self.coordinates}

    def restore(self, state):
        self.brightness, self.coordinates = state["brightness"], state["coordinates"]


def table_of(metadata):
    with Path(metadata).open(newline="") as file:
        return list(csv.DictReader(file))


def write_table(metadata, rows):
    with Path(metadata).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def mine(photos, own_home):
    """Twelve photos registered as ``mine``; returns their folder and their table."""
    images, metadata = photos(12, own_home / "photos" / "mine")
    add_dataset("mine", images, metadata, encoder="tiny")
    return images, metadata


@pytest.fixture
def copy(own_home, mine):
    """Return a function that registers a set of copies of ``numbers`` of the photos, under other names, and others."""

    def make(name, numbers, others=0, saved=shutil.copy):
        folder = own_home / "photos" / name / "images"
        folder.mkdir(parents=True)
        rows = []
        for number in numbers:
            row = table_of(mine[1])[number]
            saved(mine[0] / row["image"], folder / f"copy-{number}.jpg")
            rows.append(row | {"image": f"copy-{number}.jpg"})
        rng = np.random.default_rng(len(name))
        for number in range(others):
            Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / f"other-{number}.jpg")
            rows.append({"image": f"other-{number}.jpg", "latitude": f"{number}.5", "longitude": f"{number}.25"})
        write_table(folder.parent / "metadata.csv", rows)
        add_dataset(name, folder, folder.parent / "metadata.csv", encoder="tiny")
        return folder, folder.parent / "metadata.csv"

    return make


def result_of(model, dataset, progress=None, **options):
    """Return the result of the newest checkpoint of ``model``."""
    gallery = "land:50" if get_model(model, "cpu").uses_gallery else None
    return evaluate(
        get_model(model, "cpu"), dataset, gallery, Options(workers=0, **options), progress=progress or Saying()
    )


# -- a model tested on the photos it was trained on


def test_a_model_tested_on_its_own_training_photos_says_so_in_run_record_and_compare(mine, cli):
    spec = cli("train", "knn", "--data", "mine", "--set", "k=1").stdout.strip()
    warning = f"{spec} was trained on all 12 test images of mine, so its scores show what it remembers"
    arguments = ("run", "--models", "knn", "--datasets", "mine")
    assert warning in cli(*arguments).stderr
    (path,) = Path("results").glob("*.json")
    record = json.loads(path.read_text())
    assert (record["n"], record["in_training"], record["scores"]["acc_1km"]) == (12, 12, 100.0)
    kept = cli(*arguments).stderr
    assert "kept the result" in kept and kept.count(warning) == 1
    other = cli("train", "knn", "--data", "mine", "--set", "k=2").stdout.strip()
    cli("run", "--models", other, "--datasets", "mine")
    compared = cli("compare", spec, other)
    assert compared.output.lower().count("trained on") == 1, "one line says it of both"
    assert f"remembered: {spec} (k=1) (from 12 of 12), {other} (k=2) (from 12 of 12)" in compared.stdout
    found = json.loads(cli("compare", spec, other, "--json").stdout)
    assert (found["a"]["in_training"], found["b"]["in_training"]) == (12, 12)


def test_the_same_limit_on_both_sides_draws_the_same_photos_and_is_noticed(mine):
    five = train("knn", "mine", limit=5, settings={"k": 1}, device="cpu").spec
    progress = Saying()
    (drawn,) = run(five, "mine", limit=5, device="cpu", progress=progress).results
    assert (drawn.n, drawn.in_training, drawn.scores["acc_1km"]) == (5, 5, 100.0)
    assert progress.about("was trained on all 5 test images of mine")
    (whole,) = run(five, "mine", device="cpu", progress=progress).results
    assert (whole.n, whole.in_training) == (12, 5)
    assert progress.about("was trained on 5 of the 12 test images of mine")


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("random", "most-frequent")])
def test_content_decides_and_not_the_name(mine, copy, register, model):
    register("model", Pixels)
    train(model, "mine", settings=MODELS[model], device="cpu")
    copy("exam", [0, 3, 7], others=4)
    copy("fresh", [], others=5)
    progress = Saying()
    result = result_of(model, "exam", progress)
    assert (result.n, result.in_training) == (7, 3)
    (line,) = progress.about("was trained on 3 of the 7 test images of exam")
    assert "geobench datasets audit exam --against mine, then geobench run --models" in line
    assert result_of(model, "fresh", progress).in_training == 0
    assert not progress.about("test images of fresh")


@pytest.mark.parametrize("model", ["random", "most-frequent"])
def test_a_model_that_looks_at_no_photo_is_held_against_names_and_positions(mine, own_home, model):
    images, metadata = mine
    train(model, "mine", device="cpu")
    assert result_of(model, "mine").in_training == 12
    rows = table_of(metadata)
    rows[0]["latitude"] = "1.5"  # another photo of this name
    rows[1]["image"], rows[2]["image"] = rows[2]["image"], rows[1]["image"]
    write_table(own_home / "exam.csv", rows)
    add_dataset("exam", images, own_home / "exam.csv", encoder="tiny")
    assert result_of(model, "exam").in_training == 9


def test_a_recompressed_copy_is_another_file_which_the_audit_finds(mine, copy):
    train("knn", "mine", device="cpu")
    copy("exam", range(4), saved=lambda source, target: Image.open(source).save(target, quality=90))
    assert result_of("knn", "exam").in_training == 0
    assert audit("exam", "mine", kinds=["twin"], workers=0).leaking.sum() == 4


def test_what_a_model_could_not_read_it_did_not_learn(mine, copy):
    images, _ = mine
    copy("exam", range(12))
    broken = images / "photo-3.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    shutil.copy(broken, images.parents[1] / "exam" / "images" / "copy-3.jpg")
    (images / "photo-5.jpg").unlink()
    train("knn", "mine", device="cpu")
    result = result_of("knn", "exam")
    assert (result.failed, result.in_training) == (1, 10)


@pytest.mark.parametrize("how", [{"crops": 5}, {"views": 2}, {"views": 2, "live": True}])
def test_crops_and_views_are_of_the_same_photos(mine, how):
    train("geoclip", "mine", settings=GEOCLIP, device="cpu", **how)
    for crops in (1, 5):
        assert result_of("geoclip", "mine", crops=crops).in_training == 12


def test_a_photo_is_itself_in_an_archive_and_in_a_folder(mine, own_home):
    images, metadata = mine
    with zipfile.ZipFile(own_home / "exam.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in images.iterdir():
            archive.write(path, f"deep/{path.name}")
    add_dataset("exam", own_home / "exam.zip", metadata, encoder="tiny")
    train("knn", "mine", device="cpu")
    assert result_of("knn", "exam").in_training == 12


def test_crops_of_a_map_are_themselves_by_map_size_and_centre(register):
    splits = {"all": {"count": 20, "seed": 3}}
    for name, more in (("one", {}), ("two", {}), ("larger", {"crop_km": 500.0})):
        register("dataset", RasterDataset(name, name, default_encoder="tiny", splits=splits, **more))
    train("knn", "one", device="cpu")
    assert [result_of("knn", name).in_training for name in ("one", "two", "larger")] == [20, 20, 0]
    train("knn", "bluemarble", encoder="tiny", limit=200, device="cpu")
    assert result_of("knn", TestSet.of(get_dataset("bluemarble"), 100)).in_training == 0


def test_nothing_is_claimed_of_models_that_were_not_trained_here(mine, copy, register):
    class Guessing(Pixels):
        name = "guessing"
        trainable = False

        def predict(self, images, gallery, top_k=1):
            return Predictions.of(np.zeros((len(images), 1, 2)), np.ones((len(images), 1)))

    register("model", Guessing)
    result = evaluate(Guessing(), "mine")
    assert result.in_training is None and not overlap_warning(result)
    rows = table_of(mine[1])
    write_table("theirs.csv", [row | {"latitude": "1", "longitude": "2"} for row in rows])
    assert score_file(Path("theirs.csv"), "mine").in_training is None


def test_a_checkpoint_that_kept_no_digests_is_unknown_and_said_to_be(mine):
    checkpoint = train("knn", "mine", settings={"k": 1}, device="cpu")
    (checkpoint.folder / "digests.npy").unlink()
    progress = Saying()
    result = result_of("knn", "mine", progress)
    assert result.in_training is None
    assert progress.about(f"whether {checkpoint.spec} was trained on images of mine is unknown; to look for them: geob")


def test_features_of_before_get_digests_from_the_files_and_a_kept_result_is_completed(mine, monkeypatch, own_home):
    (mine[0] / "photo-4.jpg").write_bytes(b"no photo")
    train("knn", "mine", settings={"k": 1}, device="cpu")
    (path,) = (own_home / "features").glob("*/digests.npy")
    stated = np.load(path)
    path.unlink()
    monkeypatch.setattr(cache, "FEW", 11)  # there are too many to read them again
    (unknown,) = run("knn", "mine", device="cpu").results
    assert unknown.in_training is None and not path.exists()
    monkeypatch.setattr(cache, "FEW", 12)
    (kept,) = run("knn", "mine", device="cpu").results
    np.testing.assert_array_equal(np.load(path), stated)
    assert (kept.in_training, kept.key, kept.created) == (11, unknown.key, unknown.created)
    (record,) = Path("results").glob("*.json")
    assert load_result(record, predictions=True).in_training == 11


def test_digests_do_not_depend_on_workers_batches_or_crops(mine, own_home, monkeypatch, tiny_encoder):
    dataset, images = get_dataset("mine"), mine[0]
    (images / "photo-4.jpg").write_bytes(b"no photo")
    expected = [digest_of((images / f"photo-{number}.jpg").read_bytes()) for number in range(12)]
    expected[4] = bytes(16)
    for how in ({}, {"workers": 2, "batch_size": 5}, {"crops": 10, "batch_size": 20}):
        features = extract(dataset, dataset.table("test"), tiny_encoder, **how)
        np.testing.assert_array_equal(features.digests, as_array(expected))
        shutil.rmtree(own_home / "features")


def test_shards_of_an_earlier_version_are_used_and_leave_the_digests_unknown(mine, tiny_encoder, monkeypatch):
    write = Shards.write

    def without_digests(shards, rows, arrays, record):
        write(shards, rows, {name: arrays[name] for name in ("features", "ok")}, record)

    monkeypatch.setattr(cache, "FEW", 0)
    monkeypatch.setattr(Shards, "write", without_digests)
    features = extract(get_dataset("mine"), get_dataset("mine").table("test"), tiny_encoder)
    assert features.ok.all() and features.digests is None


def test_damaged_digests_are_named(mine, own_home):
    checkpoint = train("knn", "mine", device="cpu")
    (path,) = (own_home / "features").glob("*/digests.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(FeatureError, match=r"the digests of the images are damaged .*; delete the file and run again"):
        result_of("knn", "mine")
    path.write_bytes(whole)
    (checkpoint.folder / "digests.npy").write_bytes(whole[:90])
    with pytest.raises(CheckpointError, match=f"the checkpoint {checkpoint.folder} is damaged or incomplete"):
        result_of("knn", "mine")


def test_predict_says_of_a_photo_that_the_model_was_trained_on_it(mine, copy, cli):
    spec = cli("train", "knn", "--data", "mine").stdout.strip()
    exam, _ = copy("exam", [2], others=1)
    said = cli("predict", exam / "copy-2.jpg", exam / "other-0.jpg", "--model", "knn").stderr
    assert f"copy-2.jpg: {spec} was trained on this photo" in said
    assert "other-0.jpg: " not in said


def test_an_experiment_says_of_an_evaluation_that_the_model_was_trained_on_its_images(mine, copy, cli):
    copy("exam", range(3), others=3)
    Path("mine.toml").write_text(EXPERIMENT)
    said = cli("experiment", "run", "mine.toml").stderr
    assert "was trained on 3 of the 6 test images of exam" in said


EXPERIMENT = """
title = "Mine"
columns = ["acc_1km"]
model = "knn"
data = "mine"
datasets = ["exam"]
[[rows]]
title = "kNN"
"""


def test_a_row_is_disqualified_if_a_hundredth_of_its_images_was_trained_on():
    cases = {(None, 100): False, (0, 100): False, (1, 100): True, (1, 101): False, (5, 5): True, (0, 0): False}
    assert {case: is_tested_on_training(*case) for case in cases} == cases


def test_searching_digests_agrees_with_a_set(own_home):
    rng = np.random.default_rng(0)
    known = rng.integers(0, 50, (400, 2), dtype=np.uint64)  # many begin alike
    asked = rng.integers(0, 50, (300, 2), dtype=np.uint64)
    known[7] = asked[3] = 0  # not read
    expected = [tuple(row) in set(map(tuple, known.tolist())) and any(row) for row in asked.tolist()]
    files.write_array(own_home / "digests.npy", sorted_digests(known))
    mapped = files.read_array(own_home / "digests.npy", np.uint64, (2, None), mapped=True)
    assert are_among(asked, mapped).tolist() == expected and 0 < sum(expected) < 300
    assert not are_among(asked, sorted_digests(known[7:8])).any()


# -- a subset belongs to two contents


@pytest.fixture
def exam(mine, copy, cli):
    """Six photos, of which ``mine`` has one, audited against it; returns the folder and table of both sets."""
    images, metadata = copy("exam", [0], others=5)
    audited(cli)
    return images, metadata, *mine


def audited(cli, *more):
    cli("datasets", "audit", "exam", "--against", "mine", "--workers", 0, *more)


def clean(cli, *more, exit_code=0):
    """Run the newest kNN on ``exam`` and its subset ``clean``; return the result of click."""
    newest = get_checkpoints("knn")[-1].spec
    return cli("run", "--models", newest, "--datasets", "exam", "--subset", "clean", *more, exit_code=exit_code)


def refused(cli):
    (line,) = [line for line in clean(cli, exit_code=1).stderr.splitlines() if line.startswith("Failed: ")]
    return line


def clean_rows():
    """Return the number of images of each saved result on the subset, by its checkpoint."""
    results, _ = read_results(Path("results"))
    return {result.checkpoint: result.n for result in results if result.subset}


def later(path):
    """Give a file a time stamp of its own, whatever the clock's resolution."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 5 * 10**9))


def turn(path):
    Image.open(path).rotate(180).save(path)
    later(path)


def test_test_photos_that_join_the_training_set_outdate_its_audit(exam, cli):
    images, metadata, lessons, table = exam
    before = train("knn", "mine", device="cpu")
    clean(cli)
    assert clean_rows() == {before.id: 5}
    joined = [row for row in table_of(metadata) if row["image"] in ("other-1.jpg", "other-2.jpg")]
    for row in joined:
        shutil.copy(images / row["image"], lessons / row["image"])
    write_table(table, table_of(table) + joined)
    after = train("knn", "mine", device="cpu")
    line = refused(cli)
    assert f"{after.spec} × the clean subset of exam: exam was audited against mine on" in line
    assert "which has changed since; audit it again: geobench datasets audit exam --against mine" in line
    assert clean_rows() == {before.id: 5}
    audited(cli)
    clean(cli)
    assert clean_rows() == {before.id: 5, after.id: 3}
    again = cli("run", "--models", before.spec, "--datasets", "exam", "--subset", "clean", "--force")
    assert "the clean subset of exam, 5 images" in again.stderr  # what it was trained on was audited too


def test_a_model_trained_before_its_set_changed_is_not_called_clean_by_an_audit_of_today(mine, copy, cli):
    copy("exam", [0], others=5)
    checkpoint = train("knn", "mine", device="cpu")
    write_table(mine[1], table_of(mine[1])[1:])
    audited(cli)
    line = refused(cli)
    assert f"{checkpoint.spec} was trained on other images or positions than mine has now; train it again" in line


def test_photos_replaced_in_place_outdate_an_audit_that_read_them(exam, cli):
    images, _, lessons, _ = exam
    train("knn", "mine", device="cpu")
    turn(images / "other-0.jpg")
    line = refused(cli)
    assert "exam has changed (images) since its clean subset was made on" in line
    assert "audit it again: geobench datasets audit exam --against mine" in line
    audited(cli)
    clean(cli)
    turn(lessons / "photo-9.jpg")
    train("knn", "mine", device="cpu")
    assert "which has changed since; audit it again" in refused(cli)
    audited(cli, "--kinds", "id,coordinate")
    turn(lessons / "photo-9.jpg")
    train("knn", "mine", device="cpu")
    clean(cli)  # an audit that read no photo does not depend on them


@pytest.mark.parametrize("side", ["test", "training"])
def test_photographers_corrected_later_outdate_an_audit_of_them(exam, cli, side):
    _, metadata, _, table = exam
    for path in (metadata, table):
        write_table(path, [row | {"author": f"{path} {n}", "scene": "x"} for n, row in enumerate(table_of(path))])
    audited(cli, "--kinds", "photographer,id")
    train("knn", "mine", device="cpu")
    clean(cli)
    path = metadata if side == "test" else table
    write_table(path, [row | {"scene": "y"} for row in table_of(path)])
    clean(cli)  # nothing that was audited
    write_table(path, [row | {"author": "one and the same"} for row in table_of(path)])
    line = refused(cli)
    assert ("has changed (photographers) since" if side == "test" else "mine on") in line and "audit it again" in line


def test_a_subset_of_an_earlier_version_is_not_trusted(exam, cli, own_home):
    (path,) = (own_home / "subsets" / "exam").glob("*.json")
    values = json.loads(path.read_text())
    del values["test"], values["training"]
    path.write_text(json.dumps(values))
    path.rename(path.with_name("clean-against-mine.json"))
    train("knn", "mine", device="cpu")
    assert "was made by an earlier version, which did not record of which images; audit it again: geob" in refused(cli)


@pytest.mark.parametrize("part", [{"limit": 7}, {"fraction": 0.5}, {"limit": 9, "fraction": 0.5}, {"limit": 99}])
def test_an_audit_of_the_whole_set_fits_a_model_trained_on_a_part(exam, cli, part):
    lessons, checkpoint = exam[2], train("knn", "mine", device="cpu", settings={"k": 1}, **part)
    clean(cli)
    if len(checkpoint.coordinates) == 12:  # it states the content of all that was audited
        return
    turn(lessons / checkpoint.current_table()["image"][0])
    with pytest.raises(DatasetError, match="train it again, then audit it again"):
        FittingSubsets("clean").choose(get_dataset("exam"), checkpoint)


def test_a_part_of_a_set_that_grew_since_its_audit_is_refused(exam, cli):
    images, metadata, lessons, table = exam
    joined = [row for row in table_of(metadata) if row["image"].startswith("other-")]
    for row in joined:
        shutil.copy(images / row["image"], lessons / row["image"])
    write_table(table, table_of(table) + joined)
    train("knn", "mine", limit=7, device="cpu")
    assert "which has changed since; audit it again: geobench datasets audit exam --against mine" in refused(cli)
    audited(cli)
    assert "no image is left" in refused(cli)


def test_the_content_of_the_training_set_chooses_the_audit_and_not_its_name(exam, cli):
    add_dataset("renamed", exam[2], exam[3], encoder="tiny")
    checkpoint = train("knn", "renamed", device="cpu")
    chosen, remark = FittingSubsets("clean").choose(get_dataset("exam"), checkpoint)
    assert (chosen.against, remark) == ("mine", "")


def test_weights_of_unknown_training_are_scored_on_the_audit_of_that_name_and_it_is_recorded(exam):
    unknown = replace(train("knn", "mine", device="cpu"), table_hash="", images_key="")
    chosen, remark = FittingSubsets("clean").choose(get_dataset("exam"), unknown)
    assert remark == f"nothing tells whether {unknown.spec} was trained on just these"
    part = score_subset(result_of("knn", "exam"), chosen, None, remark=remark)
    assert part.images.endswith(f"with mine ({remark})")
    with pytest.raises(DatasetError, match=r"was audited against mine, knn@.* was trained on mp16; audit it"):
        FittingSubsets("clean").choose(get_dataset("exam"), replace(unknown, dataset="mp16"))


def test_training_images_are_counted_again_among_the_rows_of_a_subset(exam):
    train("knn", "mine", device="cpu")
    everything, kept = run("knn", "exam", subset="clean", device="cpu").results
    assert (everything.n, everything.in_training, kept.n, kept.in_training) == (6, 1, 5, 0)
    (subset,) = get_subsets("exam", "clean")
    contrary = replace(subset, kept=subset.left_out + subset.kept[:1], left_out=subset.kept[1:])
    learnt = rows_in_training(get_model("knn", "cpu"), TestSet.of(get_dataset("exam")))
    assert score_subset(everything, contrary, None, learnt).in_training == 1
    assert score_subset(everything, contrary, None).in_training is None
    assert score_subset(replace(everything, in_training=0), contrary, None).in_training == 0


def test_an_audit_that_does_not_fit_is_reported_before_anything_is_extracted(exam, cli):
    train("knn", "mine", device="cpu")
    write_table(exam[1], table_of(exam[1])[1:])
    said = clean(cli, exit_code=1).stderr
    assert said.index("cannot run: knn@") < said.index("features of exam (test)") < said.index("saved results")


# -- what an audit found is under the table


def recompressed(source, target):
    Image.open(source).save(target, quality=60)


@pytest.fixture
def table(photos, own_home, cli):
    """Return a function that evaluates the newest kNN on ``exam``, beside a model of another set: what it prints."""
    add_dataset("lessons", *photos(9, own_home / "photos" / "lessons", seed=9), encoder="tiny")
    train("random", "lessons", device="cpu")
    arguments = ("run", "--models", "knn,random", "--datasets", "exam", "--galleries", "land:50", "--workers", 0)
    arguments += ("--allow-mixed",)
    return lambda *more: cli(*arguments, *more).stdout


@pytest.mark.parametrize("other_names", [True, False])
def test_an_audit_that_found_training_photos_is_told_and_puts_the_model_out_of_the_comparison(
    mine, copy, cli, table, other_names
):
    """60 of 100 test photos were recompressed training photos; after the audit kNN was the best, without a line."""
    copy("exam", range(6), others=4, saved=recompressed)
    spec = train("knn", "mine", settings={"k": 1}, device="cpu").spec
    if not other_names:  # equal ids at one place are the same photo too
        images, metadata = mine[0].parents[1] / "exam" / "images", mine[0].parents[1] / "exam" / "metadata.csv"
        rows = [row | {"image": row["image"].replace("copy", "photo")} for row in table_of(metadata)]
        for path in images.glob("copy-*"):
            path.rename(images / path.name.replace("copy", "photo"))
        write_table(metadata, rows)
    before = table()
    assert "Not audited for photos of exam that are also in mine" in before
    told = "¶ 6 test images have the name and the place of a photo in mine"
    assert (f"{spec} ¶" in before, told in before) == (not other_names, not other_names)
    audited(cli, "--kinds", *(["twin,id,coordinate"] if other_names else ["id"]))
    after = table()
    which = "coordinate: 6, twin: 6" if other_names else "id: 6"
    line = f"¶ The audit of exam against mine found 6 of 10 test images ({which}), 6 of them as the same photo: {spec}"
    assert f"{line}; not part of the comparison." in after and f"{spec} ¶" in after
    assert ("60.0*" in before) == other_names and "60.0*" not in after
    told = clean(cli, "--workers", 0).stdout
    assert told.count("found 6 of 10 test images") == 1 and told.count(f"{spec} ¶") == 1  # the clean row is not doubted


def test_photographers_in_both_sets_are_told_and_leave_the_comparison_alone(mine, copy, cli, table):
    copy("exam", [], others=5)
    theirs = mine[0].parents[1] / "exam" / "metadata.csv"
    write_table(theirs, [row | {"author": f"p{n}"} for n, row in enumerate(table_of(theirs))])
    write_table(mine[1], [row | {"author": f"p{n % 2}"} for n, row in enumerate(table_of(mine[1]))])
    spec = train("knn", "mine", device="cpu").spec
    audited(cli)
    told = table()
    assert f"The audit of exam against mine found 2 of 5 test images (photographer: 2): {spec}." in told
    assert "¶" not in told and "audit of exam against mine did not" not in told


def test_equal_names_of_other_photos_are_told_and_leave_the_comparison_alone(mine, photos, own_home, cli, table):
    images, metadata = photos(12, own_home / "photos" / "exam", seed=1)  # photo-0.jpg, … as in the other set
    add_dataset("exam", images, metadata, encoder="tiny")
    spec = train("knn", "mine", device="cpu").spec
    audited(cli, "--kinds", "id,twin")
    told = table()
    assert f"The audit of exam against mine found 12 of 12 test images (id: 12): {spec}." in told and "¶" not in told


def test_an_audit_of_some_kinds_says_which_it_did_not_look_for(mine, copy, cli, table):
    """An audit of ids alone found nothing among names of its own, and the table no longer had a line."""
    copy("exam", range(6), others=4, saved=recompressed)
    spec = train("knn", "mine", device="cpu").spec
    audited(cli, "--kinds", "id")
    command = "geobench datasets audit exam --against mine"
    said = f"The audit of exam against mine did not look for photographer, coordinate, twin ({command}): {spec}."
    assert said in table() and "Not audited for photos of exam that are also in mine" not in table()
    audited(cli, "--kinds", "id,coordinate,twin", "--distance", 3)
    assert "did not look for photographer, twins that differ in more than 3 bits" in table()
    audited(cli)
    told = table()
    assert "did not look for" not in told and f"exam against mine could not look for photographer: {spec}" in told


def test_an_audit_of_an_earlier_version_says_that_it_left_images_out(exam, cli, table, own_home):
    train("knn", "mine", device="cpu")
    (path,) = (own_home / "subsets" / "exam").glob("*.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps({n: v for n, v in values.items() if n not in ("found", "same_photos", "unable")}))
    assert "found 1 of 6 test images (of what kind is not recorded): knn@" in table()


def test_photographers_in_another_spelling_are_the_same_people(mine, copy, cli):
    """Ten people took all photos of both sets, in another case: "clean: 50 of 50 images that share no photographer"."""
    copy("exam", [], others=6)
    theirs = mine[0].parents[1] / "exam" / "metadata.csv"
    spelt = ["Anna  Lund", "anna lund", "ANNA LUND ", "Zoe\u0308", "Zo\u00eb", "Bo"]
    write_table(theirs, [row | {"author": name} for row, name in zip(table_of(theirs), spelt, strict=True)])
    write_table(mine[1], [row | {"author": f"anna lund {'' if n else ' '}"} for n, row in enumerate(table_of(mine[1]))])
    leaks = audit("exam", "mine", kinds=["photographer"])
    assert leaks.leaking.tolist() == [True, True, True, False, False, False]
    assert {shared for *_, shared in leaks.pairs()} == {"Anna  Lund"}  # as first spelt
    extra = get_dataset("exam").table("test")[["author"]]
    assert sorted(clusters_of(np.arange(12).reshape(6, 2) / 7.0, extra).sizes.tolist()) == [1, 2, 3]
