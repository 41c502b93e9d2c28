"""What is seen of each image of a data set: is it there, can it be decoded, which bytes does it have."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from geobench.audits.pool import BLOCK, scanning
from geobench.errors import DatasetError, ImageError
from geobench.images.decoding import open_image
from geobench.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

OK, MISSING, UNREADABLE, UNCLEAR = range(4)
SIDE = 256  # pixels of the shorter side that are decoded at least, as for an encoder


class Seen(NamedTuple):
    """What was seen of n images.

    Attributes:
        status: (n,) one of ``OK``, ``MISSING``, ``UNREADABLE``, ``UNCLEAR``.
        reasons: by row, why an image cannot be read.
        digest: (n, 2) of the bytes, zeros where they were not read.
        names: (n,) hashes of the files' own names.
    """

    status: npt.NDArray[np.uint8]
    reasons: dict[int, str]
    digest: npt.NDArray[np.uint64]
    names: npt.NDArray[np.int64]


Look = tuple[int, str, str, bytes]


def look(dataset: Dataset, purpose: str, image: str) -> Look:
    """Return status, reason, file name and digest of an image, which is decoded."""
    status, reason, name, _ = find(dataset, purpose, image)
    if status != OK:
        return status, reason, name, bytes(16)
    try:
        if not dataset.stored:
            data = dataset.read_image(image, purpose).tobytes()
        else:
            source = dataset.store(purpose, fresh=False).image_file(image)
            data = source.read_bytes() if isinstance(source, Path) else source
            open_image(data, image, SIDE)
    except (ImageError, OSError) as error:
        return UNREADABLE, str(error), name, bytes(16)
    return OK, "", name, hashlib.blake2b(data, digest_size=16).digest()


def find(dataset: Dataset, purpose: str, image: str) -> Look:
    """Return what :func:`look` does, without opening the image."""
    if not dataset.stored:
        return OK, "", image, bytes(16)
    try:
        entry = dataset.store(purpose, fresh=False).find(image)
    except DatasetError as error:
        return UNCLEAR, str(error), "", bytes(16)
    return (MISSING, "", "", bytes(16)) if entry is None else (OK, "", entry.name, bytes(16))


def look_at_all(
    dataset: Dataset, purpose: str, images: pd.Series[str], quick: bool, workers: int | None, progress: Progress
) -> Seen:
    """Return what is seen of ``images``; with ``quick`` none is opened."""
    n = len(images)
    seen = Seen(np.zeros(n, np.uint8), {}, np.zeros((n, 2), np.uint64), np.zeros(n, np.int64))
    if dataset.stored:
        dataset.prepare(purpose, progress)
    with (
        scanning(dataset, purpose, find if quick else look, 0 if quick else workers) as scan,
        progress.track(f"check of {dataset.name}", n, "images") as advance,
    ):
        bad = 0
        for start in range(0, n, BLOCK):
            for row, (status, reason, name, digest) in enumerate(scan(list(images.iloc[start : start + BLOCK])), start):
                seen.status[row], seen.names[row] = status, hash(name)
                seen.digest[row] = np.frombuffer(digest, np.uint64)
                if reason:
                    seen.reasons[row] = reason
                bad += status != OK
                advance(1, bad=f"{bad:,}")
    return seen
