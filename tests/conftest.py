"""Tiny fakes. Every test has a GEOBENCH_HOME and a working folder of its own, and leaves nothing outside."""

import csv
import os
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import settings
from PIL import Image

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes: threads of several tests wait for each other

from geobench import Encoder, Predictions, Result, get_metrics
from geobench.cli import main
from geobench.metrics import ScoredImages, scores_of
from geobench.plugins import GROUP, Plugin, load, registry

TINY = "tiny"

CLIP = """mean = [0.48145466, 0.4578275, 0.40821073]
std = [0.26862954, 0.26130258, 0.27577711]
interpolation = "bicubic"
resize_mode = "shortest"
quick_gelu = false
"""
"""How images are prepared for CLIP, as it is stated next to weights."""

# The same examples at every run.
settings.register_profile("geobench", deadline=None, database=None, derandomize=True, max_examples=60)
settings.load_profile("geobench")


class TinyEncoder(Encoder):
    """A real, if small, encoder: the image at 4×4 pixels, centred on its mean; 48-d."""

    name = TINY
    dim = 48

    def load(self, device="cpu"):
        self.device = device

    def describe(self):
        return "4×4 pixels"

    def weights_key(self):
        return "tiny-1"

    def preprocess(self, image):
        import torch

        small = image.resize((4, 4), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(small, dtype=np.float32)).permute(2, 0, 1) / 255

    def encode_images(self, batch):
        flat = batch.flatten(1)
        return flat - flat.mean(dim=1, keepdim=True)

    def encode_tokens(self, batch):
        return (batch - batch.mean(dim=(1, 2, 3), keepdim=True)).flatten(2).transpose(1, 2)  # (n, 16, 3)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Give the test a GEOBENCH_HOME and an empty working folder; return the home."""
    home = tmp_path / "home"
    monkeypatch.setenv("GEOBENCH_HOME", str(home))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return home


@pytest.fixture(autouse=True)
def tiny_encoder(monkeypatch):
    """Register the encoder ``tiny`` beside the real ones; return it."""
    encoder = TinyEncoder()
    monkeypatch.setitem(registry().encoders, TINY, lambda name: encoder)
    return encoder


@pytest.fixture(autouse=True)
def few_crops(monkeypatch):
    """Give ``bluemarble`` 20 training crops: one on 200 of them is then a full training, for which a name stands."""
    dataset = registry().datasets["bluemarble"]
    splits = {**dataset.splits, "train": {**dataset.splits["train"], "count": 20}}
    monkeypatch.setitem(registry().datasets, "bluemarble", replace(dataset, splits=splits))


@pytest.fixture(scope="module")
def one_thread():
    """Compute on one core: on a busy machine threads that wait for each other take ten times as long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def register(monkeypatch):
    """Return a function that registers a model class or a data set for this test."""

    def add(kind, thing):
        names = {"model": registry().models, "dataset": registry().datasets}[kind]
        monkeypatch.setitem(names, thing.name, thing)
        owner = Plugin("test", "test-distribution", "1.0", "tests")
        monkeypatch.setitem(registry().owners, (kind, thing.name), owner)

    return add


@pytest.fixture
def cli():
    """Return a function that runs ``geobench`` with arguments and returns click's result."""
    runner = CliRunner()

    def run(*arguments, exit_code=0):
        result = runner.invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == exit_code, result.output
        return result

    return run


@pytest.fixture(scope="session")
def random_clip():
    """Return a function that writes random weights of an architecture of open_clip to a file, with their statement."""

    def make(path, architecture="ViT-S-32-alt", statement=None):  # the smallest; open_clip knows no weights of it
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(open_clip.create_model(architecture).state_dict(), path)
        path.with_suffix(".toml").write_text(CLIP if statement is None else statement)
        return path

    return make


