"""CLIP that people already have: copies of transformers, folders, near misses of a name, files that are no weights."""

import hashlib
import json
import os

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from geobench import EncoderError, GeobenchError, files, get_encoder
from geobench_plugins.open_clip import weights_file

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_clip", "empty_hub")

CLIP = "ViT-L-14"
REPOSITORY = "openai/clip-vit-large-patch14"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 2, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}
TEXT_CONFIG = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 8,
    "projection_dim": 16,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "pad_token_id": 0,
}
VISION_CONFIG = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 16,
    "image_size": 32,
    "projection_dim": 16,
    "hidden_act": "quick_gelu",
}
CONFIG = {"model_type": "clip", "vision_config": VISION_CONFIG}
IMAGES = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}


@pytest.fixture
def tiny_clip(monkeypatch):
    """Give ViT-L-14 a network of a few thousand parameters."""
    for name, more in ((CLIP, {}), (f"{CLIP}-quickgelu", {"quick_gelu": True})):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, TINY | more)


@pytest.fixture
def empty_hub(monkeypatch, tmp_path):
    """Let the hub's cache be an empty folder; return it."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def tensors():
    """Random weights under open_clip's names, large enough that everything shows in the features."""
    torch.manual_seed(0)
    state = open_clip.create_model(CLIP).state_dict()
    return {
        name: torch.randn_like(t) / t.shape[-1] ** 0.5 if t.ndim > 1 else t + 0.1 * torch.randn_like(t)
        for name, t in state.items()
    }


def in_theirs(tensors):
    """Return the weights under the names of ``transformers.CLIPModel``."""
    found = {"logit_scale": tensors["logit_scale"], "text_model.embeddings.position_ids": torch.arange(8)[None]}
    for ours, theirs in (("visual.", "vision_model."), ("", "text_model.")):
        blocks = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
        for block in range(2 if ours else 1):
            here, there = f"{ours}transformer.resblocks.{block}.", f"{theirs}encoder.layers.{block}."
            for kind in ("weight", "bias"):
                for name, other in (blocks | {"attn.out_proj": "self_attn.out_proj"}).items():
                    found[f"{there}{other}.{kind}"] = tensors[f"{here}{name}.{kind}"]
                for part, rows in zip("qkv", tensors[f"{here}attn.in_proj_{kind}"].chunk(3), strict=True):
                    found[f"{there}self_attn.{part}_proj.{kind}"] = rows.contiguous()
    for kind in ("weight", "bias"):
        found[f"vision_model.pre_layrnorm.{kind}"] = tensors[f"visual.ln_pre.{kind}"]
        found[f"vision_model.post_layernorm.{kind}"] = tensors[f"visual.ln_post.{kind}"]
        found[f"text_model.final_layer_norm.{kind}"] = tensors[f"ln_final.{kind}"]
    vision, text = "vision_model.embeddings.", "text_model.embeddings."
    return found | {
        f"{vision}class_embedding": tensors["visual.class_embedding"],
        f"{vision}position_embedding.weight": tensors["visual.positional_embedding"],
        f"{vision}patch_embedding.weight": tensors["visual.conv1.weight"],
        "visual_projection.weight": tensors["visual.proj"].T.contiguous(),
        f"{text}token_embedding.weight": tensors["token_embedding.weight"],
        f"{text}position_embedding.weight": tensors["positional_embedding"],
        "text_projection.weight": tensors["text_projection"].T.contiguous(),
    }


def saved(folder, tensors, name="model.safetensors", config=CONFIG, images=IMAGES):
    """Write a folder as transformers does."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if images is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def features(name):
    encoder = get_encoder(name)
    encoder.load("cpu")
    tokens = torch.tensor([[62, 5, 9, 63, 0, 0, 0, 0]])
    with torch.inference_mode():
        image = encoder.encode_images(encoder.preprocess(noise())[None])
        return image, encoder.model.encode_text(tokens)


def expected(tmp_path, tensors):
    """Return the features by open_clip's own names, with QuickGELU."""
    save_file(tensors, tmp_path / "ours.safetensors")
    return features(f"{CLIP}-quickgelu/{tmp_path / 'ours.safetensors'}")


