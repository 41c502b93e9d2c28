"""Feature loaders: training reads batches of features from device memory, from a memory map, or encodes them live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geobench.features.half import HalfArray, stored
from geobench.features.prefetch import prefetched

if TYPE_CHECKING:
    from torch import Tensor

Indices = npt.NDArray[np.intp]
RESIDENT_SHARE = 0.5
"""Features that take up to this share of the device's free memory are loaded into it."""
PREFETCH_BATCHES = 4  # read from the memory map while the device computes


class FeatureLoader(Protocol):
    """Batches of features by image index."""

    @property
    def width(self) -> int:
        """Return the feature width d."""
        ...

    def batches(self, indices: Indices, epoch: int) -> Iterator[Tensor]:
        """Yield the features (b, views, d) of each batch of ``indices`` (batches, b), on the device."""


def feature_loader(features: npt.NDArray[Any] | HalfArray, device: str) -> FeatureLoader:
    """Return a loader for cached ``features`` (n, views, d): in device memory if they fit, else memory-mapped."""
    if features.nbytes <= RESIDENT_SHARE * free_bytes(device):
        return ResidentFeatures(features, device)
    return MappedFeatures(features, device)


class ResidentFeatures:
    """Features in the memory of the device that computes."""

    def __init__(self, features: npt.NDArray[Any] | HalfArray, device: str) -> None:
        import torch

        features = stored(features)
        self.features = torch.empty(features.shape, dtype=torch.from_numpy(features[:0].copy()).dtype, device=device)
        for start in range(0, len(features), 65_536):  # in blocks: a memory map is never copied twice as a whole
            block = torch.from_numpy(np.array(features[start : start + 65_536]))
            self.features[start : start + len(block)] = block

    @property
    def width(self) -> int:
        """Return the feature width d."""
        return int(self.features.shape[2])

    def batches(self, indices: Indices, epoch: int) -> Iterator[Tensor]:
        """Yield features gathered on the device."""
        import torch

        for chosen in torch.from_numpy(indices).to(self.features.device):
            yield self.features.index_select(0, chosen).float()


@dataclass
class MappedFeatures:
    """Features that a background thread reads from a memory map, a few batches in advance."""

    features: npt.NDArray[Any] | HalfArray
    device: str

    @property
    def width(self) -> int:
        """Return the feature width d."""
        return int(self.features.shape[2])

    def batches(self, indices: Indices, epoch: int) -> Iterator[Tensor]:
        """Yield features that were read while the device was computing."""
        import torch

        def read() -> Iterator[Tensor]:
            for chosen in indices:
                order = np.argsort(chosen, kind="stable")  # read in file order, then restore the batch's order
                batch = np.empty((len(chosen), *self.features.shape[1:]), dtype=np.float32)
                batch[order] = self.features[chosen[order]]
                tensor = torch.from_numpy(batch)
                # Pinned memory lets a GPU copy the batch while it computes.
                yield tensor.pin_memory() if self.device.startswith("cuda") else tensor

        with prefetched(read(), PREFETCH_BATCHES) as batches:
            for batch in batches:
                yield batch.to(self.device, non_blocking=True)


def free_bytes(device: str) -> int:
    """Return the free memory of ``device`` in bytes."""
    import os

    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not available on this system: assume little
        return 4 << 30
