"""Names of images: whether two of them, written in two ways, are the same image."""

from __future__ import annotations

from geobench.images.decoding import SUFFIXES

EXACT, WHOLE, TAIL, OTHER = range(4)
"""How well a name fits what is asked for: it is the same, the same path, the end of a path, or another image."""
JPEG = (".jpg", ".jpeg")
NOT_READ = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"),
)
"""Suffixes of photos in formats that are not read: those of phones, and what cameras call raw."""


def suffix_of(name: str) -> str:
    """Return the suffix of a name in small letters, such as ``.jpg``; empty where it has none."""
    _, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and "/" not in suffix else ""


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is taken for an image."""
    return suffix_of(name) in SUFFIXES


def is_unread_name(name: str) -> bool:
    """Return whether a file of this name is a photo in a format that is not read."""
    return suffix_of(name) in NOT_READ


def key_of(name: str) -> str:
    """Return what all names of one image share: no usual suffix, and ``_`` for ``/``."""
    return _stem(name).replace("/", "_")


def fit(image: str, name: str, shared: str = "") -> int:
    """Return how well ``name`` fits ``image``: exact, whole, tail or other.

    ``45/77/3228.jpg`` is ``45_77_3228.jpg`` and ``45_77_3228``; another suffix is another image. ``shared`` is the
    folder, with a slash at its end, that all names of an archive lie in and that tables leave out.
    """
    if image == name:
        return EXACT
    if is_image_name(image) and is_image_name(name) and _kind(image) != _kind(name):
        return OTHER
    wanted, stem = key_of(image), _stem(name)
    if wanted in (stem.replace("/", "_"), stem[len(shared) :].replace("/", "_")):
        return WHOLE
    before = len(stem) - len(wanted) - 1
    return TAIL if before >= 0 and stem[before] == "/" and stem[before + 1 :].replace("/", "_") == wanted else OTHER


def _stem(name: str) -> str:
    return name[: -len(suffix_of(name))] if is_image_name(name) else name


def _kind(name: str) -> str:
    suffix = suffix_of(name)
    return JPEG[0] if suffix in JPEG else suffix
