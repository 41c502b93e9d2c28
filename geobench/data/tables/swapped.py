"""Whether latitude and longitude of valid positions are probably swapped, by what would be at sea."""

from __future__ import annotations

import numpy as np

from geobench.data.land import is_open_sea
from geobench.data.tables.coordinates import SWAPPED
from geobench.geo import FloatArray

SIGMAS, RATIO, TOTAL_RATIO = 3.0, 4, 2
"""A header counts as swapped if the positions that are at sea only as read outnumber those that are at sea only
when swapped by ``SIGMAS`` standard deviations of chance and by the factor ``RATIO``, and if ``TOTAL_RATIO`` times as
many are at sea in total: photos taken on ships are at sea either way."""


def swap_evidence(coordinates: FloatArray, what: str = "images") -> str:
    """Return why latitude and longitude of ``coordinates`` (n, 2) look swapped, '' if they do not.

    They do if far more of them, called ``what``, are on the open sea, at least 25 km from any land, than with the
    columns swapped. A longitude beyond ±90 cannot be a latitude.
    """
    as_read = is_open_sea(coordinates)
    swapped = np.abs(coordinates[:, 1]) > 90
    swapped[~swapped] = is_open_sea(coordinates[~swapped][:, ::-1])
    worse, better = int((as_read & ~swapped).sum()), int((swapped & ~as_read).sum())
    by_chance = worse - better < SIGMAS * np.sqrt(worse + better)
    if not worse or by_chance or worse < RATIO * better or as_read.sum() < TOTAL_RATIO * swapped.sum():
        return ""
    return (
        f"{SWAPPED}. {as_read.sum():,} of {len(coordinates):,} {what} are on the open sea; with the columns swapped, "
        f"{swapped.sum():,} would be there or beyond latitude ±90"
    )
