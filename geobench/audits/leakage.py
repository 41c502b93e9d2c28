"""The leakage audit: which test images a training set gives away, and the clean subset that is left."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.audits.fingerprints import BITS, DISTANCE, OK, fingerprints
from geobench.audits.overlap import Matches, same_coordinate, same_id, same_photographer, twins
from geobench.audits.subsets import Subset
from geobench.checkpoints import now
from geobench.data.tables.photographers import PHOTOGRAPHER
from geobench.errors import DatasetError, DatasetNotFoundError, SettingError, unknown_name
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset


@dataclass(frozen=True)
class Leaks:
    """What an audit found.

    Attributes:
        test, training: names of the data sets.
        images: names of the test images (n,), and of the training images.
        distance: at most so many bits of their fingerprints tell twins apart.
        matches: for each kind that could be looked for, in the order of ``KINDS``.
        remarks: a line for each kind that could not be looked for, or not in every image.
    """

    test: str
    training: str
    images: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]
    distance: int
    matches: dict[str, Matches]
    remarks: list[str]

    @cached_property
    def leaking(self) -> npt.NDArray[np.bool_]:
        """Return (n,) which test images share anything."""
        found = np.zeros(len(self.images[0]), dtype=np.bool_)
        for matches in self.matches.values():
            found |= matches.leaking
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return for each kind, and for any of them, the pairs and the images on both sides."""
        kinds = self.matches.items()
        rows = [(k, int(m.counts.sum()), int(m.leaking.sum()), len(m.training_images)) for k, m in kinds]
        trained = np.concatenate([np.empty(0, np.int64), *(m.training_images for _, m in kinds)])
        rows.append(("any", sum(row[1] for row in rows), int(self.leaking.sum()), len(np.unique(trained))))
        n = len(self.images[0])
        heads = ("kind", "pairs", "test_images", "training_images")
        return [dict(zip(heads, row, strict=True)) | {"test_share": row[2] / n} for row in rows]

    def pairs(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield kind, test image, training image and what they share, pair by pair."""
        ours, theirs = self.images
        for kind, matches in self.matches.items():
            for row, other, shared in matches.pairs():
                yield kind, ours[row], theirs[other], shared

    def write(self, path: Path) -> None:
        """Write a CSV file with a row for each pair: ``kind``, ``test_image``, ``training_image``, ``shared``."""
        with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("kind", "test_image", "training_image", "shared"))
            writer.writerows(self.pairs())

    def clean(self) -> Subset:
        """Return the test images that share nothing, as the subset ``clean``."""
        kept, left_out = (tuple(map(str, self.images[0][rows])) for rows in (~self.leaking, self.leaking))
        return Subset("clean", self.test, self.training, tuple(self.matches), self.distance, now(), kept, left_out)


def audit(
    test: str,
    against: str,
    *,
    kinds: Sequence[str] | None = None,
    distance: int = DISTANCE,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Leaks:
    """Return what the test images of ``test`` share with the training images of ``against``.

    Args:
        test: name of a data set.
        against: name of a data set.
        kinds: of ``photographer``, ``id``, ``coordinate``, ``twin``; all of them where it is None.
        distance: two images are twins where at most so many of the 128 bits of their fingerprints differ.
        workers: processes that decode images for their fingerprints; None chooses.
        progress: told of the work.

    Raises:
        UnknownNameError: no such data set or kind.
        SettingError: a distance out of range.
        DatasetNotFoundError: a table is not on this machine.
        DatasetError: one of ``kinds`` that are asked for cannot be looked for.
    """
    for kind in kinds or ():
        if kind not in KINDS:
            raise unknown_name("kind of leak", kind, KINDS)
    if not 0 <= distance < BITS // 2:
        raise SettingError(f"a distance is a number of bits from 0 to {BITS // 2 - 1}, not {distance}.")
    ours, theirs = _Side(get_dataset(test), "test"), _Side(get_dataset(against), "train")
    how = _How(distance, workers, progress)
    matches, remarks = {}, []
    for kind in [kind for kind in KINDS if kind in (kinds or KINDS)]:
        found, remark = KINDS[kind](ours, theirs, how)
        if found is None and kinds:
            raise DatasetError(f"{kind}: {remark}")
        if found is not None:
            matches[kind] = found
        if remark:
            remarks.append(f"{kind}: {remark}")
    images = tuple(side.table["image"].to_numpy(object) for side in (ours, theirs))
    return Leaks(test, against, (images[0], images[1]), distance, matches, remarks)


class _Side:
    """A data set with its table for one purpose."""

    def __init__(self, dataset: Dataset, purpose: str) -> None:
        self.dataset, self.purpose = dataset, purpose
        self.table: pd.DataFrame = dataset.positions(purpose)  # images are needed for twins alone


@dataclass(frozen=True)
class _How:
    distance: int
    workers: int | None
    progress: Progress


def _photographer(ours: _Side, theirs: _Side, how: _How) -> tuple[Matches | None, str]:
    found = same_photographer(ours.table, theirs.table)
    columns = f"a column {', '.join(PHOTOGRAPHER[:-1])} or {PHOTOGRAPHER[-1]}, or Flickr's file names"
    return (
        found,
        "" if found is not None else f"not looked for, one of the sets does not say who took what ({columns}).",
    )


def _twin(ours: _Side, theirs: _Side, how: _How) -> tuple[Matches | None, str]:
    found, unseen = [], []
    for side in (ours, theirs):
        try:
            if side.dataset.stored:
                side.dataset.store(side.purpose)
        except DatasetNotFoundError as error:
            return None, f"not looked for. {error}"
        made = fingerprints(side.dataset, side.table, side.purpose, workers=how.workers, progress=how.progress)
        found.append(made)
        missing = int((made[:, 2] != OK).sum())
        if missing:
            unseen.append(f"{missing:,} {side.purpose} images of {side.dataset.name}")
    what = f"twins of {ours.dataset.name} in {theirs.dataset.name}"
    remark = f"not looked for in {' and '.join(unseen)}, which cannot be read or show nothing." if unseen else ""
    return twins(found[0], found[1], how.distance, what, how.progress), remark


KINDS: dict[str, Callable[[_Side, _Side, _How], tuple[Matches | None, str]]] = {
    "photographer": _photographer,
    "id": lambda ours, theirs, how: (same_id(ours.table, theirs.table), ""),
    "coordinate": lambda ours, theirs, how: (same_coordinate(ours.table, theirs.table), ""),
    "twin": _twin,
}
"""What counts as a leak."""
