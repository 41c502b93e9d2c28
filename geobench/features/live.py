"""Batches of pixels, decoded and augmented at every training step, and the features of such batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geobench.errors import ImageError
from geobench.features.decoding import Decoder, decoded
from geobench.features.encoders import encode
from geobench.features.loaders import Indices

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.images.augmentation import Augmentation

IMAGES_AT_ONCE = 64
"""Images that are decoded and passed on together: what is held in memory does not grow with the batch of a step."""


@dataclass
class PixelLoader:
    """A loader of an encoder's inputs: decoded in advance, a bounded number of them in memory.

    Attributes:
        dataset: of the images.
        names: of all images, by index.
        encoder: prepares the pixels; its weights are loaded.
        augmentation: random views, other ones in each epoch; None for the encoder's own crop.
        device: that batches are moved to.
        workers: processes that decode; with 0 a thread does.
    """

    dataset: Dataset
    names: Sequence[str]
    encoder: Encoder
    augmentation: Augmentation | None
    device: str
    workers: int = 0

    @property
    def width(self) -> int:
        """Return the feature width d of the encoder."""
        return self.encoder.dim

    def batches(self, indices: Indices, epoch: int) -> Iterator[Tensor]:
        """Yield the pixels (b, views, 3, h, w) of each batch of ``indices`` (batches, b).

        Raises:
            ImageError: an image that was readable when training began no longer is.
        """
        import torch

        decoder = Decoder(self.dataset, self.encoder, "train", 1, self.augmentation, epoch)
        size = indices.shape[1] if len(indices) else 1
        with decoded(decoder, self._names(indices), self.workers) as parts:
            for _ in range(len(indices)):
                inputs, missing = [], size
                while missing:
                    part = next(parts)
                    for name, error in zip(part.names, part.errors, strict=True):
                        if error:
                            raise ImageError(f"{name}: {error}; it was readable when training began.")
                    assert part.inputs is not None
                    inputs.append(part.inputs)
                    missing -= len(part.names)
                batch = torch.cat(inputs)
                on_gpu = self.device.startswith("cuda")
                yield (batch.pin_memory() if on_gpu else batch).to(self.device, non_blocking=True)

    def _names(self, indices: Indices) -> Iterator[list[str]]:
        for batch in indices:
            for start in range(0, len(batch), IMAGES_AT_ONCE):
                yield [self.names[index] for index in batch[start : start + IMAGES_AT_ONCE]]


@dataclass
class LiveViews(PixelLoader):
    """A feature loader that augments and encodes images at every step, so that no view is repeated."""

    def batches(self, indices: Indices, epoch: int) -> Iterator[Tensor]:
        """Yield the features (b, views, d) of freshly augmented images."""
        for batch in super().batches(indices, epoch):
            features = encode(self.encoder, batch.flatten(0, 1))
            yield features.reshape(*batch.shape[:2], -1)
