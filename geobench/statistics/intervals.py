"""How sure a score is: 95 % intervals over the images, which are drawn by photographer or place rather than alone.

An accuracy has Wilson's score interval, with the number of images divided by the design effect and Student's t in place
of the normal. The median has Woodruff's: the same interval for the share of errors below it, read off the errors. Mean
and GeoScore have that of a mean. ``tests/benchmarks/coverage.py`` simulates the coverage, beside that of the percentile
bootstrap, which covers too little where few images are right or few photographers took many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench import metrics
from geobench.data.tables.photographers import named_columns
from geobench.geo import FARTHEST_KM, FloatArray, place_keys

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True)
class Clusters:
    """Which images of n belong together.

    Attributes:
        labels: (n,), 0 to the number of clusters.
        by: what they share, for the reader of a table: ``AUTHOR`` or ``coordinate``.
    """

    labels: npt.NDArray[np.intp]
    by: str = "coordinate"

    @cached_property
    def sizes(self) -> FloatArray:
        """Return the images (g,) in each cluster."""
        return np.bincount(self.labels).astype(np.float64)

    @property
    def largest_effect(self) -> float:
        """Return the design effect if all images of a cluster fared alike: the size of the cluster of an image."""
        return float((self.sizes**2).sum() / self.sizes.sum())

    @cached_property
    def _grouped(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        order = np.argsort(self.labels, kind="stable")
        return order, np.searchsorted(self.labels[order], np.arange(len(self.sizes)))

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sums (g, …) over each cluster of ``values`` (n, …)."""
        if len(self.sizes) == len(self.labels):
            return values
        order, starts = self._grouped
        sums: FloatArray = np.add.reduceat(values[order], starts, axis=0)
        return sums


def clusters_of(truth: FloatArray, extra: pd.DataFrame | None = None) -> Clusters:
    """Return the clusters of images with coordinates ``truth`` (n, 2): by photographer, else by identical coordinate.

    Args:
        truth: degrees.
        extra: the other columns of the test set; one that names photographers and tells images apart is used. An
            image whose photographer is blank is put with those of the same coordinate. Where all images would be one
            cluster, each stands alone.
    """
    places = np.unique(place_keys(truth), return_inverse=True)[1]
    for column, people in () if extra is None else named_columns(extra):
        who = people.to_numpy(object)
        if len(set(who)) > 1:
            known = who != ""
            labels = places + len(who)
            labels[known] = np.unique(who[known].astype(str), return_inverse=True)[1]
            return Clusters(np.unique(labels, return_inverse=True)[1], column)
    return Clusters(places) if places.any() else Clusters(np.arange(len(truth)), "image")


@dataclass(frozen=True)
class Mean:
    """The mean of values (n, …) and how it scatters when clusters are drawn anew; each of the shape (…).

    Attributes:
        value: the mean.
        effect: the design effect, its variance over that of n images drawn alone.
        se: its standard error.
        alike: the intraclass correlation, 0 to 1.
        freedom: Satterthwaite's degrees of freedom of the standard error, for clusters of these sizes.
    """

    value: FloatArray
    effect: FloatArray
    se: FloatArray
    alike: FloatArray
    freedom: FloatArray

    @property
    def t(self) -> FloatArray:
        """Return Student's t at 97.5 %."""
        from scipy.special import stdtrit

        t: FloatArray = stdtrit(self.freedom, (1 + LEVEL) / 2)
        return t


def clustered_mean(values: FloatArray, clusters: Clusters) -> Mean:
    """Return the mean of ``values`` (n, …) with its scatter, from the residuals of clusters.

    The variance is the linearised one of survey statistics, g/(g−1) · Σ (sum − size · mean)² / n². Values without any
    scatter, and one cluster alone, say nothing on how alike the images of a cluster are: it counts as one observation.
    """
    n, sizes = len(values), clusters.sizes
    mean = values.mean(axis=0)
    residuals = clusters.sums(values - mean)
    g = len(sizes)
    variance = (residuals**2).sum(axis=0) / n**2 * g / max(g - 1, 1)
    alone = ((values - mean) ** 2).mean(axis=0) / n
    worst = clusters.largest_effect
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where((alone > 0) & (g > 1), variance / alone, worst)
    alike = np.clip((effect - 1) / (worst - 1), 0, 1) if worst > 1 else np.zeros_like(effect)
    return Mean(mean, effect, np.sqrt(effect * alone), alike, _freedom(sizes, alike))


