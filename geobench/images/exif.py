"""The position that a camera recorded in a photo."""

from __future__ import annotations

import math
from pathlib import Path

from geobench.images.decoding import opened


def exif_position(file: Path | bytes) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees from the EXIF of an image, None if it has no usable position."""
    from PIL import ExifTags

    try:
        with opened(file) as image:
            gps = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude], gps.get(ExifTags.GPS.GPSLatitudeRef, "N"), "S")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude], gps.get(ExifTags.GPS.GPSLongitudeRef, "E"), "W")
    except Exception:  # no position, or a malformed one
        return None
    usable = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if usable else None


def _degrees(sexagesimal: tuple[float, float, float], reference: str | bytes, negative: str) -> float:
    text = reference.decode("ascii", "replace") if isinstance(reference, bytes) else str(reference)
    degrees, minutes, seconds = (float(value) for value in sexagesimal)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if text.strip("\0 ").upper() == negative else value
