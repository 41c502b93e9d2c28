"""Accuracy where photos were taken is not accuracy over the world: images weighted by area or by population.

The sphere is divided into cells of equal area. The weight of a cell is shared among its images: under ``area`` every
cell that contains images weighs the same, under ``population`` as much as it has inhabitants. A cell without images has
no weight, since nothing is known about it; :class:`Weights` says how much of the world remains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geobench.data.land import sample_land
from geobench.data.places import settlements
from geobench.geo import EARTH_RADIUS_KM, FloatArray
from geobench.statistics.intervals import Clusters, Interval, Mean, clustered_mean

ROWS, COLUMNS = 32, 64
CELL_KM2 = 4 * np.pi * EARTH_RADIUS_KM**2 / (ROWS * COLUMNS)
"""249,056 km², a square of 499 km: about the size of the United Kingdom."""
LAND_POINTS = 100_000  # random points that estimate the share of land


@dataclass(frozen=True)
class Weights:
    """Weights of n images.

    Attributes:
        values: (n,), of mean 1; all 0 if no cell with images has a weight.
        kind: ``area`` or ``population``.
        covered: the share of the world's land, or of its population, in cells with images, 0 to 1.
        cells: number of cells with images and a weight.
        unweighted: images in cells without a weight.
    """

    values: FloatArray
    kind: str
    covered: float
    cells: int
    unweighted: int

    @property
    def effective(self) -> float:
        """Return the number of equally weighted images with the same variance: Kish 1965, (Σ w)² / Σ w²."""
        return float(self.values.sum() ** 2 / (self.values**2).sum()) if self.values.any() else 0.0


def cells_of(coordinates: FloatArray) -> npt.NDArray[np.intp]:
    """Return the cell (n,) of each of ``coordinates``: 32 bands of equal area, each divided by 64 meridians."""
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
        values=values / values.mean() if values.any() else values,
        kind=kind,
        covered=float(world[images > 0].sum() / world.sum()),
        cells=int(((images > 0) & (weight > 0)).sum()),
        unweighted=int((values == 0).sum()),
    )


def _per_cell(coordinates: FloatArray, values: FloatArray) -> FloatArray:
    return np.asarray(np.bincount(cells_of(coordinates), weights=values, minlength=ROWS * COLUMNS), dtype=np.float64)


def weighted_share(hits: npt.NDArray[np.generic], weights: FloatArray, clusters: Clusters) -> tuple[float, Interval]:
    """Return the weighted share of ``hits`` (n,), 0 or 1, and its 95 % confidence interval, both in percent.

    The interval is Wilson's, with the effective number of images that the linearised variance of the weighted mean
    implies. With equal weights it is that of :func:`geobench.statistics.intervals.share_interval`, up to the degrees of
    freedom, which are Satterthwaite's here.
    """
    values = np.asarray(hits, dtype=np.float64)
    share = float(np.average(values, weights=weights))
    mean = _linearised_mean(values, weights, clusters, share)
    variance = share * (1 - share)
    if variance > 0:
        squared = float(mean.t**2 * mean.se**2) / variance
    else:
        squared = float(mean.t**2 * mean.effect * (weights**2).sum() / weights.sum() ** 2)
    middle, half = share + squared / 2, np.sqrt(squared * (variance + squared / 4))
    low, high = (middle - half) / (1 + squared), (middle + half) / (1 + squared)
    return 100 * share, (100 * float(low), 100 * float(high))


def weighted_mean(values: FloatArray, weights: FloatArray, clusters: Clusters) -> tuple[float, Interval]:
    """Return the weighted mean of ``values`` (n,) and its 95 % confidence interval by Student's t."""
    centre = float(np.average(values, weights=weights))
    mean = _linearised_mean(values, weights, clusters, centre)
    half = float(mean.t * mean.se)
    return centre, (centre - half, centre + half)


def _linearised_mean(values: FloatArray, weights: FloatArray, clusters: Clusters, centre: float) -> Mean:
    """Return the mean of values whose residuals are those of the weighted mean, ``centre``."""
    return clustered_mean(centre + weights / weights.mean() * (values - centre), clusters)
