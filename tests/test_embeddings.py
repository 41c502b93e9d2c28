"""Location embeddings for other tasks: from a CSV file to an array, and directly from a model."""

import doctest
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from geobench import GeobenchError, Model, PluginError, get_model, search
from geobench.checkpoints import Checkpoint
from geobench.embed import write_embeddings
from geobench.geo import sample_sphere
from geobench.provenance import weights_digest
from geobench_plugins.geoclip import GeoClipModel
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.network import GeoClip

SMALL = {"hidden_dim": 32, "head_dim": 16, "dim": 24, "fourier_rows": 16}
PLACES = sample_sphere(700, np.random.default_rng(0))


@pytest.fixture
def geoclip():
    """A small untrained GeoCLIP, saved as geoclip@small."""
    torch.manual_seed(0)
    model = GeoClipModel(GeoClipConfig(**SMALL))
    model.network = GeoClip(model.config, 8).eval()
    about = dict.fromkeys(("variant", "dataset", "encoder", "encoder_weights", "created", "device"), "x")
    numbers = dict.fromkeys(("seed", "images", "unreadable", "crops", "limit", "seconds"), 0)
    empty = {"augmentation": {}, "versions": {}}
    weights = weights_digest(model.state())
    checkpoint = Checkpoint(model="geoclip", id="small", config=SMALL, weights=weights, **about, **numbers, **empty)
    checkpoint.save(model.state(), PLACES)
    return get_model("geoclip@small", "cpu")


@pytest.fixture
def places(tmp_path):
    path = tmp_path / "places.csv"
    np.savetxt(path, PLACES, delimiter=",", header="lat,lon", comments="", fmt="%.17g")
    return path


def test_an_embedding_does_not_depend_on_the_other_rows(geoclip):
    together = geoclip.embed(PLACES)
    apart = np.concatenate([geoclip.embed(PLACES[start : start + 333]) for start in range(0, 700, 333)])
    np.testing.assert_array_equal(together, apart)
    assert together.dtype == np.float32 and together.shape == (700, 24)


def test_embeddings_have_unit_length_unless_asked_otherwise(geoclip):
    unit, raw = geoclip.embed(PLACES), geoclip.embed(PLACES, normalise=False)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)
    assert np.linalg.norm(raw, axis=1).std() > 1e-4


def test_the_command_writes_what_the_model_returns(geoclip, places, cli, monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 128)
    for flag, normalise in (("--normalise", True), ("--no-normalise", False)):
        done = cli("embed", places, "--model", "geoclip@small", "--output", "new/out.npy", flag, "--device", "cpu")
        assert "wrote new/out.npy: 700 × 24, by geoclip@small" in done.stderr
        written = np.load("new/out.npy")
        assert written.dtype == np.float32
        np.testing.assert_array_equal(written, geoclip.embed(PLACES, normalise=normalise))


def test_invalid_coordinates_leave_no_file(geoclip, tmp_path, cli):
    (tmp_path / "places.csv").write_text("lat,lon\n1,2\n91,0\n")
    done = cli("embed", tmp_path / "places.csv", "--model", "geoclip@small", "--output", "out.npy", exit_code=1)
    assert "line 3" in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("work/*"))
    with pytest.raises(GeobenchError, match="out of range"):
        geoclip.embed([[91, 0]])


def test_a_model_without_location_embeddings_says_which_models_have_them(places, register, cli):
    class Plain(Model):
        name = "plain"
        trainable = False

    register("model", Plain)
    done = cli("embed", places, "--model", "plain", "--output", "out.npy", exit_code=1)
    assert "plain has no location embeddings; models that do: geoclip" in done.stderr
    with pytest.raises(GeobenchError, match="plain has no location embeddings"):
        get_model("plain").embed(PLACES)


def test_embeddings_of_the_wrong_shape_are_an_error_of_the_plugin(places, register, tmp_path):
    class Short(Model):
        name = "short"
        trainable = False

        def embed(self, coordinates, *, normalise=True):
            return np.zeros((len(coordinates) // 2 + 1, 4), dtype=np.float32)

    register("model", Short)
    with pytest.raises(PluginError, match=r"the model short \(test-distribution 1.0\) failed to embed"):
        write_embeddings(get_model("short"), places, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.skipif(not all(map(find_spec, ("geoclip", "sklearn"))), reason="geoclip or scikit-learn is not installed")
def test_the_documented_example_runs_and_prints_what_it_says():
    document = Path(__file__).parents[1] / "docs/location-embeddings.md"
    failed, tried = doctest.testfile(str(document), module_relative=False, encoding="utf-8")
    assert failed == 0 and tried > 5


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_embedded(cli, geoclip, places):
    before = places.read_bytes()
    assert (
        "embeddings are written in numpy's .npy format"
        in cli("embed", places, "--model", "geoclip@small", "--output", places, exit_code=1).output
    )
    assert places.read_bytes() == before
    output = cli("embed", places, "--model", "geoclip@small", "--output", f"{places}/x.npy", exit_code=2).output
    assert f"{places}/x.npy cannot be written; choose a file in a folder that you have write access to" in output
    assert (
        "knn has no location embeddings; models that do: geoclip"
        in cli("embed", places, "--model", "knn", "--output", "x.npy", exit_code=1).output
    )
