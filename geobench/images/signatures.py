"""What a file really holds, told by its first bytes, whatever its name says."""

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
    (b"version https://git-lfs", "a Git LFS pointer, whose content is yet to be fetched (git lfs pull)"),
    (b"<!doctype html", "an HTML page, such as a server sends in place of a file"),
    (b"<html", "an HTML page, such as a server sends in place of a file"),
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
"""So many bytes of a file are enough to tell."""


def describe_content(head: bytes) -> str:
    """Return what a file that begins with ``head`` is, such as ``an HTML page``; empty where that is not known."""
    if head[4:8] == b"ftyp":
        return f"{_BRANDS.get(head[8:12], 'a video or an image of its family')} (save it as JPEG)"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for start, what in _SIGNATURES if text[: len(start)].lower() == start.lower()), "")
