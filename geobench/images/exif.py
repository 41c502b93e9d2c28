"""The position that a camera wrote into a photo."""

from __future__ import annotations

import math
from pathlib import Path

from geobench.images.decoding import opened


def exif_position(source: Path | bytes) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees from the EXIF of an image, or None where there is none."""
    from PIL import ExifTags

    try:
        with opened(source) as image:
            gps = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude], gps.get(ExifTags.GPS.GPSLatitudeRef, "N"), "S")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude], gps.get(ExifTags.GPS.GPSLongitudeRef, "E"), "W")
    except Exception:  # no position, or one that cannot be made out
        return None
    usable = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if usable else None


def _degrees(sexagesimal: tuple[float, float, float], reference: str | bytes, negative: str) -> float:
    text = reference.decode("ascii", "replace") if isinstance(reference, bytes) else str(reference)
    degrees, minutes, seconds = (float(value) for value in sexagesimal)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if text.strip("\0 ").upper() == negative else value
