"""Checking a data set: is everything there that is listed, can it be read, and can its positions be true?"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.audits.overlap import photo_ids
from geobench.audits.pool import BLOCK
from geobench.audits.positions import Finding, suspicious_coordinates
from geobench.audits.readability import MISSING, OK, UNCLEAR, UNREADABLE, Seen, look_at_all
from geobench.data.stores.names import is_unread_name
from geobench.data.tables.rows import SWAPPED
from geobench.geo import FloatArray, haversine_km
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.data.tables.rows import Rows

SAME_PLACE_KM = 1.0  # two positions of one photo may differ by so much
NAMES = 10  # of a group of duplicates are listed


@dataclass(frozen=True)
class Check:
    """What is there of a data set.

    Attributes:
        expected: images that its authors state; None where they state none.
        listed: rows of its table.
        found: usable rows whose image is there.
        readable: of these; None where images were not opened.
        scored: images that a run counts, the denominator of its scores; 0 where it refuses the table.
        coordinates: (n, 2) of the usable rows.
    """

    dataset: str
    split: str
    expected: int | None
    listed: int
    found: int
    readable: int | None
    scored: int
    findings: list[Finding]
    coordinates: FloatArray = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong; what is only worth knowing counts for nothing."""
        return not any(finding.wrong for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """Return everything but the coordinates."""
        values = {name: value for name, value in vars(self).items() if name not in ("coordinates", "findings")}
        return values | {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def write(self, path: Path) -> None:
        """Write a CSV file with a row for each image or line that was found: ``kind``, ``wrong``, ``what``."""
        with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("kind", "wrong", "what"))
            for finding in self.findings:
                writer.writerows((finding.kind, finding.wrong, item) for item in finding.items or [finding.text])


def check(
    name: str,
    purpose: str = "test",
    *,
    quick: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Check:
    """Return what is there of the data set ``name``, and what is wrong with it.

    Args:
        name: of a data set.
        purpose: ``train`` or ``test``: which of its images.
        quick: only look which images are there; none is opened.
        workers: processes that decode; None chooses.
        progress: told of the work.

    Raises:
        DatasetNotFoundError: it is not on this machine.
        DatasetError: the table is none at all, or what holds the images is damaged.
    """
    dataset = get_dataset(name)
    split, rows = dataset.split_for(purpose), dataset.rows(purpose)
    n = len(rows.table) + len(rows.problems)
    expected = dataset.count if purpose == "test" or split == "all" else None
    findings = [*suspicious_coordinates(rows), *_unusable(rows), *_another_count(expected, n)]
    seen = look_at_all(dataset, purpose, rows.table["image"], quick, workers, progress)
    coordinates = rows.table[["latitude", "longitude"]].to_numpy(np.float64)
    findings += _images(rows.table, seen, dataset, purpose)
    findings += _duplicates(rows.table["image"].to_numpy(object), coordinates, seen)
    found = (seen.status == OK) | (seen.status == UNREADABLE)
    return Check(
        dataset=name,
        split=split,
        expected=expected,
        listed=n,
        found=int(found.sum()),
        readable=None if quick else int((seen.status == OK).sum()),
        scored=0 if rows.problems else n,
        findings=sorted(findings, key=lambda finding: not finding.wrong),
        coordinates=coordinates,
    )


_UNUSABLE = {
    "coordinates": "rows have no coordinates that can be used",
    "repeated": "rows name an image that is listed already",
    "image": "rows do not name an image",
    "fields": "rows have more or fewer fields than the table has columns",
}


def _unusable(rows: Rows) -> Iterator[Finding]:
    """Yield the rows for which a run refuses the table."""
    for kind, text in _UNUSABLE.items():
        items = [f"line {p.line}: {p.reason}" for p in rows.problems if p.kind == kind]
        if items:
            advice = f"; {rows.advice}" if kind == "coordinates" and rows.advice not in ("", SWAPPED) else ""
            yield Finding(kind, True, f"{len(items):,} {text}{advice}; a run refuses the table", items)


def _another_count(expected: int | None, listed: int) -> Iterator[Finding]:
    if expected is not None and listed != expected:
        text = f"{listed:,} images are listed, its authors state {expected:,}: not comparable with published rows"
        yield Finding("count", True, text)


def _images(table: pd.DataFrame, seen: Seen, dataset: Dataset, purpose: str) -> Iterator[Finding]:
    """Yield the images that are missing, unreadable or not to be told apart, and the files that are not listed."""
    images = table["image"].to_numpy(object)
    missing = [str(image) for image in images[seen.status == MISSING]]
    if missing:
        yield Finding(
            "missing", True, f"{len(missing):,} images are listed and not there; they count as misses", missing
        )
    for kind, status, text in (
        ("unreadable", UNREADABLE, "images cannot be read; they count as misses"),
        ("unclear", UNCLEAR, "images may be one of two files"),
    ):
        items = [seen.reasons[int(row)] for row in np.flatnonzero(seen.status == status)]
        if items:
            yield Finding(kind, True, f"{len(items):,} {text}", items)
    unlisted = _unlisted(seen.names, dataset, purpose) if dataset.stored else []
    if unlisted:
        unread = sum(map(is_unread_name, unlisted))
        more = f" ({unread:,} in a format that is not read, such as HEIC)" if unread else ""
        text = f"{len(unlisted):,} images are there and not listed{more}; no run sees them"
        yield Finding("unlisted", False, text, unlisted)


def _unlisted(listed: npt.NDArray[np.int64], dataset: Dataset, purpose: str) -> list[str]:
    """Return the images of the store whose hash is not among those of the files that rows mean."""
    known = np.unique(listed)
    found: list[str] = []
    store = dataset.store(purpose, fresh=False)
    names = chain(store.names(), store.unread())
    while block := list(islice(names, BLOCK)):
        unknown = ~np.isin(np.array([hash(name) for name in block]), known)
        found += [name for name, new in zip(block, unknown, strict=True) if new]
    return found


def _duplicates(images: npt.NDArray[np.object_], coordinates: FloatArray, seen: Seen) -> Iterator[Finding]:
    """Yield the photos that are listed more than once: under one id, or as files of the same bytes."""
    import pandas as pd

    ids = pd.factorize(photo_ids(pd.Series(images, dtype=str)))[0]
    read = np.flatnonzero(seen.digest.any(axis=1))
    bytes_ = np.unique(seen.digest[read], axis=0, return_inverse=True)[1].ravel()
    for kind, rows, keys, text in (
        ("same id", np.arange(len(images)), ids, "photos are listed under more than one name"),
        ("same bytes", read, bytes_, "images are in more than one file of the same bytes"),
    ):
        groups = _groups(rows, keys)
        is_apart = [_spread_km(coordinates[group]) > SAME_PLACE_KM for group in groups]
        apart = [group for group, far in zip(groups, is_apart, strict=True) if far]
        together = [group for group, far in zip(groups, is_apart, strict=True) if not far]
        if apart:
            more = f"{len(apart):,} {text}, and more than {SAME_PLACE_KM:g} km apart: one of the positions is wrong"
            yield Finding(f"{kind}, apart", True, more, [_listed(images[group]) for group in apart])
        if together:
            yield Finding(kind, False, f"{len(together):,} {text}", [_listed(images[group]) for group in together])


def _groups(rows: npt.NDArray[np.intp], keys: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Return the groups of two and more of ``rows`` whose keys are equal."""
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    edges = np.concatenate([[0], cuts, [len(order)]])
    several = np.flatnonzero(np.diff(edges) > 1)
    return [rows[order[edges[group] : edges[group + 1]]] for group in several]


def _spread_km(coordinates: FloatArray) -> float:
    return float(haversine_km(np.broadcast_to(coordinates[0], coordinates.shape), coordinates).max())


def _listed(images: npt.NDArray[np.object_]) -> str:
    more = f" and {len(images) - NAMES:,} more" if len(images) > NAMES else ""
    return " = ".join(map(str, images[:NAMES])) + more
