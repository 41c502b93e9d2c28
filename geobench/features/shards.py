"""Shards of features: files of a fixed range of rows each, whole or not there, and how they become one array."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import FeatureError

SHARD_ROWS = 512
SHARD_BYTES = 32 << 20
"""A shard is what a kill can cost and what a process holds in memory: at most so many rows, at most so many bytes."""
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Made:
    """The story of a shard.

    Attributes:
        failures: images that could not be read, with the reason: ``image`` and ``reason``.
        seconds: from the shard before to this one.
        encoding_s: how many of them the encoder was at work.
        process: which process made it.
    """

    failures: tuple[dict[str, str], ...] = ()
    seconds: float = 0.0
    encoding_s: float = 0.0
    process: str = ""


@dataclass(frozen=True)
class Shards:
    """The shards of an array of features (n, views, d).

    Attributes:
        folder: where they lie.
        shape: n, views, d.
    """

    folder: Path
    shape: tuple[int, int, int]

    @property
    def rows(self) -> int:
        """Return how many rows a shard has; the last one may have fewer."""
        return max(1, min(SHARD_ROWS, SHARD_BYTES // (4 * self.shape[1] * self.shape[2])))

    def ranges(self) -> list[range]:
        """Return the rows of each shard, in order."""
        return [range(start, min(start + self.rows, self.shape[0])) for start in range(0, self.shape[0], self.rows)]

    def path(self, rows: range) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{rows.start:010d}-{rows.stop:010d}{SUFFIX}"

    def write(self, rows: range, features: npt.NDArray[np.float32], ok: npt.NDArray[np.bool_], made: Made) -> None:
        """Write a shard, whole or not at all, onto the disk before its name is."""
        from safetensors.numpy import save_file

        with files.replacing(self.path(rows)) as temporary:
            save_file({"features": features, "ok": ok}, temporary, {"made": json.dumps(asdict(made))})
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def made(self, rows: range) -> Made | None:
        """Return the story of a shard, None where it is not there or not whole."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path(rows), framework="numpy") as file:
                if file.get_slice("features").get_shape() != [len(rows), *self.shape[1:]]:
                    return None
                story = json.loads(file.metadata()["made"])
                return Made(**story | {"failures": tuple(story["failures"])})
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def there(self) -> set[str]:
        """Return the names of the files that are there."""
        return {entry.name for entry in os.scandir(self.folder)} if self.folder.is_dir() else set()

    def join(self, target: Path) -> Iterator[tuple[range, Made]]:
        """Write ``features.npy``, ``ok.npy`` and ``failures.jsonl`` into ``target``, a shard in memory at a time.

        Yields:
            the rows and the story of each shard, in order.

        Raises:
            FeatureError: a shard is not there or not whole.
        """
        ok = np.zeros(self.shape[0], dtype=np.bool_)
        with (
            files.replacing(target / "features.npy") as features,
            files.replacing(target / "failures.jsonl") as failures,
            features.open("wb") as array,
            failures.open("w", encoding="utf-8") as log,
        ):
            header = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(array, header)
            for rows in self.ranges():
                tensors, made = self._read(rows)
                array.write(np.ascontiguousarray(tensors["features"], dtype="<f4").data)
                ok[rows.start : rows.stop] = tensors["ok"]
                log.writelines(json.dumps(failure) + "\n" for failure in made.failures)
                yield rows, made
            array.flush()
            os.fsync(array.fileno())
        files.write_array(target / "ok.npy", ok)

    def remove(self) -> None:
        """Remove the shards, whose content is elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, rows: range) -> tuple[dict[str, npt.NDArray[Any]], Made]:
        from safetensors.numpy import load_file

        made = self.made(rows)
        if made is None:
            raise FeatureError(f"{self.path(rows)} is damaged or gone; the same command makes it again.")
        return load_file(self.path(rows)), made
