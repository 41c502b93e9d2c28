"""The JSON that Google Takeout puts beside a photo: its name in the album, and where it was taken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from geobench.images.exif import Recorded, recorded
from geobench.images.gps import NoPositionError, Position, position

TAKEOUT = "Takeout's JSON"
MAX_BYTES = 1 << 20
PLACES = ("geoDataExif", "geoData")
"""What the camera wrote, then what the album shows, which people and Google change."""
_MARKS = (*PLACES, "photoTakenTime", "googlePhotosOrigin")
"""Keys that no other JSON beside a photo is likely to have."""


def read_takeout(content: bytes) -> Mapping[str, Any] | None:
    """Return the object in a JSON file, None if Takeout did not write it.

    Raises:
        NoPositionError: it is no JSON.
    """
    if len(content) > MAX_BYTES:
        return None
    try:
        values = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NoPositionError("it is not JSON, or damaged") from None
    return values if isinstance(values, dict) and any(mark in values for mark in _MARKS) else None


def takeout_positions(values: Mapping[str, Any]) -> Iterator[Recorded]:
    """Yield the positions that Takeout tells; it writes (0, 0) if it knows none."""
    for key in PLACES:
        if key in values:
            yield from recorded(TAKEOUT, partial(_position, values[key]))


def _position(place: object) -> Position | None:
    if not isinstance(place, dict):
        raise NoPositionError("it has no latitude and longitude")
    latitude, longitude = _number(place.get("latitude")), _number(place.get("longitude"))
    return None if latitude == longitude == 0 else position(latitude, longitude)


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # an integer of hundreds of digits
            return float(value)
    raise NoPositionError("its latitude or longitude is not a number")
