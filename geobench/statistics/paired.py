"""Is the difference real? Paired tests and intervals of two models on the same images, and ties for the first place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.geo import FloatArray
from geobench.statistics.intervals import LEVEL, Clusters, applicable, clustered_mean, clustered_share, median_interval

if TYPE_CHECKING:
    from geobench.metrics import Metric

ALPHA = 1 - LEVEL
EXACT_STEPS = 50_000_000  # additions allowed for the exact distribution: a fraction of a second
WHOLE = 1e-9


@dataclass(frozen=True)
class Difference:
    """B minus A; NaN for what cannot be given.

    Attributes:
        value: in the unit of the score.
        low, high: its 95 % confidence interval.
        p: of no difference.
    """

    value: float
    low: float
    high: float
    p: float


def sign_flip_p(sums: npt.ArrayLike) -> float:
    """Return the two-sided p-value of no difference, by swapping the two models cluster by cluster.

    If every cluster is one image and ``sums`` are −1, 0 and 1, this is McNemar's exact test. With clusters it is the
    exact form of the test of Yang, Sun and Hardin 2010. If the exact distribution would take too long, or the sums are
    not whole numbers, a normal distribution of the same variance replaces it; its p-value is never below the smallest
    that swapping so few clusters can give, 2 / 2^g.

    Args:
        sums: (g,) for each cluster, hits of B minus hits of A.
    """
    found = np.asarray(sums, dtype=np.float64)
    steps = np.abs(found[found != 0])
    if not len(steps):
        return 1.0
    whole = np.rint(steps).astype(np.int64)
    if np.abs(steps - whole).max() > WHOLE or np.count_nonzero(whole > 1) * whole.sum() > EXACT_STEPS:
        from scipy.special import ndtr

        return max(float(2 * ndtr(-abs(found.sum()) / np.sqrt((steps**2).sum()))), 2.0 ** (1 - len(steps)))
    chances = _sum_of_halves(whole)
    away = np.abs(2 * np.arange(len(chances)) - whole.sum())
    return float(min(1.0, chances[away >= abs(round(found.sum()))].sum()))


def _sum_of_halves(steps: npt.NDArray[np.int64]) -> FloatArray:
    """Return the probabilities of the sums 0 to Σ ``steps`` if a fair coin decides whether each step is taken."""
    from scipy.stats import binom

    chances = np.zeros(int(steps.sum()) + 1)
    ones = int(np.count_nonzero(steps == 1))
    chances[: ones + 1] = binom.pmf(np.arange(ones + 1), ones, 0.5)
    for step in steps[steps > 1]:
        taken = chances[:-step] / 2
        chances /= 2
        chances[step:] += taken
    return chances


def accuracy_difference(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_], clusters: Clusters) -> Difference:
    """Return accuracy of B minus A in percentage points from their hits (n,); p by :func:`sign_flip_p`.

    The interval is that of Bonett and Price 2012, with one image added to those that only one of them has right; its
    variance is multiplied by the design effect, and Student's t replaces the normal quantile.
    """
    n, change = len(a), b.astype(np.float64) - a
    mean = clustered_mean(change, clusters)
    gained, lost = (np.count_nonzero(change > 0) + 1) / (n + 2), (np.count_nonzero(change < 0) + 1) / (n + 2)
    middle = gained - lost
    if len(clusters.sizes) < 2:
        return Difference(100 * float(mean.value), np.nan, np.nan, 1.0)
    half = float(mean.t * np.sqrt((gained + lost - middle**2) / (n + 2) * mean.effect))
    ends = max(-1.0, middle - half), min(1.0, middle + half)
    p = sign_flip_p(clusters.sums(change))
    return Difference(100 * float(mean.value), 100 * ends[0], 100 * ends[1], p)


def mean_difference(a: FloatArray, b: FloatArray, clusters: Clusters, value: float | None = None) -> Difference:
    """Return the mean of ``b`` − ``a`` (n,) with its interval and p-value, both by Student's t.

    If all clusters differ by the same, there is no variance to test by: p is that of their common sign, 2 / 2^g. A
    single cluster has neither interval nor significance.

    Args:
        a, b: values (n,) of each image.
        clusters: of the images.
        value: the difference itself, if ``a`` and ``b`` are linearised values.
    """
    from scipy.special import stdtr

    mean = clustered_mean(b - a, clusters)
    centre, se = float(mean.value) if value is None else value, float(mean.se)
    half = float(mean.t) * se
    if len(clusters.sizes) < 2:
        return Difference(centre, np.nan, np.nan, 1.0)
    if se == 0:
        return Difference(centre, centre, centre, 1.0 if centre == 0 else 2.0 ** (1 - len(clusters.sizes)))
    return Difference(centre, centre - half, centre + half, float(2 * stdtr(float(mean.freedom), -abs(centre) / se)))


def difference(metric: Metric, a: FloatArray, b: FloatArray, clusters: Clusters, gap: float) -> Difference:
    """Return B minus A by ``metric``, over the images that it applies to in both; its kind decides how.

    Args:
        metric: one with values per image.
        a, b: values (n,) from :func:`linearised`.
        clusters: of the n images.
        gap: score of B minus score of A.
    """
    common = ~np.isnan(a + b)
    if not common.any():
        return Difference(gap, np.nan, np.nan, 1.0)
    value = gap if np.array_equal(np.isnan(a), np.isnan(b)) else None
    if not common.all():
        a, b, clusters = a[common], b[common], clusters.among(common)
    if metric.kind == "share":
        return accuracy_difference(a > 0, b > 0, clusters)
    return mean_difference(a, b, clusters, value)


def linearised_median(values: FloatArray, clusters: Clusters) -> FloatArray:
    """Return a value (n,) for each image whose mean moves as the median of ``values`` does: its influence.

    The density of the values at their median is taken from the width of the median's interval (Woodruff 1952).
    """
    median = np.median(values)
    below = (values <= median).astype(np.float64)
    low, high = median_interval(values, clusters)
    mean = clustered_share(below, clusters)
    width_of_share = np.clip(float(mean.t) * np.sqrt(float(mean.effect) / len(values)), 1 / len(values), 1.0)
    influence: FloatArray = median + (0.5 - below) * float(high - low) / width_of_share
    return influence


def linearised(
    values: Mapping[str, FloatArray], clusters: Clusters, metrics: Sequence[Metric]
) -> dict[str, FloatArray]:
    """Return for each score a value (n,) of each image whose mean is the score, or moves as it does.

    Args:
        values: (n,) of each metric, from :func:`geobench.metrics.image_values`; NaN stays NaN.
        clusters: of the n images.
        metrics: all or some of those in ``values``, and others.
    """
    return {m.name: _linearised(m, values[m.name], clusters) for m in metrics if m.name in values}


def _linearised(metric: Metric, values: FloatArray, clusters: Clusters) -> FloatArray:
    if metric.kind == "share":
        return 100.0 * values
    if metric.kind != "median":
        return values
    known, among = applicable(values, clusters)
    if not len(known):
        return values
    found = np.full(len(values), np.nan)
    found[~np.isnan(values)] = linearised_median(known, among)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return ``p_values`` adjusted for their number (Holm 1979): one below α after it is significant among them all."""
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def leaders(
    scores: Sequence[Mapping[str, float]],
    values: Sequence[Mapping[str, FloatArray]],
    members: Sequence[int],
    clusters: Clusters,
    metrics: Sequence[Metric],
) -> list[frozenset[str]]:
    """Return for each of r models on the same images the scores at which none is significantly better.

    At each score every model is tested against the best; the p-values are adjusted by :func:`holm`. If no model has a
    single hit, none is the best. A metric without a value per image cannot be tested and has no best.

    Args:
        scores: of each model.
        values: of each model, for each score (n,), from :func:`linearised`, averaged over seeds.
        members: the seeds averaged for each model: multiplied by their number, the change in hits is a whole number.
        clusters: of the images.
        metrics: the scores' metrics.
    """
    groups: list[set[str]] = [set() for _ in scores]
    for metric in metrics:
        name, sign = metric.name, 1 if metric.higher_is_better else -1
        tested = [i for i, each in enumerate(scores) if name in values[i] and not np.isnan(each[name])]
        best = max(tested, key=lambda index: sign * scores[index][name], default=None)
        if best is None or (metric.kind == "share" and metric.higher_is_better and scores[best][name] == 0):
            continue
        others = _distinct([index for index in tested if index != best], values)
        p_values = []
        for other in others:
            a, b = values[best][name], values[other][name]
            if metric.kind == "share":
                change, among = applicable(b - a, clusters)
                parts = int(np.lcm(members[best], members[other]))
                p_values.append(sign_flip_p(np.rint(among.sums(change) * parts / 100)))
            else:
                p_values.append(difference(metric, a, b, clusters, scores[other][name] - scores[best][name]).p)
        tied = [other for other, p in zip(others, holm(p_values), strict=True) if p >= ALPHA]
        for index in (best, *(copy for other in tied for copy in others[other])):
            groups[index].add(name)
    return [frozenset(group) for group in groups]


def _distinct(models: Sequence[int], values: Sequence[Mapping[str, FloatArray]]) -> dict[int, list[int]]:
    """Return the first of ``models`` with each set of values, and all that have the same.

    Models that agree on every image are one rival: copies of a result must not make the others harder to tell apart.
    """
    found: dict[tuple[bytes, ...], list[int]] = {}
    for model in models:
        found.setdefault(tuple(each.tobytes() for each in values[model].values()), []).append(model)
    return {alike[0]: alike for alike in found.values()}
