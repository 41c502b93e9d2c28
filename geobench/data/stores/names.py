"""Image names: whether two differently written names are the same image."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from enum import Enum

from geobench.images.decoding import SUFFIXES
from geobench.images.formats import is_image, is_photo

EXACT, SAME, WHOLE, TAIL, CASE, OTHER = range(6)
"""How well a name fits the requested one: identical; the same in another spelling of Unicode, or with backslashes; the
same path; the end of its path; one of these in another case; or another image."""
RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw")
"""Suffixes of the raw formats of cameras, which are not read, whatever image the file holds as a preview."""
OTHER_PHOTOS = (".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".gif")
"""Suffixes of photos in formats that are read where the content is one that is decoded on this machine."""
SIDECARS = (".json", ".xmp")
"""Suffixes of files that tell something of the photo beside them."""
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")


class Kind(Enum):
    """What a file is to a set of photos."""

    IMAGE = "an image"
    UNREAD = "a photo in a format that is not read"
    SIDECAR = "tells something of a photo"
    HIDDEN = "hidden"
    OTHER = "no photo"


def kind_of(name: str, head: Callable[[], bytes]) -> Kind:
    """Return what the file called ``name`` is; ``head`` returns its first bytes, and is called if the name is no help.

    The name of an image tells what a damaged or missing one was, and no file need be opened; a name that tells nothing
    hides no image.
    """
    suffix = suffix_of(name)
    if suffix in SUFFIXES:
        return Kind.IMAGE
    if suffix in RAW:
        return Kind.UNREAD
    if suffix in SIDECARS:
        return Kind.SIDECAR
    if is_image(first := head()):
        return Kind.IMAGE
    return Kind.UNREAD if suffix in OTHER_PHOTOS or is_photo(first) else Kind.OTHER


def suffix_of(name: str) -> str:
    """Return the suffix of a name in lower case, such as ``.jpg``; empty if it has none."""
    _, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and "/" not in suffix else ""


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is treated as an image, whatever its content."""
    return suffix_of(name) in SUFFIXES


def plain(name: str) -> str:
    """Return the one spelling of a name that systems write differently: composed (NFC), with ``/`` between folders.

    macOS writes ``é`` as ``e`` and an accent, Windows ``\\`` for ``/``.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return name.replace("\\", "/").removeprefix("./")


def folded(name: str) -> str:
    """Return what names share that differ in spelling and case alone."""
    name = plain(name)
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())


def key_of(name: str) -> str:
    """Return the part that all names of an image share: without a usual suffix, and with ``_`` for ``/``."""
    return _stem(plain(name)).replace("/", "_")


def fit(image: str, name: str, shared: str = "") -> int:
    """Return how well ``name`` fits ``image``: exact, whole, tail or other.

    ``45/77/3228.jpg`` is ``45_77_3228.jpg`` and ``45_77_3228``; another suffix is another image. ``shared`` is the
    folder, with its final slash, that all names of an archive begin with and that tables omit.
    """
    if image == name:
        return EXACT
    wanted, given = plain(image), plain(name)
    if wanted == given:
        return SAME
    rank = _fit(wanted, given, plain(shared))
    return CASE if rank == OTHER and _fit(folded(image), folded(name), folded(shared)) != OTHER else rank


def _fit(image: str, name: str, shared: str) -> int:
    """Return how well two plain names fit: whole, tail or other."""
    if is_image_name(image) and is_image_name(name) and _kind(image) != _kind(name):
        return OTHER
    wanted, stem = key_of(image), _stem(name)
    if image == name or wanted in (stem.replace("/", "_"), stem.removeprefix(shared).replace("/", "_")):
        return WHOLE
    slash = len(stem) - len(wanted) - 1
    return TAIL if slash >= 0 and stem[slash] == "/" and stem[slash + 1 :].replace("/", "_") == wanted else OTHER


def _stem(name: str) -> str:
    return name[: -len(suffix_of(name))] if is_image_name(name) else name


def _kind(name: str) -> str:
    suffix = suffix_of(name)
    return JPEG[0] if suffix in JPEG else suffix
