"""Images that change while their features are extracted: what was encoded of them before must not be kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench import files
from geobench.data.contents import Contents
from geobench.features.decoding import Decoder
from geobench.features.shards import Shards
from geobench.images.digests import is_readable, read_digests

if TYPE_CHECKING:
    import pandas as pd

TIMES = "changed.npy"


@dataclass
class Changes:
    """Notices which images of ``table`` have changed since an extraction began, or was interrupted.

    Attributes:
        decoder: of the images.
        table: of the images.
        folder: of the extraction; their times of change are noted in it.
        began, contents: what was known of the images at the beginning, and when they were last looked at.
    """

    decoder: Decoder
    table: pd.DataFrame
    folder: Path
    began: Contents | None = None
    contents: Contents | None = None

    def drop(self, shards: Shards) -> list[str]:
        """Remove the shards that hold an image which is not what it was, and return these images.

        They are those whose content differs, and those that could not be read and now can: a disk may have been away.
        """
        dataset, purpose = self.decoder.dataset, self.decoder.purpose
        self.contents = contents = dataset.contents(self.table, purpose, fresh=False)
        if contents is None:
            return []
        self.began = self.began or contents
        suspect = np.zeros(len(self.table), dtype=np.bool_)
        if (before := self.noted()) is not None:
            suspect[contents.stamps.differing(len(self.table), before)] = True
        if suspect.any():
            dataset.store(purpose)  # lists an archive anew
        changed: list[str] = []
        existing = shards.existing()
        for rows in shards.ranges():
            if shards.path(rows).name in existing and (found := self._changed(shards, rows, suspect)):
                shards.path(rows).unlink()
                changed += found
        files.write_array(self.folder / TIMES, contents.stamps.changed)
        return changed

    def is_of(self, images_key: str) -> bool:
        """Return whether the images were those of ``images_key`` when the extraction began."""
        dataset, images = self.decoder.dataset, self.table["image"].to_numpy(object)
        if self.began is None:
            return True
        return images_key == self.began.identify(lambda rows: read_digests(dataset, images[rows], self.decoder.purpose))

    def forget(self) -> None:
        """Remove the note of the times of change: the extraction is complete."""
        (self.folder / TIMES).unlink(missing_ok=True)

    def noted(self) -> np.ndarray | None:
        """Return the times of change when the images were last looked at; None if there is no note of them."""
        try:
            return files.read_array(self.folder / TIMES, np.int64, (None,))
        except (OSError, ValueError):
            return None

    def _changed(self, shards: Shards, rows: range, suspect: np.ndarray) -> list[str]:
        """Return the images of a shard that have changed; none of one that is damaged, which is computed again."""
        record = shards.record(rows)
        if record is None:
            return []
        failed = [failure["image"] for failure in record.failures]
        changed = [name for name in failed if is_readable(self.decoder.dataset, name, self.decoder.purpose)]
        looked_at = rows.start + np.flatnonzero(suspect[rows.start : rows.stop])
        known = shards.digests(rows) if len(looked_at) else None
        if known is not None:
            names = self.table["image"].to_numpy(object)[looked_at]
            digests, before = (
                read_digests(self.decoder.dataset, names, self.decoder.purpose),
                known[looked_at - rows.start],
            )
            others = (digests != before).any(axis=1) & before.any(axis=1)
            changed += [str(name) for name in names[others]]
        return changed
