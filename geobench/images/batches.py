"""Decoded images of a data set, a few at a time, for models that predict from pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from geobench.errors import ImageError
from geobench.images.digests import NONE, Digests, as_array, digest_of

if TYPE_CHECKING:
    from PIL import Image

    from geobench.data.dataset import Dataset

IMAGES_AT_ONCE = 64
"""Decoded images held in memory."""


class DecodedBatch(NamedTuple):
    """Images of a batch (b).

    Attributes:
        images: those that are readable.
        readable: (b,) which of the batch they are.
        digests: (b, 2) of the batch, zeros where no bytes could be read.
    """

    images: list[Image.Image]
    readable: npt.NDArray[np.bool_]
    digests: Digests


def decoded_batches(
    dataset: Dataset, names: Sequence[str] | npt.NDArray[np.object_], purpose: str = "test"
) -> Iterator[DecodedBatch]:
    """Yield the images of each batch of ``names``."""
    for start in range(0, len(names), IMAGES_AT_ONCE):
        batch = names[start : start + IMAGES_AT_ONCE]
        images, readable, digests = [], np.zeros(len(batch), dtype=np.bool_), [NONE] * len(batch)
        for row, name in enumerate(batch):
            try:
                content = dataset.image_bytes(name, purpose)
                digests[row] = digest_of(content)
                images.append(dataset.decode_image(content, name))
                readable[row] = True
            except ImageError:
                continue
        yield DecodedBatch(images, readable, as_array(digests))
