"""How a CLIP model wants its images, and its activation: as released, or as stated in a file next to the weights.

A state dict says neither. SigLIP wants mean 0.5 and images squashed to a square; OpenAI's weights need QuickGELU. With
the wrong choice a model runs, and places photos worse.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields
from typing import Literal

from typing_extensions import TypedDict

from geobench import EncoderError, unknown_name
from geobench.settings.declarations import validate

from . import from_transformers

HUB_CONFIG = "open_clip_config.json"
"""What open_clip writes next to the weights that it uploads to the Hugging Face Hub."""
QUICK = "-quickgelu"
"""Ends the names of architectures whose activation is QuickGELU."""


@dataclass(frozen=True)
class Preprocessing:
    """What a model was trained with.

    Attributes:
        mean, std: of each channel, by which pixels in [0, 1] are normalised.
        interpolation: ``bicubic`` or ``bilinear``.
        resize_mode: ``shortest`` scales the shorter side and crops the centre, ``squash`` scales each side to the
            input's, ``longest`` scales the longer side and pads.
        quick_gelu: whether the activation is x · sigmoid(1.702 x) in place of GELU.
        source: where all this is stated, for the record.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize_mode: str
    quick_gelu: bool
    source: str

    def describe(self, size):
        """Return all of it in one line; ``size`` is the side of the model's input in pixels."""
        how = {
            "shortest": f"shorter side to {size} px, centre {size}×{size}",
            "squash": f"squashed to {size}×{size} px",
            "longest": f"longer side to {size} px, padded to {size}×{size}",
        }
        mean, std = (" ".join(f"{value:.8g}" for value in values) for values in (self.mean, self.std))
        activation = "QuickGELU" if self.quick_gelu else "the architecture's activation"
        return f"{how[self.resize_mode]} ({self.interpolation}), mean {mean}, std {std}; {activation}; {self.source}"


class Stated(TypedDict, total=False):
    """A file such as ``weights.toml``, next to ``weights.safetensors``."""

    tag: str
    mean: list[float]
    std: list[float]
    interpolation: Literal["bicubic", "bilinear"]
    resize_mode: Literal["shortest", "squash", "longest"]
    quick_gelu: bool


NAMES = tuple(field.name for field in fields(Preprocessing) if field.name != "source")


def of_tag(architecture, tag):
    """Return what the weights that open_clip knows as ``architecture/tag`` were trained with."""
    return Preprocessing(**_released(architecture)[tag], source=f"as released for {architecture}/{tag}")


def of_file(architecture, path):
    """Return what the weights in the file ``path`` were trained with.

    It is read from ``NAME.toml`` next to ``NAME.safetensors``, else from open_clip's config of the Hugging Face Hub or
    from those that transformers writes.
    What is stated in neither is that of the architecture's released weights, if all of these agree.

    Raises:
        EncoderError: it cannot be known; says how to state it.
    """
    values, source = stated(architecture, path), f"as stated in {beside(path).name}"
    if not values and path.with_name(HUB_CONFIG).is_file():
        values, source = _of_hub(architecture, path.with_name(HUB_CONFIG)), f"as stated in {HUB_CONFIG}"
    if not values and (theirs := from_transformers.stated(architecture, path.parent)):
        config = path.with_name(from_transformers.CONFIG)
        values, source = _checked(architecture, theirs, config), "as stated in the configs of transformers beside it"
    released = _released(architecture)
    if "tag" in values:
        values = released[values["tag"]] | values
    differing = [name for name in NAMES if name not in values and len({t[name] for t in released.values()}) != 1]
    if differing:
        raise _unknown(architecture, path, differing, released)
    agreed = {name: next(iter(released.values()))[name] for name in NAMES if name not in values}
    if agreed:
        every = f"as released for every tag of {architecture}"
        source = f"{source}, the rest {every}" if values else every
    return Preprocessing(**{name: (values | agreed)[name] for name in NAMES}, source=source)


def beside(path):
    """Return the file that states what the weights in ``path`` are."""
    return path.with_suffix(".toml")


