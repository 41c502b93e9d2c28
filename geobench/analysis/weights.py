"""Accuracy where photos were taken is not accuracy over the world: images weighted by area or by inhabitants.

The sphere is cut into cells of equal area. A cell shares its weight out among its images: under ``area`` every cell
that holds images weighs the same, under ``population`` as much as it has inhabitants. A cell without images weighs
nothing, as nothing is known of it; :class:`Weights` says how much of the world that leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geobench.data.land import sample_land
from geobench.data.places import settlements
from geobench.geo import EARTH_RADIUS_KM, FloatArray
from geobench.statistics.intervals import Clusters, Interval, clustered_mean

ROWS, COLUMNS = 32, 64
CELL_KM2 = 4 * np.pi * EARTH_RADIUS_KM**2 / (ROWS * COLUMNS)
"""249,056 km², a square of 499 km: as large as the United Kingdom."""
LAND_POINTS = 100_000  # that the share of the land is counted with


@dataclass(frozen=True)
class Weights:
    """Weights of n images.

    Attributes:
        values: (n,), of mean 1.
        kind: ``area`` or ``population``.
        covered: the share of the world's land, or of its inhabitants, that lies in cells with images, 0 to 1.
        cells: number of cells with images and a weight.
        unweighted: images in cells that weigh nothing.
    """

    values: FloatArray
    kind: str
    covered: float
    cells: int
    unweighted: int

    @property
    def effective(self) -> float:
        """Return the number of equally weighted images that would scatter as much: Kish 1965, (Σ w)² / Σ w²."""
        return float(self.values.sum() ** 2 / (self.values**2).sum())


def cells_of(coordinates: FloatArray) -> npt.NDArray[np.intp]:
    """Return the cell (n,) of each of ``coordinates``: 32 bands of equal area, each cut at 64 meridians."""
    row = np.floor((np.sin(np.radians(coordinates[:, 0])) + 1) / 2 * ROWS)
    column = np.floor((coordinates[:, 1] + 180) / 360 * COLUMNS)
    cells: npt.NDArray[np.intp] = (np.clip(row, 0, ROWS - 1) * COLUMNS + np.mod(column, COLUMNS)).astype(np.intp)
    return cells


def weights(truth: FloatArray, kind: str) -> Weights:
    """Return the weights of images at ``truth`` (n, 2) by ``area`` or by ``population``."""
    cells = cells_of(truth)
    images = np.bincount(cells, minlength=ROWS * COLUMNS)
    if kind == "area":
        points = sample_land(LAND_POINTS, np.random.default_rng(0))
        world, weight = _per_cell(points, np.ones(LAND_POINTS)), np.ones(ROWS * COLUMNS)
    else:
        weight = world = _per_cell(*settlements())
    values = (weight / np.maximum(images, 1))[cells]
    return Weights(
        values=values / values.mean(),
        kind=kind,
        covered=float(world[images > 0].sum() / world.sum()),
        cells=int(((images > 0) & (weight > 0)).sum()),
        unweighted=int((values == 0).sum()),
    )


def _per_cell(coordinates: FloatArray, values: FloatArray) -> FloatArray:
    return np.asarray(np.bincount(cells_of(coordinates), weights=values, minlength=ROWS * COLUMNS), dtype=np.float64)


def weighted_share(hits: npt.NDArray[np.bool_], weights: FloatArray, clusters: Clusters) -> tuple[float, Interval]:
    """Return the weighted share of ``hits`` (n,) and its 95 % interval, both in percent.

    The interval is Wilson's, with the number of images that the linearised variance of the weighted mean stands for,
    as in :func:`geobench.statistics.intervals.share_interval`, which it equals where all weights do.
    """
    share = float(np.average(hits, weights=weights))
    scaled = share + weights / weights.mean() * (hits - share)  # its residuals are those of the weighted mean
    mean = clustered_mean(scaled, clusters)
    scatter = share * (1 - share)
    if scatter > 0:
        squared = float(mean.t**2 * mean.se**2) / scatter
    else:
        squared = float(mean.t**2 * mean.effect * (weights**2).sum() / weights.sum() ** 2)
    middle, half = share + squared / 2, np.sqrt(squared * (scatter + squared / 4))
    low, high = (middle - half) / (1 + squared), (middle + half) / (1 + squared)
    return 100 * share, (100 * float(low), 100 * float(high))
