"""Positions as cameras and editors write them: degrees, minutes, seconds and a hemisphere. Nothing is guessed.

What has one meaning is read. Anything else is no position, with the reason: a wrong sign would put a photo on another
continent without a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

Position = tuple[float, float]
"""Latitude and longitude in degrees."""


class NoPositionError(Exception):
    """What is recorded is not a position; the message is the reason, in the same words for the same fault."""


class Axis(NamedTuple):
    """Latitude or longitude.

    Attributes:
        name: of the axis.
        words: the positive and the negative hemisphere, in words that begin with its letter.
        limit: its largest value in degrees.
    """

    name: str
    words: dict[str, tuple[str, ...]]
    limit: int


LATITUDE = Axis("latitude", {"N": ("NORTH", "NORD", "NORTE"), "S": ("SOUTH", "SUD", "SÜD", "SUR")}, 90)
LONGITUDE = Axis("longitude", {"E": ("EAST", "EST"), "W": ("WEST",)}, 180)
# An integer that was written as a rational number or in decimals may be a little off: 11 m in degrees, 2 m in minutes.
WHOLE = (1e-4, 1e-3)


def position(latitude: float, longitude: float) -> Position:
    """Return the position, in decimal degrees with signs; raise ``NoPositionError`` if it is none on Earth."""
    for value, axis in ((latitude, LATITUDE), (longitude, LONGITUDE)):
        if not math.isfinite(value):
            raise NoPositionError(f"the {axis.name} is not a number")
        if abs(value) > axis.limit:
            raise NoPositionError(f"the {axis.name} is beyond ±{axis.limit}")
    if latitude == longitude == 0:
        raise NoPositionError("it is (0, 0), which stands for no position")
    return float(latitude), float(longitude)


def degrees(components: Sequence[float], reference: str, axis: Axis) -> float:
    """Return decimal degrees with their sign.

    Args:
        components: degrees, and the minutes and seconds to add to them. A sign on the degrees is that of the whole.
        reference: the hemisphere: its letter or word, in either case; empty if none is recorded.
        axis: which hemispheres there are.

    Raises:
        NoPositionError: they are not an angle; no hemisphere is recorded, an unknown one, or two.
    """
    if not all(map(math.isfinite, components)):
        raise NoPositionError(f"the {axis.name} is not a number")
    sign, hemisphere = math.copysign(1, components[0]) if components[0] else 0, _hemisphere(reference, axis)
    if sign < 0 and all(value <= 0 for value in components):
        components = [-value for value in components]
    elif sign < 0:
        components = [-components[0], *components[1:]]
    if not all(0 <= value < 60 for value in components[1:]):
        raise NoPositionError(f"minutes or seconds of the {axis.name} are not between 0 and 60")
    if any(
        abs(value - round(value)) > within and any(components[number:])
        for number, (value, within) in enumerate(zip(components, WHOLE, strict=False), start=1)
    ):
        raise NoPositionError(f"the {axis.name} has a fraction of degrees or minutes, and smaller units besides")
    if sign < 0 < hemisphere:
        raise NoPositionError(f"the {axis.name} is negative, and its reference says {next(iter(axis.words))}")
    if sign >= 0 and not hemisphere:
        raise NoPositionError(f"the {axis.name} has no reference ({' or '.join(axis.words)})")
    value = math.fsum(part / unit for part, unit in zip(components, (1, 60, 3600), strict=False))
    return -value if min(sign, hemisphere) < 0 else value


def _hemisphere(reference: str, axis: Axis) -> int:
    """Return 1 or −1, 0 for an empty reference. ``South latitude`` and ``S.`` are south, ``N/A`` is nothing."""
    text = reference.partition("\0")[0].strip()
    if not text:
        return 0
    words = re.findall(r"[^\W\d_]+", text.upper())
    signs = {_sign(word, axis) for word in words if len(word) == 1 or word == words[0] or _sign(word, axis)}
    if len(signs) == 1 and (sign := signs.pop()):
        return sign
    raise NoPositionError(f"the reference of the {axis.name} is {text[:20]!r}, not {' or '.join(axis.words)}")


def _sign(word: str, axis: Axis) -> int:
    """Return the sign of a hemisphere by its letter or a word for it, 0 if it is none."""
    signed = zip((1, -1), axis.words.items(), strict=True)
    return next((sign for sign, (letter, words) in signed if word == letter or word.startswith(words)), 0)
