"""From a photo's file to five places and their probabilities, as the package ``geoclip`` itself does it.

Both sides have the weights that GeoCLIP's authors released, and one CLIP ViT-L/14 with random weights in the place of
OpenAI's: the same tensors, under open_clip's names for us and under those of ``transformers`` for the package. It has
two blocks in place of 24; all of them with GEOBENCH_SLOW_TESTS=1.
"""

import os
from functools import reduce

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import save_file

from geobench import Options, TestSet, get_encoder, get_gallery, get_model
from geobench.evaluate import locate
from geobench.predict import PHOTOS, predict

BLOCKS = [
    2,
    pytest.param(
        24,
        marks=pytest.mark.skipif(
            "GEOBENCH_SLOW_TESTS" not in os.environ, reason="builds CLIP ViT-L/14 twice: GEOBENCH_SLOW_TESTS=1"
        ),
    ),
]
TEXT = {"context_length": 8, "vocab_size": 64, "width": 768, "heads": 12, "layers": 1}  # not used
SIZES = {
    "landscape": (640, 480),
    "portrait": (480, 640),
    "square": (500, 500),
    "as large as the input": (224, 224),
    "smaller than the input": (100, 80),
    "tiny": (9, 7),
    "a remainder of one": (451, 448),
    "an odd remainder after scaling": (773, 512),
    "wide": (2000, 300),
    "tall": (211, 1000),
    "large": (3000, 2000),
}


def random_tower(blocks):
    """Return random weights of the image tower under open_clip's names, large enough to tell photos apart."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape, by):
        return torch.randn(*shape, generator=generator) * by

    width, dim = 1024, 768
    tensors = {
        "class_embedding": normal(width, by=0.1),
        "positional_embedding": normal(257, width, by=0.1),
        "conv1.weight": normal(width, 3, 14, 14, by=588**-0.5),
        "proj": normal(width, dim, by=width**-0.5),
    }
    for name in ("ln_pre", "ln_post", *(f"transformer.resblocks.{i}.ln_{n}" for i in range(blocks) for n in (1, 2))):
        tensors |= {f"{name}.weight": 1 + normal(width, by=0.1), f"{name}.bias": normal(width, by=0.1)}
    for i in range(blocks):
        block = f"transformer.resblocks.{i}."
        for name, out, into in (
            ("attn.in_proj_", 3 * width, width),
            ("attn.out_proj.", width, width),
            ("mlp.c_fc.", 4 * width, width),
            ("mlp.c_proj.", width, 4 * width),
        ):
            tensors[f"{block}{name}weight"] = normal(out, into, by=into**-0.5)
            tensors[f"{block}{name}bias"] = normal(out, by=0.1)
    return tensors


def as_in_transformers(tensors):
    """Return the weights under the names of ``transformers.CLIPModel``."""
    renamed = {
        "class_embedding": "embeddings.class_embedding",
        "positional_embedding": "embeddings.position_embedding.weight",
        "conv1": "embeddings.patch_embedding",
        "ln_pre": "pre_layrnorm",
        "ln_post": "post_layernorm",
        "transformer.resblocks": "encoder.layers",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "c_fc": "fc1",
        "c_proj": "fc2",
    }
    found = {"visual_projection.weight": tensors["proj"].T.contiguous()}
    for name, tensor in tensors.items():
        theirs = f"vision_model.{reduce(lambda n, pair: n.replace(*pair), renamed.items(), name)}"
        if "attn.in_proj_" in name:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[theirs.replace("attn.in_proj_", f"self_attn.{part}_proj.")] = rows.contiguous()
        elif name != "proj":
            found[theirs] = tensor
    return found


def packages(tower, blocks, folder):
    """Return the package's model, with ``tower`` as its CLIP, which is read from ``folder`` after it was written."""
    from geoclip import GeoCLIP
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = {"hidden_size": 768, "num_hidden_layers": 1, "projection_dim": 768, "vocab_size": 64}
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "patch_size": 14}
    vision |= {"num_hidden_layers": blocks, "projection_dim": 768}
    clip = CLIPModel(CLIPConfig(projection_dim=768, text_config=text, vision_config=vision))
    unmatched = clip.load_state_dict(as_in_transformers(tower), strict=False)
    assert not unmatched.unexpected_keys and not [n for n in unmatched.missing_keys if n.startswith("vis")]
    clip.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    model = GeoCLIP(clip_path=str(folder)).eval()
    with torch.no_grad():
        for parameter in model.location_encoder.parameters():  # numbers that only cost time, see test_official.py
            parameter[parameter.abs() < 2.0**-126] = 0
    return model


