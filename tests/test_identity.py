"""What changes the key of a result or of a checkpoint, and what does not."""

import json
import os
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

import geobench
from geobench import Model, Options, Predictions, ResultError, evaluate, get_dataset, get_gallery, get_model, run, train
from geobench.checkpoints import readable_checkpoints
from geobench.data import dataset as dataset_module
from geobench.data.dataset import Dataset
from geobench.data.registration import add_dataset
from geobench.plugins import Plugin, registry
from geobench.provenance import Identity, TrainingIdentity
from geobench.results import load_result


@dataclass(frozen=True)
class PromptConfig:
    """A setting that no training fixes."""

    prompt: str = "Where is this?"
    latitude: float = 0.0


class Prompted(Model):
    """Learns nothing: predicts a latitude that depends on its prompt."""

    name = "prompted"
    Config = PromptConfig
    input = "none"
    uses_gallery = False
    trainable = False

    def locate(self, features, gallery=None, top_k=1):
        n = len(features)
        places = np.tile([self.config.latitude + len(self.config.prompt), 0.0], (n, top_k, 1))
        return Predictions.of(places, np.ones((n, top_k)))


class Nearest(Model):
    """Learns nothing: picks the point of the gallery whose number follows from the features."""

    name = "nearest"
    trainable = False

    def locate(self, features, gallery, top_k=1):
        numbers = (np.abs(features).sum(axis=(1, 2)) * 1000).astype(int)[:, None] + np.arange(top_k)
        return Predictions.of(gallery.coordinates[numbers % len(gallery)], np.ones((len(features), top_k)))


class World:
    """A test set of six photos, two models, and the arguments of a result that a test changes one at a time."""

    def __init__(self, folder, photos, monkeypatch, register, encoder):
        self.images, self.metadata = photos(6, folder / "set")
        self.monkeypatch, self.encoder = monkeypatch, encoder
        self.name, self.model, self.gallery, self.options = "mine", "nearest", "land:40", Options(workers=0)
        self.limit, self.settings = None, {}
        for model in (Prompted, Nearest):
            register("model", model)
        self.add("mine")

    def add(self, name, **options):
        add_dataset(name, self.images, self.metadata, encoder="tiny", **options)

    def evaluate(self):
        model = get_model(self.model, "cpu", self.settings)
        return evaluate(model, self.name, self.gallery, self.options, limit=self.limit)

    def train(self, **options):
        return train("knn", "mine", **({"workers": 0} | options))

    def define(self, **changes):
        """Change the definition of the test set, as an edit of its TOML does."""
        changed = replace(get_dataset("mine"), **changes)
        self.monkeypatch.setitem(registry().datasets, "mine", changed)


@pytest.fixture
def world(tmp_path, photos, monkeypatch, register, tiny_encoder):
    return World(tmp_path, photos, monkeypatch, register, tiny_encoder)


def other_name(world):
    world.add("theirs")
    world.name = "theirs"


def another_image(world):
    path = world.images / "photo-0.jpg"
    path.write_bytes((world.images / "photo-1.jpg").read_bytes())


def corrected_position(world):
    first, *rest = world.metadata.read_text().splitlines()
    name, latitude, longitude = rest[0].split(",")
    world.metadata.write_text("\n".join([first, f"{name},{float(latitude) + 0.5},{longitude}", *rest[1:]]) + "\n")


def renamed_image(world):
    (world.images / "photo-0.jpg").rename(world.images / "photo-00.jpg")
    world.metadata.write_text(world.metadata.read_text().replace("photo-0.jpg", "photo-00.jpg"))


def another_column(world):
    lines = world.metadata.read_text().splitlines()
    world.metadata.write_text(
        "\n".join(line + end for line, end in zip(lines, [",author", *(f",{name}" for name in "abcdef")], strict=True))
        + "\n"
    )


def other_version_of_the_plugin(world):
    owner = Plugin("test", "test-distribution", "2.0", "tests")
    world.monkeypatch.setitem(registry().owners, ("model", "nearest"), owner)


def other_version_of_geobench(world):
    from geobench import provenance

    world.monkeypatch.setattr(provenance, "version", lambda name: "9.9")


def other_code(world):
    """Let another class, of the same name and with the same statements, encode the images."""

    class Edited(type(world.encoder)):
        def encode_images(self, batch):
            return super().encode_images(batch) * 2

    world.encoder.__class__ = Edited


