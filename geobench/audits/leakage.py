"""The leakage audit: which test images also leak into a training set, and the clean subset that remains."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.audits.fingerprints import BITS, DISTANCE, OK, UNREADABLE, fingerprints
from geobench.audits.overlap import Matches, same_coordinate, same_id, same_photographer, same_photos, twins
from geobench.audits.subsets import Content, Subset
from geobench.data.tables.photographers import PHOTOGRAPHER
from geobench.errors import DatasetError, DatasetNotFoundError, SettingError, unknown_name
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress
from geobench.provenance import now

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset


@dataclass(frozen=True)
class Leaks:
    """The leaks that an audit found.

    Attributes:
        test, training: names of the data sets.
        images: names of the test images (n,) and of the training images.
        contents: what was read of the test set and of the training set.
        distance: twins differ in at most this many bits of their fingerprints.
        matches: for each kind of leak that could be checked, in the order of ``KINDS``.
        same: (n,) which test images are the same photo as a training image: :func:`same_photos`.
        remarks: a line for each kind that could not be checked, or not for every image.
        unreadable: (n,) which test images were to be read for twins and could not be, so that nothing tells whether
            they are; all False if none were to be read.
        unable: the kinds that could not be checked.
    """

    test: str
    training: str
    images: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]
    contents: tuple[Content, Content]
    distance: int
    matches: dict[str, Matches]
    same: npt.NDArray[np.bool_]
    remarks: list[str]
    unreadable: npt.NDArray[np.bool_]
    unable: tuple[str, ...] = ()

    @cached_property
    def leaking(self) -> npt.NDArray[np.bool_]:
        """Return a mask (n,) of the test images that share anything."""
        found = np.zeros(len(self.images[0]), dtype=np.bool_)
        for matches in self.matches.values():
            found |= matches.leaking
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return the number of pairs and of images on both sides, for each kind and for any kind."""
        kinds = self.matches.items()
        rows = [(k, int(m.counts.sum()), int(m.leaking.sum()), len(m.training_images)) for k, m in kinds]
        trained = np.concatenate([np.empty(0, np.int64), *(m.training_images for _, m in kinds)])
        rows.append(("any", sum(row[1] for row in rows), int(self.leaking.sum()), len(np.unique(trained))))
        n = len(self.images[0])
        heads = ("kind", "pairs", "test_images", "training_images")
        return [dict(zip(heads, row, strict=True)) | {"test_share": row[2] / n} for row in rows]

    def pairs(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield kind, test image, training image and what they share, for each pair."""
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
        """Return the test images that share nothing, as the subset ``clean``; unreadable ones may share anything."""
        excluded = self.leaking | self.unreadable
        kept, left_out, same = (self._names(rows) for rows in (~excluded, excluded, self.same))
        unreadable = self._names(self.unreadable & ~self.leaking)
        kinds = tuple(self.matches)
        found = {kind: self._names(matches.leaking) for kind, matches in self.matches.items()}
        what = ("clean", self.test, self.training, kinds, self.distance, now(), kept, left_out)
        return Subset(*what, *self.contents, found, same, self.unable, unreadable)

    def _names(self, rows: npt.NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(map(str, self.images[0][rows]))


def audit(
    test: str,
    against: str,
    *,
    kinds: Sequence[str] | None = None,
    distance: int = DISTANCE,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Leaks:
    """Find what the test images of ``test`` share with the training images of ``against``.

    Args:
        test: name of a data set.
        against: name of a data set.
        kinds: any of ``photographer``, ``id``, ``coordinate``, ``twin``; None checks all that can be checked.
        distance: two images are twins if at most this many of the 128 bits of their fingerprints differ.
        workers: processes that decode images for their fingerprints; None chooses automatically.
        progress: reports progress.

    Raises:
        UnknownNameError: no such data set or kind.
        SettingError: a distance out of range.
        DatasetNotFoundError: a table is not on this machine.
        DatasetError: one of the requested ``kinds`` cannot be checked.
    """
    for kind in kinds or ():
        if kind not in KINDS:
            raise unknown_name("kind of leak", kind, KINDS)
    if not 0 <= distance < BITS // 2:
        raise SettingError(f"distance must be a number of bits from 0 to {BITS // 2 - 1}, not {distance}.")
    ours, theirs = _Side(get_dataset(test), "test"), _Side(get_dataset(against), "train")
    options = _TwinOptions(distance, workers, progress)
    matches, remarks = {}, []
    for kind in [kind for kind in KINDS if kind in (kinds or KINDS)]:
        found, remark = KINDS[kind](ours, theirs, options)
        if found is None and kinds:
            raise DatasetError(f"{kind}: {remark}")
        if found is not None:
            matches[kind] = found
        if remark:
            remarks.append(f"{kind}: {remark}")
    images = ours.table["image"].to_numpy(object), theirs.table["image"].to_numpy(object)
    contents = ours.content(matches), theirs.content(matches)
    same = same_photos(ours.table, theirs.table, matches)
    unable = tuple(kind for kind in KINDS if kind not in matches) if not kinds else ()
    return Leaks(test, against, images, contents, distance, matches, same, remarks, ours.unreadable, unable)


class _Side:
    """A data set and its table for one purpose."""

    def __init__(self, dataset: Dataset, purpose: str) -> None:
        self.dataset, self.purpose = dataset, purpose
        self.table: pd.DataFrame = dataset.positions(purpose)  # images are needed only for twins
        self.unreadable: npt.NDArray[np.bool_] = np.zeros(len(self.table), dtype=np.bool_)

    def content(self, kinds: Iterable[str]) -> Content:
        """Return what an audit of ``kinds`` reads."""
        return Content.of(self.dataset, self.purpose, self.table, tuple(kinds))


@dataclass(frozen=True)
class _TwinOptions:
    distance: int
    workers: int | None
    progress: Progress


def _photographer(ours: _Side, theirs: _Side, options: _TwinOptions) -> tuple[Matches | None, str]:
    found = same_photographer(ours.table, theirs.table)
    columns = f"a column {', '.join(PHOTOGRAPHER[:-1])} or {PHOTOGRAPHER[-1]}, or Flickr's file names"
    return found, "" if found is not None else f"not checked, a data set does not name photographers ({columns})."


def _twin(ours: _Side, theirs: _Side, options: _TwinOptions) -> tuple[Matches | None, str]:
    computed, unusable = [], []
    for side in (ours, theirs):
        try:
            if side.dataset.stored:
                side.dataset.store(side.purpose)
        except DatasetNotFoundError as error:
            return None, f"not checked. {error}"
        prints = fingerprints(
            side.dataset, side.table, side.purpose, workers=options.workers, progress=options.progress
        )
        computed.append(prints)
        side.unreadable = np.asarray(prints[:, 2] == UNREADABLE)
        missing = int((prints[:, 2] != OK).sum())
        if missing:
            unusable.append(f"{missing:,} {side.purpose} images of {side.dataset.name}")
    what = f"twins of {ours.dataset.name} in {theirs.dataset.name}"
    remark = f"not checked for {' and '.join(unusable)}: unreadable or without detail." if unusable else ""
    return twins(computed[0], computed[1], options.distance, what, options.progress), remark


KINDS: dict[str, Callable[[_Side, _Side, _TwinOptions], tuple[Matches | None, str]]] = {
    "photographer": _photographer,
    "id": lambda ours, theirs, options: (same_id(ours.table, theirs.table), ""),
    "coordinate": lambda ours, theirs, options: (same_coordinate(ours.table, theirs.table), ""),
    "twin": _twin,
}
"""The kinds of leaks."""