def test_a_folder_of_transformers_gives_the_features_of_the_same_weights_under_our_names(tmp_path, tensors):
    folder = saved(tmp_path / "clip-vit-large-patch14", in_theirs(tensors))
    found, ours = features(f"{CLIP}/{folder}"), expected(tmp_path, tensors)
    assert torch.equal(found[0], ours[0]) and torch.equal(found[1], ours[1])
    said = get_encoder(f"{CLIP}/{folder}").describe()
    assert "QuickGELU; as stated in the configs of transformers beside it" in said
    encoder = get_encoder(f"{CLIP}/{folder / 'model.safetensors'}")  # the file itself
    assert encoder.describe() == said and encoder.weights_key() == get_encoder(f"{CLIP}/{folder}").weights_key()


def test_a_clip_that_transformers_saved_gives_its_own_features(tmp_path, tensors):
    transformers = pytest.importorskip("transformers", reason="the library transformers is not installed")
    config = transformers.CLIPConfig(projection_dim=16, text_config=TEXT_CONFIG, vision_config=VISION_CONFIG)
    model = transformers.CLIPModel(config).eval()
    model.load_state_dict({n: t for n, t in in_theirs(tensors).items() if not n.endswith("position_ids")})
    model.save_pretrained(tmp_path / "saved")
    transformers.CLIPImageProcessor().save_pretrained(tmp_path / "saved")
    found = features(f"{CLIP}/{tmp_path / 'saved'}")
    pixels = get_encoder(f"{CLIP}/{tmp_path / 'saved'}")
    pixels.load("cpu")
    with torch.no_grad():
        image = model.vision_model(pixel_values=pixels.preprocess(noise())[None]).pooler_output
        text = model.text_model(input_ids=torch.tensor([[62, 5, 9, 63, 0, 0, 0, 0]])).pooler_output
        theirs = model.visual_projection(image), model.text_projection(text)
    for mine, other in zip(found, theirs, strict=True):
        assert float(torch.nn.functional.cosine_similarity(mine, other)) == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("activation", "said"), [("quick_gelu", "QuickGELU"), ("gelu", "the architecture's activa")])
def test_what_the_configs_state_is_done(tmp_path, tensors, activation, said):
    config = {"model_type": "clip", "vision_config": VISION_CONFIG | {"hidden_act": activation}}
    images = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 2, "size": {"height": 32, "width": 32}}
    folder = saved(tmp_path / "clip", in_theirs(tensors), config=config, images=images)
    wanted = f"squashed to 32×32 px (bilinear), mean 0.5 0.5 0.5, std 0.25 0.25 0.25; {said}"
    assert get_encoder(f"{CLIP}/{folder}").describe().startswith(wanted)
    (folder / "preprocessor_config.json").rename(folder / "elsewhere.json")
    with pytest.raises(EncoderError, match="differ in") as told:
        get_encoder(f"{CLIP}/{folder}").describe()
    assert "quick_gelu" not in str(told.value).partition("differ in ")[2].partition(".")[0]


