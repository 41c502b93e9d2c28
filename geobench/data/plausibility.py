"""Whether valid coordinates can be where photos were taken: not swapped, not unknown, not at sea, not rounded away."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from geobench.data.land import is_open_sea
from geobench.data.places import is_on_the_high_seas
from geobench.data.tables.swapped import swap_evidence
from geobench.geo import FloatArray, place_keys

MOST_AT_SEA, FEW_AT_SEA = 0.005, 3
"""A larger share of photos on the open sea, and so many, is no chance: it is 10 of the 25,600 of YFCC26k, and none of
Im2GPS and Im2GPS3k."""
STEPS = (10.0, 5.0, 1.0, 0.5, 0.25, 0.1, 0.05)
"""Degrees that positions may be rounded to. Of Im2GPS3k and YFCC26k at most 0.03 % are multiples of one by chance."""
ROUNDED_SHARE, ROUNDED_PLACES = 0.5, 10
"""The share of positions, and the number of places, that are multiples of a step if a set is rounded to it."""
KM_PER_DEGREE = 111.2


def at_zero(coordinates: FloatArray) -> npt.NDArray[np.bool_]:
    """Return a mask (n,) of the ``coordinates`` (n, 2) at (0, 0), which usually stands for an unknown position."""
    return np.asarray((np.abs(coordinates) < 1e-6).all(axis=1))


def at_sea(coordinates: FloatArray) -> npt.NDArray[np.bool_]:
    """Return a mask (n,) of the ``coordinates`` (n, 2) on the open sea, but for (0, 0).

    They are 25 km or more from the land of a map, and in the waters of no country: maps lack islands, such as Malé.
    """
    sea = is_open_sea(coordinates) & ~at_zero(coordinates)
    sea[sea] = is_on_the_high_seas(coordinates[sea])
    return sea


def sea_evidence(coordinates: FloatArray) -> str:
    """Return that more of ``coordinates`` (n, 2) are on the open sea than in any real set of photos; '' if not."""
    n = int(at_sea(coordinates).sum())
    if n < FEW_AT_SEA or n <= MOST_AT_SEA * len(coordinates):
        return ""
    text = f"{n:,} of {len(coordinates):,} positions are on the open sea, 25 km or more from any land"
    return f"{text}, where hardly any photo is taken; are signs or columns wrong?"


def zero_evidence(coordinates: FloatArray) -> str:
    """Return how many of ``coordinates`` (n, 2) are at (0, 0); '' if none is."""
    n = int(at_zero(coordinates).sum())
    text = f"{n:,} of {len(coordinates):,} positions are at (0, 0), which usually means that the position is unknown"
    return text if n else ""


def rounding_evidence(coordinates: FloatArray, thresholds_km: Iterable[float]) -> str:
    """Return that ``coordinates`` (n, 2) are rounded too much for accuracies at some distances; '' if they are not."""
    n, km = rounding(coordinates)
    coarse = [f"{threshold:g}" for threshold in sorted(thresholds_km) if threshold < km]
    if not coarse:
        return ""
    distances = " and ".join(filter(None, (", ".join(coarse[:-1]), coarse[-1])))
    which = f"all {n:,}" if n == len(coordinates) else f"{n:,} of {len(coordinates):,}"
    about = f"{km:.0f}" if km >= 10 else f"{km:.1f}"
    return f"{which} true positions are rounded to about {about} km, so that accuracies at {distances} km mean little"


def rounding(coordinates: FloatArray) -> tuple[int, float]:
    """Return how many of ``coordinates`` (n, 2) are rounded, and by how many km at most along a meridian; 0 if none."""
    for step in STEPS:
        steps = coordinates / step
        rounded = (np.abs(steps - np.round(steps)) < 1e-6).all(axis=1) & ~at_zero(coordinates)
        many = rounded.sum() >= max(1.0, ROUNDED_SHARE * len(coordinates))
        if many and len(np.unique(place_keys(coordinates[rounded]))) >= ROUNDED_PLACES:
            return int(rounded.sum()), KM_PER_DEGREE * step / 2
    return 0, 0.0


def evidence(coordinates: FloatArray, thresholds_km: Iterable[float]) -> dict[str, str]:
    """Return what speaks against the true positions ``coordinates`` (n, 2), a line for each kind.

    Args:
        coordinates: degrees.
        thresholds_km: distances of the accuracies that they are used for.
    """
    swapped = swap_evidence(coordinates)
    found = {
        "swapped positions": swapped,
        "positions at (0, 0)": zero_evidence(coordinates),
        "positions at sea": "" if swapped else sea_evidence(coordinates),
        "rounded positions": rounding_evidence(coordinates, thresholds_km),
    }
    return {kind: text for kind, text in found.items() if text}
