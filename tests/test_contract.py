"""What every registered model and encoder must keep to, whoever wrote it."""

import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geobench import (
    EncoderError,
    FeatureError,
    Gallery,
    GeobenchError,
    Options,
    TestSet,
    UnknownNameError,
    evaluate,
    extract,
    get_dataset,
    get_encoder,
    get_gallery,
    get_model,
    train,
)
from geobench.data.registration import add_dataset
from geobench.evaluate import locate
from geobench.features.code import features_code
from geobench.plugins import registry
from geobench.settings import configure
from geobench_plugins.open_clip.weights_file import NO_WEIGHTS, published

MODELS = sorted(name for name, model in registry().models.items() if model.input != "photos")  # services: test_services
SMALL = {"batch_size": 64, "epochs": 2, "hidden_dim": 64, "queue_length": 64}
"""For a model that has such settings."""
TEST_IMAGES = 40


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def own_home(shared_home, tmp_path, monkeypatch):
    """Share features and checkpoints among the tests of this module: every model is trained once."""
    monkeypatch.setenv("GEOBENCH_HOME", str(shared_home))
    monkeypatch.chdir(tmp_path)


def trained(name, **options):
    """Return the checkpoint of the model ``name``, None where there is nothing to learn."""
    model = registry().models[name]
    if not model.trainable:
        return None
    settings = {f.name: SMALL[f.name] for f in fields(model.Config) if f.name in SMALL}
    return train(name, "bluemarble", encoder="tiny", limit=300, settings=settings, device="cpu", **options)


@pytest.fixture(params=MODELS)
def model(request):
    """Return each registered model, trained and loaded from its checkpoint."""
    checkpoint = trained(request.param)
    return get_model(checkpoint.spec if checkpoint else request.param, "cpu")


@pytest.fixture
def gallery(model):
    return get_gallery("land:500") if model.uses_gallery else None


def located(model, gallery, n=TEST_IMAGES, top_k=3, **options):
    """Return the predictions of ``model`` for the first ``n`` test crops of bluemarble."""
    return locate(model, TestSet.of(get_dataset("bluemarble"), n), gallery, Options(top_k=top_k, **options))


def test_a_model_answers_every_image_best_first_with_at_most_top_k(model, gallery):
    for top_k in (1, 3):
        predictions = located(model, gallery, top_k=top_k)
        assert predictions.coordinates.shape == (TEST_IMAGES, top_k, 2)
        assert predictions.scores.shape == (TEST_IMAGES, top_k)
        assert (np.diff(predictions.scores, axis=1) <= 0).all()
        assert not predictions.failed.any()


def test_the_first_of_three_answers_is_the_only_one_of_one(model, gallery):
    three, one = located(model, gallery, top_k=3), located(model, gallery, top_k=1)
    np.testing.assert_array_equal(three.coordinates[:, :1], one.coordinates)
    np.testing.assert_array_equal(three.scores[:, :1], one.scores)


def test_an_answer_does_not_depend_on_the_other_images(model, gallery):
    few, many = located(model, gallery, n=7), located(model, gallery)
    np.testing.assert_array_equal(few.coordinates, many.coordinates[:7])
    np.testing.assert_array_equal(few.scores, many.scores[:7])


def test_a_model_that_uses_a_gallery_answers_from_it_alone(model, gallery):
    answers = located(model, gallery).coordinates.reshape(-1, 2)
    if gallery is None:
        assert np.isfinite(answers).all()
    else:
        assert set(map(tuple, answers.tolist())) <= set(map(tuple, gallery.coordinates.tolist()))


def test_top_k_beyond_what_there_is_returns_what_there_is(model):
    gallery = get_gallery("land:4") if model.uses_gallery else None
    predictions = located(model, gallery, top_k=5000)
    assert 1 <= predictions.scores.shape[1] <= (4 if gallery else 300)


def test_a_gallery_of_one_place_is_the_answer_to_everything(model):
    if not model.uses_gallery:
        pytest.skip("uses none")
    gallery = get_gallery("land:1")
    assert (located(model, gallery).coordinates == gallery.coordinates[0]).all()


def test_a_model_trained_on_one_view_answers_from_ten(model, gallery):
    predictions = located(model, gallery, n=5, crops=10)
    assert predictions.coordinates.shape == (5, 3, 2)


def width_of(model):
    """Return the width of the features that a model was trained on, 0 for one that uses none."""
    if not model.checkpoint or not model.checkpoint.encoder:
        return 0
    encoder = get_encoder(model.checkpoint.encoder)
    encoder.load()
    return encoder.dim


