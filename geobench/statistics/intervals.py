"""How sure a score is: 95 % confidence intervals over the images, sampled by photographer or place.

The kind of a metric decides. A share has Wilson's score interval, with the number of images divided by the design
effect and Student's t in place of the normal quantile. A median has Woodruff's: the same interval for the share of
values below it, read off the values. A mean has Student's t interval. ``tests/benchmarks/coverage.py`` simulates their
coverage next to that of the percentile bootstrap, which covers too little if few images are hits or a few
photographers took most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.tables.photographers import named_columns
from geobench.geo import FloatArray, place_keys

if TYPE_CHECKING:
    import pandas as pd

    from geobench.metrics import Metric

LEVEL = 0.95
FEW = 10
"""Below this effective number of clusters a design effect below 1 is taken for luck: see :attr:`Clusters.few`."""

LEAST_FOR_MEDIAN = 6
"""Values from which on a 95 % interval of a median exists: the lowest and the highest of n values have the median of
the population between them with a probability of 1 − 2/2^n, which is 93.75 % for five."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Clusters:
    """Which images of n belong together.

    Attributes:
        labels: (n,), from 0, without gaps.
        by: what the images of a cluster share, as tables name it: ``AUTHOR`` or ``coordinate``.
    """

    labels: npt.NDArray[np.intp]
    by: str = "coordinate"

    @cached_property
    def sizes(self) -> FloatArray:
        """Return the images (g,) in each cluster."""
        return np.bincount(self.labels).astype(np.float64)

    @property
    def largest_effect(self) -> float:
        """Return the design effect if all images of a cluster had one value: the mean cluster size of an image."""
        return float((self.sizes**2).sum() / self.sizes.sum())

    @property
    def effective(self) -> float:
        """Return the number of clusters of equal size that vary as much: Kish 1965, (Σ size)² / Σ size²."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    @property
    def few(self) -> bool:
        """Return whether the clusters are too few to show how much images of one cluster have in common.

        The variance between g clusters has at most g − 1 degrees of freedom. For two photographers whose photos are
        independent it comes out so small one time in six that the interval would be a fifth as wide as it should be.
        Images that are each a cluster of their own are never too few.
        """
        return len(self.sizes) < len(self.labels) and self.effective < FEW

    @cached_property
    def _grouped(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        order = np.argsort(self.labels, kind="stable")
        return order, np.searchsorted(self.labels[order], np.arange(len(self.sizes)))

    def among(self, rows: npt.NDArray[np.bool_]) -> Clusters:
        """Return the clusters of the images ``rows`` (n,) alone."""
        return Clusters(np.unique(self.labels[rows], return_inverse=True)[1], self.by)

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sum (g, …) of ``values`` (n, …) over each cluster."""
        if len(self.sizes) == len(self.labels):
            return values
        order, starts = self._grouped
        sums: FloatArray = np.add.reduceat(values[order], starts, axis=0)
        return sums


def clusters_of(truth: FloatArray, extra: pd.DataFrame | None = None) -> Clusters:
    """Return the clusters of images with coordinates ``truth`` (n, 2): by photographer, else by identical coordinate.

    An image without a photographer is grouped by its coordinate. If all images are at one coordinate, each is its own;
    if all are by one photographer, they are one cluster, which has no confidence interval.

    Args:
        truth: degrees.
        extra: the other columns of the test set; the first that names a photographer is used.
    """
    places = np.unique(place_keys(truth), return_inverse=True)[1]
    for column, people in () if extra is None else named_columns(extra):
        who = people.to_numpy(object)
        known = who != ""
        if known.any():
            labels = places + len(who)
            labels[known] = np.unique(who[known].astype(str), return_inverse=True)[1]
            return Clusters(np.unique(labels, return_inverse=True)[1], column)
    return Clusters(places) if places.any() else Clusters(np.arange(len(truth)), "image")


