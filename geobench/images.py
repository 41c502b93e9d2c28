"""From a file to pixels: decoding, orientation, crops, the position in EXIF."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from geobench.errors import ImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
CROPS = (1, 5, 10)
CROP_SHARE = 0.875
"""Side of a corner crop over the image's shorter side: 224 of 256, as in the ten crops of ImageNet evaluation."""

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError)
"""What Pillow's decoders raise on hostile files."""


def open_image(source: Path | bytes, name: str = "", side: int | None = None) -> Image.Image:
    """Return an image as upright RGB.

    Args:
        source: a file, or the bytes of one.
        name: what an error calls it; the file's own name where it is empty.
        side: the shorter side in pixels that is needed; a JPEG may be decoded at a reduced scale above it.

    Raises:
        ImageError: it cannot be read; says why.
    """
    name = name or (source.name if isinstance(source, Path) else "image")
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file") from None
    except UNREADABLE as error:
        raise ImageError(f"{name}: {type(error).__name__}: {error}") from error


def views(image: Image.Image, crops: int) -> list[Image.Image]:
    """Return the views of ``image`` that are encoded: itself (1), centre and corners (5), and their mirrors (10)."""
    if crops == 1:
        return [image]
    width, height = image.size
    side = max(1, round(CROP_SHARE * min(width, height)))
    right, bottom = width - side, height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    cut = [image.crop((x, y, x + side, y + side)) for x, y in corners]
    return cut if crops == 5 else cut + [ImageOps.mirror(view) for view in cut]


def exif_position(path: Path) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees from the EXIF of ``path``, or None where there is none."""
    try:
        with Image.open(path) as image:
            gps = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude], gps.get(ExifTags.GPS.GPSLatitudeRef, "N"), "S")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude], gps.get(ExifTags.GPS.GPSLongitudeRef, "E"), "W")
    except (*UNREADABLE, KeyError, ZeroDivisionError, IndexError):
        return None
    usable = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if usable else None


def _degrees(sexagesimal: tuple[float, float, float], reference: str | bytes, negative: str) -> float:
    text = reference.decode("ascii", "replace") if isinstance(reference, bytes) else str(reference)
    degrees, minutes, seconds = (float(value) for value in sexagesimal)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if text.strip("\0 ").upper() == negative else value
