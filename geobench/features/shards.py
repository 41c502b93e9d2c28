"""Shards of features: files that each hold a fixed range of rows, written atomically, and joined into one array."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import FeatureError

SHARD_ROWS = 512
SHARD_BYTES = 32 << 20
"""Upper limits of a shard, which is what a kill can cost and what a process holds in memory."""
SUFFIX = ".safetensors"
RECORD = "made"  # entry of a shard's metadata


@dataclass(frozen=True)
class ShardRecord:
    """How a shard was computed.

    Attributes:
        failures: images that could not be read: ``image`` and ``reason``.
        seconds: wall-clock time since the previous shard.
        encoding_s: time of it that the encoder was busy.
        process: ``HOST:PID`` of the process that computed it.
        versions: of the libraries that decoded and encoded; empty in a shard of an earlier version.
    """

    failures: tuple[dict[str, str], ...] = ()
    seconds: float = 0.0
    encoding_s: float = 0.0
    process: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shards:
    """The shards of an array of features (n, views, d).

    Attributes:
        folder: of the shards.
        shape: n, views, d.
    """

    folder: Path
    shape: tuple[int, int, int]

    @property
    def rows(self) -> int:
        """Return the number of rows of a shard; the last one may have fewer."""
        return max(1, min(SHARD_ROWS, SHARD_BYTES // (4 * self.shape[1] * self.shape[2])))

    def ranges(self) -> list[range]:
        """Return the rows of each shard, in order."""
        return [range(start, min(start + self.rows, self.shape[0])) for start in range(0, self.shape[0], self.rows)]

    def path(self, rows: range) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{rows.start:010d}-{rows.stop:010d}{SUFFIX}"

    def write(self, rows: range, arrays: dict[str, npt.NDArray[Any]], record: ShardRecord) -> None:
        """Write a shard atomically; its content is synced to disk before the file gets its name.

        Args:
            rows: of the shard.
            arrays: ``features`` (rows, views, d) in float32 or float16, ``ok`` (rows,) and ``digests`` (rows, 2) of the
                images.
            record: how they were computed.
        """
        from safetensors.numpy import save_file

        with files.replacing(self.path(rows)) as temporary:
            save_file(arrays, temporary, {RECORD: json.dumps(asdict(record))})

    def record(self, rows: range) -> ShardRecord | None:
        """Return the record of a shard, None if it is missing or damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path(rows), framework="numpy") as file:
                if file.get_slice("features").get_shape() != [len(rows), *self.shape[1:]]:
                    return None
                values = json.loads(file.metadata()[RECORD])
                return ShardRecord(**values | {"failures": tuple(values["failures"])})
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def digests(self, rows: range) -> npt.NDArray[np.uint64] | None:
        """Return the digests (rows, 2) in an intact shard; None if an earlier version wrote it without."""
        from safetensors import safe_open

        with safe_open(self.path(rows), framework="numpy") as file:
            names = list(file.keys())
            found: npt.NDArray[np.uint64] | None = file.get_tensor("digests") if "digests" in names else None
        return found

    def existing(self) -> set[str]:
        """Return the names of the files in the folder."""
        return {entry.name for entry in os.scandir(self.folder)} if self.folder.is_dir() else set()

    def join(self, target: Path) -> Iterator[tuple[range, ShardRecord]]:
        """Write the arrays and ``failures.jsonl`` to ``target``, with one shard of features in memory at a time.

        There is no ``digests.npy`` if a shard has none, as those of an extraction that an earlier version began.

        Yields:
            the rows and the record of each shard, in order.

        Raises:
            FeatureError: a shard is missing or damaged.
        """
        ok = np.zeros(self.shape[0], dtype=np.bool_)
        digests: npt.NDArray[np.uint64] | None = np.zeros((self.shape[0], 2), dtype=np.uint64)
        with (
            files.replacing(target / "features.npy") as features,
            files.replacing(target / "failures.jsonl") as failures,
            features.open("wb") as array,
            failures.open("w", encoding="utf-8") as log,
        ):
            dtype = self._dtype()
            header = {"descr": dtype, "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(array, header)
            for rows in self.ranges():
                tensors, record = self._read(rows)
                array.write(np.ascontiguousarray(tensors["features"], dtype=dtype).data)
                ok[rows.start : rows.stop] = tensors["ok"]
                digests = digests if "digests" in tensors else None
                if digests is not None:
                    digests[rows.start : rows.stop] = tensors["digests"]
                log.writelines(json.dumps(failure) + "\n" for failure in record.failures)
                yield rows, record
            array.flush()
            os.fsync(array.fileno())
        files.write_array(target / "ok.npy", ok)
        if digests is not None:
            files.write_array(target / "digests.npy", digests)

    def _dtype(self) -> str:
        """Return the type of the joined array: float16 if all shards are, else float32, which holds both."""
        from safetensors import SafetensorError, safe_open

        for rows in self.ranges():
            try:
                with safe_open(self.path(rows), framework="numpy") as file:
                    if file.get_slice("features").get_dtype() != "F16":
                        return "<f4"
            except (OSError, SafetensorError):
                return "<f4"  # reading it names what is wrong
        return "<f2"

    def remove(self) -> None:
        """Remove the shards once they have been joined."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, rows: range) -> tuple[dict[str, npt.NDArray[Any]], ShardRecord]:
        from safetensors.numpy import load_file

        record = self.record(rows)
        if record is None:
            raise FeatureError(f"{self.path(rows)} is damaged or missing; run the same command again to recompute it.")
        return load_file(self.path(rows)), record
