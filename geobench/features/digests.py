"""Digests among digests: whether a test image is one of the training images is decided by content, whatever the names.

A copy has the same digest, a recompressed photo another one (:mod:`geobench.images.digests`). Those are what the
leakage audit looks for (:mod:`geobench.audits.leakage`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geobench.geo import FloatArray, place_keys
from geobench.images.digests import Digests, as_array, digest_of


def row_digests(names: Sequence[str] | npt.NDArray[np.object_], coordinates: FloatArray) -> Digests:
    """Return digests (n, 2) of names and positions (to 11 cm), which stand for images that a model does not look at."""
    places = place_keys(coordinates)
    return as_array([digest_of(f"{name}\0{place}".encode()) for name, place in zip(names, places, strict=True)])


def sorted_digests(digests: Digests) -> Digests:
    """Return the distinct ones of ``digests`` (n, 2), except zeros, in order and as (2, m), for :func:`are_among`."""
    known = digests[digests.any(axis=1)]
    ordered = known[np.argsort(known[:, 0])]  # three times as fast as by both halves
    alike = ordered[1:, 0] == ordered[:-1, 0]
    if (ordered[1:, 1] != ordered[:-1, 1])[alike].any():  # other digests with the same half: by chance, never
        ordered = known[np.lexsort((known[:, 1], known[:, 0]))]
    new = np.ones(len(ordered), dtype=np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.ascontiguousarray(ordered[new].T)


def are_among(digests: Digests, known: Digests) -> npt.NDArray[np.bool_]:
    """Return (n,) which of ``digests`` (n, 2) are among ``known`` (2, m), the result of :func:`sorted_digests`.

    ``known`` may be memory-mapped: a binary search reads few of its pages.
    """
    first, last = (np.searchsorted(known[0], digests[:, 0], side=side) for side in ("left", "right"))
    found = np.zeros(len(digests), dtype=np.bool_)
    while (rows := np.flatnonzero(first < last)).size:  # twice only if the first 64 bits of two digests are equal
        found[rows] |= known[1, first[rows]] == digests[rows, 1]
        first[rows] += 1
    return found
