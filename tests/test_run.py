"""train, run and evaluate from Python and from the command line, on small sets, with a small encoder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import geobench
from geobench import CheckpointError, Model, Options, Predictions, ScoredImages, get_dataset, get_model, run, train
from geobench.audits.subsets import Content, Subset
from geobench.checkpoints import get_checkpoints
from geobench.devices import peak_memory_mb
from geobench.metrics import scores_of

KNN = {"data": "bluemarble", "encoder": "tiny", "limit": 200}
GEOCLIP = {"batch_size": 32, "queue_length": 64, "hidden_dim": 32, "epochs": 3}


class North(Model):
    """Needs no training."""

    name = "north"
    input = "none"
    uses_gallery = False
    trainable = False

    def locate(self, features, gallery=None, top_k=1):
        return Predictions.of(np.tile([90.0, 0.0], (len(features), 1, 1)), np.ones((len(features), 1)))


def test_the_same_seed_gives_the_same_checkpoint_and_another_seed_another(own_home):
    first = train("geoclip", settings=GEOCLIP, **KNN)
    again = train("geoclip", settings=GEOCLIP, force=True, **KNN)
    other = train("geoclip", settings=GEOCLIP, seed=1, **KNN)
    assert (first.id, first.weights) == (again.id, again.weights)
    assert other.id != first.id and other.weights != first.weights


def test_training_twice_keeps_the_checkpoint(cli):
    arguments = ("train", "knn", "--encoder", "tiny", "--limit", 100)
    first = cli(*arguments)
    second = cli(*arguments)
    assert "is already trained (--force trains it again)" in second.output
    assert first.stdout == second.stdout
    assert len(get_checkpoints("knn")) == 1


def test_a_model_is_named_by_its_newest_checkpoint_or_by_one(cli):
    old = train("knn", **KNN)
    new = train("knn", settings={"k": 3}, **KNN)
    assert get_model("knn").checkpoint == new
    assert get_model(old.spec).checkpoint == old
    with pytest.raises(
        CheckpointError, match=r"there is no checkpoint knn@nope; existing ones: knn@bluemarble-s0-.*, knn@"
    ):
        get_model("knn@nope")
    output = cli("run", "--models", "knn", "--datasets", "bluemarble", "--limit", 20).output
    assert f"knn is {new.spec}, trained on 200 images of bluemarble on {new.created[:10]}: " in output
    assert f"the newest of 2 full trainings; not {old.spec} (k=10)." in output


def test_a_model_that_needs_no_training_has_no_checkpoints_to_name(cli, register):
    register("model", North)
    with pytest.raises(CheckpointError, match="north needs no training and has no checkpoints, so there is no north@x"):
        get_model("north@x")
    done = cli("run", "--models", "north@x", "--datasets", "bluemarble", "--limit", 5, exit_code=1)
    assert "Error: north needs no training" in done.stderr and not Path("results").exists()


def test_a_model_without_a_checkpoint_is_trained_like_the_others_of_the_run(cli):
    donor = train("knn", **KNN)
    output = cli("run", "--models", "knn,random", "--datasets", "bluemarble", "--limit", 20).output
    assert f"random has no checkpoint: training it first, on bluemarble, like {donor.spec}." in output
    assert get_checkpoints("random")[0].limit == 200


def test_no_train_refuses_a_model_without_a_checkpoint(cli):
    output = cli("run", "--models", "knn", "--datasets", "bluemarble", "--no-train", exit_code=1).output
    assert "knn has no checkpoint yet; train one: geobench train knn" in output


def test_every_gallery_and_seed_is_a_row_and_a_model_without_gallery_has_one(cli):
    for model in ("knn", "random"):
        train(model, **KNN)
    cli(
        "run",
        "--models",
        "knn,random",
        "--datasets",
        "bluemarble",
        "--limit",
        30,
        "--galleries",
        "50,land:80",
        "--seeds",
        "0,1",
    )
    rows = json.loads(cli("report", "--format", "json").stdout)
    cells = sorted((row["model"], row["gallery"], row["seed"]) for row in rows)
    expected = [("random", gallery, seed) for gallery in ("land:80", "training:50") for seed in (0, 1)]
    assert cells == [("knn", "", 0), *expected]


def test_what_is_done_is_kept_and_force_makes_it_again(cli):
    train("knn", **KNN)
    arguments = ("run", "--models", "knn", "--datasets", "bluemarble", "--limit", 30)
    assert "saved results" in cli(*arguments).output
    assert "kept the result bluemarble_knn_no-gallery_s0_" in cli(*arguments).output
    assert "saved results" in cli(*arguments, "--force").output
    assert len(json.loads(cli("report", "--format", "json").stdout)) == 1


def test_one_failure_leaves_the_rest_done_and_exits_with_1(cli):
    train("knn", **KNN)
    done = cli("run", "--models", "knn", "--datasets", "im2gps3k,bluemarble", "--limit", 30, exit_code=1)
    assert "Failed: im2gps3k is not on this machine: looked for" in done.stderr
    assert "Status: available." in done.stderr
    assert "knn@bluemarble" in done.stdout


def test_a_gallery_larger_than_its_source_is_one_failed_cell(cli):
    train("random", **KNN)
    done = cli(
        "run", "--models", "random", "--datasets", "bluemarble", "--galleries", "1M,50", "--limit", 30, exit_code=1
    )
    assert "which has 200; ask for at most 200" in done.stderr
    assert "training:50" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "geoclop"), "unknown model 'geoclop'; did you mean geoclip or geodecoder?"),
        (("train", "geoclip", "--data", "blumarble"), "unknown data set 'blumarble'; did you mean bluemarble?"),
        (("train", "geoclip", "--encoder", "efficientnet"), "unknown encoder 'efficientnet'; did you mean"),
        (
            ("train", "geoclip", "--set", "batchsize=4"),
            "unknown setting of geoclip 'batchsize'; did you mean batch_size",
        ),
        (("train", "geoclip", "--set", "lr"), "'lr' is not a setting; write NAME=VALUE"),
        (("train", "geoclip", "--set", "lr=fast"), "geoclip: lr must be a number above 0, not 'fast'"),
        (("train", "knn", "--epochs", "3"), "knn is not trained in epochs"),
        (("train", "geoclip", "--device", "cuda:7"), "the device 'cuda:7' is not available"),
        (("run", "--models", "knn", "--datasets", "nope"), "unknown data set 'nope'"),
        (("run", "--models", "knn", "--datasets", "bluemarble", "--seeds", "a"), "is not a list of whole numbers"),
        (("report", "--format", "pdf"), "unknown format 'pdf'; available: csv, html, json"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(cli, arguments, message):
    if arguments[0] == "report":
        train("random", **KNN)
        cli("run", "--models", "random", "--datasets", "bluemarble", "--limit", 10)
    output = cli(*arguments, exit_code=2).output
    assert message in output and "Traceback" not in output


def test_a_truncated_checkpoint_is_named_with_what_to_do(cli, own_home):
    checkpoint = train("geoclip", settings=GEOCLIP, **KNN)
    weights = checkpoint.folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    done = cli("run", "--models", "geoclip", "--datasets", "bluemarble", "--limit", 10, exit_code=1)
    assert f"the checkpoint {checkpoint.folder} is damaged or incomplete" in done.stderr
    assert "delete it and train again" in done.stderr


def test_a_checkpoint_of_another_encoder_is_refused(cli, tiny_encoder):
    train("knn", **KNN)
    tiny_encoder.weights_key = lambda: "tiny-2"
    done = cli("run", "--models", "knn", "--datasets", "bluemarble", "--limit", 10, exit_code=1)
    assert (
        "was trained on features of tiny with other weights (tiny-1, here tiny-2); use those, or train again"
        in done.stderr
    )


def test_unreadable_photos_keep_n_and_count_as_failed(cli, photos):
    images, metadata = photos(30)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    (images / "photo-3.jpg").unlink()
    broken = images / "photo-7.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    trained = cli("train", "knn", "--data", "mine").stderr
    assert "2 of 30 images could not be read and count as failed" in trained
    assert get_checkpoints("knn")[0].unreadable == 2
    cli("run", "--models", "knn", "--datasets", "mine")
    (row,) = json.loads(cli("report", "--format", "json").stdout)
    assert (row["n"], row["failed"]) == (30, 2)
    # The other 28 find themselves among the training images.
    assert row["acc_1km"] == pytest.approx(100 * 28 / 30)


class Images(Model):
    """Answers from raw images: their mean brightness as a latitude."""

    name = "brightness"
    input = "images"
    uses_gallery = False
    trainable = False

    def predict(self, images, gallery, top_k=1):
        brightness = np.array([np.asarray(image).mean() for image in images])
        return Predictions.of(np.stack([brightness / 4, brightness], axis=1)[:, None], np.ones((len(images), 1)))


def test_a_model_on_raw_images_runs_without_features_or_checkpoint(cli, photos, register):
    register("model", Images)
    images, metadata = photos(70)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    (images / "photo-69.jpg").write_bytes(b"")
    outcome = run(["brightness"], ["mine"])
    assert not outcome.failures
    (result,) = outcome.results
    assert (result.n, result.failed, result.checkpoint) == (70, 1, "")
    expected = np.asarray(geobench.get_dataset("mine").read_image("photo-0.jpg", "test")).mean()
    assert result.predictions.coordinates[0, 0, 1] == pytest.approx(expected)


def test_results_hold_all_that_is_needed_to_repeat_them():
    train("geoclip", settings=GEOCLIP, **KNN)
    (result,) = run("geoclip", "bluemarble", galleries=["50"], seeds=[3], limit=20, options=Options(top_k=4)).results
    row = geobench.get_results().iloc[0]
    assert row["encoder"] == "tiny" and row["preprocessing"] == "4×4 pixels" and row["gallery"] == "training:50"
    assert row["seed"] == 3 and row["trained_on"] == "bluemarble" and row["training_images"] == 200
    assert result.config["queue_length"] == 64 and result.versions["torch"]
    frame = result.predictions.to_frame(result.names, result.truth)
    assert frame[[f"score_{k}" for k in (1, 2, 3, 4)]].diff(axis=1).iloc[:, 1:].max().max() <= 0


def test_a_damaged_checkpoint_is_named_and_blocks_no_other(cli):
    broken, good = train("knn", **KNN), train("knn", settings={"k": 3}, **KNN)
    (broken.folder / "checkpoint.json").write_text("{}")
    assert get_model(good.spec).checkpoint == good
    listed = cli("models").output
    assert good.id in listed and f"Warning: the checkpoint {broken.folder} is damaged or incomplete" in listed
    output = cli("run", "--models", "knn", "--datasets", "bluemarble", exit_code=1).output
    assert f"the checkpoint {broken.folder} is damaged or incomplete" in output


def test_a_checkpoint_is_what_was_trained_or_it_is_refused():
    one, other = train("knn", **KNN), train("knn", settings={"k": 3}, **KNN)
    record, weights = one.folder / "checkpoint.json", one.folder / "weights.safetensors"
    told, learnt = record.read_text(), weights.read_bytes()

    def refused(match):
        with pytest.raises(CheckpointError, match=match):
            get_model(one.spec, "cpu")

    for change in (('"k": 10', '"k": 4'), ('"created": "', '"created": "1'), ('"seed": 0', '"seed": [1]')):
        assert change[0] in told
        record.write_text(told.replace(*change))
        refused("checkpoint.json was edited after training")
    record.write_text(told)
    get_model(one.spec, "cpu")
    weights.write_bytes((other.folder / "weights.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    refused("its weights are not the ones that were saved with it")
    weights.write_bytes(learnt)
    moved = one.folder.rename(one.folder.with_name("elsewhere"))
    with pytest.raises(CheckpointError, match=f"{moved} contains {one.spec}; move it back to {one.folder}"):
        get_model("knn@elsewhere", "cpu")


def exam_and_audit(cli, photos, own_home, against="lessons"):
    """Two sets of photos; five of the twenty of ``exam`` share a coordinate with ``lessons``."""
    (images, metadata), (others, lessons) = photos(20, own_home / "a", seed=1), photos(30, own_home / "b", seed=2)
    rows, other_rows = metadata.read_text().splitlines(), lessons.read_text().splitlines()
    rows = [f"exam-{row}" if number else row for number, row in enumerate(rows)]
    for number in range(1, 6):
        (_, latitude, longitude) = other_rows[number].split(",")
        rows[number] = f"{rows[number].split(',')[0]},{latitude},{longitude}"
    metadata.write_text("\n".join(rows) + "\n")
    for path in sorted(images.iterdir()):
        path.rename(images / f"exam-{path.name}")
    cli("datasets", "add", "exam", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    cli("datasets", "add", "lessons", "--images", others, "--metadata", lessons, "--encoder", "tiny")
    return cli("datasets", "audit", "exam", "--against", against, "--kinds", "id,coordinate")


def test_the_clean_subset_is_scored_beside_all_from_the_same_predictions(cli, photos, own_home):
    exam_and_audit(cli, photos, own_home)
    (own_home / "a" / "images" / "exam-photo-7.jpg").unlink()
    train("knn", "lessons", encoder="tiny")
    outcome = run("knn", "exam", subset="clean", options=Options(workers=0))
    assert not outcome.failures
    everything, clean = outcome.results
    assert (everything.subset, everything.n, everything.failed) == ("", 20, 1)
    assert (clean.subset, clean.n, clean.failed) == ("clean", 15, 1)
    assert clean.names.tolist() == [f"exam-photo-{n}.jpg" for n in range(5, 20)]
    np.testing.assert_array_equal(clean.predictions.coordinates, everything.predictions.coordinates[5:])
    assert clean.scores == scores_of(ScoredImages(everything.errors[5:]), geobench.get_metrics())
    assert clean.images.endswith("clean: 15 of 20 images that share no id, coordinate with lessons")
    assert len({everything.key, clean.key}) == len({everything.stem, clean.stem}) == 2
    rows = json.loads(cli("report", "--format", "json").stdout)
    assert sorted((row["subset"], row["n"]) for row in rows) == [("", 20), ("clean", 15)]


def test_a_kept_result_gets_its_subset_without_predicting_again(cli, photos, own_home):
    exam_and_audit(cli, photos, own_home)
    train("random", "lessons", encoder="tiny")
    run(["random"], ["exam"], galleries=["30"])
    said = cli("run", "--models", "random", "--datasets", "exam", "--galleries", "30", "--subset", "clean").stderr
    assert "kept the result exam_random" in said
    assert "random on the clean subset of exam, 15 images: results/exam_random" in said
    (kept,) = [row for row in json.loads(cli("report", "--format", "json").stdout) if row["subset"]]
    everything, fresh = run(["random"], ["exam"], galleries=["30"], subset="clean", force=True).results
    assert (everything.in_gallery, fresh.in_gallery) == (5, 0)
    assert (kept["key"], kept["geoscore"]) == (fresh.key, pytest.approx(fresh.scores["geoscore"], rel=1e-12))


def test_a_subset_keeps_the_columns_of_its_images_and_needs_the_predictions(cli, photos, own_home):
    images, metadata = photos(6)
    ends = [",author", *(f",u{n}" for n in range(6))]
    lines = [line + end for line, end in zip(metadata.read_text().splitlines(), ends, strict=True)]
    metadata.write_text("\n".join(lines) + "\n")
    cli("datasets", "add", "exam", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    exam, trained = get_dataset("exam"), train("random", **KNN)
    table = exam.table("test")
    names, contents = tuple(table["image"]), (Content.of(exam, "test", table, ()), Content(trained.table_hash, "", ""))
    kept, left_out = names[2:5], names[:2] + names[5:]
    Subset("clean", "exam", "bluemarble", ("id",), 0, "2026", kept, left_out, *contents).save()
    arguments = {"models": ["random"], "datasets": ["exam"], "galleries": ["land:5"], "subset": "clean"}
    for _ in range(2):  # fresh, and kept
        everything, clean = run(**arguments).results
        assert list(clean.extra["author"]) == list(everything.extra["author"])[2:5] == ["u2", "u3", "u4"]
    for path in Path("results").glob("*.predictions.csv"):
        path.unlink()
    (failure,) = run(**arguments).failures
    assert "are not next to its record; evaluate it again (force)" in failure


def test_a_subset_without_an_audit_says_which_command_makes_it(cli, photos):
    images, metadata = photos(4)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    arguments = ("run", "--models", "random", "--datasets", "mine", "--galleries", "land:5", "--subset")
    output = cli(*arguments, "clean", exit_code=1).output
    assert "mine has no clean subset yet; to make it: geobench datasets audit mine --against TRAINING" in output
    assert "training it first" not in output
    assert "unknown subset 'cleen'; did you mean clean?" in cli(*arguments, "cleen", exit_code=2).output


def test_an_audit_against_another_training_set_than_the_models_is_refused(cli, photos, own_home):
    exam_and_audit(cli, photos, own_home)
    trained = train("random", "bluemarble", encoder="tiny", limit=15)
    arguments = ("run", "--models", trained.spec, "--datasets", "exam", "--subset", "clean")
    done = cli(*arguments, exit_code=1)
    assert (
        f"the clean subset of exam was audited against lessons, {trained.spec} was trained on bluemarble; audit it: "
        "geobench datasets audit exam --against bluemarble"
    ) in done.stderr
    assert "clean" not in done.stdout
    cli("datasets", "audit", "exam", "--against", "bluemarble", "--kinds", "id")
    assert "clean" in cli(*arguments).stdout  # the fifteen images are a part of what was audited


def test_images_that_came_after_the_audit_are_neither_clean_nor_not(cli, photos, own_home):
    exam_and_audit(cli, photos, own_home)
    with (own_home / "a" / "metadata.csv").open("a") as file:
        file.write("new.jpg,1,2\n")
    train("random", "lessons", encoder="tiny")
    done = cli("run", "--models", "random", "--datasets", "exam", "--galleries", "30", "--subset", "clean", exit_code=1)
    assert "exam has changed (names or positions) since its clean subset was made on" in done.stderr
    assert "audit it again: geobench datasets audit exam --against lessons" in done.stderr
    assert "random" in done.stdout  # all images are scored all the same


def test_a_subset_of_which_nothing_is_left_is_a_line(cli, photos, own_home):
    exam_and_audit(cli, photos, own_home, against="exam")
    train("random", "exam", encoder="tiny")
    done = cli("run", "--models", "random", "--datasets", "exam", "--galleries", "20", "--subset", "clean", exit_code=1)
    assert "no image is left in the clean subset of exam against exam" in done.stderr


def test_the_peak_memory_of_a_result_is_that_of_its_own_process():
    held = np.ones(50_000_000)  # 400 MB, that a process started from here would begin with by getrusage
    code = "from geobench.devices import peak_memory_mb; print(peak_memory_mb())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert peak_memory_mb() > held.nbytes / 2**20 > 380
    assert 5 < float(child.stdout) < 200


def test_evaluate_takes_names_as_well_as_objects():
    spec = train("random", **KNN).spec
    named = geobench.evaluate(spec, "bluemarble", "land:30", Options(top_k=2), limit=10)
    test_set = geobench.TestSet.of(get_dataset("bluemarble"), 10)
    made = geobench.evaluate(get_model(spec), test_set, geobench.get_gallery("land:30"), Options(top_k=2))
    assert named.key == made.key and named.scores == made.scores
    default = geobench.evaluate(spec, get_dataset("bluemarble"), limit=10)
    assert default.gallery == "training:200"  # the set's default of 21,000 points is larger than the training set


def test_the_results_of_a_run_are_a_table_with_a_row_each():
    train("random", **KNN)
    summary = run("random", "bluemarble", galleries=["land:20", "land:30"], limit=10)
    table = summary.to_frame()
    assert table["gallery"].to_list() == ["land:20", "land:30"] and table["n"].to_list() == [10, 10]
    assert table["acc_2500km"].to_list() == [result.scores["acc_2500km"] for result in summary.results]
    assert table.equals(geobench.get_results()[table.columns])


def test_a_run_of_which_every_image_failed_exits_with_1(cli, photos):
    images, metadata = photos(12)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    cli("train", "knn", "--data", "mine", "--encoder", "tiny", "--set", "k=3")
    broken, table = photos(4, folder="elsewhere", seed=1)
    for path in broken.iterdir():
        path.write_bytes(b"no photo")
    cli("datasets", "add", "broken", "--images", broken, "--metadata", table)
    ran = cli("run", "--models", "knn", "--datasets", "broken,mine", "--galleries", "training:5", exit_code=1)
    assert "knn × broken: all 4 images failed" in ran.stderr
    assert "geobench datasets check broken" in ran.stderr
    assert "all 12 images failed" not in ran.stderr


def test_models_and_data_sets_may_be_named_as_on_the_command_line(register, photos, cli, tiny_encoder):
    images, metadata = photos(12)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata, "--encoder", "tiny")
    done = run("random, most-frequent", "mine", galleries=["land:10"], trained_on="mine")
    assert {result.model for result in done.results} == {"random", "most-frequent"}