def other_code_of_the_model(world, name="nearest"):
    """Let another class of the same name predict, as after an edit of a plugin."""

    class Edited(registry().models[name]):
        def locate(self, features, gallery=None, top_k=1):
            return super().locate(features, gallery, top_k)

    world.monkeypatch.setitem(registry().models, name, Edited)


def csv_gallery(world, text="latitude,longitude\n1,2\n3,4\n"):
    Path("gallery.csv").write_text(text)
    world.gallery = "gallery.csv"


RESULT = {
    "the name of the test set": other_name,
    "the bytes of an image": another_image,
    "a true position": corrected_position,
    "the name of an image": renamed_image,
    "another column of the table": another_column,
    "a part of the test set": lambda w: setattr(w, "limit", 5),
    "the model": lambda w: setattr(w, "model", "prompted"),
    "the version of the plugin of a model without training": other_version_of_the_plugin,
    "the version of geobench, for a model without training": other_version_of_geobench,
    "the code of the model": other_code_of_the_model,
    "the encoder": lambda w: w.define(default_encoder="efficientnet_lite0"),
    "the weights of the encoder": lambda w: w.monkeypatch.setattr(w.encoder, "weights_key", lambda: "tiny-2"),
    "the preprocessing": lambda w: w.monkeypatch.setattr(w.encoder, "describe", lambda: "5×5 pixels"),
    "the code of the encoder": other_code,
    "the normalisation of the encoder": lambda w: setattr(w.encoder, "normalisation", ((0.5,) * 3, (0.5,) * 3)),
    "what must be known of the encoder": lambda w: w.monkeypatch.setattr(w.encoder, "caveat", lambda: "random weights"),
    "the precision": lambda w: w.monkeypatch.setattr(w.encoder, "precision", lambda device: "bfloat16"),
    "the crops": lambda w: setattr(w, "options", Options(crops=5, workers=0)),
    "top k": lambda w: setattr(w, "options", Options(top_k=2, workers=0)),
    "the source of the gallery": lambda w: setattr(w, "gallery", "sphere:40"),
    "the size of the gallery": lambda w: setattr(w, "gallery", "land:41"),
    "the seed of the gallery": lambda w: setattr(w, "gallery", get_gallery("land:40", seed=3)),
    "a gallery from a file": csv_gallery,
    "the default gallery of the test set": lambda w: (setattr(w, "gallery", None), w.define(default_gallery="land:9")),
}


@pytest.mark.parametrize("change", RESULT.values(), ids=RESULT)
def test_each_of_these_changes_the_key_of_a_result(world, change):
    before = world.evaluate()
    change(world)
    after = world.evaluate()
    assert before.key != after.key
    assert before.stem != after.stem


def test_each_setting_of_a_model_without_training_changes_the_key_of_its_result(world):
    world.model = "prompted"
    keys = set()
    for settings in ({}, {"prompt": "Which country?"}, {"latitude": 1.0}):
        world.settings = settings
        result = world.evaluate()
        assert result.config == {"prompt": "Where is this?", "latitude": 0.0} | settings
        keys.add(result.key)
    assert len(keys) == 3


def test_the_content_of_a_gallery_file_is_part_of_the_key(world):
    csv_gallery(world)
    before = world.evaluate()
    csv_gallery(world, "latitude,longitude\n1,2\n3,5\n")
    assert world.evaluate().key != before.key


def test_another_checkpoint_is_another_result(world):
    world.model, world.gallery = "knn", None
    keys = set()
    for options in ({}, {"seed": 1}, {"settings": {"k": 3}}, {"crops": 5}):
        world.model = world.train(**options).spec
        keys.add(world.evaluate().key)
    assert len(keys) == 4


def test_the_weights_of_a_checkpoint_are_part_of_the_key(world):
    world.model, world.gallery = world.train().spec, None
    before = world.evaluate()
    model = get_model(world.model)
    model.checkpoint = replace(model.checkpoint, weights="0" * 16)
    assert evaluate(model, "mine").key != before.key


def older_files(world):
    for path in world.images.iterdir():
        os.utime(path, ns=(1, path.stat().st_mtime_ns))  # the time of the last access alone


RESULT_NOT = {
    "nothing": lambda w: None,
    "the batch size": lambda w: setattr(w, "options", Options(batch_size=2, workers=0)),
    "the number of workers": lambda w: setattr(w, "options", Options(workers=2)),
    "reading the images": older_files,
    "title, note and licence of the test set": lambda w: w.define(title="Ours", note="n", licence="MIT"),
    "the default gallery, when another is named": lambda w: w.define(default_gallery="land:9"),
    "the metrics of its tables": lambda w: w.define(thresholds=(1, 10), metrics=("country",)),
    "settings of another model": lambda w: w.monkeypatch.setattr(Prompted, "Config", Nearest.Config),
    "a limit that is no limit": lambda w: setattr(w, "limit", 6),
}


