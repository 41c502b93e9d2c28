"""Several answers to one image: the point they stand for, how far they agree, and how far they lie apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geobench.geo import FloatArray, haversine_km

NEAR_KM = 25.0
"""Answers within this distance agree: the threshold that the field calls a city."""


class Agreement(NamedTuple):
    """What s answers to one image amount to.

    Attributes:
        chosen: index of the answer that counts.
        near: answers within :data:`NEAR_KM` of it, itself included.
        spread_km: median distance between two answers; 0 for a single one.
    """

    chosen: int
    near: int
    spread_km: float


def agreement(points: FloatArray, rule: str) -> Agreement:
    """Return what the answers ``points`` (s, 2) amount to.

    Args:
        points: latitude and longitude in degrees.
        rule: ``medoid``, the answer with the least sum of distances to the others; or ``mode``, the one with the most
            others within :data:`NEAR_KM`, of several the one with the least sum. Of equals the first counts.
    """
    s = len(points)
    distances = haversine_km(np.repeat(points, s, axis=0), np.tile(points, (s, 1))).reshape(s, s)
    sums, near = distances.sum(axis=1), (distances <= NEAR_KM).sum(axis=1)
    order = np.lexsort((sums, -near)) if rule == "mode" else np.argsort(sums, kind="stable")
    chosen = int(order[0])
    pairs = distances[np.triu_indices(s, 1)]
    return Agreement(chosen, int(near[chosen]), float(np.median(pairs)) if len(pairs) else 0.0)