def test_no_images_are_no_predictions(model, gallery):
    dim = width_of(model)
    if model.input == "images":
        predictions = model.predict([], gallery, 2)
    else:
        predictions = model.locate(np.empty((0, 1, dim), dtype=np.float32), gallery, 2)
    predictions.check(0, model.name)


def test_the_same_seed_gives_the_same_model_and_a_fresh_one_takes_its_state_back(model, gallery):
    if not model.trainable:
        pytest.skip("learns nothing")
    again = trained(model.name, force=True)
    assert again.weights == model.checkpoint.weights
    state = model.state()
    other = type(model)(model.config, "cpu")
    other.restore(state)
    assert other.state().keys() == state.keys()
    for name, array in other.state().items():
        np.testing.assert_array_equal(array, state[name])
        assert isinstance(array, np.ndarray) and array.dtype == state[name].dtype
    other.checkpoint = again
    np.testing.assert_array_equal(located(other, gallery).scores, located(model, gallery).scores)


def test_an_image_that_cannot_be_read_fails_and_the_others_keep_their_answers(model, gallery, photos):
    images, metadata = photos(5)
    whole = add_dataset(f"whole-{model.name}", images, metadata, encoder="tiny").dataset
    before = evaluate(model, whole, gallery)
    (images / "photo-1.jpg").write_bytes(b"no image")
    damaged = evaluate(model, whole, gallery)
    rows = [0, 2, 3, 4]
    assert damaged.n == 5
    assert damaged.failed == (0 if model.input == "none" else 1)
    np.testing.assert_array_equal(
        damaged.predictions.coordinates[rows], before.predictions.coordinates[rows], strict=True
    )
    for photo in images.iterdir():
        photo.write_bytes(b"no image")
    lost = evaluate(model, whole, gallery)
    assert lost.failed == (0 if model.input == "none" else 5)
    assert lost.failed == 0 or (lost.scores["acc_2500km"], round(lost.scores["median_km"])) == (0.0, 20015)


def test_location_embeddings_are_unit_rows_that_do_not_depend_on_each_other_or_are_not_there(model):
    places = get_gallery("land:50").coordinates
    try:
        embeddings = model.embed(places)
    except GeobenchError as error:
        assert str(error) == f"{model.name} has no location embeddings."
        return
    assert len(embeddings) == 50 and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.embed(places[:7]), embeddings[:7])
    assert not np.allclose(np.linalg.norm(model.embed(places, normalise=False), axis=1), 1)


def test_similarity_to_places_is_a_cosine_or_is_not_there(model):
    places = get_gallery("land:50").coordinates
    dataset = get_dataset("bluemarble")
    features = extract(dataset, dataset.table("test", 6), get_encoder("tiny"), crops=5).array  # read-only
    try:
        similarity = model.similarity(features, places)
    except GeobenchError as error:
        assert model.name in str(error)
        return
    assert similarity.shape == (6, 50) and np.abs(similarity).max() <= 1 + 1e-5
    best = model.locate(features, Gallery(places, "sphere"), 1).coordinates[:, 0]
    np.testing.assert_array_equal(best, places[similarity.argmax(axis=1)])


def test_features_of_one_view_need_no_axis_for_views(model, gallery):
    if model.input == "images":
        pytest.skip("predicts from images")
    dim = 0 if model.input == "none" else width_of(model)
    features = np.random.default_rng(0).normal(size=(3, dim)).astype(np.float32)
    flat, viewed = model.locate(features, gallery, 2), model.locate(features[:, None], gallery, 2)
    np.testing.assert_array_equal(flat.coordinates, viewed.coordinates)
    np.testing.assert_array_equal(flat.scores, viewed.scores)


@pytest.mark.parametrize("features", [np.zeros(3), np.zeros((2, 1, 3, 4)), "photo.jpg", np.array([["a"]])])
def test_features_of_another_shape_are_one_clear_line(model, gallery, features):
    if model.input == "images":
        pytest.skip("predicts from images")
    with pytest.raises(FeatureError, match=rf"{model.name} locates features \(n, views, d\), or \(n, d\) for one view"):
        model.locate(features, gallery)


def test_features_of_another_width_name_the_encoder_of_the_training(model, gallery):
    if model.input != "features":
        pytest.skip("uses no features")
    with pytest.raises(
        FeatureError, match=f"7-d, but {model.name} was trained on .*-d features of tiny\\S*; extract them"
    ):
        model.locate(np.zeros((2, 7), dtype=np.float32), gallery)