@pytest.fixture
def photos(tmp_path):
    """Return a function that makes a folder of images with a metadata.csv beside it: (images folder, metadata)."""

    def make(n=6, folder=None, seed=0):
        folder = Path(folder) if folder else tmp_path / "photos"
        images = folder / "images"
        images.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        rows = []
        for number in range(n):
            name = f"photo-{number}.jpg"
            Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(images / name)
            rows.append((name, f"{rng.uniform(-60, 70):.5f}", f"{rng.uniform(-180, 180):.5f}"))
        with (folder / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "latitude", "longitude"), *rows])
        return images, folder / "metadata.csv"

    return make


@pytest.fixture
def metrics_plugin(tmp_path, monkeypatch):
    """Return a function that loads the code of a plugin as if it were installed, and registers its metrics."""

    def load_code(code, name="their_metrics"):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        loaded = load([*entry_points(group=GROUP), EntryPoint(name, name, GROUP)])
        (plugin,) = (plugin for plugin in loaded.plugins if plugin.name == name)
        monkeypatch.setattr(registry(), "metrics", loaded.metrics)
        return plugin

    return load_code


def scores(predictions, truth, dataset=None):
    """Return the scores of ``predictions`` by the metrics of ``dataset``."""
    return scores_of(ScoredImages(predictions.errors_km(truth), truth, predictions), get_metrics(dataset))


@pytest.fixture
def make_result():
    """Return a function that makes a result by hand: all photos truly at 0, 10, placed at (latitude, 10) or failed.

    With a ``key`` it is a result of the last release, whose records state their keys.
    """

    def make(latitudes=(0.0, 1.0, 10.0, None), key="", longitude=10.0, **changes):
        n = len(latitudes)
        places = [(np.nan, np.nan) if latitude is None else (latitude, longitude) for latitude in latitudes]
        failed = np.array([latitude is None for latitude in latitudes])
        predictions = Predictions(np.array(places)[:, None], np.where(failed, np.nan, 0.5)[:, None], failed)
        truth = np.tile([0.0, longitude], (n, 1))
        values = {
            "dataset": "mine",
            "images_key": "0a1b2c3d4e5f6a7b",
            "table_hash": "7b6a5f4e3d2c1b0a",
            "model": "knn",
            "code": {},
            "checkpoint": "mine-s0-0a0b0c0d",
            "weights": "0123456789abcdef",
            "gallery": "training:3",
            "seed": 0,
            "n": n,
            "failed": int(failed.sum()),
            "expected": n,
            "scores": scores(predictions, truth, changes.get("dataset", "mine")),
            "crops": 1,
            "top_k": 1,
            "encoder": TINY,
            "encoder_weights": "tiny-1",
            "preprocessing": "4×4 pixels",
            "precision": "float32",
            "images": "My photos",
            "trained_on": "mine",
            "training_images": 3,
            "config": {"k": 10, "sigma_km": 0.1},
            "gallery_size": 3,
            "gallery_distinct": 3,
            "gallery_hash": "fedcba9876543210",
            "created": "2024-05-06T07:08:09+00:00",
            "versions": {"geobench": "0.1.0"},
            "device": "cpu",
            "seconds": 0.25,
            "peak_memory_mb": 100.0,
            "stated_key": key,
        }
        names = np.array([f"photo-{number}.jpg" for number in range(n)], dtype=object)
        return Result(**(values | changes), predictions=predictions, names=names, truth=truth)

    return make


def pytest_collection_modifyitems(items):
    """Note on each case of the reliability suite what it is, for the counts at the end."""
    for item in items:
        marker = item.get_closest_marker("reliability")
        if marker is not None and hasattr(item, "callspec"):
            item.user_properties.append(("reliability", marker.args[0]))


def pytest_terminal_summary(terminalreporter):
    """Count the cases of the reliability suite that end as expected."""
    ends = {
        (name, report.nodeid, outcome)
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(outcome, ())
        for kind, name in getattr(report, "user_properties", ())
        if kind == "reliability"
    }
    cases = Counter(name for name, _ in {(name, node) for name, node, _ in ends})
    bad = Counter(name for name, _ in {(name, node) for name, node, outcome in ends if outcome != "passed"})
    if cases:
        counts = ", ".join(f"{name} {n - bad[name]} of {n}" for name, n in sorted(cases.items()))
        terminalreporter.write_line(f"end as expected: {counts}")