@dataclass(frozen=True)
class Mean:
    """The mean of values (n, …) and its variation when clusters are resampled; each attribute of the shape (…).

    Attributes:
        value: the mean.
        effect: the design effect: its variance over that of n independent images; at least 1 if clusters are few.
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
    """Return the mean of ``values`` (n, …) with its standard error, from the residuals of clusters.

    The variance is the linearised one of survey statistics, g/(g−1) · Σ (sum − size · mean)² / n². Constant values, or
    a single cluster, tell nothing about the intraclass correlation; then each cluster counts as one observation. With
    few clusters the variance is at least that of n independent images.
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
    if clusters.few:
        effect = np.maximum(effect, 1.0)
    alike = np.clip((effect - 1) / (worst - 1), 0, 1) if worst > 1 else np.zeros_like(effect)
    return Mean(mean, effect, np.sqrt(effect * alone), alike, _freedom(sizes, alike))


def clustered_share(hits: npt.NDArray[np.generic], clusters: Clusters) -> Mean:
    """Return the mean of ``hits`` (n, …), 0 or 1, with degrees of freedom that fit a share.

    The share of a cluster lies between 0 and 1, so its variance is estimated better than that of a normal value: with
    the kurtosis k of the beta distribution, at most 3, the degrees of freedom are 2 / (k − 1) times as many.
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


def median_interval(values: FloatArray, clusters: Clusters) -> tuple[FloatArray, FloatArray]:
    """Return the ends (…) of the interval of the median of ``values`` (n, …): Woodruff 1952."""
    n, ordered = len(values), np.sort(values, axis=0)
    below = clustered_share(values <= np.median(values, axis=0), clusters)
    half = 0.5 * below.t * np.sqrt(below.effect / n)
    # The median lies between the two middle values, even if the share below it has no variance at all.
    ends = np.minimum(np.floor((0.5 - half) * n), (n - 1) // 2), np.maximum(np.ceil((0.5 + half) * n) - 1, n // 2)
    low, high = (np.clip(end, 0, n - 1).astype(np.intp) for end in ends)
    take = [np.take_along_axis(ordered, end[None], axis=0)[0] for end in (low, high)]
    return take[0], take[1]


def intervals(values: Mapping[str, FloatArray], clusters: Clusters, metrics: Iterable[Metric]) -> dict[str, Interval]:
    """Return the 95 % confidence interval of each score, in its unit.

    A metric that does not apply to some images is judged by the others and their clusters. One that applies to none,
    or has no value per image, has no interval; nor has a score of a single cluster, or the median of fewer than six
    values.

    Args:
        values: (n,) of each metric, from :func:`geobench.metrics.image_values`.
        clusters: of the n images.
        metrics: all or some of those in ``values``, and others.
    """
    chosen = [metric for metric in metrics if metric.name in values] if len(clusters.sizes) > 1 else []
    whole = [m for m in chosen if m.kind == "share" and not np.isnan(values[m.name]).any()]
    shares = _share_intervals([values[metric.name] for metric in whole], clusters) if whole else []
    together = dict(zip((metric.name for metric in whole), shares, strict=True))
    found = {}
    for metric in chosen:
        interval = together.get(metric.name) or _interval(metric, values[metric.name], clusters)
        if interval is not None:
            found[metric.name] = interval
    return found


def _share_intervals(hits: list[FloatArray], clusters: Clusters) -> list[Interval]:
    """Return the interval in percent of each of several ``hits`` (n,), worked out together."""
    low, high = share_interval(np.stack(hits, axis=1), clusters)
    return [(100 * float(a), 100 * float(b)) for a, b in zip(low, high, strict=True)]


def _interval(metric: Metric, values: FloatArray, clusters: Clusters) -> Interval | None:
    """Return the interval of ``metric`` over the images that it applies to; None if they are too few."""
    values, clusters = applicable(values, clusters)
    if len(clusters.sizes) < 2 or (metric.kind == "median" and len(values) < LEAST_FOR_MEDIAN):
        return None
    if metric.kind == "share":
        return _share_intervals([values], clusters)[0]
    if metric.kind == "median":
        low, high = median_interval(values, clusters)
        return float(low), float(high)
    mean = clustered_mean(values, clusters)
    half = mean.t * mean.se
    return max(metric.low, float(mean.value - half)), min(metric.high, float(mean.value + half))


def applicable(values: FloatArray, clusters: Clusters) -> tuple[FloatArray, Clusters]:
    """Return those of ``values`` (n,) that are not NaN, and their clusters."""
    known = ~np.isnan(values)
    return (values, clusters) if known.all() else (values[known], clusters.among(known))