@pytest.mark.parametrize("name", MODELS)
def test_variants_and_fractions_are_settings_that_the_model_has(name):
    model = registry().models[name]
    for part in model.fraction_settings:
        assert 0 < part < 1
    for settings in (*model.variants.values(), *model.fraction_settings.values()):
        assert configure(model.Config, settings, name) != model.Config() or not settings


ARCHITECTURE = "ViT-S-32-alt"  # the smallest of open_clip's


@pytest.fixture(scope="session")
def weights(tmp_path_factory, random_clip):
    """Return a file of random weights for ``ARCHITECTURE``: the real thing needs a download."""
    return random_clip(tmp_path_factory.mktemp("weights") / "random.safetensors", ARCHITECTURE)


EMBEDDED = [name for name in sorted(registry().encoders) if "/" not in name and "*" not in name]


@pytest.fixture(params=[*EMBEDDED, "efficientnet_lite0@64", f"{ARCHITECTURE}/PATH"])
def encoder(request, weights):
    """Return each encoder that loads without a download."""
    return get_encoder(request.param.replace("PATH", str(weights)))


def pictures():
    """Return images of several shapes."""
    rng = np.random.default_rng(0)
    shapes = ((40, 60, 3), (300, 90, 3), (96, 96, 3), (1, 1, 3))
    return [Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)) for shape in shapes]


