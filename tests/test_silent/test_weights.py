"""Stories of wrong numbers that came without a word: weights files. What the user put where, and what must be said.

The networks are tiny ones under real names, so that what open_clip knows of the weights released for a name is real.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from geobench import EncoderError, GeobenchError, Options, get_encoder, run, train
from geobench.checkpoints import find_checkpoint
from geobench.data.registration import add_dataset
from geobench.report.formats import report
from geobench.results import read_results
from geobench_plugins.geoclip import official
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.network import GeoClip

pytestmark = pytest.mark.usefixtures("one_thread", "tiny_networks")

SIGLIP, CLIP, LARGE = "ViT-B-16-SigLIP", "ViT-L-14", "ViT-L-14-336"
SIDE = 32  # pixels of an input
ONE_PROCESS = Options(workers=0)
TINY = {
    "embed_dim": 768,
    "vision_cfg": {"image_size": SIDE, "patch_size": 16, "layers": 2, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def tiny_networks(monkeypatch):
    """Give four names of open_clip networks of a few thousand parameters; tags and what they need stay as they are."""
    for name in (SIGLIP, CLIP, LARGE, f"{CLIP}-quickgelu"):
        config = TINY | ({"quick_gelu": True} if name.endswith("quickgelu") else {})
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)


def weights(path, architecture=CLIP, seed=0, config=None):
    """Write random weights of ``architecture``, large enough that the activation shows in the features."""
    torch.manual_seed(seed)
    tensors = {name: tensor.clone() for name, tensor in open_clip.create_model(architecture).state_dict().items()}
    for name, tensor in tensors.items():
        if name.startswith("visual.") and tensor.ndim > 1:
            tensors[name] = torch.randn_like(tensor) / tensor.shape[-1] ** 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, path)
    return path


def stripes():
    """Return 128×32 pixels: white, 64 columns of black in the middle, white."""
    pixels = np.full((32, 128, 3), 255, dtype=np.uint8)
    pixels[:, 32:96] = 0
    return Image.fromarray(pixels)


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))


def features(encoder):
    encoder.load("cpu")
    with torch.inference_mode():
        return encoder.encode_images(encoder.preprocess(noise())[None])


def by_open_clip(architecture, path, quick_gelu):
    """Return the features of ``noise()``, prepared as OpenAI's weights want it, by open_clip's own functions."""
    options = {"pretrained": str(path), "force_quick_gelu": quick_gelu}
    model, _, preprocess = open_clip.create_model_and_transforms(architecture, **options)
    with torch.inference_mode():
        return model.eval().encode_image(preprocess(noise())[None])


# 10. A weights file says neither how images are prepared nor which activation the model has


def test_a_siglip_file_is_squashed_and_centred_on_one_half(tmp_path):
    encoder = get_encoder(f"{SIGLIP}/{weights(tmp_path / 'siglip.safetensors', SIGLIP)}")
    assert encoder.describe() == (
        "squashed to 32×32 px (bicubic), mean 0.5 0.5 0.5, std 0.5 0.5 0.5; the architecture's activation; "
        f"as released for every tag of {SIGLIP}; float16 on a GPU"
    )
    assert encoder.normalisation == ((0.5,) * 3, (0.5,) * 3)
    encoder.load("cpu")
    row = encoder.preprocess(stripes())[0, 16]  # CLIP's centre crop would be black all over, at -1.79
    expected = torch.tensor([1.0] * 6 + [-1.0] * 12 + [1.0] * 6)  # white is 1, black -1
    torch.testing.assert_close(row[[*range(6), *range(10, 22), *range(26, 32)]], expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("architecture", "statement"), [(LARGE, ""), (CLIP, 'tag = "openai"\n'), (f"{CLIP}-quickgelu", "")]
)
def test_openais_tensors_get_quick_gelu_under_a_plain_name(tmp_path, architecture, statement):
    path = weights(tmp_path / "theirs.safetensors", architecture)
    if statement:
        path.with_suffix(".toml").write_text(statement)
    encoder = get_encoder(f"{architecture}/{path}")
    assert encoder.describe().startswith(
        "shorter side to 32 px, centre 32×32 (bicubic), mean 0.48145466 0.4578275 0.40821073, std 0.26862954 "
        "0.26130258 0.27577711; QuickGELU; "
    )
    found = features(encoder)
    assert torch.equal(found, by_open_clip(architecture, path, True))
    if not architecture.endswith("quickgelu"):  # with GELU, as the plain name says, it runs as well
        assert not torch.allclose(found, by_open_clip(architecture, path, False), rtol=0, atol=1e-3)


HUB = {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash"}}


@pytest.fixture
def unknown(tmp_path):
    """Weights that may be OpenAI's, LAION's, or anyone's."""
    return weights(tmp_path / "found.safetensors")


