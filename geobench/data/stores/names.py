"""Image names: whether two differently written names are the same image."""

from __future__ import annotations

from geobench.images.decoding import SUFFIXES

EXACT, WHOLE, TAIL, OTHER = range(4)
"""How well a name fits the requested one: identical, the same path, the end of its path, or another image."""
JPEG = (".jpg", ".jpeg")
NOT_READ = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"),
)
"""Suffixes of photos in formats that are not read: those of phones, and raw formats of cameras."""


def suffix_of(name: str) -> str:
    """Return the suffix of a name in lower case, such as ``.jpg``; empty if it has none."""
    _, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and "/" not in suffix else ""


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is treated as an image."""
    return suffix_of(name) in SUFFIXES


def is_unread_name(name: str) -> bool:
    """Return whether a file of this name is a photo in a format that is not read."""
    return suffix_of(name) in NOT_READ


def key_of(name: str) -> str:
    """Return the part that all names of an image share: without a usual suffix, and with ``_`` for ``/``."""
    return _stem(name).replace("/", "_")


def fit(image: str, name: str, shared: str = "") -> int:
    """Return how well ``name`` fits ``image``: exact, whole, tail or other.

    ``45/77/3228.jpg`` is ``45_77_3228.jpg`` and ``45_77_3228``; another suffix is another image. ``shared`` is the
    folder, with its final slash, that all names of an archive begin with and that tables omit.
    """
    if image == name:
        return EXACT
    if is_image_name(image) and is_image_name(name) and _kind(image) != _kind(name):
        return OTHER
    wanted, stem = key_of(image), _stem(name)
    if wanted in (stem.replace("/", "_"), stem[len(shared) :].replace("/", "_")):
        return WHOLE
    slash = len(stem) - len(wanted) - 1
    return TAIL if slash >= 0 and stem[slash] == "/" and stem[slash + 1 :].replace("/", "_") == wanted else OTHER


def _stem(name: str) -> str:
    return name[: -len(suffix_of(name))] if is_image_name(name) else name


def _kind(name: str) -> str:
    suffix = suffix_of(name)
    return JPEG[0] if suffix in JPEG else suffix
