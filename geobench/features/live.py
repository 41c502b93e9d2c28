"""Live features: views that are augmented and encoded afresh at every training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geobench.errors import ImageError
from geobench.features.loaders import Indices

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.images.augmentation import Augmentation


@dataclass
class LiveViews:
    """A feature loader that augments and encodes images at every step, so that no view is repeated."""

    dataset: Dataset
    names: Sequence[str]
    encoder: Encoder
    augmentation: Augmentation
    device: str
    workers: int = 0

    @property
    def width(self) -> int:
        """Return the feature width d."""
        return self.encoder.dim

    def batches(self, indices: Indices, epoch: int) -> Iterator[Tensor]:
        """Yield the features (b, views, d) of freshly augmented images."""
        from torch.utils.data import DataLoader

        from geobench.features.decoding import start_method
        from geobench.features.encoders import encode

        images: Any = _AugmentedImages(self, epoch)
        loader: Any = DataLoader(
            images,
            batch_sampler=indices.tolist(),
            num_workers=self.workers,
            multiprocessing_context=start_method() if self.workers else None,
        )
        for batch in loader:  # (b, views, 3, h, w)
            features = encode(self.encoder, batch.flatten(0, 1))
            yield features.reshape(*batch.shape[:2], -1)


@dataclass
class _AugmentedImages:
    """The encoder's inputs by image index, for torch's ``DataLoader``."""

    loader: LiveViews
    epoch: int

    def __getitem__(self, index: int) -> Tensor:
        loader, name = self.loader, self.loader.names[index]
        try:
            image = loader.dataset.read_image(name, "train")
        except ImageError as error:
            raise ImageError(f"{error}; it was readable when training began.") from error
        return loader.augmentation.inputs(image, name, loader.encoder, self.epoch)