class Pair:
    """``geoclip@official`` and the package, with the same CLIP and the same gallery: every 200th released place."""

    def __init__(self, blocks, folder):
        tower = random_tower(blocks)
        self.home, self.theirs = folder / "home", packages(tower, blocks, folder)
        places = get_gallery("official:100k").coordinates[::200]
        self.theirs.gps_gallery = torch.tensor(places, dtype=torch.float32)
        self.gallery = str(folder / "places.csv")
        np.savetxt(self.gallery, places, fmt="%.8f", delimiter=",", header="latitude,longitude", comments="")
        file = self.home / "weights/ViT-L-14/openai.safetensors"
        file.parent.mkdir(parents=True)
        tensors = open_clip.create_model("ViT-L-14").state_dict() | {f"visual.{n}": t for n, t in tower.items()}
        save_file(tensors, file)
        file.with_suffix(".toml").write_text('tag = "openai"\n')
        self.ours = get_model("geoclip@official", "cpu")

    def our_answers(self, photos):
        """Return five places (n, 5, 2) and their probabilities (n, 5), as ``geobench predict`` finds them."""
        rows = predict(self.ours, photos, self.gallery, 5, distinct=False)
        assert list(rows["query"][::5]) == list(map(str, photos)) and not rows["error"].any()
        return (
            rows[["latitude", "longitude"]].to_numpy().reshape(len(photos), 5, 2),
            rows["score"].to_numpy().reshape(len(photos), 5),
        )

    def their_answers(self, photos):
        """Return the same by the package's ``predict``."""
        places, probabilities = zip(*(self.theirs.predict(str(photo), 5) for photo in photos), strict=True)
        return torch.stack(places).numpy(), torch.stack(probabilities).numpy()


@pytest.fixture(scope="module", params=BLOCKS)
def pair(request, tmp_path_factory):
    pytest.importorskip("geoclip", reason="the package geoclip is not installed, with what it depends on")
    config = open_clip.get_model_config("ViT-L-14") | {"text_cfg": TEXT}
    config["vision_cfg"]["layers"] = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-L-14", config)
        yield Pair(request.param, tmp_path_factory.mktemp("pair"))


@pytest.fixture(autouse=True)
def own_home(pair, tmp_path, monkeypatch):
    """Use the home with the weights."""
    monkeypatch.setenv("GEOBENCH_HOME", str(pair.home))
    monkeypatch.chdir(tmp_path)


def scene(size, seed):
    """Return a photo of soft patches of colour and grain.

    The seeds in use give places whose probabilities are further apart than what is tolerated, so that order is certain.
    """
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 20, (size[1], size[0], 1))
    return Image.fromarray((np.asarray(patches) + grain).clip(0, 255).astype(np.uint8))


def saved(image, path, **options):
    image.save(path, quality=92, **options)
    return path


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=1e-4)  # theirs are float32
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-4)


def test_a_photo_gets_the_five_places_and_probabilities_that_the_package_gives_it(pair, tmp_path):
    photos = [saved(scene(size, seed), tmp_path / f"{seed}.jpg") for seed, size in enumerate(SIZES.values(), 100)]
    ours, theirs = pair.our_answers(photos), pair.their_answers(photos)
    assert_same(ours, theirs)
    assert len(np.unique(theirs[0][:, 0], axis=0)) >= 4  # first places: the photos are told apart
    assert (theirs[1][:, 0] > 10 / 500).all()  # ten times what chance gives each of the places


