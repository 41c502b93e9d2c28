"""Where a training takes its batches of features from: memory, the memory map, or images augmented as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geobench.features.prefetch import ahead

if TYPE_CHECKING:
    from torch import Tensor

Rows = npt.NDArray[np.intp]
RESIDENT_SHARE = 0.5
"""Features that take up to this share of the device's free memory are kept in it."""
AHEAD = 4  # batches read from the memory map while the device computes


class Source(Protocol):
    """Features by row number."""

    @property
    def width(self) -> int:
        """Return d."""
        ...

    def batches(self, rows: Rows, epoch: int) -> Iterator[Tensor]:
        """Yield the features (b, views, d) of each batch of the row numbers (batches, b), on the device."""


def cached(features: npt.NDArray[Any], device: str) -> Source:
    """Return the source for cached ``features`` (n, views, d): resident if they fit, else streamed."""
    if features.nbytes <= RESIDENT_SHARE * free_bytes(device):
        return Resident(features, device)
    return Streamed(features, device)


class Resident:
    """Features in the memory of the device that computes."""

    def __init__(self, features: npt.NDArray[Any], device: str) -> None:
        import torch

        self.features = torch.empty(features.shape, dtype=torch.from_numpy(features[:0].copy()).dtype, device=device)
        for start in range(0, len(features), 65_536):  # a memory map is read in pieces, never copied whole twice
            block = torch.from_numpy(np.array(features[start : start + 65_536]))
            self.features[start : start + len(block)] = block

    @property
    def width(self) -> int:
        """Return d."""
        return int(self.features.shape[2])

    def batches(self, rows: Rows, epoch: int) -> Iterator[Tensor]:
        """Yield features gathered on the device."""
        import torch

        for chosen in torch.from_numpy(rows).to(self.features.device):
            yield self.features.index_select(0, chosen).float()


@dataclass
class Streamed:
    """Features read from the memory map by a thread, some batches ahead."""

    features: npt.NDArray[Any]
    device: str

    @property
    def width(self) -> int:
        """Return d."""
        return int(self.features.shape[2])

    def batches(self, rows: Rows, epoch: int) -> Iterator[Tensor]:
        """Yield features that were read while the device computed."""
        import torch

        def read() -> Iterator[Tensor]:
            for chosen in rows:
                order = np.argsort(chosen, kind="stable")  # in file order, then back
                batch = np.empty((len(chosen), *self.features.shape[1:]), dtype=np.float32)
                batch[order] = self.features[chosen[order]]
                made = torch.from_numpy(batch)
                # Of pinned memory a GPU takes its copy while it computes.
                yield made.pin_memory() if self.device.startswith("cuda") else made

        with ahead(read(), AHEAD) as batches:
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
    except (ValueError, OSError):  # not on this system: assume little
        return 4 << 30
