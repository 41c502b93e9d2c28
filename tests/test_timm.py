"""Models of timm as encoders: random, local and released weights, tokens, and a model that trains one from scratch."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from geobench import EncoderError, UnknownNameError, evaluate, get_encoder, get_model, train

pytestmark = pytest.mark.usefixtures("one_thread")
RESNET, VIT, SWIN = (
    "timm/resnet10t/random@64",
    "timm/vit_tiny_patch16_224/random@64",
    "timm/swin_tiny_patch4_window7_224/random",
)


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))


@pytest.mark.parametrize(("name", "width", "tokens"), [(RESNET, 512, 4), (VIT, 192, 16), (SWIN, 768, 49)])
def test_features_and_tokens_are_those_of_the_network(name, width, tokens, image):
    encoder = get_encoder(name)
    encoder.load()
    pixels = encoder.preprocess(image)[None]
    with torch.no_grad():
        features, found = encoder.encode_images(pixels), encoder.encode_tokens(pixels)
        torch.testing.assert_close(features, encoder.network(pixels))
    assert features.shape == (1, width) and encoder.dim == width
    assert found.shape == (1, tokens, width)
    of_tokens = get_encoder(f"{name}:tokens")
    of_tokens.load()
    assert (of_tokens.tokens, of_tokens.dim) == (tokens, tokens * width)


def test_random_weights_are_the_same_for_everybody_and_take_nothing_from_the_random_state(image):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, again = get_encoder(RESNET), get_encoder(RESNET)
    first.load()
    assert torch.equal(torch.rand(2), expected)
    again.load()
    pixels = first.preprocess(image)[None]
    with torch.no_grad():
        assert torch.equal(first.encode_images(pixels), again.encode_images(pixels))
    assert "random" in first.caveat()


def test_preprocessing_is_what_timm_states(image):
    encoder = get_encoder("timm/vit_tiny_patch16_224/random")
    data = timm.data.resolve_data_config({}, model=timm.create_model("vit_tiny_patch16_224"))
    expected = timm.data.create_transform(**data)(image)
    torch.testing.assert_close(encoder.preprocess(image), expected)
    assert encoder.normalisation == (tuple(data["mean"]), tuple(data["std"]))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_from_a_local_file_without_its_classifier(suffix, tmp_path, image):
    torch.manual_seed(1)
    network = timm.create_model("resnet10t", num_classes=5).eval()
    path = tmp_path / f"w{suffix}"
    save_file(network.state_dict(), path) if suffix == ".safetensors" else torch.save(network.state_dict(), path)
    encoder = get_encoder(f"timm/resnet10t/{path}@64")
    encoder.load()
    pixels = encoder.preprocess(image)[None]
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(encoder.encode_images(pixels), expected)
    key = encoder.weights_key()
    save_file({**network.state_dict(), "bn1.bias": torch.ones(24)}, tmp_path / "other.safetensors")
    assert get_encoder(f"timm/resnet10t/{tmp_path / 'other.safetensors'}").weights_key() != key


def test_what_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no half a minute of retries
    with pytest.raises(UnknownNameError, match="unknown model of timm 'resnet10x'"):
        get_encoder("timm/resnet10x/random").describe()
    with pytest.raises(EncoderError, match=r"there is no weights file .*none\.pth"):
        get_encoder(f"timm/resnet10t/{tmp_path}/none.pth").check()
    other = timm.create_model("resnet18")
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match="it holds weights of another model than resnet10t"):
        get_encoder(f"timm/resnet10t/{tmp_path / 'w.safetensors'}").load()
    with pytest.raises(EncoderError, match=r"the weights of timm/\S+ are not available .*timm/resnet10t\.c3_in1k/PATH"):
        get_encoder("timm/resnet10t.c3_in1k").load()


def test_a_network_is_trained_from_scratch_and_tested_with_what_it_learnt():
    settings = {"min_images": 1, "max_images": 20, "batch_size": 16, "epochs": 1, "backbone": "whole", "lr": 1e-3}
    checkpoint = train("planet", encoder=RESNET, limit=48, settings=settings, device="cpu", workers=0)
    result = evaluate(get_model(checkpoint.spec), "bluemarble", limit=8)
    assert result.failed == 0
    assert result.encoder.startswith(f"{RESNET} (tuned ")
    assert "random" in result.encoder_caveat
