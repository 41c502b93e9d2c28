"""Digests of images: whether a test image is one of the training images is decided by content, whatever the names.

A digest has 128 bits (BLAKE2b) and stands for the bytes of an image's file as it is stored: a copy has the same digest,
a recompressed photo another one. Those are what the leakage audit looks for (:mod:`geobench.audits.leakage`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.devices import cores
from geobench.errors import ImageError
from geobench.geo import FloatArray, place_keys
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset

BYTES = 16
NONE = bytes(BYTES)
"""The digest of an image that could not be read."""
BLOCK = 8192  # images read before their digests are stored
Digests = npt.NDArray[np.uint64]


def digest_of(content: bytes) -> bytes:
    """Return the digest of the ``content`` of an image: :meth:`geobench.Dataset.image_bytes`."""
    return hashlib.blake2b(content, digest_size=BYTES).digest()


def as_array(digests: Sequence[bytes]) -> Digests:
    """Return n digests as an array (n, 2)."""
    return np.frombuffer(b"".join(digests), np.uint64).reshape(len(digests), 2)


def read_digests(
    dataset: Dataset, names: Sequence[str] | npt.NDArray[np.object_], purpose: str, progress: Progress = SILENT
) -> Digests:
    """Return the digests (n, 2) of the images ``names``, zeros for those that cannot be read; none is decoded."""

    def digest(name: str) -> bytes:
        try:
            return digest_of(dataset.image_bytes(name, purpose))
        except ImageError:
            return NONE

    found = np.zeros((len(names), 2), dtype=np.uint64)
    with (
        ThreadPoolExecutor(cores()) as pool,  # reading and hashing run in parallel
        progress.track(f"digests of {dataset.name} ({purpose})", len(names), "images") as advance,
    ):
        for start in range(0, len(names), BLOCK):
            block = as_array(list(pool.map(digest, names[start : start + BLOCK])))
            found[start : start + len(block)] = block
            advance(len(block))
    return found


def row_digests(names: Sequence[str] | npt.NDArray[np.object_], coordinates: FloatArray) -> Digests:
    """Return digests (n, 2) of names and positions (to 11 cm), which stand for images that a model does not look at."""
    places = place_keys(coordinates)
    return as_array([digest_of(f"{name}\0{place}".encode()) for name, place in zip(names, places, strict=True)])


def sorted_digests(digests: Digests) -> Digests:
    """Return the distinct ones of ``digests`` (n, 2), except zeros, in order and as (2, m), for :func:`are_among`."""
    known = digests[digests.any(axis=1)]
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