def test_a_photo_from_a_turned_camera_is_seen_upright_here_and_as_stored_by_the_package(pair, tmp_path):
    photos = {"turned": [], "stored": [], "upright": []}
    for seed in (1, 2, 3, 7):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # a quarter turn clockwise to see it upright
        photos["turned"].append(saved(scene((400, 300), seed), tmp_path / f"turned-{seed}.jpg", exif=exif))
        with Image.open(photos["turned"][-1]) as image:
            stored = image.convert("RGB")
        photos["stored"].append(saved(Image.fromarray(np.asarray(stored)), tmp_path / f"stored-{seed}.png"))
        upright = Image.fromarray(np.rot90(np.asarray(stored), -1).copy())
        photos["upright"].append(saved(upright, tmp_path / f"upright-{seed}.png"))
    ours = pair.our_answers(photos["turned"])
    assert_same(ours, pair.their_answers(photos["upright"]))
    ignored = pair.their_answers(photos["turned"])
    np.testing.assert_array_equal(ignored[1], pair.their_answers(photos["stored"])[1])
    assert (ours[0][:, 0] != ignored[0][:, 0]).any(axis=1).sum() >= 2  # another first place for some of the four


def columns(encoded):
    """Return which columns of :func:`ruler` an input shows."""
    red = encoded[0] * 0.26862954 + 0.48145466
    return (red[112] * 255).round().int().tolist()


@pytest.mark.parametrize(("width", "ours", "theirs"), [(225, 0, 0), (226, 1, 1), (227, 2, 1), (229, 2, 2), (231, 4, 3)])
def test_an_odd_remainder_is_cut_as_by_openais_own_transform_a_pixel_off_the_packages(pair, width, ours, theirs):
    from torchvision.transforms import CenterCrop

    pixels = np.zeros((224, width, 3), dtype=np.uint8)
    pixels[:] = np.arange(width, dtype=np.uint8)[None, :, None]
    ruler = Image.fromarray(pixels)
    encoder = get_encoder("ViT-L-14/openai")
    encoder.load("cpu")
    assert columns(encoder.preprocess(ruler)) == list(range(ours, ours + 224))
    assert np.asarray(CenterCrop(224)(ruler))[0, 0, 0] == ours
    assert columns(pair.theirs.image_encoder.preprocess_image(ruler)[0]) == list(range(theirs, theirs + 224))


def ten_views(photo):
    """Return corners and centre of 7/8 of the shorter side, and those of the mirror image."""
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    side = round(min(height, width) * 7 / 8)
    middle = (height - side) // 2, (width - side) // 2
    corners = [(top, left) for top in (0, height - side) for left in (0, width - side)]
    return [
        Image.fromarray(np.ascontiguousarray(whole[top : top + side, left : left + side]))
        for whole in (pixels, pixels[:, ::-1])
        for top, left in (*corners, middle)
    ]


def test_ten_crops_are_the_mean_of_the_packages_logits_for_ten_views(pair, tmp_path):
    photos = [saved(scene(size, seed), tmp_path / f"{seed}.jpg") for seed, size in enumerate([(640, 480), (240, 320)])]
    options = Options(crops=10, top_k=5, workers=0)
    table = pd.DataFrame({"image": map(str, photos), "latitude": np.nan, "longitude": np.nan})
    found = locate(pair.ours, TestSet(PHOTOS, table), get_gallery(pair.gallery), options)
    places = pair.theirs.gps_gallery
    for photo, *answer in zip(photos, found.coordinates, found.scores, strict=True):
        inputs = torch.cat([pair.theirs.image_encoder.preprocess_image(view) for view in ten_views(photo)])
        with torch.no_grad():
            expected = pair.theirs(inputs, places).mean(dim=0).softmax(dim=0).topk(5)
        assert_same(answer, (places[expected.indices].numpy(), expected.values.numpy()))
        assert abs(answer[1][0] - pair.their_answers([photo])[1][0, 0]) > 1e-3  # one view gives another answer
