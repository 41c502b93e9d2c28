"""Features of views that are augmented anew at each training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geobench.errors import ImageError
from geobench.features.loaders import Rows

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.images.augmentation import Augmentation


@dataclass
class Live:
    """The source of a training that augments and encodes at each step, so that no view is ever seen twice."""

    dataset: Dataset
    names: Sequence[str]
    encoder: Encoder
    augmentation: Augmentation
    device: str
    workers: int = 0

    @property
    def width(self) -> int:
        """Return d."""
        return self.encoder.dim

    def batches(self, rows: Rows, epoch: int) -> Iterator[Tensor]:
        """Yield the features (b, views, d) of freshly augmented images."""
        from torch.utils.data import DataLoader

        from geobench.features.decoding import start_method
        from geobench.features.encoders import encode

        images: Any = _Augmented(self, epoch)
        loader: Any = DataLoader(
            images,
            batch_sampler=rows.tolist(),
            num_workers=self.workers,
            multiprocessing_context=start_method() if self.workers else None,
        )
        for batch in loader:  # (b, views, 3, h, w)
            features = encode(self.encoder, batch.flatten(0, 1))
            yield features.reshape(*batch.shape[:2], -1)


@dataclass
class _Augmented:
    source: Live
    epoch: int

    def __getitem__(self, row: int) -> Tensor:
        source, name = self.source, self.source.names[row]
        try:
            image = source.dataset.read_image(name, "train")
        except ImageError as error:
            raise ImageError(f"{error}; it could be read before the training began.") from error
        return source.augmentation.inputs(image, name, source.encoder, self.epoch)
