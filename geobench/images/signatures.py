"""The true content of a file, recognised by its first bytes and not by its name."""

from __future__ import annotations

_SIGNATURES = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive or an .xlsx workbook"),
    (b"\xd0\xcf\x11\xe0", "an .xls workbook"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"version https://git-lfs", "a Git LFS pointer, whose content has not been fetched (git lfs pull)"),
    (b"<!doctype html", "an HTML page, as servers send instead of a missing file"),
    (b"<html", "an HTML page, as servers send instead of a missing file"),
    (b"<?xml", "an XML document"),
    (b"<svg", "an SVG drawing"),
    (b'{"', "a JSON document"),
    (b'[{"', "a JSON document"),
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_HEIF = (b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_BRANDS = {
    **dict.fromkeys(_HEIC, "a HEIC photo"),
    **dict.fromkeys(_HEIF, "a HEIF photo"),
    **dict.fromkeys(_AVIF, "an AVIF picture"),
}
HEAD = 64
"""Number of bytes at the beginning of a file that are enough to recognise it."""


def describe_content(head: bytes) -> str:
    """Return what a file that begins with ``head`` is, such as ``an HTML page``; empty if unknown."""
    if head[4:8] == b"ftyp":
        return f"{_BRANDS.get(head[8:12], 'a video or a similar image format')} (save it as JPEG)"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for start, what in _SIGNATURES if text[: len(start)].lower() == start.lower()), "")


def is_heif(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a photo as phones save it, HEIC or its relatives."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC + _HEIF


def is_avif(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is an AVIF picture."""
    return head[4:8] == b"ftyp" and head[8:12] in _AVIF
