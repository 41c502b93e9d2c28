"""Building a shard of features: a GPU encodes one batch while the next one is decoded and copied."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench.errors import EncoderError
from geobench.features.code import installed
from geobench.features.decoding import Batch
from geobench.features.encoders import encode, refuse_dependence
from geobench.features.half import halved
from geobench.features.shards import ShardRecord, Shards

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.features.encoders import Encoder


class ShardBuilder:
    """Encodes batches into the rows of one shard."""

    def __init__(self, encoder: Encoder, tile: int, rows: range, shape: tuple[int, ...]) -> None:
        self.encoder, self.tile, self.rows = encoder, tile, rows
        self.features = np.zeros((len(rows), *shape), dtype=np.float32)
        self.ok = np.zeros(len(rows), dtype=np.bool_)
        self.digests = np.zeros((len(rows), 2), dtype=np.uint64)
        self.failures: list[dict[str, str]] = []
        self.filled = 0
        self.encoding_s = 0.0
        self.pending: tuple[npt.NDArray[np.intp], EncodedBatch] | None = None

    def add(self, batch: Batch) -> None:
        """Encode a batch into the next rows; a GPU works on it while the next batch is decoded."""
        readable = self.filled + np.flatnonzero([not error for error in batch.errors])
        if batch.inputs is not None:
            first = self.rows.start == 0 and self.filled == 0
            encoded = EncodedBatch(self.encoder, batch.inputs, self.tile, verified=first)
            self._store_pending()
            self.pending = readable, encoded
        self.ok[readable] = True
        self.digests[self.filled : self.filled + len(batch.names)] = batch.digests
        pairs = zip(batch.names, batch.errors, strict=True)
        self.failures += [{"image": name, "reason": error} for name, error in pairs if error]
        self.filled += len(batch.names)

    def write(self, shards: Shards, started: float) -> float:
        """Write the completely filled shard and return the current time.

        Args:
            shards: that it belongs to.
            started: when the previous shard was written (``time.monotonic``), for the record.

        Raises:
            EncoderError: a feature is not finite.
        """
        self._store_pending()
        now, process = time.monotonic(), f"{socket.gethostname()}:{os.getpid()}"
        record = ShardRecord(tuple(self.failures), now - started, self.encoding_s, process, installed())
        half = self.encoder.precision(self.encoder.device) == "float16"
        features = halved(self.features) if half else self.features
        shards.write(self.rows, {"features": features, "ok": self.ok, "digests": self.digests}, record)
        return now

    def _store_pending(self) -> None:
        """Store the features of the previous batch, after waiting for the GPU if necessary."""
        if self.pending is None:
            return
        rows, encoded = self.pending
        features, seconds = encoded.result()
        if not np.isfinite(features).all():
            device, precision = self.encoder.device, self.encoder.precision(self.encoder.device)
            raise EncoderError(
                f"the encoder {self.encoder.name} returned features that are not finite, in {precision} on {device}; "
                f"its weights are damaged or overflow in that precision (device cpu computes in float32)."
            )
        self.features[rows] = features
        self.encoding_s += seconds
        self.pending = None


class EncodedBatch:
    """The features (n, views, d) of ``batch`` (n, views, 3, h, w), computed in tiles of a fixed size.

    If ``verified``, an encoder whose features of an image depend on the others is refused.

    On a GPU they are computed asynchronously; ``result`` waits for them.
    """

    def __init__(self, encoder: Encoder, batch: Tensor, tile: int, verified: bool = False) -> None:
        import torch

        self.on_gpu, self.shape = encoder.device.startswith("cuda"), batch.shape[:2]
        flat = batch.flatten(0, 1)  # (n * views, 3, h, w)
        self.n = len(flat)
        missing = -len(flat) % tile
        padded = torch.cat([flat, flat.new_zeros(missing, *flat.shape[1:])]) if missing else flat
        if self.on_gpu:
            padded = padded.pin_memory()  # copied while the previous batch is encoded
        self.begin = self._now()
        tiles = padded.split(tile)  # type: ignore[no-untyped-call]
        encoded = [encode(encoder, inputs) for inputs in tiles]
        if verified and self.n > 1:
            refuse_dependence(encoder, tiles[0], encoded[0])
        features = torch.cat(encoded)
        self.features = features
        if self.on_gpu:
            self.features = torch.empty_like(features, device="cpu", pin_memory=True)
            self.features.copy_(features, non_blocking=True)
        self.end = self._now()

    def result(self) -> tuple[npt.NDArray[np.float32], float]:
        """Return the features and the seconds that the encoder took; wait until they are available."""
        if self.on_gpu:
            self.end.synchronize()
        seconds = self.begin.elapsed_time(self.end) / 1000 if self.on_gpu else self.end - self.begin
        return self.features[: self.n].reshape(*self.shape, -1).numpy(), float(seconds)

    def _now(self) -> Any:
        """Return the time, or on a GPU an event that records when the work queued so far is done."""
        if not self.on_gpu:
            return time.monotonic()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
