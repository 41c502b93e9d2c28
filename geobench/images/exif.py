"""The position that a camera recorded in a photo."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from geobench.errors import StorageError
from geobench.images.decoding import opened
from geobench.images.reading import retried


def exif_position(file: Path | bytes) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees from the EXIF of an image, None if it has no usable position.

    Raises:
        StorageError: the system cannot read the file just now.
    """
    from PIL import ExifTags

    try:
        gps = retried(lambda: _gps(file), str(file) if isinstance(file, Path) else "image")
        latitude = _degrees(gps[ExifTags.GPS.GPSLatitude], gps.get(ExifTags.GPS.GPSLatitudeRef, "N"), "S")
        longitude = _degrees(gps[ExifTags.GPS.GPSLongitude], gps.get(ExifTags.GPS.GPSLongitudeRef, "E"), "W")
    except StorageError:
        raise
    except Exception:  # no position, or a malformed one
        return None
    usable = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if usable else None


def _gps(file: Path | bytes) -> dict[int, Any]:
    from PIL import ExifTags

    with opened(file) as image:
        found: dict[int, Any] = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        return found


def _degrees(sexagesimal: tuple[float, float, float], reference: str | bytes, negative: str) -> float:
    text = reference.decode("ascii", "replace") if isinstance(reference, bytes) else str(reference)
    degrees, minutes, seconds = (float(value) for value in sexagesimal)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if text.strip("\0 ").upper() == negative else value
