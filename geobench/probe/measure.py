"""The measure of the probe: mean average precision over concepts, and how sure it is over test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.geo import FloatArray

RESAMPLED = 200
"""Bootstrap samples of the test images."""
FEWEST_GROUPS = 10
"""With fewer groups of test images than these a bootstrap of groups is far too narrow, and there is no interval."""
NO_INTERVAL = (float("nan"), float("nan"))


@dataclass(frozen=True)
class _Ranking:
    """The test images by falling score for one concept.

    Attributes:
        order: (m,) the images.
        positive: (m,) whether each, in this order, shows the concept.
        last: (g,) the position of the last image of each group of equal scores.
    """

    order: npt.NDArray[np.intp]
    positive: npt.NDArray[np.bool_]
    last: npt.NDArray[np.intp]

    @classmethod
    def of(cls, scores: npt.NDArray[np.floating[Any]], positive: npt.NDArray[np.bool_]) -> _Ranking:
        order = np.argsort(-scores, kind="stable")
        last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
        return cls(order, positive[order], last)

    def precisions(self, weights: npt.NDArray[np.int32]) -> FloatArray:
        """Return the average precision (b,) if image i is there ``weights`` (b, m) times; NaN without a positive."""
        counts = weights[:, self.order]
        hits = np.cumsum(counts * self.positive, axis=1)[:, self.last]
        ranks = np.cumsum(counts, axis=1)[:, self.last]
        recalled = np.diff(hits, axis=1, prepend=0) * (hits / np.maximum(ranks, 1))
        found: FloatArray = np.divide(
            recalled.sum(axis=1), hits[:, -1], out=np.full(len(weights), np.nan), where=hits[:, -1] > 0
        )
        return found


def average_precisions(
    scores: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.bool_], weights: npt.NDArray[np.int32] | None = None
) -> FloatArray:
    """Return the average precision (c,) of each concept, or (b, c) with ``weights``; NaN without a positive image.

    It is the mean over positive images of the precision among all that score as high or higher; equal scores count
    together.

    Args:
        scores: (m, c).
        labels: (m, c) which image shows which concept.
        weights: (b, m) how often each image is in each of b samples; by default, once in one.
    """
    given = np.ones((1, len(labels)), np.int32) if weights is None else weights
    columns = [_Ranking.of(scores[:, c], labels[:, c]).precisions(given) for c in range(labels.shape[1])]
    found: FloatArray = np.stack(columns, axis=1)
    return found[0] if weights is None else found


def mean_average_precision(scores: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.bool_]) -> float:
    """Return the mean over the concepts that have a positive test image, NaN if none has."""
    return float(_mean(average_precisions(scores, labels)))


def resampled(
    scores: Sequence[npt.NDArray[np.floating[Any]]],
    labels: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.intp],
    seed: int = 0,
) -> FloatArray | None:
    """Return the mean over seeds of the mean average precision in each of ``RESAMPLED`` bootstrap samples.

    Groups of images are drawn with replacement, because neighbours are alike. The samples depend on ``groups`` and
    ``seed`` alone: those of two classifiers are of the same images, so their differences are paired.

    Args:
        scores: of each seed's classifier, (m, c).
        labels: (m, c).
        groups: (m,) images with the same number are drawn together.
        seed: of the samples.

    Returns:
        (RESAMPLED,), or None for fewer than ``FEWEST_GROUPS`` groups.
    """
    numbers, group = np.unique(groups, return_inverse=True)
    n = len(numbers)
    if n < FEWEST_GROUPS:
        return None
    drawn = np.random.default_rng([seed, n]).multinomial(n, np.full(n, 1 / n), size=RESAMPLED)
    weights = drawn[:, group].astype(np.int32)
    values: FloatArray = np.mean([_mean(average_precisions(each, labels, weights)) for each in scores], axis=0)
    return values


def interval(values: FloatArray | None) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap ``values``, NaN for None."""
    if values is None:
        return NO_INTERVAL
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def _mean(precisions: FloatArray) -> FloatArray:
    """Return the mean over the last axis of what is no NaN, NaN where all is."""
    known = ~np.isnan(precisions)
    counts = known.sum(axis=-1)
    mean: FloatArray = np.where(counts, np.where(known, precisions, 0).sum(axis=-1) / np.maximum(counts, 1), np.nan)
    return mean
