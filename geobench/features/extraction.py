"""The making of features: decoded ahead, encoded in tiles, written shard by shard, joined at the end.

``KEY.partial/shards`` holds the shards that are done. A killed extraction goes on with those that are not; of the
processes that torchrun started each has a part of them. When all are there the main process joins them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench import files
from geobench.distributed import current
from geobench.features.decoding import Decoder, decoded
from geobench.features.encoding import GrowingShard
from geobench.features.shards import Shards
from geobench.progress import Advance, Progress

if TYPE_CHECKING:
    import pandas as pd

TILE = 32
"""On a CPU images are encoded in groups of exactly so many, the last one padded: the kernels, and so the last bit of
every feature, then do not depend on the batch size."""
LOOK_S = 2.0  # the main process looks at most so often what the others have done
STARVED = 0.8  # the user is told of an encoder that is busy for less of the time than this, with the remedy


@dataclass
class Extraction:
    """The making of one features folder; ``folder`` is where it is made."""

    decoder: Decoder
    table: pd.DataFrame
    folder: Path

    def run(self, device: str, batch_size: int, workers: int, progress: Progress) -> None:
        """Make what is not there yet; of several processes all come here together."""
        encoder, group = self.decoder.encoder, current()
        progress.say(f"loading the encoder {encoder.name}.")
        encoder.load(device)
        shards = Shards(self.folder / "shards", (len(self.table), self.decoder.views, encoder.dim))
        joined = group.share((self.folder / "about.json").exists())
        if not joined:
            missing, failed = group.share(_missing(shards, progress) if group.main else None)
            done = len(self.table) - sum(map(len, missing))
            with progress.track(self.what, len(self.table), "images", done) as advance:
                others = [rows for i, rows in enumerate(missing) if i % group.size] if group.main else []
                watch = _Watch(shards, others, failed, advance)
                self._make(shards, missing[group.rank :: group.size], batch_size, workers, watch)
                watch.wait()
        if group.main:
            if not joined:
                self._join(shards, progress)
            shards.remove()

    @property
    def what(self) -> str:
        """Return what is made, for the user."""
        return f"features of {self.decoder.dataset.name} ({self.decoder.purpose})"

    def _make(self, shards: Shards, mine: Sequence[range], batch_size: int, workers: int, watch: _Watch) -> None:
        """Make the shards ``mine``, one after another; the next one's images are decoded meanwhile."""
        views, encoder = self.decoder.views, self.decoder.encoder
        images = max(1, min(shards.rows, batch_size // views))
        tile = TILE if encoder.device == "cpu" else max(TILE, images * views)
        with decoded(self.decoder, self._names(mine, images), workers) as batches:
            started = time.monotonic()
            before: GrowingShard | None = None  # a GPU encodes the next shard's first batch while this one is written
            for rows in mine:
                shard = GrowingShard(encoder, tile, rows, shards.shape[1:])
                while shard.filled < len(rows):
                    batch = next(batches)
                    shard.add(batch)
                    watch.count(len(batch.names), sum(map(bool, batch.errors)))
                    if before is not None:
                        started = before.write(shards, started)
                        before = None
                if encoder.device == "cpu":
                    started = shard.write(shards, started)
                else:
                    before = shard
                watch.look()
            if before is not None:
                before.write(shards, started)

    def _names(self, shards: Sequence[range], images: int) -> Iterator[list[str]]:
        """Yield the names of the images of each batch; a batch is part of one shard."""
        column = self.table["image"]
        for rows in shards:
            for start in range(rows.start, rows.stop, images):
                yield [str(name) for name in column.iloc[start : min(start + images, rows.stop)]]

    def _join(self, shards: Shards, progress: Progress) -> None:
        """Join the shards, and write last what says that it is done."""
        failed, seconds, encoding, processes = 0, 0.0, 0.0, set()
        with progress.track(f"joining the {self.what}", len(self.table), "images") as advance:
            for rows, made in shards.join(self.folder):
                failed += len(made.failures)
                seconds += made.seconds
                encoding += made.encoding_s
                processes.add(made.process)
                advance(len(rows))
        busy, rate = encoding / max(seconds, 1e-9), len(self.table) / max(seconds, 1e-9)
        if failed:
            progress.say(
                f"{self.what}: {failed:,} of {len(self.table):,} images could not be read and count as failed."
            )
        hint = "" if busy >= STARVED else "; it waited for images: more --workers may help"
        each = f" in each of {len(processes)} processes" if len(processes) > 1 else ""
        progress.say(f"{self.what}: {rate:,.0f} images/s{each}, the encoder busy {busy:.0%} of the time{hint}.")
        about = {
            "failed": failed,
            "processes": len(processes),
            "seconds_of_all_processes": round(seconds, 2),
            "images_per_second_of_each": round(rate, 1),
            "encoder_busy": round(busy, 4),
        }
        files.write_json(self.folder / "about.json", self._about() | about)

    def _about(self) -> dict[str, Any]:
        decoder = self.decoder
        return {
            "dataset": decoder.dataset.name,
            "purpose": decoder.purpose,
            "images": len(self.table),
            "encoder": decoder.encoder.name,
            "preprocessing": decoder.encoder.describe(),
            "jpeg_decoded_to": decoder.jpeg_decoded_to,
            "crops": decoder.crops,
            "augmentation": asdict(decoder.augmentation) if decoder.augmentation is not None else None,
        }


def _missing(shards: Shards, progress: Progress) -> tuple[list[range], int]:
    """Return the shards that have to be made, and how many images failed in the others."""
    there = shards.there()
    missing, failed, damaged = [], 0, 0
    for rows in shards.ranges():
        made = shards.made(rows) if shards.path(rows).name in there else None
        if made is None:
            missing.append(rows)
            damaged += shards.path(rows).name in there
        else:
            failed += len(made.failures)
    if damaged:
        progress.say(f"{shards.folder}: {damaged:,} shards of features are damaged; they are made again.")
    return missing, failed


class _Watch:
    """What all processes have done, for the progress of the main one; the others watch nobody."""

    def __init__(self, shards: Shards, others: list[range], failed: int, advance: Advance) -> None:
        self.shards, self.others, self.failed, self.advance = shards, others, failed, advance
        self.looked = time.monotonic()

    def count(self, images: int, failed: int) -> None:
        """Tell of so many images more."""
        self.failed += failed
        self.advance(images, failed=f"{self.failed:,}")

    def look(self) -> None:
        """Count the shards that the others have finished since."""
        if not self.others or time.monotonic() - self.looked < LOOK_S:
            return
        there = self.shards.there()
        for rows in [rows for rows in self.others if self.shards.path(rows).name in there]:
            made = self.shards.made(rows)
            if made is not None:
                self.others.remove(rows)
                self.count(len(rows), len(made.failures))
        self.looked = time.monotonic()

    def wait(self) -> None:
        """Return when the others are done."""
        while self.others:
            time.sleep(LOOK_S / 10)
            self.look()
