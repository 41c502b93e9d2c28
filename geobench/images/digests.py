"""Digests of images: 128 bits (BLAKE2b) that stand for the bytes of a file as it is stored.

A copy has the same digest, a recompressed photo another one.
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


def is_readable(dataset: Dataset, name: str, purpose: str) -> bool:
    """Return whether the image ``name`` can be read and decoded."""
    try:
        dataset.decode_image(dataset.image_bytes(name, purpose), name)
    except ImageError:
        return False
    return True
