"""Does a model know when it is right? Coverage of the top k, calibration by radius, accuracy against coverage.

``distances`` are (n, k) km from each of an image's k predictions to its true position, best first; the predictions of
a failed image are at the antipode. ``confidence`` is (n,), higher is more confident; only its order matters, unless it
is a probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geobench.errors import ResultError
from geobench.geo import FARTHEST_KM, FloatArray, haversine_km
from geobench.predictions import Predictions
from geobench.statistics.ranking import auroc

BINS = 15
"""Of equal width, as in Guo et al. 2017 (On Calibration of Modern Neural Networks)."""
ROUNDING = 1e-4  # by which float32 probabilities may add up to more than 1


def distances_km(predictions: Predictions, truth: FloatArray) -> FloatArray:
    """Return the distances (n, k) in km of all predictions from ``truth`` (n, 2), maximal for failed images."""
    n, k, _ = predictions.coordinates.shape
    distances = np.full((n, k), FARTHEST_KM)
    answered = ~predictions.failed
    for rank in range(k):
        distances[answered, rank] = haversine_km(predictions.coordinates[answered, rank], truth[answered])
    return distances


def top_k_coverage(distances: FloatArray, threshold_km: float) -> FloatArray:
    """Return the share (k,) of images, in percent, with any of the first 1 … k predictions within ``threshold_km``.

    >>> top_k_coverage(np.array([[30.0, 2.0], [0.5, 9.0], [50.0, 60.0], [70.0, 80.0]]), 25)
    array([25., 50.])
    """
    share: FloatArray = 100.0 * np.maximum.accumulate(distances <= threshold_km, axis=1).mean(axis=0)
    return share


def confidence_of(predictions: Predictions) -> FloatArray:
    """Return the score (n,) of each best prediction; failed images are least confident."""
    confidence = predictions.scores[:, 0].astype(np.float64)
    confidence[predictions.failed | np.isnan(confidence)] = -np.inf
    return confidence


def selective_accuracy(hits: npt.NDArray[np.bool_], confidence: FloatArray) -> FloatArray:
    """Return the accuracy (n,) in percent over the 1 … n most confident images.

    Within a tie in confidence, the accuracy is what a random order gives on average.
    """
    order = np.argsort(-confidence, kind="stable")
    _, tie, size = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    share = np.bincount(tie, weights=hits[order]) / size  # of hits in each tie
    kept: FloatArray = 100.0 * np.cumsum(share[tie]) / np.arange(1, len(hits) + 1)
    return kept


@dataclass(frozen=True)
class Selection:
    """How much a model gains from answering only when it is confident, at one threshold.

    Attributes:
        accuracy: over all images, percent.
        area: mean accuracy over all coverages 1/n … 1, percent; equals ``accuracy`` if confidence is uninformative.
        best: the area of an order with all hits first.
        gain: (area − accuracy) / (best − accuracy): 1 for that order, 0 for a random one, negative for a misleading
            one; NaN if all images are hits, or none is.
        half: accuracy over the more confident half, percent.
        auroc: how often a hit is more confident than a miss, ties counted half; NaN as above.
    """

    accuracy: float
    area: float
    best: float
    gain: float
    half: float
    auroc: float


def selection(hits: npt.NDArray[np.bool_], confidence: FloatArray) -> Selection:
    """Return what the order of ``confidence`` (n,) is worth for ``hits`` (n,)."""
    accuracy = 100.0 * float(hits.mean())
    kept = selective_accuracy(hits, confidence)
    best = float(selective_accuracy(hits, hits.astype(np.float64)).mean())
    area = float(kept.mean())
    return Selection(
        accuracy=accuracy,
        area=area,
        best=best,
        gain=(area - accuracy) / (best - accuracy) if 0 < hits.sum() < len(hits) else float("nan"),
        half=float(kept[(len(hits) + 1) // 2 - 1]),
        auroc=auroc(hits, confidence),
    )


def claimed_probability(predictions: Predictions, radius_km: float) -> FloatArray:
    """Return the probability (n,) that the model assigns to its best prediction being within ``radius_km``.

    It is the sum of the scores of those of the k predictions that lie within the radius of the best one: a lower bound,
    since places beyond the k best are not counted. It is 0 for a failed image. The scores must pass
    :func:`check_probabilities`.
    """
    claimed = np.zeros(len(predictions))
    answered = ~predictions.failed
    best = predictions.coordinates[answered, 0]
    for rank in range(predictions.scores.shape[1]):
        near = haversine_km(predictions.coordinates[answered, rank], best) <= radius_km
        claimed[answered] += np.where(near, predictions.scores[answered, rank], 0.0)
    return np.clip(claimed, 0.0, 1.0)


def check_probabilities(predictions: Predictions, who: str) -> None:
    """Raise ``ResultError`` naming the first image whose scores by ``who`` cannot be probabilities."""
    scores = np.where(predictions.failed[:, None], 0.0, predictions.scores)
    with np.errstate(invalid="ignore"):
        wrong = ~((scores >= 0).all(axis=1) & (scores.sum(axis=1) <= 1 + ROUNDING))
    if wrong.any():
        row = int(wrong.argmax())
        shown = ", ".join(f"{score:.4g}" for score in predictions.scores[row, :3])
        raise ResultError(
            f"{who}: the scores of {int(wrong.sum()):,} images are not probabilities: those of image number {row} "
            f"begin {shown} and sum to {np.nansum(scores[row]):.4g}; use only their order: probabilities=False, or "
            "geobench calibration --ranks-only."
        )


@dataclass(frozen=True)
class Reliability:
    """Claimed probability against the share of hits, in bins of the claimed probability.

    Attributes:
        claimed, hit, n: (bins,) mean claim and share of hits in percent, and number of images; NaN in empty bins.
        error: expected calibration error in percentage points: the mean of |claimed − hit| over the images' bins.
    """

    claimed: FloatArray
    hit: FloatArray
    n: npt.NDArray[np.intp]
    error: float


def reliability(hits: npt.NDArray[np.bool_], claimed: FloatArray, bins: int = BINS) -> Reliability:
    """Return how well the probabilities ``claimed`` (n,) match ``hits`` (n,), in ``bins`` of equal width."""
    which = np.minimum((claimed * bins).astype(np.intp), bins - 1)
    n = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = 100.0 * np.bincount(which, weights=claimed, minlength=bins) / n
        hit = 100.0 * np.bincount(which, weights=hits, minlength=bins) / n
    filled = n > 0
    error = float(np.sum(n[filled] * np.abs(mean[filled] - hit[filled])) / len(hits))
    return Reliability(mean, hit, n, error)