@pytest.mark.parametrize("change", RESULT_NOT.values(), ids=RESULT_NOT)
def test_nothing_else_changes_the_key_of_a_result(world, change):
    before = world.evaluate()
    change(world)
    assert world.evaluate().key == before.key


def test_crops_and_encoder_are_no_part_of_the_key_of_a_model_without_features(world):
    world.model = "prompted"
    before = world.evaluate()
    world.options = Options(crops=10)
    world.define(default_encoder="efficientnet_lite0")
    world.gallery = "land:7"  # it uses none
    after = world.evaluate()
    assert (before.key, after.crops, after.encoder, after.gallery, after.seed) == (after.key, 0, "", "", 0)


@pytest.mark.parametrize("identity", [Identity, TrainingIdentity])
def test_the_key_is_made_of_every_field_of_the_identity(identity):
    def value(field, number):
        return {"str": str(number), "int": number, "int | None": number}.get(str(field.type), {"a": number})

    whole = {field.name: value(field, 1) for field in fields(identity)}
    keys = {identity(**whole).key} | {identity(**whole | {f.name: value(f, 2)}).key for f in fields(identity)}
    assert len(keys) == 1 + len(fields(identity))


def test_every_field_of_the_identity_is_in_the_record_and_the_key_follows_from_the_record(world):
    result = world.evaluate()
    record = json.loads(result.save().read_text())
    names = {field.name for field in fields(Identity)}
    assert names <= set(record)
    assert Identity(**{name: record[name] for name in names}).key == record["key"] == result.key


def test_a_result_whose_key_begins_with_the_same_digits_is_another_result(world):
    kept = run("nearest", "mine", galleries=["land:40"]).results[0]
    path = Path("results") / f"{kept.stem}.json"
    path.write_text(path.read_text().replace(kept.key, kept.key[:8] + "0" * 8))
    summary = run("nearest", "mine", galleries=["land:40"])
    assert not summary.failures and load_result(path).key == kept.key  # measured again, in its place


def test_a_record_whose_identity_was_edited_is_refused(world):
    path = world.evaluate().save()
    path.write_text(path.read_text().replace('"crops": 1', '"crops": 10'))
    with pytest.raises(ResultError, match=r"was edited: its key .* does not match its content"):
        load_result(path)


def test_the_seed_that_is_recorded_is_that_of_the_gallery(world):
    world.gallery = get_gallery("land:40", seed=3)
    assert world.evaluate().seed == 3


TRAINING = {
    "the name of the training set": lambda w: (w.add("theirs"), w.monkeypatch.setattr(w, "train", as_theirs)),
    "the bytes of an image": another_image,
    "a position": corrected_position,
    "the name of an image": renamed_image,
    "a part of the training set": lambda w: {"limit": 5},
    "a fraction of it": lambda w: {"fraction": 0.5},
    "the code of the model": lambda w: other_code_of_the_model(w, "knn"),
    "the seed": lambda w: {"seed": 1},
    "a hyper-parameter": lambda w: {"settings": {"k": 3}},
    "the crops": lambda w: {"crops": 5},
    "views at random": lambda w: {"views": 2},
    "the kind of augmentation": lambda w: {"views": 2, "augmentation": "official"},
    "the encoder": lambda w: {"encoder": "efficientnet_lite0"},
    "the weights of the encoder": lambda w: w.monkeypatch.setattr(w.encoder, "weights_key", lambda: "tiny-2"),
    "the preprocessing": lambda w: w.monkeypatch.setattr(w.encoder, "describe", lambda: "5×5 pixels"),
    "the code of the encoder": other_code,
    "what must be known of the encoder": lambda w: w.monkeypatch.setattr(w.encoder, "caveat", lambda: "random weights"),
    "the precision": lambda w: w.monkeypatch.setattr(w.encoder, "precision", lambda device: "bfloat16"),
}


def as_theirs(**options):
    return train("knn", "theirs", workers=0, **options)


@pytest.mark.parametrize("change", TRAINING.values(), ids=TRAINING)
def test_each_of_these_changes_the_key_of_a_training(world, change):
    world.encoder.normalisation = (0.0,) * 3, (1.0,) * 3
    before = world.train()
    if change is TRAINING["the kind of augmentation"]:
        before = world.train(views=2)
    changed = change(world)
    after = world.train(**(changed if isinstance(changed, dict) else {}))
    assert before.key != after.key
    assert before.id != after.id


