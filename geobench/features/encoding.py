"""One shard of features while it is being made: a GPU encodes a batch while the next one is decoded and copied."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench.errors import EncoderError
from geobench.features.decoding import Batch
from geobench.features.encoders import encode
from geobench.features.shards import Made, Shards

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.features.encoders import Encoder


class GrowingShard:
    """A shard that is being made."""

    def __init__(self, encoder: Encoder, tile: int, rows: range, shape: tuple[int, ...]) -> None:
        self.encoder, self.tile, self.rows = encoder, tile, rows
        self.features = np.zeros((len(rows), *shape), dtype=np.float32)
        self.ok = np.zeros(len(rows), dtype=np.bool_)
        self.failures: list[dict[str, str]] = []
        self.filled = 0
        self.encoding_s = 0.0
        self.pending: tuple[npt.NDArray[np.intp], Encoding] | None = None

    def add(self, batch: Batch) -> None:
        """Encode a batch into the next rows; a GPU is at it while the next batch is being decoded."""
        readable = self.filled + np.flatnonzero([not error for error in batch.errors])
        if batch.inputs is not None:
            encoding = Encoding(self.encoder, batch.inputs, self.tile)
            self._take()
            self.pending = readable, encoding
        self.ok[readable] = True
        pairs = zip(batch.names, batch.errors, strict=True)
        self.failures += [{"image": name, "reason": error} for name, error in pairs if error]
        self.filled += len(batch.names)

    def write(self, shards: Shards, started: float) -> float:
        """Write the shard, all of its rows filled, as what was done since ``started``; return the time.

        Raises:
            EncoderError: a feature is not finite.
        """
        self._take()
        now, process = time.monotonic(), f"{socket.gethostname()}:{os.getpid()}"
        made = Made(tuple(self.failures), now - started, self.encoding_s, process)
        shards.write(self.rows, self.features, self.ok, made)
        return now

    def _take(self) -> None:
        """Take the features of the batch before, and wait for them where a GPU is not done."""
        if self.pending is None:
            return
        rows, encoding = self.pending
        features, seconds = encoding.result()
        if not np.isfinite(features).all():
            device, precision = self.encoder.device, self.encoder.precision(self.encoder.device)
            raise EncoderError(
                f"the encoder {self.encoder.name} returned features that are not finite, in {precision} on {device}; "
                f"its weights are damaged, or too large for that (--device cpu computes in float32)."
            )
        self.features[rows] = features
        self.encoding_s += seconds
        self.pending = None


class Encoding:
    """The features (n, views, d) of ``batch`` (n, views, 3, h, w): on a CPU there at once, on a GPU on their way.

    They are computed in tiles of one fixed size.
    """

    def __init__(self, encoder: Encoder, batch: Tensor, tile: int) -> None:
        import torch

        self.on_gpu, self.shape = encoder.device.startswith("cuda"), batch.shape[:2]
        flat = batch.flatten(0, 1)  # (n * views, 3, h, w)
        self.n = len(flat)
        missing = -len(flat) % tile
        padded = torch.cat([flat, flat.new_zeros(missing, *flat.shape[1:])]) if missing else flat
        if self.on_gpu:
            padded = padded.pin_memory()  # copied beside the work on the batch before
        self.begin = self._now()
        features = torch.cat([encode(encoder, inputs) for inputs in padded.split(tile)])  # type: ignore[no-untyped-call]
        self.features = features
        if self.on_gpu:
            self.features = torch.empty_like(features, device="cpu", pin_memory=True)
            self.features.copy_(features, non_blocking=True)
        self.end = self._now()

    def result(self) -> tuple[npt.NDArray[np.float32], float]:
        """Return the features and the seconds that the encoder was at work on them, when they are there."""
        if self.on_gpu:
            self.end.synchronize()
        seconds = self.begin.elapsed_time(self.end) / 1000 if self.on_gpu else self.end - self.begin
        return self.features[: self.n].reshape(*self.shape, -1).numpy(), float(seconds)

    def _now(self) -> Any:
        """Return the time; on a GPU an event that notes when the work before it is done."""
        if not self.on_gpu:
            return time.monotonic()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
