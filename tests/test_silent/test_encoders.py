"""Stories of wrong numbers that came without a word: encoders. What the user did, and what must be said."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from geobench import Dataset, extract, files, train
from geobench import source as source_code
from geobench.checkpoints import find_checkpoint
from geobench.data.registration import add_dataset
from geobench.features import encoding
from geobench.features.code import features_code
from geobench.report.formats import report
from geobench.results import load_result, read_results


@pytest.fixture
def mine(photos, own_home):
    photos(10, own_home / "data" / "mine")
    return Dataset("mine", "My photos")


# 7. The code of an encoder changes

ENCODER = '''
"""The encoder of a plugin."""

import numpy as np

from geobench import Encoder, hookimpl

from . import sizes


class Grey(Encoder):
    """Mean brightness of the parts of an image."""

    name = "grey"
    dim = 3

    def __init__(self, name=""):
        pass

    def load(self, device="cpu"):
        pass

    def describe(self):
        return "mean brightness"

    def weights_key(self):
        return "none"

    def preprocess(self, image):
        import torch

        return torch.from_numpy(np.array(image.resize((sizes.SIDE, sizes.SIDE)), dtype=np.float32)).permute(2, 0, 1)

    def encode_images(self, batch):
        from .scaling import scaled

        return scaled(batch.flatten(2).mean(dim=2))


@hookimpl
def register_encoders(register):
    register("grey", Grey)
'''
FILES = {
    "__init__.py": '"""A plugin."""\n',
    "encoder.py": ENCODER,
    "sizes.py": "SIDE = 8\n",
    "scaling.py": "def scaled(values):\n    return values / 255\n",
    "model.py": "LAYERS = 3\n",
}
CODE = """
    import sys
    from geobench import get_encoder
    from geobench.features.code import features_code
    encoder = get_encoder("grey")
    for edit in sys.argv[1:]:  # while this process runs
        path, text = edit.split("=", 1)
        open(path, "w").write(text)
    print(features_code(encoder))
"""
EXTRACT = """
    from geobench import extract, get_dataset, get_encoder
    dataset = get_dataset("mine")
    print(extract(dataset, dataset.table("test"), get_encoder("grey")).array.sum())
