"""Perceptual fingerprints of images: those of two files of the same photo differ in only a few bits.

A fingerprint has 128 bits: the 64-bit perceptual hash (signs of the low frequencies of a cosine transform) and the
64-bit difference hash (signs of horizontal brightness gradients), both computed by the package ``imagehash``. Either
alone confuses some different photos when millions of pairs are compared; together they do not: see :data:`DISTANCE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench import disk, files, holding
from geobench.audits.pool import BLOCK, image_pool
from geobench.errors import FeatureError, ImageError
from geobench.images.digests import NONE, digest_of
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

DISTANCE = 16
"""Two images are twins if at most this many of the 128 bits differ.

Measured on 98 photos: JPEG quality 20, a third of the size or 20 % more brightness change at most 13 bits, cropping by
2 % on each side at most 14, by 3 % at most 16 in 93 % of cases. Of 31.6 million pairs of map crops from different
places, none differs in fewer than 27 bits; by extrapolation, 3,000 × 1,000,000 different images have about 0.1 pairs at
16 or below. Two dashcam frames taken 60 m apart differ in 15 bits; the next closest pair of photos in 24.
"""
BITS = 128
SIDE = 64  # pixels of the shorter side that the hashes need
FLAT = 2.0
"""An image whose grey levels (0 to 255) have a smaller standard deviation has too little detail to be recognised."""
OK, UNREADABLE, FEATURELESS = 0, 1, 2
METHOD = "imagehash phash 8 + dhash 8, 1"  # part of the cache key
Fingerprints = npt.NDArray[np.uint64]


def fingerprints(
    dataset: Dataset,
    table: pd.DataFrame,
    purpose: str,
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Fingerprints:
    """Return for each of the n images of ``table`` its two hashes and a status, (n, 3) of uint64.

    They are cached in ``GEOBENCH_HOME/fingerprints``, in one file per 8,192 images whose name is a hash of their
    content, so that an interrupted run loses little.

    Args:
        dataset: the data set of ``table``.
        table: rows of the data set.
        purpose: ``train`` or ``test``.
        workers: processes that decode; None chooses automatically.
        progress: reports progress.
    """
    found = np.empty((len(table), 3), dtype=np.uint64)
    what = f"fingerprints of {dataset.name} ({purpose})"
    with (
        image_pool(dataset, purpose, fingerprint, workers) as compute,
        progress.track(what, len(table), "images") as advance,
    ):
        for start in range(0, len(table), BLOCK):
            block = table.iloc[start : start + BLOCK]
            content = dataset.content_key(block, purpose)
            path = files.home() / "fingerprints" / f"{files.digest(METHOD, content)}.npy"
            if path.exists():
                found[start : start + BLOCK] = _read(path, len(block))
                advance(len(block))
                continue
            with dataset.unchanged(block, purpose, content) as read:
                for row, (*hashes, digest) in enumerate(compute(list(block["image"]))):
                    found[start + row], read[row] = hashes, np.frombuffer(digest, np.uint64)
                    advance(1)
            if files.may_write(path.parent):
                files.write_array(path, found[start : start + len(block)])
    return found


def fingerprint(dataset: Dataset, purpose: str, image: str) -> tuple[int, int, int, bytes]:
    """Return the two hashes of an image and ``OK``, or zeros and ``UNREADABLE`` or ``FEATURELESS``; then its digest."""
    import imagehash

    digest = NONE
    try:
        content = dataset.image_bytes(image, purpose)
        digest = digest_of(content)
        grey = dataset.decode_image(content, image, SIDE).convert("L")
    except ImageError:
        return 0, 0, UNREADABLE, digest
    if np.asarray(grey, dtype=np.float32).std() < FLAT:
        return 0, 0, FEATURELESS, digest
    hashes = (imagehash.phash(grey, hash_size=8), imagehash.dhash(grey, hash_size=8))
    perceptual, difference = (int.from_bytes(np.packbits(found.hash).tobytes(), "big") for found in hashes)
    return perceptual, difference, OK, digest


def _read(path: Path, n: int) -> Fingerprints:
    holding.use(path)
    try:
        return files.read_array(path, np.uint64, (n, 3))
    except (OSError, ValueError) as error:
        damaged = f"{path}: the fingerprints are damaged ({error}); delete the file."
        raise FeatureError(disk.not_readable(path, error, damaged)) from error
