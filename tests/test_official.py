"""The weights that GeoCLIP's authors released: read safely, recorded in full, equal to the authors' own code."""

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from geobench import CheckpointError, Gallery, GalleryError, get_dataset, get_gallery, get_model
from geobench.checkpoints import find_checkpoint
from geobench.gallery import choose_gallery
from geobench.plugins import registry
from geobench_plugins.geoclip import official
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.network import GeoClip

PEER = Path(__file__).parent / "benchmarks/peer.py"
CONFIG = {
    "format_version": 1,
    "model_type": "geoclip-geolocation",
    "backbone": {"repo_id": "openai/clip-vit-large-patch14", "revision": "0" * 40},
    "sigma": [1, 16, 256],
    "gallery_file": "places.csv",
}
PLACES = np.array([[48.86, 2.35], [-12.05, -77.04], [35.68, 139.69], [-33.87, 151.21], [64.15, -21.94], [1.35, 103.82]])


def load_peer():
    specification = importlib.util.spec_from_file_location("peer", PEER)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


peer = load_peer()
installed = pytest.mark.skipif(
    peer.find() is None, reason="the package geoclip is not installed: pip install --no-deps geoclip"
)


@pytest.fixture(scope="module")
def weights():
    """Weights of the released shape, drawn at random."""
    torch.manual_seed(0)
    return GeoClip(GeoClipConfig(), 768).state_dict()


@pytest.fixture(scope="module")
def as_in_package(weights, tmp_path_factory):
    """A folder of three .pth files."""
    folder = tmp_path_factory.mktemp("pth")
    for part, name in official.PTH.items():
        content = {key.removeprefix(f"{part}."): t for key, t in weights.items() if key.startswith(f"{part}.")}
        torch.save(content or weights[part], folder / name)
    return folder


@pytest.fixture(scope="module")
def as_on_hub(weights, tmp_path_factory):
    """A folder as on the Hugging Face Hub: config.json, model.safetensors and a gallery of six places."""
    folder = tmp_path_factory.mktemp("hub")
    save_file(
        {n.replace("image_head.", "image_encoder.mlp."): t for n, t in weights.items()}, folder / official.HUB_FILE
    )
    (folder / "config.json").write_text(json.dumps(CONFIG))
    np.savetxt(folder / "places.csv", PLACES, fmt="%.2f", delimiter=",", header="LAT,LON", comments="")
    return folder


@pytest.fixture
def copied(as_in_package, tmp_path):
    """A copy of the .pth files, to damage."""
    return Path(shutil.copytree(as_in_package, tmp_path / "weights"))


@pytest.fixture
def clip(monkeypatch, tiny_encoder):
    """Put an encoder of 768-d features in the place of CLIP."""
    tiny_encoder.name, tiny_encoder.dim = official.ENCODER, 768
    monkeypatch.setattr(tiny_encoder, "weights_key", lambda: "openai")
    monkeypatch.setattr(tiny_encoder, "encode_images", lambda batch: batch.flatten(1).repeat(1, 16))
    monkeypatch.setitem(registry().encoders, official.ENCODER, lambda name: tiny_encoder)


def test_both_kinds_of_folder_give_the_model_that_was_saved(weights, as_in_package, as_on_hub):
    models = [get_model(f"geoclip@{folder}", "cpu") for folder in (as_in_package, as_on_hub)]
    for model in models:
        restored = model.network.state_dict()
        assert restored.keys() == weights.keys()
        assert all(torch.equal(restored[name], weights[name]) for name in weights)
    assert models[0].checkpoint.weights == models[1].checkpoint.weights


def test_the_record_says_what_is_known_and_no_more(as_in_package):
    record = find_checkpoint(f"geoclip@{as_in_package}")
    assert (record.model, record.id, record.folder) == ("geoclip", str(as_in_package), as_in_package)
    assert (record.encoder, record.dataset, record.images, record.seed) == (official.ENCODER, "mp16", 4_723_695, None)
    known = {"projection_scale": 66.50336, "hidden_layers": 3, "head_relu": True, "sigma_min": 1.0, "sigma_max": 256.0}
    assert record.config | known == record.config
    assert not {"lr", "epochs", "queue_length", "batch_noise_m"} & set(record.config)
    assert find_checkpoint(record.spec) == record


def test_a_folder_may_be_named_from_where_one_is(as_in_package, monkeypatch):
    monkeypatch.chdir(as_in_package.parent)
    assert find_checkpoint(f"geoclip@{as_in_package.name}").folder == as_in_package


