"""Text queries: a CLIP model with random weights in a local file, GeoCLIP trained on its features of a few crops."""

import json

import numpy as np
import pytest
import torch

from geobench import EncoderError, get_dataset, get_gallery, get_model, train
from geobench.plugins import registry
from geobench.predict import predict, text_features
from geobench_plugins.open_clip import OpenClip

ARCHITECTURE = "ViT-S-32-alt"  # the smallest of open_clip.list_models()
SMALL = {
    "batch_size": 8,
    "queue_length": 16,
    "hidden_dim": 16,
    "fourier_rows": 8,
    "head_dim": 24,
    "dim": 12,
    "epochs": 2,
    "lr": 1e-2,
}
MODEL = ("--model", "geoclip@small")  # trained on a part, so the name alone does not stand for it
GALLERY = "land:40"


pytestmark = pytest.mark.usefixtures("one_thread")


class Kept(OpenClip):
    """The encoder, its weights read from the file once for all tests."""

    def load(self, device="cpu"):
        if not hasattr(self, "model"):
            super().load(device)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, random_clip):
    """The encoder, and a GEOBENCH_HOME with geoclip, kNN and the random model trained on its features."""
    home = tmp_path_factory.mktemp("clip")
    weights = random_clip(home / "weights.safetensors", ARCHITECTURE)
    encoder = Kept(f"{ARCHITECTURE}/{weights}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOBENCH_HOME", str(home))
        patch.setitem(registry().encoders, encoder.name, lambda name: encoder)
        for model, settings in (("geoclip", SMALL), ("knn", {}), ("random", {})):
            train(model, data="bluemarble", encoder=encoder.name, limit=16, settings=settings, workers=0, name="small")
    return encoder, home


@pytest.fixture
def clip(trained, monkeypatch):
    """The same encoder and home for a test; return the weights file."""
    encoder, home = trained
    monkeypatch.setenv("GEOBENCH_HOME", str(home))
    monkeypatch.setitem(registry().encoders, encoder.name, lambda name: encoder)
    return home / "weights.safetensors"


@pytest.fixture
def photo(tmp_path):
    """A photo of the Himalaya."""
    get_dataset("bluemarble").read_image("+28.00000+84.00000", "test").save(tmp_path / "himalaya.png")
    return tmp_path / "himalaya.png"


@pytest.fixture
def desert(clip):
    """The places of the gallery, their cosine similarity to "Desert", and its softmax.

    By open_clip's text tower, and h1, ReLU and h2 in numpy.
    """
    import open_clip

    tower = open_clip.create_model(ARCHITECTURE, pretrained=str(clip)).eval()
    with torch.inference_mode():
        features = tower.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(["Desert"]))[0].numpy().astype(np.float64)
    model = get_model("geoclip@small", "cpu")
    state = {name: array.astype(np.float64) for name, array in model.state().items()}
    hidden = np.maximum(state["image_head.0.weight"] @ features + state["image_head.0.bias"], 0)
    query = state["image_head.2.weight"] @ hidden + state["image_head.2.bias"]
    places = get_gallery(GALLERY).coordinates
    cosine = model.embed(places) @ (query / np.linalg.norm(query))
    logits = np.exp(cosine * np.exp(state["logit_scale"]))
    return places, cosine, logits / logits.sum()


def test_a_text_ranks_the_gallery_as_its_embedding_through_h1_and_h2_does(desert, cli):
    rows = json.loads(cli("predict", *MODEL, "--text", "Desert", "--gallery", GALLERY, "--top-k", 40, "--json").stdout)
    many = cli("predict", *MODEL, "--text", "Desert", "--gallery", GALLERY, "--top-k", 5000)
    said = f"the gallery {GALLERY} has only 40 points; returning 40 predictions instead of 5,000."
    assert said in many.output
    places, cosine, probabilities = desert
    order = np.argsort(-probabilities)
    assert [row["query"] for row in rows] == ["Desert"] * 40 and [row["rank"] for row in rows] == list(range(1, 41))
    assert [row["score"] for row in rows] == pytest.approx(probabilities[order].tolist(), rel=1e-3)
    top = np.array([(row["latitude"], row["longitude"]) for row in rows[:5]])
    assert np.allclose(top, places[order[:5]])

    model = get_model("geoclip@small", "cpu")  # what a map shows
    assert np.allclose(model.similarity(text_features(model, ["Desert"]), places)[0], cosine, atol=1e-5)


def test_texts_and_photos_may_be_mixed_and_answer_as_they_do_alone(clip, photo):
    model = get_model("geoclip@small", "cpu")

    def ask(*arguments, **options):
        return predict(model, *arguments, gallery=GALLERY, top_k=3, **options)

    mixed = ask([photo], texts=["Desert", "a fishing village"])
    assert list(mixed["query"].unique()) == [str(photo), "Desert", "a fishing village"]
    assert (mixed["error"] == "").all() and len(mixed) == 9
    for query, alone in ((str(photo), ask([photo])), ("a fishing village", ask(texts=["a fishing village"]))):
        assert mixed[mixed["query"] == query].reset_index(drop=True).equals(alone)
    assert mixed["score"].nunique() == 9


def test_photos_and_texts_share_a_map(clip, photo, cli, tmp_path):
    cli("predict", *MODEL, photo, "--text", "Desert", "--gallery", GALLERY, "--map", tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert "himalaya.png" in drawn and "“Desert”" in drawn and drawn.count(">cosine similarity<") == 2


def test_a_photo_that_cannot_be_read_does_not_keep_a_text_from_its_answer(clip, cli, tmp_path):
    done = cli(
        "predict", *MODEL, tmp_path / "none.jpg", "--text", "Desert", "--gallery", GALLERY, "--json", exit_code=1
    )
    assert "none.jpg: there is no such file" in done.stderr
    assert {row["query"] for row in json.loads(done.stdout)} == {"Desert"}


def test_a_text_asked_twice_is_answered_once(clip, cli):
    rows = json.loads(cli("predict", *MODEL, "--text", "x", "--text", "x", "--gallery", GALLERY, "--json").stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]


def test_other_models_on_these_features_answer_texts_too(clip, cli):
    rows = json.loads(cli("predict", "--model", "knn@small", "--text", "Desert", "--gallery", GALLERY, "--json").stdout)
    assert rows[0]["query"] == "Desert"


def test_a_model_that_looks_at_no_features_says_that_it_answers_no_texts(clip, cli):
    done = cli("predict", "--model", "random@small", "--text", "Desert", exit_code=1)
    assert done.stderr.splitlines()[-1].startswith("Error: random does not use the features of an encoder")


def test_an_encoder_without_a_text_tower_says_so_in_one_line(cli):
    train("geoclip", data="bluemarble", limit=16, settings=SMALL, workers=0, name="small")
    done = cli("predict", *MODEL, "--text", "Desert", exit_code=1)
    assert done.stderr.splitlines()[-1] == (
        "Error: the encoder efficientnet_lite0 has no text tower; use a CLIP model such as ViT-L-14/openai."
    )


def test_other_weights_than_those_of_the_training_are_refused(clip):
    model = get_model("geoclip@small", "cpu")
    original = clip.read_bytes()
    try:
        clip.write_bytes(original + b" ")
        with pytest.raises(EncoderError, match="with other weights"):
            predict(model, gallery=GALLERY, texts=["Desert"])
    finally:
        clip.write_bytes(original)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "give at least one PHOTO or --text"), (("--text", "  "), "a --text is empty")],
)
def test_nothing_to_look_for_is_wrong_usage(cli, arguments, message):
    assert message in cli("predict", *MODEL, *arguments, exit_code=2).stderr
