"""From a file to pixels: decoding, orientation, crops, the position in EXIF."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from geobench.errors import ImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
CROPS = (1, 5, 10)
CROP_SHARE = 0.875
"""Side of a corner crop over the image's shorter side: 224 of 256, as in the ten crops of ImageNet evaluation."""

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError)
"""What Pillow's decoders raise on hostile files."""


def open_image(path: Path) -> Image.Image:
    """Return the image in ``path`` as upright RGB; raise ``ImageError`` saying why it cannot be read."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise ImageError(f"{path.name}: there is no such file") from None
    except UNREADABLE as error:
        raise ImageError(f"{path.name}: {type(error).__name__}: {error}") from error


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