def test_a_pickle_that_would_run_code_is_refused_in_one_line_and_runs_nothing(copied, tmp_path, cli):
    class Malice:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    for content in (Malice(), {"0.weight": Malice()}):
        for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
            save(content, copied / official.PTH["image_head"])
            with warnings.catch_warnings(action="error"):
                result = cli("models", "show", f"geoclip@{copied}", exit_code=1)
            assert "image_encoder_mlp_weights.pth holds more than tensors and is refused" in result.stderr
            assert result.stderr.count("\n") == 1
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Malice()))  # it would have
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>not found</html>", "holds more than tensors|damaged or not a file of weights"),
        (b"", "damaged or not a file of weights"),
        (None, r"location_encoder_weights\.pth is missing; the released weights are"),
        ([1, 2], "holds more than tensors"),
        ({"0.weight": "text"}, "holds more than tensors"),
        (
            {"LocEnc0.capsule.0.b": torch.zeros(3)},
            "27 tensors do not fit, such as location_encoder.LocEnc0.capsule.0.b",
        ),
    ],
)
def test_a_file_that_holds_no_weights_is_named(copied, content, message):
    path = copied / official.PTH["location_encoder"]
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        get_model(f"geoclip@{copied}", "cpu")


def test_a_truncated_file_is_named(copied):
    path = copied / official.PTH["image_head"]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"image_encoder_mlp_weights\.pth is damaged"):
        get_model(f"geoclip@{copied}", "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "geoclip-location-encoder"}, "not a geoclip-geolocation release"),
        ({"format_version": 2}, "not a geoclip-geolocation release"),
        ({"sigma": [1, 16]}, r"with σ \[1.0, 16.0\]"),
        ({"backbone": {"repo_id": "other/clip"}}, "built on other/clip"),
        ({"backbone": None}, "does not describe a release"),
    ],
)
def test_another_kind_of_release_is_refused(as_on_hub, tmp_path, changes, message):
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / official.HUB_FILE).symlink_to(as_on_hub / official.HUB_FILE)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(CheckpointError, match=message):
        get_model(f"geoclip@{folder}", "cpu")


@pytest.mark.parametrize("spec", ["geoclip@nowhere", "geoclip@"])
def test_what_is_neither_checkpoint_nor_folder_gets_those_that_are_there(spec):
    with pytest.raises(CheckpointError, match=f"there is no checkpoint {spec}; existing ones: "):
        get_model(spec)


def test_a_path_that_leads_nowhere_is_named():
    with pytest.raises(CheckpointError, match=r"there is no folder \./nowhere"):
        get_model("geoclip@./nowhere")


def test_without_the_package_both_names_say_what_to_install(monkeypatch):
    monkeypatch.setattr(official, "package_folder", lambda: None)
    with pytest.raises(CheckpointError, match=r"pip install geoclip.*geoclip@/path/to/folder"):
        get_model("geoclip@official")
    with pytest.raises(GalleryError, match="pip install geoclip"):
        get_gallery("official:100k")


def test_training_coordinates_were_not_released_and_are_not_made_up(as_on_hub):
    model = get_model(f"geoclip@{as_on_hub}", "cpu")
    own = str(as_on_hub / "places.csv")
    for spec in ("100", "training:100"):
        with pytest.raises(GalleryError, match=f"was released without its training coordinates.*{own}"):
            choose_gallery(model, spec, "100k")
    gallery, note = choose_gallery(model, None, "500k")
    np.testing.assert_array_equal(gallery.coordinates, PLACES)
    assert "the default gallery 500k needs training coordinates" in note and own in note
    drawn, _ = choose_gallery(model, None, "land:10")
    assert drawn.hash == choose_gallery(model, "land:10", "500k")[0].hash
    with pytest.raises(GalleryError, match="came without its training coordinates"):
        model.checkpoint.coordinates  # noqa: B018


def test_run_and_predict_take_released_weights(as_on_hub, clip, cli, tmp_path):
    spec = f"geoclip@{as_on_hub}"
    ran = cli("run", "--models", spec, "--datasets", "bluemarble", "--limit", 5, "--device", "cpu")
    assert "places.csv." in ran.stderr and "lacks; using" in ran.stderr
    record = json.loads(next(Path("results").glob("*.json")).read_text())
    assert (record["trained_on"], record["encoder"], record["gallery_size"]) == ("mp16", official.ENCODER, 6)
    photo = tmp_path / "crop.png"
    get_dataset("bluemarble").read_image("+28.00000+84.00000", "test").save(photo)
    places = json.loads(cli("predict", photo, "--model", spec, "--json", "--device", "cpu").stdout)
    assert len(places) == 5 and [places[0]["latitude"], places[0]["longitude"]] in PLACES.tolist()


