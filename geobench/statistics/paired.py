"""Is the difference real? Tests and intervals of two models on the same images, and who shares the first place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geobench import metrics
from geobench.geo import FloatArray
from geobench.statistics.intervals import LEVEL, Clusters, clustered_mean, clustered_share, median_interval

ALPHA = 1 - LEVEL
EXACT_STEPS = 50_000_000  # additions that the exact distribution may take: a fraction of a second
WHOLE = 1e-9


@dataclass(frozen=True)
class Difference:
    """What B has more than A.

    Attributes:
        value: in the unit of the score.
        low, high: its 95 % interval.
        p: of no difference.
    """

    value: float
    low: float
    high: float
    p: float


def sign_flip_p(sums: npt.ArrayLike) -> float:
    """Return the two-sided p-value of no difference, by exchanging the two models cluster by cluster.

    Where every cluster is one image and ``sums`` are −1, 0 and 1, this is McNemar's exact test. With clusters it is the
    exact form of the test of Yang, Sun and Hardin 2010. Where the exact distribution would take too long, or sums are
    no whole numbers, it is replaced by a normal one of the same variance.

    Args:
        sums: (g,) for each cluster, images that B has right minus images that A has right.
    """
    found = np.asarray(sums, dtype=np.float64)
    steps = np.abs(found[found != 0])
    if not len(steps):
        return 1.0
    whole = np.rint(steps).astype(np.int64)
    if np.abs(steps - whole).max() > WHOLE or np.count_nonzero(whole > 1) * whole.sum() > EXACT_STEPS:
        from scipy.special import ndtr

        return float(2 * ndtr(-abs(found.sum()) / np.sqrt((steps**2).sum())))
    chances = _sum_of_halves(whole)
    away = np.abs(2 * np.arange(len(chances)) - whole.sum())
    return float(min(1.0, chances[away >= abs(round(found.sum()))].sum()))


def _sum_of_halves(steps: npt.NDArray[np.int64]) -> FloatArray:
    """Return the chances of the sums 0 to Σ ``steps`` when each step is taken or not by a throw of a coin."""
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
    """Return accuracy of B minus A in points from their hits (n,): p by :func:`sign_flip_p`.

    The interval is that of Bonett and Price 2012, one image added to those that either alone has right; its variance is
    multiplied by the design effect, and Student's t stands for the normal.
    """
    n, change = len(a), b.astype(np.float64) - a
    mean = clustered_mean(change, clusters)
    gained, lost = (np.count_nonzero(change > 0) + 1) / (n + 2), (np.count_nonzero(change < 0) + 1) / (n + 2)
    middle = gained - lost
    half = float(mean.t * np.sqrt((gained + lost - middle**2) / (n + 2) * mean.effect))
    ends = max(-1.0, middle - half), min(1.0, middle + half)
    p = sign_flip_p(clusters.sums(change))
    return Difference(100 * float(mean.value), 100 * ends[0], 100 * ends[1], p)


def mean_difference(a: FloatArray, b: FloatArray, clusters: Clusters, value: float | None = None) -> Difference:
    """Return the mean of ``b`` − ``a`` (n,) with its interval and p-value, both by Student's t.

    ``value`` is the difference itself where the mean is that of linearised values.
    """
    from scipy.special import stdtr

    mean = clustered_mean(b - a, clusters)
    centre, se = float(mean.value) if value is None else value, float(mean.se)
    half = float(mean.t) * se
    if se == 0:
        return Difference(centre, centre, centre, 1.0 if centre == 0 else 0.0)
    return Difference(centre, centre - half, centre + half, float(2 * stdtr(float(mean.freedom), -abs(centre) / se)))


def linearised_median(errors: FloatArray, clusters: Clusters) -> FloatArray:
    """Return a value (n,) for each image whose mean moves as the median of ``errors`` does: its influence.

    The density of the errors at their median is taken from the width of the median's interval (Woodruff 1952).
    """
    median = np.median(errors)
    below = (errors <= median).astype(np.float64)
    low, high = median_interval(errors, clusters)
    mean = clustered_share(below, clusters)
    width_of_share = min(1.0, float(mean.t) * np.sqrt(float(mean.effect) / len(errors)))
    influence: FloatArray = median + (0.5 - below) * float(high - low) / width_of_share
    return influence


def linearised(errors: FloatArray, clusters: Clusters) -> dict[str, FloatArray]:
    """Return for each score a value (n,) of each image whose mean is the score, or moves as it does."""
    hits: dict[str, FloatArray] = {
        name: 100.0 * (errors <= km).astype(np.float64)
        for name, km in zip(metrics.ACCURACIES, metrics.LEVELS_KM.values(), strict=True)
    }
    rest = {
        "median_km": linearised_median(errors, clusters),
        "mean_km": errors,
        "geoscore": metrics.geoscores(errors),
    }
    return hits | rest


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
) -> list[frozenset[str]]:
    """Return for each of r models on the same images the scores at which none is significantly better.

    At each score every model is tested against the best; the p-values are adjusted by :func:`holm`. Where no model has
    a single image right, none is the best.

    Args:
        scores: of each model.
        values: of each model, for each score (n,), from :func:`linearised`, averaged over seeds.
        members: the seeds averaged for each model: with them the change in an image's hits is a whole number of parts.
        clusters: of the images.
    """
    groups: list[set[str]] = [set() for _ in scores]
    for name in metrics.SCORES:
        sign = -1 if name in metrics.LOWER_IS_BETTER else 1
        best = max(range(len(scores)), key=lambda index: sign * scores[index][name])
        if name in metrics.ACCURACIES and scores[best][name] == 0:
            continue
        others = [index for index in range(len(scores)) if index != best]
        p_values = []
        for other in others:
            a, b = values[best][name], values[other][name]
            if name in metrics.ACCURACIES:
                parts = int(np.lcm(members[best], members[other]))
                p_values.append(sign_flip_p(np.rint(clusters.sums(b - a) * parts / 100)))
            else:
                gap = scores[other][name] - scores[best][name]
                p_values.append(mean_difference(a, b, clusters, gap).p)
        tied = [other for other, p in zip(others, holm(p_values), strict=True) if p >= ALPHA]
        for index in (best, *tied):
            groups[index].add(name)
    return [frozenset(group) for group in groups]
