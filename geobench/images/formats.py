"""Which formats are decoded on this machine, told by the content of a file and not by its name."""

from __future__ import annotations

import warnings
from functools import cache

from geobench.images.signatures import describe_content, is_avif, is_heif

HEIC_REMEDY = "pip install pillow-heif (the extra heic)"
_ALWAYS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Sizes in bytes of the second header of a BMP: the first has only two letters to recognise it by."""


def is_image(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is an image of a format that is decoded here."""
    if head.startswith(_ALWAYS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[:2] == b"BM":
        return int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    if head.startswith(_JPEG_2000):
        return _has("jpg_2000")
    return (is_avif(head) and _has("avif")) or (is_heif(head) and can_read_heif())


def is_photo(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is an image, decoded here or not."""
    return is_image(head) or is_heif(head) or is_avif(head) or head.startswith(_JPEG_2000)


def describe_unread(head: bytes) -> str:
    """Return in one line why no image is found in a file that begins with ``head``."""
    what = describe_content(head)
    if not head:
        return "is empty"
    if is_heif(head) and not can_read_heif():
        return f"is {what}, which cannot be read without the package pillow-heif: {HEIC_REMEDY}"
    if is_avif(head) and not _has("avif"):
        return f"is {what}, which cannot be read without Pillow 11.3 or newer"
    if what.endswith("image"):
        return f"is {what} with a damaged beginning"
    return f"is {what or 'of an unknown format'}, which cannot be read"


@cache
def can_read_heif() -> bool:
    """Return whether HEIC is decoded: the package pillow-heif is optional. Pillow uses it from here on."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


@cache
def _has(feature: str) -> bool:
    from PIL import features

    with warnings.catch_warnings(action="ignore"):  # of a feature that this Pillow does not know yet
        return bool(features.check(feature))