def clustered_share(hits: npt.NDArray[np.generic], clusters: Clusters) -> Mean:
    """Return the mean of ``hits`` (n, …), 0 or 1; the more alike the images of a cluster, the surer is its scatter.

    A share lies between 0 and 1 and varies less than a normal value of the same variance: with the kurtosis k of the
    beta distribution, at most 3, the degrees of freedom are 2 / (k − 1) as many.
    """
    mean = clustered_mean(hits.astype(np.float64), clusters)
    p, alike = np.clip(mean.value, 1e-6, 1 - 1e-6), np.clip(mean.alike, 1e-6, 1 - 1e-6)
    total = 1 / alike - 1  # the two parameters of the beta distribution are p and 1 − p times this
    product = p * (1 - p) * total**2
    excess = 6 * (((2 * p - 1) * total) ** 2 * (total + 1) - product * (total + 2))
    kurtosis = np.minimum(3 + excess / (product * (total + 2) * (total + 3)), 3)
    return replace(mean, freedom=mean.freedom * 2 / (kurtosis - 1))


def _freedom(sizes: FloatArray, alike: FloatArray) -> FloatArray:
    """Return Satterthwaite's degrees of freedom: (Σ v)² / Σ v², v = size · (1 + (size − 1) · alike), less a share."""
    squares, g = sizes**2, len(sizes)
    total = sizes.sum() + alike * (squares - sizes).sum()
    scatter = squares.sum() + 2 * alike * (squares * (sizes - 1)).sum() + alike**2 * (squares * (sizes - 1) ** 2).sum()
    freedom: FloatArray = np.maximum(total**2 / scatter * (g - 1) / g, 1.0)
    return freedom


def share_interval(hits: npt.NDArray[np.generic], clusters: Clusters) -> tuple[FloatArray, FloatArray]:
    """Return the ends (…) of the interval of the share of ``hits`` (n, …), 0 to 1: Wilson 1927 with a design effect."""
    mean = clustered_share(hits, clusters)
    p, squared = mean.value, mean.t**2 * mean.effect / len(hits)
    middle, half = p + squared / 2, np.sqrt(squared * (p * (1 - p) + squared / 4))
    return (middle - half) / (1 + squared), (middle + half) / (1 + squared)


def median_interval(errors: FloatArray, clusters: Clusters) -> tuple[FloatArray, FloatArray]:
    """Return the ends (…) of the interval of the median of ``errors`` (n, …): Woodruff 1952."""
    n, ordered = len(errors), np.sort(errors, axis=0)
    below = clustered_share(errors <= np.median(errors, axis=0), clusters)
    half = 0.5 * below.t * np.sqrt(below.effect / n)
    # The median lies between the two middle errors, also where the share below it does not scatter at all.
    ends = np.minimum(np.floor((0.5 - half) * n), (n - 1) // 2), np.maximum(np.ceil((0.5 + half) * n) - 1, n // 2)
    low, high = (np.clip(end, 0, n - 1).astype(np.intp) for end in ends)
    take = [np.take_along_axis(ordered, end[None], axis=0)[0] for end in (low, high)]
    return take[0], take[1]


def intervals(errors: FloatArray, clusters: Clusters) -> dict[str, Interval]:
    """Return the 95 % interval of every score of ``errors`` (n,) in km, in the units of the scores."""
    hits = errors[:, None] <= np.array(list(metrics.LEVELS_KM.values()))
    low, high = share_interval(hits, clusters)
    found = {name: (100 * float(a), 100 * float(b)) for name, a, b in zip(metrics.ACCURACIES, low, high, strict=True)}
    a, b = median_interval(errors, clusters)
    found["median_km"] = (float(a), float(b))
    for name, values, most in (("mean_km", errors, FARTHEST_KM), ("geoscore", metrics.geoscores(errors), 5000.0)):
        mean = clustered_mean(values, clusters)
        half = mean.t * mean.se
        found[name] = (max(0.0, float(mean.value - half)), min(most, float(mean.value + half)))
    return found
