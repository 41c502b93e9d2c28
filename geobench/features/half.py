"""Features in half precision on the disk: half the space, and read as if they were in single precision.

An encoder that computes in float16 on a GPU returns numbers that float16 holds, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


class HalfArray:
    """An array of float16, as a rule memory-mapped, that reads as float32: index it, or ``np.asarray`` it.

    Computed with as they are, half-precision numbers overflow at 65,504, which the square of a norm exceeds.

    Attributes:
        stored: the array of float16.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, stored: npt.NDArray[np.float16]) -> None:
        self.stored = stored
        self.shape, self.ndim = stored.shape, stored.ndim

    @property
    def nbytes(self) -> int:
        """Return the size on the disk."""
        return self.stored.nbytes

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Any) -> Any:
        return self.stored[index].astype(np.float32)

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("half-precision features are converted when they are read, which is a copy")
        return np.asarray(self.stored, dtype=dtype or np.float32)


def stored(features: npt.NDArray[Any] | HalfArray) -> npt.NDArray[Any]:
    """Return ``features`` as they are on the disk, float16 or float32."""
    return features.stored if isinstance(features, HalfArray) else features


def halved(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float16] | npt.NDArray[np.float32]:
    """Return ``features`` in half precision if that loses nothing, else as they are."""
    with np.errstate(over="ignore"):
        half = features.astype(np.float16)
    return half if np.array_equal(half, features) else features
