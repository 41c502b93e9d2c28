"""Checking a data set: do all listed images exist, can they be read, and are their positions plausible?"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.audits.inspection import (
    AMBIGUOUS,
    DAMAGED,
    MISSING,
    OK,
    UNKNOWN,
    UNREADABLE,
    ImageStatuses,
    inspect_images,
)
from geobench.audits.overlap import photo_ids
from geobench.audits.pool import BLOCK
from geobench.audits.positions import Finding, check_positions
from geobench.data.photo_positions import NOTES, SAME_PLACE_KM
from geobench.data.tables.coordinates import SWAPPED
from geobench.errors import DatasetError
from geobench.geo import FloatArray, haversine_km
from geobench.metrics import thresholds_of
from geobench.plugins import get_dataset, get_metrics
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.data.tables.rows import Rows

NAMES = 10  # listed of a group of duplicates
LISTED = 10_000  # of the images that have another name than the table gives them: of a large set, all have one


@dataclass(frozen=True)
class Check:
    """The result of checking a data set.

    Attributes:
        expected: number of images that its authors state, None if they do not.
        listed: rows of its table.
        found: valid rows whose image exists.
        readable: images found that can be decoded, None if they were not opened.
        scored: images that a run counts, the denominator of its scores; 0 if a run refuses the table.
        coordinates: (n, 2) of the valid rows.
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
        """Return whether there are no errors; notes do not matter."""
        return not any(finding.is_error for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """Return everything except the coordinates, as JSON values."""
        values = {name: value for name, value in vars(self).items() if name not in ("coordinates", "findings")}
        return values | {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def write(self, path: Path) -> None:
        """Write a CSV file with a row for each image or line concerned: ``kind``, ``is_error``, ``what``."""
        with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("kind", "is_error", "what"))
            for finding in self.findings:
                writer.writerows((finding.kind, finding.is_error, item) for item in finding.items or [finding.text])


def check(
    name: str,
    purpose: str = "test",
    *,
    quick: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Check:
    """Check the data set ``name``.

    Args:
        name: of a data set.
        purpose: ``train`` or ``test``: which images to check.
        quick: check only which images exist, without opening any.
        workers: processes that decode; None chooses automatically.
        progress: reports progress.

    Raises:
        DatasetNotFoundError: it is not on this machine.
        DatasetError: the table cannot be read at all, or the archive of the images is damaged.
    """
    dataset = get_dataset(name)
    split, rows = dataset.split_for(purpose), dataset.rows(purpose)
    n = len(rows.table) + len(rows.problems)
    expected = dataset.count if purpose == "test" or split == "all" else None
    findings = [
        *check_positions(rows, _distances_km(dataset)),
        *_invalid_rows(rows),
        *_count_mismatch(expected, n),
    ]
    findings += [Finding("columns", False, note) for note in rows.notes]
    findings += [*_unusable_metrics(dataset), *_left_out(dataset)]
    coordinates = rows.table[["latitude", "longitude"]].to_numpy(np.float64)
    if dataset.has_photos(split):
        statuses = inspect_images(dataset, purpose, rows.table["image"], quick, workers, progress)
        findings += _image_problems(rows.table, statuses, dataset, purpose)
        findings += _renamed(rows.table["image"], statuses, dataset, purpose)
    else:
        statuses = ImageStatuses.of_none(len(rows.table))
        findings.append(Finding("no photos", False, "a table of positions: predictions of others are scored on it"))
    findings += _duplicates(rows.table["image"].to_numpy(object), coordinates, statuses)
    return Check(
        dataset=name,
        split=split,
        expected=expected,
        listed=n,
        found=int(statuses.found.sum()),
        readable=None if quick or not dataset.has_photos(split) else int(np.isin(statuses.codes, (OK, DAMAGED)).sum()),
        scored=0 if rows.problems or (rows.unit is not None and rows.unit.is_certain) else n,
        findings=sorted(findings, key=lambda finding: not finding.is_error),
        coordinates=coordinates,
    )


_INVALID = {
    "coordinates": "rows have no valid coordinates",
    "repeated": "rows repeat an image that is already listed",
    "image": "rows have no image name",
    "fields": "rows have more or fewer fields than the table has columns",
}


def _invalid_rows(rows: Rows) -> Iterator[Finding]:
    """Yield findings on invalid rows, for which a run refuses the table."""
    for kind, text in _INVALID.items():
        items = [f"line {p.line}: {p.reason}" for p in rows.problems if p.kind == kind]
        if items:
            advice = f"; {rows.advice}" if kind == "coordinates" and rows.advice not in ("", SWAPPED) else ""
            yield Finding(kind, True, f"{len(items):,} {text}{advice}; a run refuses the table", items)


def _distances_km(dataset: Dataset) -> list[float]:
    """Return the distances of the accuracies in the tables of ``dataset``; none if its definition cannot be used."""
    try:
        return thresholds_of(get_metrics(dataset))
    except DatasetError:
        return []


def _unusable_metrics(dataset: Dataset) -> Iterator[Finding]:
    try:
        get_metrics(dataset)
    except DatasetError as error:
        yield Finding("metrics", True, f"{error} A run refuses the data set.")


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    """Yield a note on what is not part of a user's set since it was added: bad rows, photos without a position."""
    path = dataset.folder / NOTES
    if dataset.status != "own" or not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        notes = [f"{what}: {note}" for what, note in list(csv.reader(file))[1:] if not note.startswith("two positions")]
    if notes:
        yield Finding("left out", False, f"{len(notes):,} rows or files were left out when the set was added", notes)


def _count_mismatch(expected: int | None, listed: int) -> Iterator[Finding]:
    if expected is not None and listed != expected:
        text = f"{listed:,} images are listed but its authors state {expected:,}: not comparable with published rows"
        yield Finding("count", True, text)


def _image_problems(table: pd.DataFrame, statuses: ImageStatuses, dataset: Dataset, purpose: str) -> Iterator[Finding]:
    """Yield findings on images that are missing, cannot be read or are ambiguous, and on files that are not listed."""
    images = table["image"].to_numpy(object)
    missing = [str(image) for image in images[statuses.codes == MISSING]]
    if missing:
        yield Finding("missing", True, f"{len(missing):,} images are listed but missing; they count as misses", missing)
    for kind, code, text in (
        ("unreadable", UNREADABLE, "images cannot be read; they count as misses"),
        ("damaged", DAMAGED, "images can be decoded, but a checksum in them is wrong: runs read what is left of them"),
        ("not read", UNKNOWN, "images cannot be read just now; that says nothing about them, and stops a run"),
        ("ambiguous", AMBIGUOUS, "image names match more than one file"),
    ):
        items = [statuses.reasons[int(index)] for index in np.flatnonzero(statuses.codes == code)]
        if items:
            yield Finding(kind, True, f"{len(items):,} {text}", items)
    unlisted, unread = _unlisted(statuses.file_names, dataset, purpose) if dataset.stored else ([], 0)
    if unlisted:
        more = f" ({unread:,} in an unsupported format such as HEIC)" if unread else ""
        text = f"{len(unlisted):,} images exist but are not listed{more}; runs ignore them"
        yield Finding("unlisted", False, text, unlisted)


def _renamed(images: pd.Series[str], statuses: ImageStatuses, dataset: Dataset, purpose: str) -> Iterator[Finding]:
    """Yield findings on images whose files the table calls differently: each may be another one, or one may be two."""
    names = images.to_numpy(object)
    rows = np.flatnonzero(statuses.found)
    groups = _groups(rows, np.unique(statuses.file_names[rows], return_inverse=True)[1])
    if groups:
        text = f"{len(groups):,} files are listed under more than one name: at most one of the positions is theirs"
        yield Finding("same file", True, text, [_listed(names[group]) for group in groups])
    renamed = np.flatnonzero(statuses.renamed & statuses.found)
    if len(renamed):
        store = dataset.store(purpose, fresh=False)
        pairs = [(names[row], store.find(names[row])) for row in renamed[:LISTED].tolist()]
        items = [f"{name} = {stored.name}" for name, stored in pairs if stored is not None]
        text = f"{len(renamed):,} images are found under another name than the table gives them, such as {items[0]}"
        yield Finding("renamed", False, text, items)


def _unlisted(listed: npt.NDArray[np.int64], dataset: Dataset, purpose: str) -> tuple[list[str], int]:
    """Return the images of the store whose name's hash is not among ``listed``, and how many of them are not read."""
    known = np.unique(listed)
    unlisted: list[str] = []
    store = dataset.store(purpose, fresh=False)
    read = 0
    for names in (store.names(), store.unread()):
        read = len(unlisted)
        while block := list(islice(names, BLOCK)):
            unknown = ~np.isin(np.array([hash(name) for name in block]), known)
            unlisted += [name for name, new in zip(block, unknown, strict=True) if new]
    return unlisted, len(unlisted) - read


def _duplicates(images: npt.NDArray[np.object_], coordinates: FloatArray, statuses: ImageStatuses) -> Iterator[Finding]:
    """Yield findings on photos that are listed more than once: under the same id, or as identical files."""
    import pandas as pd

    ids = pd.factorize(photo_ids(pd.Series(images, dtype=str)))[0]
    read = np.flatnonzero(statuses.digests.any(axis=1))
    read = read[np.sort(np.unique(statuses.file_names[read], return_index=True)[1])]  # each file once
    bytes_ = np.unique(statuses.digests[read], axis=0, return_inverse=True)[1].ravel()
    for kind, rows, keys, text in (
        ("same id", np.arange(len(images)), ids, "photos are listed under more than one name"),
        ("same bytes", read, bytes_, "images occur in more than one file with the same bytes"),
    ):
        groups = _groups(rows, keys)
        is_distant = [_spread_km(coordinates[group]) > SAME_PLACE_KM for group in groups]
        apart = [group for group, far in zip(groups, is_distant, strict=True) if far]
        together = [group for group, far in zip(groups, is_distant, strict=True) if not far]
        if apart:
            more = f"{len(apart):,} {text} and lie more than {SAME_PLACE_KM:g} km apart: at least one position is wrong"
            yield Finding(f"{kind}, apart", True, more, [_listed(images[group]) for group in apart])
        if together:
            yield Finding(kind, False, f"{len(together):,} {text}", [_listed(images[group]) for group in together])


def _groups(rows: npt.NDArray[np.intp], keys: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Return the groups of at least two ``rows`` whose keys are equal."""
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