def stated(architecture, path):
    """Return what is stated next to the weights in ``path``; empty if nothing is.

    Raises:
        EncoderError: the statement is not valid.
    """
    file = beside(path)
    if not file.is_file():
        return {}
    try:
        values = dict(validate(Stated, tomllib.loads(file.read_text(encoding="utf-8")), str(file), EncoderError))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file} cannot be read ({error}).") from None
    if "tag" in values and values["tag"] not in _released(architecture):
        raise unknown_name(f"tag of {architecture} in {file}", values["tag"], _released(architecture))
    return _checked(architecture, values, file)


def _of_hub(architecture, file):
    """Return what ``open_clip_config.json`` states; what it leaves out has open_clip's defaults, as there."""
    import open_clip
    from open_clip.transform import PreprocessCfg

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        model, images = content["model_cfg"], content.get("preprocess_cfg") or {}
        mine = open_clip.get_model_config(architecture)
        same = model["embed_dim"] == mine["embed_dim"] and _shape(model["vision_cfg"]) == _shape(mine["vision_cfg"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"{file} is not a config of open_clip ({type(error).__name__}: {error}).") from None
    if not same:
        raise EncoderError(
            f"{file} describes another model than {architecture}; name the architecture of these weights, or move the "
            "file away if it is not theirs."
        )
    values = asdict(PreprocessCfg()) | {name: value for name, value in images.items() if value is not None}
    values = {name: values[name] for name in NAMES if name in values} | {"quick_gelu": bool(model.get("quick_gelu"))}
    return _checked(architecture, values, file)


def _shape(vision):
    """Return a vision tower's config without what changes nothing when weights are read."""
    return {name: value for name, value in vision.items() if name != "timm_model_pretrained"}


def _checked(architecture, values, file):
    """Return ``values`` with tuples for lists; raise ``EncoderError`` if one of them cannot be."""
    for name in ("mean", "std"):
        if name in values:
            given = values[name] if isinstance(values[name], (list, tuple)) else [values[name]] * 3
            if len(given) != 3 or (name == "std" and min(given) <= 0):
                above = " above 0" if name == "std" else ""
                raise EncoderError(f"{file}: {name} must be three numbers{above}, one per channel, not {given}.")
            values[name] = tuple(map(float, given))
    if architecture.endswith(QUICK) and not values.get("quick_gelu", True):
        raise EncoderError(
            f"{file} states another activation than the name {architecture}: write {architecture.removesuffix(QUICK)}."
        )
    return values


def _released(architecture):
    """Return what each of the weights that open_clip knows for ``architecture`` was trained with, by tag."""
    import open_clip

    always = bool(open_clip.get_model_config(architecture).get("quick_gelu"))
    found = {}
    for tag in open_clip.list_pretrained_tags_by_model(architecture):
        config = open_clip.get_pretrained_cfg(architecture, tag)
        found[tag] = {name: config[name] for name in NAMES if name != "quick_gelu"}
        found[tag]["quick_gelu"] = always or bool(config.get("quick_gelu"))
    return found


def _unknown(architecture, path, differing, released):
    """Return the error about weights whose preprocessing cannot be known: how to state it."""
    import open_clip

    why = (
        f"the weights released for {architecture} differ in {', '.join(differing)}"
        if released
        else f"open_clip knows no released weights of {architecture}"
    )
    tag = f'tag = "{next(iter(released))}" if it is that of this tag, or ' if released else ""
    quick = f"{architecture}{QUICK}"
    agreed = open_clip.get_model_config(quick) is not None and len(set(map(str, _released(quick).values()))) == 1
    named = f"; for OpenAI's weights, or others with QuickGELU, the name {quick}/… says it all" if agreed else ""
    return EncoderError(
        f"{path}: the preprocessing of these weights is not known, since {why}. Write it into {beside(path)}: {tag}"
        f"{', '.join(differing)}; an {HUB_CONFIG} next to the weights is read as well{named}."
    )
