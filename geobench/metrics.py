"""From errors in km to the scores of the field's tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geobench.geo import FARTHEST_KM, FloatArray, haversine_km

LEVELS_KM = {"street": 1, "city": 25, "region": 200, "country": 750, "continent": 2500}
"""Distance thresholds of the field's tables (Hays and Efros 2008; Weyand et al. 2016)."""
ACCURACIES = tuple(f"acc_{km}km" for km in LEVELS_KM.values())
SCORES = (*ACCURACIES, "median_km", "mean_km", "geoscore")
LOWER_IS_BETTER = frozenset({"median_km", "mean_km"})
GEOSCORE_SCALE_KM = 1492.7
"""Decay of GeoGuessr's world-map score (Haas et al. 2024, PIGEON)."""


def errors_km(predicted: FloatArray, truth: FloatArray, failed: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the error (n,) in km of each image; a failed image counts as placed at the antipode.

    Args:
        predicted: (n, 2) coordinates; the rows of failed images are ignored and may be NaN.
        truth: (n, 2) coordinates.
        failed: (n,), True where no prediction was made.
    """
    errors = np.full(len(truth), FARTHEST_KM)
    errors[~failed] = haversine_km(predicted[~failed], truth[~failed])
    return errors


def accuracy(errors: FloatArray, threshold_km: float) -> float:
    """Return the share of images, in percent, whose error is at most ``threshold_km``.

    >>> accuracy(np.array([0.5, 25.0, 26.0, 9000.0]), 25)
    50.0
    """
    return float(100.0 * np.count_nonzero(errors <= threshold_km) / len(errors))


def geoscore(errors: FloatArray) -> float:
    """Return the mean of 5000·exp(−error / 1492.7 km), the GeoGuessr score: 5000 at best.

    >>> geoscore(np.zeros(3))
    5000.0
    """
    return float(np.mean(geoscores(errors)))


def geoscores(errors: FloatArray) -> FloatArray:
    """Return the GeoGuessr score (n,) of each image, 0 to 5000."""
    scores: FloatArray = 5000.0 * np.exp(-errors / GEOSCORE_SCALE_KM)
    return scores


def score(errors: FloatArray) -> dict[str, float]:
    """Return all scores of ``errors`` (n,) in km: ``acc_1km`` … ``acc_2500km`` in percent, median, mean, GeoScore."""
    scores = {f"acc_{km}km": accuracy(errors, km) for km in LEVELS_KM.values()}
    return scores | {
        "median_km": float(np.median(errors)),
        "mean_km": float(np.mean(errors)),
        "geoscore": geoscore(errors),
    }
