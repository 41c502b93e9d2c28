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
_BRANDS = {
    b"heic": "a HEIC photo",
    b"heix": "a HEIC photo",
    b"mif1": "a HEIF photo",
    b"msf1": "a HEIF photo",
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
}
HEAD = 64
"""Number of bytes at the beginning of a file that are enough to recognise it."""


def describe_content(head: bytes) -> str:
    """Return what a file that begins with ``head`` is, such as ``an HTML page``; empty if unknown."""
    if head[4:8] == b"ftyp":
        return f"{_BRANDS.get(head[8:12], 'a video or a similar image format')} (save it as JPEG)"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for start, what in _SIGNATURES if text[: len(start)].lower() == start.lower()), "")