def test_weights_that_may_be_anyones_are_asked_about_before_any_work(unknown, photos, cli, own_home):
    images, metadata = photos(4)
    add_dataset("mine", images, metadata, encoder=f"{CLIP}/{unknown}")
    said = cli("features", "mine", exit_code=1).stderr
    statement = unknown.with_suffix(".toml")
    assert "Traceback" not in said and said.count(str(unknown)) == 1
    assert f"the preprocessing of these weights is not known, since the weights released for {CLIP} differ in" in said
    assert f'Write it into {statement}: tag = "openai" if it is that of this tag, or' in said and "quick_gelu" in said
    assert "an open_clip_config.json next to the weights is read as well" in said
    assert f"for OpenAI's weights, or others with QuickGELU, the name {CLIP}-quickgelu/… says it all" in said
    assert not (own_home / "features").exists()


EVERYTHING = """mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
interpolation = "bilinear"
resize_mode = "squash"
quick_gelu = false
"""
LAION = (
    "shorter side to 32 px, centre 32×32 (bicubic), mean 0.48145466 0.4578275 0.40821073, std 0.26862954 0.26130258 "
)
SQUASHED = "squashed to 32×32 px (bilinear), mean 0.5 0.5 0.5, std 0.25 0.25 0.25; "
ANSWERS = {
    "the tag": (
        {"found.toml": 'tag = "laion400m_e32"'},
        f"{LAION}0.27577711; the architecture's activation; as stated",
    ),
    "the tag, less its activation": ({"found.toml": 'tag = "openai"\nquick_gelu = false'}, "; the architecture's act"),
    "everything": ({"found.toml": EVERYTHING}, f"{SQUASHED}the architecture's activation; as stated in found.toml"),
    "a config of the hub": (
        {"open_clip_config.json": json.dumps({"model_cfg": TINY} | HUB)},
        f"{SQUASHED}the architecture's activation; as stated in open_clip_config.json",
    ),
    "a config of the hub with QuickGELU": (
        {"open_clip_config.json": json.dumps({"model_cfg": TINY | {"quick_gelu": True}} | HUB)},
        f"{SQUASHED}QuickGELU; as stated in open_clip_config.json",
    ),
    "the statement, not the config of the hub": (
        {"found.toml": 'tag = "openai"', "open_clip_config.json": json.dumps({"model_cfg": TINY} | HUB)},
        f"{LAION}0.27577711; QuickGELU; as stated in found.toml",
    ),
}