def test_an_encoder_makes_one_row_of_float32_for_an_image_of_any_shape(encoder):
    import torch

    def stated():
        return encoder.describe(), encoder.weights_key(), encoder.caveat(), features_code(encoder)

    before = described, key, caveat, _ = stated()
    assert described and "\n" not in described + caveat and key
    encoder.load("cpu")
    assert stated() == before  # the key of features is made before the weights are loaded
    inputs = torch.stack([encoder.preprocess(image) for image in pictures()])
    with torch.inference_mode():
        features, again = encoder.encode_images(inputs), encoder.encode_images(inputs)
        alone = encoder.encode_images(inputs[:1])
    assert features.shape == (4, encoder.dim) and features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert torch.equal(features, again)
    torch.testing.assert_close(features[:1], alone, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(features[0], features[1])


def test_an_encoder_without_a_text_tower_says_so():
    for name in EMBEDDED:
        with pytest.raises(EncoderError, match=f"{name} has no text tower"):
            get_encoder(name).encode_texts(["a street in Lyon"])


def test_open_clip_encodes_texts_into_the_space_of_the_images(weights):
    import open_clip
    import torch

    encoder = get_encoder(f"{ARCHITECTURE}/{weights}")
    encoder.load("cpu")
    texts = encoder.encode_texts(["a street in Lyon", "the sea"])
    assert texts.shape == (2, encoder.dim) and texts.dtype == torch.float32
    assert encoder.normalisation == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    assert not texts.requires_grad and not torch.allclose(texts[0], texts[1])


def test_open_clip_reads_the_file_that_is_named(weights, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    tensors["visual.proj"] = torch.zeros_like(tensors["visual.proj"])
    save_file(tensors, tmp_path / "zero.safetensors")
    (tmp_path / "zero.toml").write_text(weights.with_suffix(".toml").read_text())
    encoder = get_encoder(f"{ARCHITECTURE}/{tmp_path / 'zero.safetensors'}")
    assert encoder.weights_key() != get_encoder(f"{ARCHITECTURE}/{weights}").weights_key()
    encoder.load("cpu")
    with torch.inference_mode():
        assert not encoder.encode_images(encoder.preprocess(pictures()[0])[None]).any()


def test_a_weights_file_that_is_not_there_is_named_before_anything_is_built():
    encoder = get_encoder(f"{ARCHITECTURE}/gone/weights.pt")
    for use in (encoder.weights_key, encoder.load):
        with pytest.raises(EncoderError, match=r"there is no weights file gone/weights\.pt"):
            use()


def test_weights_of_another_architecture_are_refused_in_one_line(tmp_path, weights):
    import torch
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "other.toml").write_text(weights.with_suffix(".toml").read_text())
    with pytest.raises(EncoderError, match="are not available") as told:
        get_encoder(f"{ARCHITECTURE}/{tmp_path / 'other.safetensors'}").load("cpu")
    assert "\n" not in str(told.value)


class Trap:
    """Unpickled, it writes a file."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_a_weights_file_is_never_unpickled(tmp_path, weights):
    import torch

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    (tmp_path / "trap.toml").write_text(weights.with_suffix(".toml").read_text())
    with pytest.raises(EncoderError, match=r"trap\.pt holds more than tensors and is refused"):
        get_encoder(f"{ARCHITECTURE}/{tmp_path / 'trap.pt'}").load("cpu")
    assert not Path("sprung").exists()


def archived(tensors, path):
    """Write a TorchScript archive with ``tensors``, as OpenAI published its weights."""
    import torch

    root = torch.nn.Module()
    for name, tensor in tensors.items():
        *parents, last = name.split(".")
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, torch.nn.Module())
            module = getattr(module, parent)
        module.register_buffer(last, tensor)
    torch.jit.save(torch.jit.script(root), path)
    return path


@pytest.fixture
def publish(monkeypatch):
    """Return a function that makes a file the one that OpenAI published for ``ARCHITECTURE``: its address says so."""
    import open_clip

    def as_openais(path):
        url = f"https://openaipublic.example/{hashlib.sha256(path.read_bytes()).hexdigest()}/{path.name}"
        config = open_clip.get_pretrained_cfg("ViT-B-32", "openai") | {"url": url, "hf_hub": ""}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {"openai": config, "other": config})
        return path

    return as_openais


def test_the_archive_that_openai_published_is_read_with_what_it_needs_and_no_other_is_opened(
    weights, tmp_path, publish
):
    import open_clip
    import torch
    from safetensors.torch import load_file

    extra = {name: torch.tensor(1) for name in NO_WEIGHTS}
    path = archived({**load_file(weights), **extra}, tmp_path / "ViT-S-32.pt")
    path.with_suffix(".toml").write_text(weights.with_suffix(".toml").read_text())
    encoder = get_encoder(f"{ARCHITECTURE}/{path}")
    with pytest.raises(EncoderError, match=r"ViT-S-32\.pt is a TorchScript archive.*not the one that OpenAI published"):
        encoder.load("cpu")
    publish(path)
    encoder = get_encoder(f"{ARCHITECTURE}/{path}")
    assert "QuickGELU; as released for ViT-S-32-alt/openai" in encoder.describe()
    encoder.load("cpu")
    inputs = torch.stack([encoder.preprocess(image) for image in pictures()])
    judge = open_clip.create_model(ARCHITECTURE, pretrained=str(weights), force_quick_gelu=True).eval()
    with torch.inference_mode():
        assert torch.equal(encoder.encode_images(inputs), judge.encode_image(inputs))


def test_the_published_digest_is_in_openais_address():
    known = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
    assert known in published("ViT-L-14") and known in published("ViT-L-14-quickgelu")
    assert known not in published("ViT-B-32") and known not in published(ARCHITECTURE)


def test_openais_archive_in_the_folder_of_its_tag_is_the_tag_and_under_no_other_name(
    weights, tmp_path, monkeypatch, publish
):
    import torch
    from safetensors.torch import load_file

    monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path))
    folder = tmp_path / "weights" / ARCHITECTURE
    folder.mkdir(parents=True)
    path = publish(archived(load_file(weights), folder / "openai.pt"))
    encoder = get_encoder(f"{ARCHITECTURE}/openai")
    assert (encoder.weights_key(), encoder.caveat()) == ("openai", "")  # the same features as after a download
    encoder.check_weights("openai", "knn@1")
    encoder.load("cpu")
    assert torch.equal(encoder.model.visual.proj, load_file(weights)["visual.proj"])
    kinds = {type(module).__name__ for module in encoder.model.modules()}
    assert "QuickGELU" in kinds and "GELU" not in kinds
    path.rename(folder / "other.pt")
    with pytest.raises(EncoderError, match=r"other\.pt holds OpenAI's weights, not .*; rename it to openai\.pt"):
        get_encoder(f"{ARCHITECTURE}/other").describe()


def test_weights_that_cannot_be_downloaded_are_asked_for_by_their_place(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no half a minute of retries
    with pytest.raises(EncoderError, match=r"put a file with them at .*RN50/openai\.safetensors or") as told:
        get_encoder("RN50/openai").load("cpu")
    assert "OpenAI's own file as .pt" in str(told.value) and "\n" not in str(told.value)


def test_an_unknown_tag_or_architecture_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean laion2b_s34b_b79k"):
        get_encoder("ViT-B-32/laion2b_s34b_b79").load("cpu")
    with pytest.raises(UnknownNameError, match=r"did you mean .*ViT-B-32"):
        get_encoder("ViT-B-32x/openai").load("cpu")
    with pytest.raises(UnknownNameError, match="did you mean efficientnet_lite0"):
        get_encoder("efficientnet-lite0")