def test_views_drawn_at_every_step_are_another_training_than_cached_views():
    identity = {"model": "m", "config": {}, "seed": 0, "dataset": "d"}
    cached, live = ({"views": 2, "live": live} for live in (False, True))
    assert TrainingIdentity(**identity, augmentation=cached).key != TrainingIdentity(**identity, augmentation=live).key


def test_a_variant_is_part_of_the_key_of_a_training():
    settings = {"batch_size": 16, "queue_length": 16, "hidden_dim": 8, "epochs": 1}
    plain, paper = (
        train("geoclip", encoder="tiny", limit=32, settings=settings, variant=variant, workers=0)
        for variant in ("", "paper")
    )
    assert (plain.variant, paper.variant) == ("", "paper")
    assert plain.key != paper.key


TRAINING_NOT = {
    "nothing": {},
    "the batch size of the extraction": {"batch_size": 2},
    "the number of workers": {"workers": 2},
    "the device by another name": {"device": "cpu"},
    "a limit that is no limit": {"limit": 6},
    "the default encoder, named": {"encoder": "tiny"},
    "the default of a setting, named": {"settings": {"k": 50}},
}


@pytest.mark.parametrize("options", TRAINING_NOT.values(), ids=TRAINING_NOT)
def test_nothing_else_changes_the_key_of_a_training(world, options):
    assert world.train().key == world.train(**options).key


def test_a_checkpoint_that_the_last_release_wrote_is_still_used(world):
    checkpoint = world.train()
    path = checkpoint.folder / "checkpoint.json"
    values = json.loads(path.read_text())
    for name in ("images_key", "table_hash", "preprocessing", "model_code", "precision", "seal"):
        del values[name]
    path.write_text(json.dumps(values | {"seal": geobench.files.digest(values)}))
    world.model, world.gallery = checkpoint.spec, None
    assert world.evaluate().checkpoint == checkpoint.id


def test_two_prompts_are_two_results_and_the_same_prompt_is_one(world):
    one, two, again = (
        run("prompted", "mine", settings={"prompt": prompt}).results
        for prompt in ("Where?", "Which country?", "Where?")
    )
    assert one[0].key != two[0].key and one[0].scores != two[0].scores
    assert one[0].key == again[0].key and len(list(Path("results").glob("*.json"))) == 2


def test_a_run_trains_a_model_on_what_the_others_were_trained_on(world):
    world.train(crops=5, seed=4, limit=5, name="small")
    run(["knn@small", "random"], "mine", limit=4, options=Options(workers=0))
    (copied,), _ = readable_checkpoints("random")
    assert (copied.dataset, copied.seed, copied.limit) == ("mine", 4, 5)


def test_a_run_trains_a_model_with_the_encoder_and_crops_of_the_others(world, register):
    world.define(default_encoder="efficientnet_lite0")
    world.train(encoder="tiny", crops=5)
    settings = {"min_images": 0, "epochs": 1, "batch_size": 2}
    world.define(settings={"classifier": settings})
    summary = run(["knn", "classifier"], "mine", options=Options(crops=5, workers=0))
    assert not summary.failures
    (copied,), _ = readable_checkpoints("classifier")
    assert (copied.encoder, copied.crops) == ("tiny", 5)


def test_the_table_of_a_test_set_is_read_once_and_each_of_its_images_is_statted_once(world, monkeypatch):
    reads, stats = Counter(), Counter()
    table, positions = Dataset.table, dataset_module.read_rows

    def counted_table(self, *arguments):
        reads["table"] += 1
        return table(self, *arguments)

    def counted_read(*arguments, **options):
        reads["read"] += 1
        return positions(*arguments, **options)

    world.train()
    train("random", "mine")
    run(["nearest"], "mine", galleries=["land:5"])  # extracts
    monkeypatch.setattr(Dataset, "table", counted_table)
    monkeypatch.setattr(dataset_module, "read_rows", counted_read)
    stat = os.stat

    def counted_stat(path, *arguments, **options):
        if str(path).endswith(".jpg"):
            stats[Path(os.fspath(path)).name] += 1
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", counted_stat)
    galleries = [f"land:{size}" for size in range(11, 17)]
    summary = run(["nearest", "random"], "mine", galleries=galleries, seeds=[0, 1, 2])
    assert len(summary.results) == 2 * 6 * 3 and not summary.failures
    assert reads == {"table": 1, "read": 1}
    assert stats == {f"photo-{number}.jpg": 1 for number in range(6)}