@pytest.mark.parametrize(("beside", "described"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_stated_beside_the_weights_is_done_and_recorded(unknown, photos, beside, described):
    for name, text in beside.items():
        (unknown.parent / name).write_text(text)
    encoder = get_encoder(f"{CLIP}/{unknown}")
    encoder.load("cpu")
    whole = encoder.preprocess(stripes())
    assert whole.shape == (3, SIDE, SIDE)
    if "squashed" in described:
        assert whole[0, 16, 0] == pytest.approx((1 - 0.5) / 0.25)
    else:
        assert whole[0].amax() == pytest.approx((0 - 0.48145466) / 0.26862954)  # the centre alone
    kinds = {type(module).__name__ for module in encoder.model.visual.modules()}
    assert ("QuickGELU" in kinds) == ("QuickGELU" in described) != ("GELU" in kinds)
    images, metadata = photos(4)
    add_dataset("mine", images, metadata, encoder=encoder.name)
    train("knn", "mine", workers=0)
    (result,) = run("knn", "mine", options=ONE_PROCESS).results
    assert described in result.preprocessing and result.preprocessing == result.training["preprocessing"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("found.toml", "mean = [0.5, 0.5]", r"found\.toml: mean must be three numbers, one per channel"),
        ("found.toml", "std = [0.5, 0.5, 0]", r"found\.toml: std must be three numbers above 0, one per channel"),
        ("found.toml", 'resize_mode = "stretch"', r"found\.toml.*resize_mode"),
        ("found.toml", "gelu = true", r"found\.toml.*gelu"),
        ("found.toml", 'tag = "opnai"', r"tag of ViT-L-14 in .*found\.toml.*did you mean openai"),
        ("found.toml", "tag = openai", r"found\.toml cannot be read"),
        ("open_clip_config.json", "{", r"open_clip_config\.json is not a config of open_clip"),
        ("open_clip_config.json", json.dumps({"model_cfg": TINY | {"embed_dim": 512}}), "describes another model than"),
    ],
)
def test_a_statement_that_makes_no_sense_is_one_line(unknown, name, text, message):
    (unknown.parent / name).write_text(text)
    with pytest.raises(GeobenchError, match=message) as told:
        get_encoder(f"{CLIP}/{unknown}").describe()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_for_inputs_of_another_size_are_refused_and_not_stretched(tmp_path, monkeypatch, suffix):
    wide = TINY | {"vision_cfg": TINY["vision_cfg"] | {"image_size": 64}}
    with monkeypatch.context() as larger:
        larger.setitem(open_clip.factory._MODEL_CONFIGS, LARGE, wide)
        path = weights(tmp_path / f"wide{suffix}", LARGE)
    model = open_clip.create_model(LARGE, pretrained=str(path))  # open_clip stretches them without a word
    assert model.visual.positional_embedding.shape == (5, 32)
    with pytest.raises(EncoderError) as told:
        get_encoder(f"{LARGE}/{path}").load("cpu")
    assert str(told.value) == (
        f"{path} is not of the architecture {LARGE}: its visual.positional_embedding is (17, 32), not (5, 32), so it "
        "was trained on inputs of another size."
    )


# 18. Other weights in the place of released ones


class Desk:
    """A set of photos, the file ``weights/ViT-L-14/openai.pt``, and models that were trained with it."""

    def __init__(self, cli, photos, home, monkeypatch, folder):
        self.cli = cli
        self.file = weights(home / "weights" / CLIP / "openai.pt")
        self.statement = self.file.with_suffix(".toml")
        # The address of OpenAI's weights states their digest: it is that of this file.
        released = open_clip.get_pretrained_cfg(CLIP, "openai")
        url = f"https://example.org/{hashlib.sha256(self.file.read_bytes()).hexdigest()}/ViT-L-14.pt"
        tags = open_clip.pretrained._PRETRAINED
        monkeypatch.setitem(tags, CLIP, tags[CLIP] | {"openai": released | {"url": url, "hf_hub": ""}})
        images, metadata = photos(12)
        add_dataset("mine", images, metadata, encoder=f"{CLIP}/openai")
        folder.mkdir()
        self.released = f"geoclip@{folder}"
        torch.manual_seed(0)
        tensors = GeoClip(GeoClipConfig(), 768).state_dict()
        for part, name in official.PTH.items():
            content = {key.removeprefix(f"{part}."): t for key, t in tensors.items() if key.startswith(f"{part}.")}
            torch.save(content or tensors[part], folder / name)

    def trained(self, model):
        """Return the spec of a model whose features are those of OpenAI's weights."""
        return self.released if model == "geoclip" else train(model, "mine", workers=0).spec

    def run(self, spec, exit_code=0):
        arguments = ("--datasets", "mine", "--galleries", "land:500", "--workers", 0, "--device", "cpu")
        return self.cli("run", "--models", spec, *arguments, exit_code=exit_code)


@pytest.fixture
def desk(cli, photos, own_home, monkeypatch, tmp_path):
    return Desk(cli, photos, own_home, monkeypatch, tmp_path / "released")


def results():
    found, damaged = read_results(Path("results"))
    assert not damaged
    return found


@pytest.mark.parametrize("model", ["geoclip", "knn"])
def test_a_replaced_file_of_released_weights_is_refused_and_its_old_result_not_shown_as_new(desk, model):
    spec = desk.trained(model)
    first = desk.run(spec)
    (before,) = results()
    assert before.encoder_weights == "openai" and before.encoder_caveat == "" and "not known" not in first.stdout
    assert "kept the result" in desk.run(spec).stderr  # nothing has changed
    weights(desk.file, seed=1)
    refused = desk.run(spec, exit_code=1)
    assert "kept" not in refused.stderr and f"| {before.model}" not in refused.stdout
    assert f"was trained with the weights released as {CLIP}/openai, and {desk.file} is not known to hold them." in (
        refused.stderr
    )
    assert f"Put OpenAI's own {CLIP}.pt there; or remove the file" in refused.stderr
    assert f'write tag = "openai" into {desk.statement}: results will say so.' in refused.stderr
    assert [result.key for result in results()] == [before.key]


@pytest.mark.parametrize("model", ["geoclip", "knn"])
def test_stated_weights_give_a_result_of_their_own_with_a_caveat_under_the_table(desk, model):
    spec = desk.trained(model)
    desk.run(spec)
    weights(desk.file, seed=1)
    desk.statement.write_text('tag = "openai"\n')
    done = desk.run(spec)
    caveat = (
        f"he weights of {CLIP}/openai were read from the local file {CLIP}/openai.pt, which is stated, but not known, "
        "to hold them"
    )
    before, after = results()
    told = f"T{caveat}: {spec} (encoder weights={after.encoder_weights[:4]})."
    assert told in done.stdout and "kept" not in done.stderr
    assert before.encoder_caveat == "" and after.encoder_caveat == f"t{caveat}."
    assert before.encoder_weights == "openai" and len(after.encoder_weights) == 16
    assert (before.predictions.coordinates != after.predictions.coordinates).any()  # by other features
    for format in ("table", "markdown", "html", "json"):
        text = report(format)
        assert told in text and "(encoder weights=openai)" in text


def test_a_caveat_is_said_of_a_model_that_was_trained_on_stated_weights(desk):
    weights(desk.file, seed=1)
    desk.statement.write_text('tag = "openai"\n')
    spec = desk.trained("knn")
    assert "stated, but not known, to hold them." in find_checkpoint(spec).encoder_caveat
    assert "which is stated, but not known, to hold them: knn@" in desk.run(spec).stdout


def test_training_again_after_the_file_was_replaced_is_another_checkpoint(desk):
    before = find_checkpoint(desk.trained("knn"))
    weights(desk.file, seed=1)
    desk.statement.write_text('tag = "openai"\n')
    after = find_checkpoint(desk.trained("knn"))
    assert before.id != after.id and before.weights != after.weights
    weights(desk.file, seed=0)  # OpenAI's again, which needs no statement
    desk.statement.unlink()
    assert find_checkpoint(desk.trained("knn")) == before


def test_a_file_that_is_named_is_known_by_its_content(tmp_path, photos, cli):
    path = weights(tmp_path / "mine.safetensors", LARGE)
    images, metadata = photos(8)
    add_dataset("mine", images, metadata, encoder=f"{LARGE}/{path}")
    spec = train("knn", "mine", workers=0).spec
    cli("run", "--models", spec, "--datasets", "mine", "--workers", 0)
    (before,) = results()
    weights(path, LARGE, seed=1)
    refused = cli("run", "--models", spec, "--datasets", "mine", "--workers", 0, exit_code=1).stderr
    now = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert f"with other weights ({before.encoder_weights}, here {now}); use those, or train again." in refused
    assert "kept" not in refused and len(results()) == 1
