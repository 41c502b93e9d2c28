"""Feature extraction: images are decoded in advance, encoded in tiles, written shard by shard and joined at the end.

``KEY.partial/shards`` holds the finished shards. After a kill, extraction resumes with the missing ones. The processes
that torchrun started divide the shards among themselves; when all are finished the main process joins them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench import files
from geobench.distributed import current
from geobench.features.changes import Changes
from geobench.features.code import joined
from geobench.features.decoding import Decoder, decoded
from geobench.features.encoding import ShardBuilder
from geobench.features.shards import Shards
from geobench.progress import Advance, Progress
from geobench.sharding import Shard

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.contents import Contents

GPU_TILE = 32
"""A GPU encodes at least this many images together. On a CPU the encoder says how many (:attr:`Encoder.tile`)."""
POLL_S = 2.0  # how often the main process checks, at most, which shards the other processes have finished
STARVED = 0.8  # if the encoder is busy for less than this share of the time, the user is advised to add workers


@dataclass
class FeatureExtraction:
    """One extraction: the features of ``table``, whose images have the key ``images_key``, written to ``folder``.

    Of a ``share`` only those shards are computed that are its part, and nothing is joined.
    """

    decoder: Decoder
    table: pd.DataFrame
    folder: Path
    images_key: str
    share: Shard | None = None

    @cached_property
    def changes(self) -> Changes:
        """Return what notices images that change in the meantime."""
        return Changes(self.decoder, self.table, self.folder)

    def run(self, device: str, batch_size: int, workers: int, progress: Progress) -> list[str] | None:
        """Compute the missing shards and join all of them; every process of a group calls this.

        Returns:
            None; or the images that changed in the meantime, none if it is not known which: their shards are removed,
            and nothing is joined.
        """
        encoder, group = self.decoder.encoder, current()
        progress.say(f"loading the encoder {encoder.name}.")
        encoder.load(device)
        shards = Shards(self.folder / "shards", (len(self.table), self.decoder.views, encoder.dim))
        complete = group.share((self.folder / "about.json").exists())
        if not complete:
            if group.main:
                self.changes.drop(shards)  # of an extraction that was interrupted
            assigned = self.assigned(shards)
            total = sum(map(len, assigned))
            missing, failed = group.share(_missing(shards, assigned, progress) if group.main else None)
            with progress.track(self.what, total, "images", total - sum(map(len, missing))) as advance:
                others = [rows for i, rows in enumerate(missing) if i % group.size] if group.main else []
                group_progress = _GroupProgress(shards, others, failed, advance)
                self._compute(shards, missing[group.rank :: group.size], batch_size, workers, group_progress)
                group_progress.wait()
            changed: list[str] | None = group.share(self._changed(shards) if group.main else None)
            if changed is not None:
                return changed
        if group.main and self.share is None:
            if not complete:
                self.join(shards, progress)
            shards.remove()
            self.changes.forget()
        return None

    def is_current(self, folder: Path) -> bool:
        """Return whether no image has changed since the extraction in ``folder`` looked at them, as far as is known."""
        noted = replace(self.changes, folder=folder).noted()
        now = self._now
        return now is None or (noted is not None and not len(now.stamps.differing(len(self.table), noted)))

    @cached_property
    def _now(self) -> Contents | None:
        """Return what is known of the content of the images, as it was when this was first asked."""
        return self.decoder.dataset.contents(self.table, self.decoder.purpose)

    def assigned(self, shards: Shards) -> list[range]:
        """Return the rows of the shards that are computed.

        Raises:
            SettingError: the share is one of more than there are shards.
        """
        ranges = shards.ranges()
        if self.share is None:
            return ranges
        part = self.share.rows(len(ranges), f"blocks of {shards.rows} images")
        return ranges[part.start : part.stop]

    def _changed(self, shards: Shards) -> list[str] | None:
        """Return what :meth:`run` does."""
        if changed := self.changes.drop(shards):
            return changed
        if self.changes.is_of(self.images_key):
            return None
        if self.changes.began is not None and not self.changes.began.stamps.of_each:
            shards.remove()  # they were read from where another archive had them
        return []

    @property
    def what(self) -> str:
        """Return the name of the task for progress messages."""
        return f"features of {self.decoder.dataset.name} ({self.decoder.purpose})"

    def _compute(
        self, shards: Shards, assigned: Sequence[range], batch_size: int, workers: int, group_progress: _GroupProgress
    ) -> None:
        """Compute the ``assigned`` shards in order, decoding the images of the next one in the meantime."""
        views, encoder = self.decoder.views, self.decoder.encoder
        images = max(1, min(shards.rows, batch_size // views))
        tile = encoder.tile if encoder.device == "cpu" else max(GPU_TILE, images * views)
        with decoded(self.decoder, self._names(assigned, images), workers) as batches:
            started = time.monotonic()
            previous: ShardBuilder | None = None  # written while a GPU encodes the first batch of the next shard
            for rows in assigned:
                shard = ShardBuilder(encoder, tile, rows, shards.shape[1:])
                while shard.filled < len(rows):
                    batch = next(batches)
                    shard.add(batch)
                    group_progress.count(len(batch.names), sum(map(bool, batch.errors)))
                    if previous is not None:
                        started = previous.write(shards, started)
                        previous = None
                if encoder.device == "cpu":
                    started = shard.write(shards, started)
                else:
                    previous = shard
                group_progress.poll()
            if previous is not None:
                previous.write(shards, started)

    def _names(self, shards: Sequence[range], images: int) -> Iterator[list[str]]:
        """Yield the image names of each batch; a batch never spans two shards."""
        column = self.table["image"]
        for rows in shards:
            for start in range(rows.start, rows.stop, images):
                yield [str(name) for name in column.iloc[start : min(start + images, rows.stop)]]

    def join(self, shards: Shards, progress: Progress) -> None:
        """Join the shards, then write ``about.json``, which marks the extraction as complete."""
        failed, seconds, encoding, processes, versions = 0, 0.0, 0.0, set(), []
        with progress.track(f"joining the {self.what}", len(self.table), "images") as advance:
            for rows, record in shards.join(self.folder):
                failed += len(record.failures)
                seconds += record.seconds
                encoding += record.encoding_s
                processes.add(record.process)
                versions.append(record.versions)
                advance(len(rows))
        busy, rate = encoding / max(seconds, 1e-9), len(self.table) / max(seconds, 1e-9)
        if failed:
            progress.say(
                f"{self.what}: {failed:,} of {len(self.table):,} images could not be read and count as failed."
            )
        hint = "" if busy >= STARVED else "; it waited for images: more workers may help"
        each = f" in each of {len(processes)} processes" if len(processes) > 1 else ""
        progress.say(f"{self.what}: {rate:,.0f} images/s{each}, encoder busy {busy:.0%} of the time{hint}.")
        about = {
            "failed": failed,
            "processes": len(processes),
            "seconds_of_all_processes": round(seconds, 2),
            "images_per_second_of_each": round(rate, 1),
            "encoder_busy": round(busy, 4),
            "versions": joined(versions),
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
            "crops": decoder.crops,
            "augmentation": asdict(decoder.augmentation) if decoder.augmentation is not None else None,
        }


def _missing(shards: Shards, ranges: Sequence[range], progress: Progress) -> tuple[list[range], int]:
    """Return those of the shards ``ranges`` that are to be computed, and the number of failed images in the others."""
    existing = shards.existing()
    missing, failed, damaged = [], 0, 0
    for rows in ranges:
        record = shards.record(rows) if shards.path(rows).name in existing else None
        if record is None:
            missing.append(rows)
            damaged += shards.path(rows).name in existing
        else:
            failed += len(record.failures)
    if damaged:
        progress.say(f"{shards.folder}: {damaged:,} shards of features are damaged; they are recomputed.")
    return missing, failed


class _GroupProgress:
    """Progress of all processes together; ``others`` are the shards that the main process does not compute itself."""

    def __init__(self, shards: Shards, others: list[range], failed: int, advance: Advance) -> None:
        self.shards, self.others, self.failed, self.advance = shards, others, failed, advance
        self.polled = time.monotonic()

    def count(self, images: int, failed: int) -> None:
        """Report ``images`` more, of which ``failed`` could not be read."""
        self.failed += failed
        self.advance(images, failed=f"{self.failed:,}")

    def poll(self) -> None:
        """Count the shards that the other processes have finished since the last call."""
        if not self.others or time.monotonic() - self.polled < POLL_S:
            return
        existing = self.shards.existing()
        for rows in [rows for rows in self.others if self.shards.path(rows).name in existing]:
            record = self.shards.record(rows)
            if record is not None:
                self.others.remove(rows)
                self.count(len(rows), len(record.failures))
        self.polled = time.monotonic()

    def wait(self) -> None:
        """Wait until the other processes have finished."""
        while self.others:
            time.sleep(POLL_S / 10)
            self.poll()
