"""Whether the numbers of a file can be latitude and longitude in degrees: what they look like if they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from geobench.data.tables.columns import AXES
from geobench.errors import ResultError
from geobench.geo import FloatArray, valid_if_swapped

BEYOND_SHARE = 0.05
"""Share of the positions out of range from which on a file is refused if another reading mends all of them."""
MOST = 0.5
"""Share of different positions out of range from which on a file is refused, whatever they are."""


def refuse_out_of_range(path: Path, given: FloatArray, found: Mapping[str, str]) -> None:
    """Raise ``ResultError`` if positions are out of range that are swapped, from 0 to 360, or mostly something else.

    A value that stands for none, such as 9999 for every failure, counts once.

    Args:
        path: of the file, for messages.
        given: (n, 2) numbers as they stand in the file, NaN for what is none.
        found: the column of each role.
    """
    given = given[np.isfinite(given).all(axis=1)]
    out = (np.abs(given) > (AXES["latitude"], AXES["longitude"])).any(axis=1)
    beyond = int(out.sum())
    if not beyond:
        return
    what = f"{path}: {beyond:,} of {len(given):,} positions are out of range (latitude ±90, longitude ±180)"
    anyway = "to count them as no position: --as-given"
    if beyond >= BEYOND_SHARE * len(given) and valid_if_swapped(given):
        raise ResultError(f"{what}, and none is the other way round: they look swapped: {_swapped(found)}; {anyway}")
    latitude, longitude = given.T
    around = (np.abs(latitude) <= AXES["latitude"]).all() and ((longitude >= 0) & (longitude <= 360)).all()
    if beyond >= BEYOND_SHARE * len(given) and around and len(np.unique(longitude[out])) > 1:
        raise ResultError(f"{what}: longitudes run from 0 to 360: subtract 360 from those above 180; {anyway}")
    distinct = len(np.unique(given[out], axis=0))
    if distinct > 1 and distinct >= MOST * len(np.unique(given, axis=0)):
        first = given[out][0]
        raise ResultError(
            f"{what}, such as {first[0]:g}, {first[1]:g}: they are not in degrees; write degrees, such as 48.85, 2.35; "
            f"{anyway}"
        )


def _swapped(found: Mapping[str, str]) -> str:
    if "longitude" in found:
        return f"name the columns latitude={found['longitude']},longitude={found['latitude']}"
    return swapped_in_one(found.get("position", ""))


def swapped_in_one(column: str) -> str:
    """Return what to do about a column of positions with the longitude first."""
    return (
        f"write the latitude first, or call the column {column!r} lonlat; of a list in JSON name the parts: "
        "latitude=NAME.1,longitude=NAME.0"
    )
