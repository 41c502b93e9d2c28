"""CLIP as the library ``transformers`` saves it: its weights under open_clip's names, and what its configs state.

``CLIPModel`` of transformers and ``CLIP`` of open_clip are one network with its tensors named otherwise: query, key and
value are three matrices there and one here, and the two projections are transposed.
"""

from __future__ import annotations

import json
import re

from geobench import EncoderError

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""What transformers writes beside the weights: the network, and how images are prepared, in a file of either name."""
RENAMED = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # so it is spelt there
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
NOT_WEIGHTS = ".embeddings.position_ids"
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
ACTIVATIONS = {"quick_gelu": True, "gelu": False}


def is_named_so(names):
    """Return whether ``names`` of tensors are those of transformers."""
    return any(name.startswith(("vision_model.", "text_model.")) for name in names)


def renamed(tensors):
    """Return ``tensors`` of a ``CLIPModel`` under open_clip's names.

    Raises:
        KeyError: query, key or value of a block is missing.
    """
    import torch

    found = {}
    for name, tensor in tensors.items():
        if name.endswith(NOT_WEIGHTS):
            continue
        if name in TRANSPOSED:
            found[TRANSPOSED[name]] = tensor.T.contiguous()
        elif match := re.fullmatch(r"(.*\.self_attn\.)([qkv])_proj\.(weight|bias)", name):
            if match[2] == "q":
                parts = [tensors[f"{match[1]}{part}_proj.{match[3]}"] for part in "qkv"]
                block = _name(match[1].removesuffix("self_attn."))
                found[f"{block}attn.in_proj_{match[3]}"] = torch.cat(parts)
        else:
            found[_name(name)] = tensor
    return found


def _name(name):
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def stated(architecture, folder):
    """Return what the configs in ``folder`` state of preprocessing and activation; empty if no CLIP is described there.

    Raises:
        EncoderError: they cannot be read, or describe another network than ``architecture``.
    """
    file = folder / CONFIG
    if not file.is_file():
        return {}
    model = _read(file)
    if not isinstance(model.get("vision_config"), dict):
        return {}
    if model.get("model_type") != "clip":
        raise EncoderError(
            f"{file} describes a model of the type {model.get('model_type')!r}; of those of transformers CLIP alone is "
            "read. Use open_clip's own weights: a tag, or a file of theirs."
        )
    _check_network(architecture, model, file)
    found = {"quick_gelu": _activation(model, file)}
    for name in PROCESSORS:
        if (folder / name).is_file():
            images = _read(folder / name)
            found |= _preprocessing(images.get("image_processor", images), folder / name)
            break
    return found


def _read(file):
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file} is not a config of transformers ({type(error).__name__}: {error}).") from None
    if not isinstance(content, dict):
        raise EncoderError(f"{file} is not a config of transformers (no object).")
    return content


def _check_network(architecture, model, file):
    """Raise if the config states another image tower than that of ``architecture``."""
    import open_clip

    mine, theirs = open_clip.get_model_config(architecture), model["vision_config"]
    vision = mine["vision_cfg"]
    pairs = {
        "hidden_size": vision.get("width"),
        "num_hidden_layers": vision.get("layers"),
        "patch_size": vision.get("patch_size"),
        "image_size": vision.get("image_size"),
    }
    if None in pairs.values():
        raise EncoderError(f"{file} describes a plain vision transformer, and {architecture} is another network.")
    for name, value in pairs.items():
        if name in theirs and theirs[name] != value:
            raise EncoderError(
                f"{file} describes another model than {architecture}: its {name} is {theirs[name]}, not {value}; name "
                "the architecture of these weights."
            )


def _activation(model, file):
    name = model["vision_config"].get("hidden_act", "quick_gelu")  # the default of transformers' CLIP
    if name not in ACTIVATIONS:
        raise EncoderError(f"{file}: the activation {name!r} is none of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def _preprocessing(images, file):
    """Return mean, standard deviation, interpolation and resize mode, as far as they are stated."""
    found = {name: images[f"image_{name}"] for name in ("mean", "std") if f"image_{name}" in images}
    if "resample" in images:
        if images["resample"] not in RESAMPLE:
            raise EncoderError(f"{file}: resample {images['resample']} is neither 2 (bilinear) nor 3 (bicubic).")
        found["interpolation"] = RESAMPLE[images["resample"]]
    size = images.get("size")
    if isinstance(size, int) or (isinstance(size, dict) and "shortest_edge" in size):
        found["resize_mode"] = "shortest"
    elif isinstance(size, dict) and {"height", "width"} <= set(size):
        found["resize_mode"] = "squash"
    return found