"""


class Installed:
    """A plugin with an encoder, installed editable: what is edited runs at the next start, under the same version."""

    def __init__(self, folder, home):
        self.package, self.home = folder / "greyplugin", home
        info = folder / "greyplugin-1.0.dist-info"
        for new in (self.package, info):
            new.mkdir(parents=True)
        for name, text in FILES.items():
            (self.package / name).write_text(text)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greyplugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[geobench]\ngrey = greyplugin.encoder\n")

    def edit(self, name, old, new):
        text = (self.package / name).read_text()
        assert old in text
        (self.package / name).write_text(text.replace(old, new))
        shutil.rmtree(self.package / "__pycache__", ignore_errors=True)  # an edit within the same second

    def run(self, code, *arguments):
        """Return what a new process prints."""
        environment = os.environ | {"PYTHONPATH": str(self.package.parent), "GEOBENCH_HOME": str(self.home)}
        command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def installed(tmp_path, own_home):
    return Installed(tmp_path / "site", own_home)


EDITS = {
    "a method": ("encoder.py", "flatten(2).mean(dim=2)", "flatten(2).amax(dim=2)"),
    "a constant of another module": ("sizes.py", "SIDE = 8", "SIDE = 1"),
    "a helper that a method imports": ("scaling.py", "values / 255", "values / 127.5"),
    "the version of the distribution": ("../greyplugin-1.0.dist-info/METADATA", "Version: 1.0", "Version: 1.1"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_of_a_plugin_encoder_changes_the_digest_of_its_code(installed, edit):
    before = installed.run(CODE)
    installed.edit(*edit)
    assert installed.run(CODE) != before


def test_comments_docstrings_formatting_and_unrelated_modules_do_not_change_it(installed):
    before = installed.run(CODE)
    installed.edit("encoder.py", '"""Mean brightness of the parts of an image."""', '"""Brightness."""')
    installed.edit("encoder.py", "        from .scaling", "        # to [0, 1]\n\n        from .scaling")
    installed.edit("sizes.py", "SIDE = 8", "SIDE    =   (8)  # pixels")
    installed.edit("model.py", "3", "4")
    assert installed.run(CODE) == before


def test_an_edit_while_a_process_runs_is_not_taken_for_the_code_that_it_runs(installed):
    before = installed.run(CODE)
    during = installed.run(CODE, f"{installed.package / 'encoder.py'}={ENCODER.replace('mean(dim=2)', 'amax(dim=2)')}")
    after = installed.run(CODE)
    assert len({before, during, after}) == 3


def test_features_are_extracted_again_when_a_plugin_encoder_was_edited(installed, photos):
    images, metadata = photos(4)
    add_dataset("mine", images, metadata, encoder="tiny")
    before = float(installed.run(EXTRACT))
    installed.edit("scaling.py", "values / 255", "values / 127.5")
    assert float(installed.run(EXTRACT)) == pytest.approx(2 * before)


def made(scale):
    """Return an encoder class from code without a file, as in a notebook."""
    space = {"__name__": "notebook"}
    exec(
        textwrap.dedent(f"""
        from geobench import Encoder

        def scaled(batch, by={scale}):
            return batch.flatten(1)[:, :3] * by

        class Cell(Encoder):
            name, dim = "cell", 3

            def load(self, device="cpu"):
                pass
            def describe(self):
                return "scaled"
            def weights_key(self):
                return "none"
            def preprocess(self, image):
                import torch
                return torch.ones(3, 2, 2)
            def encode_images(self, batch):
                return scaled(batch)
        """),
        space,
    )
    return space["Cell"]


def test_an_encoder_without_a_source_file_is_known_by_its_byte_code(mine):
    keys = {extract(mine, mine.table("test"), made(scale)()).key for scale in (1, 2, 1)}
    assert len(keys) == 2 and features_code(made(1)()) == features_code(made(1)())


@pytest.mark.parametrize("module", ["decoding", "augmentation"])
def test_geobenchs_own_way_from_a_file_to_pixels_is_part_of_the_digest(tiny_encoder, tmp_path, monkeypatch, module):
    before, found = features_code(tiny_encoder), source_code._file
    edited, name = tmp_path / "edited.py", f"geobench.images.{module}"
    source = found(name).read_text()
    monkeypatch.setattr(
        source_code, "LOADED_NS", time.time_ns() + 10**12
    )  # what follows is there when a process starts
    monkeypatch.setattr(source_code, "_file", lambda other: edited if other == name else found(other))
    edited.write_text(source + "# a comment\n")
    assert features_code(tiny_encoder) == before
    edited.write_text(source + "EXIF = False\n")
    assert features_code(tiny_encoder) != before


@pytest.fixture
def stale(mine, tiny_encoder, monkeypatch):
    """Features of ``mine`` are cached, and the encoder now gives others under the same key."""
    before = np.array(extract(mine, mine.table("test"), tiny_encoder).array)
    encode = type(tiny_encoder).encode_images
    monkeypatch.setattr(tiny_encoder, "encode_images", lambda batch: encode(tiny_encoder, batch) + 1)
    np.testing.assert_array_equal(extract(mine, mine.table("test"), tiny_encoder).array, before)
    return before


def test_force_extracts_again_and_a_process_that_reads_the_old_features_keeps_them(mine, stale, tiny_encoder):
    open_elsewhere = extract(mine, mine.table("test"), tiny_encoder)
    again = extract(mine, mine.table("test"), tiny_encoder, force=True)
    np.testing.assert_array_equal(again.array, stale + 1)
    np.testing.assert_array_equal(open_elsewhere.array, stale)  # it is mapped, not copied
    assert isinstance(open_elsewhere.array, np.memmap) and again.folder == open_elsewhere.folder
    np.testing.assert_array_equal(extract(mine, mine.table("test"), tiny_encoder).array, stale + 1)
    assert [path.name for path in again.folder.parent.iterdir() if path.is_dir()] == [again.key]
    assert not list(again.folder.glob(".*"))


def test_force_does_not_resume_what_an_older_extraction_left(mine, stale, tiny_encoder):
    folder = extract(mine, mine.table("test"), tiny_encoder).folder
    shutil.copytree(folder, folder.with_suffix(".partial"))  # complete, and stale
    np.testing.assert_array_equal(extract(mine, mine.table("test"), tiny_encoder, force=True).array, stale + 1)


@pytest.mark.parametrize("command", ["run", "train", "features"])
def test_the_commands_reach_cached_features_with_force(cli, photos, tiny_encoder, monkeypatch, own_home, command):
    images, metadata = photos(tiny_encoder.tile)
    add_dataset("mine", images, metadata, encoder="tiny")
    settings = {"min_images": 0, "epochs": 1, "batch_size": 2}
    specs = [train("classifier", "mine", seed=seed, settings=settings, workers=0).spec for seed in (0, 1)]
    commands = {
        "run": ["run", "--models", ",".join(specs), "--datasets", "mine"],
        "train": ["train", "knn", "--data", "mine", "--set", "k=2"],
        "features": ["features", "mine"],
    }
    cli(*commands[command])
    counted = []
    encode = type(tiny_encoder).encode_images
    monkeypatch.setattr(tiny_encoder, "encode_images", lambda b: counted.append(len(b)) or encode(tiny_encoder, b) + 1)
    before = mine_features(own_home)
    cli(*commands[command])
    assert not counted
    cli(*commands[command], "--force")
    assert len(counted) == 2  # once, for all models; and the first image among blank ones
    changed = [key for key, total in mine_features(own_home).items() if total != before[key]]
    assert len(changed) == 1


def mine_features(home):
    """Return the sum of the features in each folder of the cache."""
    return {path.parent.name: float(np.load(path).sum()) for path in home.glob("features/*/features.npy")}


# What decoded and encoded the images is updated, or edited between training and test

OLD = {"pillow": "10.0.0", "torch": "2.4.0"}
NEW = {"pillow": "13.0.0", "torch": "2.4.0", "timm": "1.0.0"}


@pytest.fixture
def libraries(monkeypatch):
    """Return a function that puts other libraries in the place of those that encode."""

    def install(versions):
        monkeypatch.setattr(encoding, "installed", lambda: versions)

    return install


@pytest.fixture
def exam(photos, tmp_path):
    """Two sets of photos: ``lessons`` to train on and ``exam`` to test on."""
    for seed, name in enumerate(("lessons", "exam")):
        add_dataset(name, *photos(8, tmp_path / name, seed=seed), encoder="tiny")


def measured(cli, spec):
    """Return what ``run`` prints and the newest result."""
    printed = cli("run", "--models", spec, "--datasets", "exam", "--workers", 0).stdout
    found, damaged = read_results(Path("results"))
    assert not damaged
    return printed, found[-1]


def test_a_result_states_the_libraries_that_made_its_features_and_not_those_of_the_day(exam, cli, libraries):
    libraries(OLD)
    cli("features", "exam")
    spec = train("knn", "lessons", workers=0).spec
    libraries(NEW)
    printed, result = measured(cli, spec)
    assert result.encoded_with == result.training_encoded_with == find_checkpoint(spec).encoded_with == OLD
    assert result.versions["pillow"] == version("pillow") and "encoded" not in printed


def test_features_without_such_a_statement_keep_their_place_and_are_not_doubted(exam, cli, libraries):
    spec = train("knn", "lessons", workers=0).spec
    cli("features", "exam")
    for about in files.home().glob("features/*/about.json"):
        values = json.loads(about.read_text())
        assert set(values.pop("versions")) >= {"pillow", "torch", "open_clip_torch", "timm"}
        about.write_text(json.dumps(values))  # as an earlier version left it
    printed, result = measured(cli, spec)
    assert result.encoded_with == {} and result.training_encoded_with["pillow"] == version("pillow")
    assert "encoded" not in printed


def test_an_extraction_that_went_on_after_an_update_states_both_versions(mine, tiny_encoder, monkeypatch):
    monkeypatch.setattr("geobench.features.shards.SHARD_ROWS", 4)
    states = iter([OLD, OLD, NEW])
    monkeypatch.setattr(encoding, "installed", lambda: next(states))
    assert extract(mine, mine.table("test"), tiny_encoder).versions == {
        "pillow": "10.0.0 and 13.0.0",
        "torch": "2.4.0",
        "timm": "none and 1.0.0",
    }


def test_a_record_of_before_that_does_not_state_them_is_read_under_its_key(make_result):
    path = make_result(encoded_with=OLD, training_encoded_with=OLD).save()
    values = json.loads(path.read_text())
    assert values.pop("encoded_with") == values.pop("training_encoded_with") == OLD
    path.write_text(json.dumps(values))
    result = load_result(path, predictions=True)
    assert (result.key, result.encoded_with, result.training_encoded_with) == (values["key"], {}, {})


def test_a_checkpoint_of_before_that_does_not_state_them_is_read(exam):
    found = train("knn", "lessons", workers=0)
    path = found.folder / "checkpoint.json"
    values = json.loads(path.read_text())
    assert values.pop("encoded_with")["pillow"] == version("pillow")
    del values["seal"]
    path.write_text(json.dumps(values | {"seal": files.digest(values)}))
    assert find_checkpoint(found.spec) == replace(found, encoded_with={})


def test_rows_whose_features_were_made_by_other_libraries_are_told(exam, cli, libraries):
    libraries(OLD)
    first = train("knn", "lessons", workers=0).spec
    assert "encoded" not in measured(cli, first)[0]
    libraries(NEW)
    second = train("knn", "lessons", seed=1, settings={"k": 2}, workers=0, force=True).spec
    for about in (files.home() / "features").glob("*/about.json"):
        if json.loads(about.read_text())["purpose"] == "test":
            shutil.rmtree(about.parent)
    printed, result = measured(cli, second)
    assert result.encoded_with == NEW and result.training_encoded_with == NEW
    assert "The test images" not in printed  # this model's photos and its training's were decoded alike
    (line,) = [line for line in report("table").splitlines() if "tiny: libraries differ among rows (" in line]
    assert f"pillow 10.0.0: {first}" in line and f"pillow 13.0.0: {second}" in line and "torch" not in line


def doubled(encoder):
    """Let another class, of the same name and with the same statements, encode the images."""

    class Edited(type(encoder)):
        def encode_images(self, batch):
            return super().encode_images(batch) * 2

    encoder.__class__ = Edited


def test_code_of_an_encoder_that_was_edited_between_training_and_test_is_told(exam, cli, tiny_encoder):
    spec = train("knn", "lessons", workers=0).spec
    printed, before = measured(cli, spec)
    assert "in training" not in printed
    doubled(tiny_encoder)
    printed, after = measured(cli, spec)
    then, now = before.encoder_code, after.encoder_code
    assert then != now == features_code(tiny_encoder) and after.training["encoder_code"] == then
    told = f"were not encoded as those of the training were: code of the encoder {now}, in training {then}."
    for text in (printed, report("table"), report("markdown"), report("html"), report("json"), report("csv")):
        assert told in text


def test_preprocessing_that_changed_between_training_and_test_is_told(exam, cli, tiny_encoder, monkeypatch):
    spec = train("knn", "lessons", workers=0).spec
    monkeypatch.setattr(tiny_encoder, "describe", lambda: "5×5 pixels")
    printed, _ = measured(cli, spec)
    assert (
        f"The test images of {spec} were not encoded as those of the training were: preprocessing 5×5 pixels, in "
        "training 4×4 pixels."
    ) in printed


def test_libraries_that_changed_between_training_and_test_are_told(exam, cli, libraries):
    libraries(OLD)
    spec = train("knn", "lessons", workers=0).spec
    libraries(NEW)
    printed, _ = measured(cli, spec)
    assert (
        f"The test images of {spec} were not encoded as those of the training were: libraries pillow 13.0.0, in "
        "training pillow 10.0.0."
    ) in printed