def cached(hub, tensors, repository=REPOSITORY, name="model.safetensors"):
    """Write a file into the hub's cache; return it."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("32bd642")
    return saved(folder / "snapshots" / "32bd642", tensors, name) / name


def test_openais_copy_in_the_hubs_cache_is_used_where_it_lies(empty_hub, tmp_path, tensors, monkeypatch):
    encoder = get_encoder(f"{CLIP}/openai")
    assert encoder.file is None
    file = cached(empty_hub, in_theirs(tensors))
    assert encoder.file is None  # it may be anyone's, so it is named
    assert f"or name the folder of transformers' copy: {CLIP}/{file.parent};" in encoder._remedy(None)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(weights_file.COPIES, CLIP, (REPOSITORY, digest))
    assert encoder.file == file
    encoder.check()  # nothing is downloaded
    assert torch.equal(features(f"{CLIP}/openai")[0], expected(tmp_path, tensors)[0])
    assert get_encoder(f"{CLIP}-quickgelu/openai").file == file
    assert (encoder.weights_key(), encoder.caveat()) == ("openai", "")  # as it is where open_clip downloaded them
    named = get_encoder(f"{CLIP}/{file.parents[2]}")  # the repository's folder in the cache
    assert named.file == file
    own = open_clip.get_pretrained_cfg(CLIP, "openai")["hf_hub"].rstrip("/")
    cached(empty_hub, tensors, own, "open_clip_model.safetensors")
    assert encoder.file is None  # open_clip's own comes first


@pytest.mark.parametrize(
    "place", ["ViT-L-14/ViT-L-14.pt", "ViT-L-14-quickgelu/openai.pt", "ViT-L-14-quickgelu/ViT-L-14.pt", "ViT-L-14.pt"]
)
def test_openais_archive_is_found_under_its_own_name_and_that_of_the_twin(own_home, monkeypatch, tensors, place):
    file = own_home / "weights" / place
    file.parent.mkdir(parents=True)
    torch.save(tensors, file)
    encoder = get_encoder(f"{CLIP}/openai")
    assert encoder.file is None  # it may be anyone's, so it is named
    right = own_home / "weights" / CLIP / "openai.safetensors"
    assert f"put a file with them at {right}" in encoder._remedy(None)
    assert f"; {file} is there: rename it if these are the weights;" in encoder._remedy(None)
    monkeypatch.setattr(weights_file, "published", lambda _: {hashlib.sha256(file.read_bytes()).hexdigest()})
    assert encoder.file == file
    assert get_encoder(f"{CLIP}-quickgelu/openai").file == file
    assert get_encoder(f"{CLIP}/laion2b_s32b_b82k").file is None


def test_a_folder_with_the_tags_name_is_read(own_home, tensors, tmp_path):
    saved(own_home / "weights" / CLIP / "openai", in_theirs(tensors))
    assert torch.equal(features(f"{CLIP}/openai")[0], expected(tmp_path, tensors)[0])


def tower(tensors, *starts):
    return {name: tensor for name, tensor in tensors.items() if name.startswith(starts)}


def bare(tensors, start):
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


IMAGE_ALONE = "holds the image tower of a CLIP without the text tower"
TEXT_ALONE = "holds the text tower of a CLIP without the image tower"
ALONE = {
    "CLIPVisionModel": (lambda ours, theirs: bare(theirs, "vision_model."), IMAGE_ALONE),
    "CLIPVisionModelWithProjection": (lambda ours, theirs: tower(theirs, "vision_model.", "visual_pro"), IMAGE_ALONE),
    "CLIPVisionModel of version 4": (lambda ours, theirs: tower(theirs, "vision_model."), IMAGE_ALONE),
    "CLIPTextModel": (lambda ours, theirs: bare(theirs, "text_model."), TEXT_ALONE),
    "CLIPTextModelWithProjection": (lambda ours, theirs: tower(theirs, "text_"), TEXT_ALONE),
    "visual of open_clip": (lambda ours, theirs: bare(ours, "visual."), IMAGE_ALONE),
    "visual of open_clip with its name": (lambda ours, theirs: tower(ours, "visual."), IMAGE_ALONE),
}


@pytest.mark.parametrize("what", ALONE)
def test_a_tower_alone_is_called_so(tmp_path, tensors, what):
    make, reason = ALONE[what]
    folder = saved(tmp_path / "alone", make(tensors, in_theirs(tensors)))
    with pytest.raises(EncoderError) as told:
        get_encoder(f"{CLIP}/{folder}").check()
    assert f"{folder / 'model.safetensors'} {reason}" in str(told.value) and "damaged" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty; the download was interrupted"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, not weights: download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a pointer of Git LFS, not weights"),
    ],
)
@pytest.mark.parametrize("name", ["openai.safetensors", "openai.pt"])
def test_a_file_that_is_no_weights_is_called_what_it_is(own_home, content, reason, name):
    file = own_home / "weights" / CLIP / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    for ask in (get_encoder(f"{CLIP}/openai").check, get_encoder(f"{CLIP}/openai").load):
        with pytest.raises(EncoderError) as told:
            ask()
        assert f"{file} {reason}" in str(told.value) and "damaged" not in str(told.value)


def test_what_does_not_fit_is_said_with_the_tensor_or_the_setting(tmp_path, tensors):
    theirs = in_theirs(tensors)
    wide = CONFIG | {"vision_config": VISION_CONFIG | {"hidden_size": 768}}
    cases = [
        ({}, wide, "describes another model than ViT-L-14: its hidden_size is 768, not 32"),
        ({}, CONFIG | {"model_type": "siglip"}, "describes a model of the type 'siglip'"),
        (
            {"logit_scale": torch.zeros(2)},
            CONFIG,
            "is not of the architecture ViT-L-14: its logit_scale is (2,), not ()",
        ),
        ({"vision_model.more": torch.zeros(2)}, CONFIG, "1 tensors are too many, such as vision_model.more"),
        ({"vision_model.pre_layrnorm.bias": None}, CONFIG, "1 tensors are missing, such as visual.ln_pre.bias"),
    ]
    for number, (changes, config, reason) in enumerate(cases):
        changed = {name: tensor for name, tensor in (theirs | changes).items() if tensor is not None}
        folder = saved(tmp_path / str(number), changed, config=config)
        with pytest.raises(EncoderError) as told:
            get_encoder(f"{CLIP}/{folder}").load()
        assert reason in str(told.value)


def test_a_folder_without_a_file_to_choose_is_one_line(tmp_path, tensors, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    several = saved(saved(tmp_path / "several", tensors, "a.safetensors"), tensors, "b.safetensors")
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "model.safetensors.index.json").write_text("{}")
    for folder, reason in (
        (empty, f"the folder {empty} has no file of weights (model.safetensors, "),
        (
            several,
            f"the folder {several} has several files of weights (a.safetensors, b.safetensors); name one of them.",
        ),
        (parts, f"the weights in {parts} are in several parts (model.safetensors.index.json)"),
        (
            several / "c.pt",
            f"there is no weights file {several / 'c.pt'}; in that folder there is a.safetensors, b.safe",
        ),
    ):
        with pytest.raises(EncoderError) as told:
            get_encoder(f"{CLIP}/{folder}").describe()
        assert reason in str(told.value)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GeobenchError, match=r"unknown tag of ViT-L-14 'empty'.*The folder here is \./empty"):
        get_encoder(f"{CLIP}/empty").describe()
    assert get_encoder(f"{CLIP}/./several/a.safetensors").file == get_encoder(f"{CLIP}/several/a.safetensors").file
    with pytest.raises(EncoderError, match="the folder empty has no file of weights"):
        get_encoder(f"{CLIP}/./empty").describe()


def test_the_digest_of_a_large_file_is_kept_until_the_file_changes(tmp_path, own_home, monkeypatch):
    monkeypatch.setattr(files, "KEPT_BYTES", 4)
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    file, reads = tmp_path / "weights.pt", []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda opened, name: reads.append(name) or digest(opened, name))

    def asked():
        files._sha256.cache_clear()  # as in another process
        return files.file_digest(file)

    file.write_bytes(b"first")
    assert asked() == asked() == hashlib.sha256(b"first").hexdigest() and len(reads) == 1
    times = file.stat()
    file.write_bytes(b"other")  # of the same size, with its time put back
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert asked() == hashlib.sha256(b"other").hexdigest() and len(reads) == 2
    (kept,) = (own_home / "digests").iterdir()
    kept.write_text("{")
    assert asked() == hashlib.sha256(b"other").hexdigest() and len(reads) == 3
    monkeypatch.setattr(files, "SETTLED_NS", 10**18)  # changed just now
    file.write_bytes(b"third")
    assert asked() == asked() == hashlib.sha256(b"third").hexdigest() and len(reads) == 5
