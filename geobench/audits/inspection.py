"""Inspecting images: does each one exist, can it be decoded, and which bytes does it consist of?"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from geobench.audits.pool import BLOCK, image_pool
from geobench.errors import DatasetError, ImageError, StorageError
from geobench.images.decoding import checksum_error
from geobench.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

OK, MISSING, UNREADABLE, AMBIGUOUS, DAMAGED, UNKNOWN = range(6)
"""Of an image: intact as far as can be told, absent, not decodable, one of several files, decodable with a wrong
checksum, and one that the system cannot read just now."""
FOUND = (OK, UNREADABLE, DAMAGED, UNKNOWN)
SIDE = 256  # pixels of the shorter side to decode at least, as for an encoder
NO_DIGEST = bytes(16)


class ImageStatus(NamedTuple):
    """What was found out about one image.

    Attributes:
        code: such as ``OK``.
        reason: why it cannot be read, is damaged, or is ambiguous.
        file_name: of its file in the store; empty if there is none.
        renamed: whether that is another name than the table gives it.
        digest: of its bytes; zeros if they were not read.
    """

    code: int
    reason: str = ""
    file_name: str = ""
    renamed: bool = False
    digest: bytes = NO_DIGEST


class ImageStatuses(NamedTuple):
    """The statuses of n images, as arrays.

    Attributes:
        codes: (n,) such as ``OK``.
        reasons: by index, for images that cannot be read, are damaged or ambiguous.
        digests: (n, 2) of the images' bytes, zeros if they were not read.
        file_names: (n,) hashes of the names of their files.
        renamed: (n,) whether the file of an image has another name than the table gives it.
    """

    codes: npt.NDArray[np.uint8]
    reasons: dict[int, str]
    digests: npt.NDArray[np.uint64]
    file_names: npt.NDArray[np.int64]
    renamed: npt.NDArray[np.bool_]

    @classmethod
    def of_none(cls, n: int) -> ImageStatuses:
        """Return the statuses of ``n`` images before any was looked for: of a set without photos, all missing."""
        digests, hashes = np.zeros((n, 2), np.uint64), np.zeros(n, np.int64)
        return cls(np.full(n, MISSING, np.uint8), {}, digests, hashes, np.zeros(n, np.bool_))

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Return (n,) whether the file of an image exists."""
        return np.isin(self.codes, FOUND)


def inspect_image(dataset: Dataset, purpose: str, image: str) -> ImageStatus:
    """Return the status of an image after decoding it."""
    status = find_image(dataset, purpose, image)
    if status.code != OK:
        return status
    try:
        data = dataset.image_bytes(image, purpose)
        dataset.decode_image(data, image, SIDE)
        if dataset.stored and (wrong := checksum_error(data)):
            status = status._replace(code=DAMAGED, reason=f"{image}: {wrong}")
    except ImageError as error:
        return status._replace(code=UNREADABLE, reason=str(error))
    except StorageError as error:
        return status._replace(code=UNKNOWN, reason=str(error))
    return status._replace(digest=hashlib.blake2b(data, digest_size=16).digest())


def find_image(dataset: Dataset, purpose: str, image: str) -> ImageStatus:
    """Return the status of an image without opening it."""
    if not dataset.stored:
        return ImageStatus(OK, file_name=image)
    store = dataset.store(purpose, fresh=False)
    try:
        file = store.find(image)
    except DatasetError as error:
        return ImageStatus(AMBIGUOUS, str(error))
    except StorageError as error:
        return ImageStatus(UNKNOWN, str(error))
    if file is None:
        return ImageStatus(MISSING)
    return ImageStatus(OK, file_name=file.name, renamed=not store.is_exact(image, file))


def inspect_images(
    dataset: Dataset, purpose: str, images: pd.Series[str], quick: bool, workers: int | None, progress: Progress
) -> ImageStatuses:
    """Return the statuses of ``images``; with ``quick`` none is opened."""
    n = len(images)
    statuses = ImageStatuses.of_none(n)
    if dataset.stored:
        dataset.prepare(purpose, progress)
    with (
        image_pool(dataset, purpose, find_image if quick else inspect_image, 0 if quick else workers) as inspect,
        progress.track(f"check of {dataset.name}", n, "images") as advance,
    ):
        bad = 0
        for start in range(0, n, BLOCK):
            for index, status in enumerate(inspect(list(images.iloc[start : start + BLOCK])), start):
                statuses.codes[index], statuses.file_names[index] = status.code, hash(status.file_name)
                statuses.renamed[index] = status.renamed
                statuses.digests[index] = np.frombuffer(status.digest, np.uint64)
                if status.reason:
                    statuses.reasons[index] = status.reason
                bad += status.code != OK
                advance(1, bad=f"{bad:,}")
    return statuses
