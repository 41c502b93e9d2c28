"""Decoded images of a data set, a few at a time, for models that predict from pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

    from geobench.data.dataset import Dataset

IMAGES_AT_ONCE = 64
"""Decoded images held in memory."""


def decoded_batches(
    dataset: Dataset, names: Sequence[str] | npt.NDArray[np.object_], purpose: str = "test"
) -> Iterator[tuple[list[Image.Image], npt.NDArray[np.bool_]]]:
    """Yield the readable images of each batch of ``names``, and which of the batch (b,) they are."""
    for start in range(0, len(names), IMAGES_AT_ONCE):
        batch = names[start : start + IMAGES_AT_ONCE]
        images, readable = [], np.zeros(len(batch), dtype=np.bool_)
        for row, name in enumerate(batch):
            try:
                images.append(dataset.read_image(name, purpose))
                readable[row] = True
            except ImageError:
                continue
        yield images, readable