@installed
def test_the_package_is_found_without_running_its_code():
    code = (
        "import sys; from geobench import get_gallery; from geobench.checkpoints import find_checkpoint;"
        "c = find_checkpoint('geoclip@official'); g = get_gallery('official:100k');"
        "print(c.versions['geoclip'], c.own_gallery, len(g), g.distinct, g.spec, 'geoclip' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["official:100k", "100000", "94123", "official:100000", "False"]


@installed
def test_models_lists_the_released_weights(cli):
    rows = {row["model"]: row for row in json.loads(cli("models", "--json").stdout)}
    assert rows["geoclip"]["checkpoints"] == ["official"]


@installed
def test_a_part_of_the_released_gallery_is_a_draw_from_it():
    whole, part = get_gallery("official:100k"), get_gallery("official:1k", seed=1)
    assert len(part) == 1000 and set(map(tuple, part.coordinates)) <= set(map(tuple, whole.coordinates))
    with pytest.raises(GalleryError, match="has only 100,000 coordinates; ask for at most 100000"):
        get_gallery("official:100001")


@pytest.fixture(scope="module")
def pair():
    """Ours and theirs, with the released weights, less those of theirs that only cost time."""
    theirs = peer.geoclip().eval()
    peer.flush(theirs)
    return get_model("geoclip@official", "cpu"), theirs


def world(n):
    """Return ``n`` coordinates: poles, ±180°, equator, then random ones."""
    edges = [(90, 0), (-90, 0), (90, 180), (-90, -180), (0, 180), (0, -180), (0, 0), (45, 180), (45, -180), (0, 90)]
    rng = np.random.default_rng(0)
    return np.concatenate([edges, np.stack([rng.uniform(-90, 90, n), rng.uniform(-180, 180, n)], axis=1)])[:n]


def judge(theirs, coordinates):
    with torch.no_grad():
        return theirs.location_encoder(torch.tensor(coordinates, dtype=torch.float32)).numpy()


@installed
def test_location_embeddings_are_those_of_the_authors_code(pair):
    ours, theirs = pair
    embeddings = ours.embed(world(10_000), normalise=False)
    np.testing.assert_allclose(embeddings, judge(theirs, world(10_000)), rtol=0, atol=1e-5)


@installed
def test_weights_below_the_smallest_normal_number_change_nothing(pair):
    ours, untouched = pair[0], peer.geoclip().eval()
    assert peer.flush(peer.geoclip()) == 96_859
    np.testing.assert_allclose(ours.embed(world(300), normalise=False), judge(untouched, world(300)), rtol=0, atol=1e-7)


@installed
def test_the_image_head_is_that_of_the_authors_code(pair):
    ours, theirs = pair
    features = torch.randn(1000, 768, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.network.image_head(features), theirs.image_encoder(features), rtol=0, atol=1e-5)


def assert_same_answers(pair, gallery):
    ours, theirs = pair
    features = torch.randn(16, 768, generator=torch.Generator().manual_seed(1))
    predictions = ours.locate(features[:, None].numpy(), gallery, 5)
    with torch.no_grad():
        places = torch.tensor(gallery.coordinates, dtype=torch.float32)
        judged = theirs(features, places).softmax(dim=-1).topk(5, dim=1)
    np.testing.assert_allclose(predictions.scores, judged.values, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(predictions.coordinates.astype(np.float32), places[judged.indices].numpy())


@installed
def test_answers_are_those_of_the_authors_code(pair):
    assert_same_answers(pair, Gallery(get_gallery("official:100k").coordinates[::40], "a part"))


@installed
@pytest.mark.skipif(
    "GEOBENCH_SLOW_TESTS" not in os.environ, reason="embeds 100,000 places twice: GEOBENCH_SLOW_TESTS=1"
)
def test_answers_from_the_whole_released_gallery_are_those_of_the_authors_code(pair):
    gallery = get_gallery("official:100k")
    np.testing.assert_array_equal(gallery.coordinates.astype(np.float32), pair[1].gps_gallery.numpy())
    assert_same_answers(pair, gallery)
