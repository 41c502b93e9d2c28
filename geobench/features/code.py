"""What features come from besides weights: the code of the encoder and of the way from a file to pixels, libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from geobench import files
from geobench.features.encoders import Encoder
from geobench.features.wrappers import TunedEncoder, Wrapper, plain
from geobench.source import class_code, module_code

LIBRARIES = ("pillow", "pillow-heif", "torch", "torchvision", "open_clip_torch", "timm")
"""Distributions that decode and encode images. Their versions are in no key, so that an update does not extract
everything again; they are recorded with the features."""
PIXELS = ("geobench.images.decoding", "geobench.images.augmentation")
WRAPPED = ("geobench.features.wrappers", "geobench.images.semantic")


def features_code(encoder: Encoder) -> str:
    """Return 16 digits for the code by which ``encoder`` turns image files into features, and for its normalisation.

    Code of other distributions that an encoder calls is not covered: :data:`LIBRARIES` are recorded with the features.
    """
    if isinstance(encoder, TunedEncoder):  # the same code, other weights
        return features_code(encoder.base)
    code = class_code(type(plain(encoder)), Encoder)
    if isinstance(encoder, Wrapper):
        code += [type(encoder).__name__, *map(module_code, WRAPPED)]
    return files.digest(code, [*map(module_code, PIXELS)], encoder.normalisation)


def installed(distributions: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of those of ``distributions`` that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def joined(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the versions of libraries that shards state, several joined by "and"; none if a shard states none."""
    names = dict.fromkeys(name for versions in each for name in versions) if all(each) else {}
    return {name: " and ".join(dict.fromkeys(versions.get(name, "none") for versions in each)) for name in names}
