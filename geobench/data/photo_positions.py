"""The table of positions that ``geobench datasets add --exif`` reads from photos and the files beside them.

Sources in their order, of which the first that has a usable position counts: EXIF, XMP in the photo, an XMP file beside
it, the JSON of Google Takeout. Every photo that has none is counted and listed, with the reason.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geobench.data.sidecars import Sidecars
from geobench.data.stores.catalogue import StoredImage
from geobench.data.stores.names import OTHER_PHOTOS, Kind, suffix_of
from geobench.data.stores.store import Store
from geobench.errors import DatasetError, ImageError
from geobench.geo import haversine_km
from geobench.images.decoding import SUFFIXES
from geobench.images.exif import Recorded, photo_positions
from geobench.images.formats import HEIC_REMEDY
from geobench.images.gps import Position
from geobench.progress import SILENT, Progress

SAME_PLACE_KM = 1.0
"""Positions of one photo may differ by this much."""
NONE = "none is recorded"
NOTES = "notes.csv"
"""Every file that is not part of a set of photos, and why."""


@dataclass(frozen=True)
class PhotoPositions:
    """Where the positions of a set's photos come from, and what is not part of the set.

    Attributes:
        found: number of positions by source.
        without: the reason for each photo without a position.
        apart: what to say of each photo whose sources disagree by more than :data:`SAME_PLACE_KM`.
        unread: photos in formats that are not read.
        by_content: images that only their content shows to be images.
        left_out: what each of the other files is, such as its suffix.
    """

    found: Counter[str] = field(default_factory=Counter)
    without: dict[str, str] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    by_content: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def by_reason(self) -> Mapping[str, list[str]]:
        """Return the photos without a position by reason, the most frequent first."""
        names: dict[str, list[str]] = {}
        for name, reason in self.without.items():
            names.setdefault(reason, []).append(name)
        return dict(sorted(names.items(), key=lambda item: -len(item[1])))

    def write_notes(self, path: Path) -> None:
        """Write a CSV file of every file that is not in the table, and why, and of photos whose sources disagree."""
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, quoting=csv.QUOTE_ALL)
            rows.writerow(("file", "note"))
            rows.writerows((name, f"no position: {reason}") for name, reason in self.without.items())
            rows.writerows((name, f"two positions: {what}") for name, what in self.apart.items())
            rows.writerows((name, f"not read: {Kind.UNREAD.value}") for name in self.unread)
            rows.writerows((name, f"left out: {what}") for name, what in self.left_out.items())


def write_positions(store: Store, folder: Path, progress: Progress = SILENT) -> PhotoPositions:
    """Write the positions of the photos in ``store`` to ``folder``.

    There will be ``metadata.csv`` with image, latitude and longitude, whose names are exact (``exact = true`` of a
    split), and :data:`NOTES` on everything that is not in it.

    Raises:
        DatasetError: no photo has a position; says what was found.
        StorageError: a photo cannot be read just now.
    """
    photos = PhotoPositions()
    with (
        (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file,
        progress.track(f"positions in {store.path.name}", 0, "images") as advance,
    ):
        rows = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)  # or blanks at the beginning of a name would be lost
        rows.writerow(["image", "latitude", "longitude"])
        sidecars = Sidecars(store)
        for image in store.catalogue.images():
            kind = store.kind_of(image)
            if kind is Kind.IMAGE:
                position = _position(store, sidecars, image, photos)
                if position is not None:
                    rows.writerow([image.name, *position])
                advance(1)
            elif kind is Kind.UNREAD:
                photos.unread.append(image.name)
            elif kind is not Kind.SIDECAR:
                photos.left_out[image.name] = "hidden" if kind is Kind.HIDDEN else suffix_of(image.name) or "no suffix"
    photos.left_out.update((name, f"{suffix_of(name)} of no photo") for name in sidecars.unused())
    _refuse_if_none(photos, store)
    photos.write_notes(folder / NOTES)
    return photos


def _refuse_if_none(photos: PhotoPositions, store: Store) -> None:
    """Raise ``DatasetError`` if no photo has a position; says what was found instead."""
    if photos.found:
        return
    unread = f"{len(photos.unread):,} in a format that is not read (of HEIC: {HEIC_REMEDY})"
    if not photos.without:
        more = f"; it contains {unread}" if photos.unread else ""
        raise DatasetError(
            f"{store.path} contains no readable photos{more}; are they elsewhere, or HEIC instead of JPEG?"
        )
    reasons = "; ".join(f"{len(names):,} × {reason}" for reason, names in list(photos.by_reason().items())[:3])
    more = f", and there are {unread}" if photos.unread else ""
    raise DatasetError(
        f"none of the {len(photos.without)} photos in {store.path} has a position, in itself or in a file beside it "
        f"({reasons}){more}; give a CSV file of positions as metadata."
    )


def _position(store: Store, sidecars: Sidecars, image: StoredImage, result: PhotoPositions) -> Position | None:
    """Return the position of an image; note in ``result`` where it comes from, or why there is none."""
    try:
        told = _told(store, sidecars, image)
    except DatasetError as error:
        result.without[image.name] = str(error)
        return None
    usable = [(found.source, found.position) for found in told if found.position is not None]
    if not usable:
        reasons = [f"{found.source}: {found.reason}" if found.source else found.reason for found in told]
        result.without[image.name] = next(iter(reasons), NONE)
        return None
    source, position = usable[0]
    result.found[source] += 1
    if suffix_of(image.name) not in (*SUFFIXES, *OTHER_PHOTOS) and not store.has_fields:
        result.by_content.append(image.name)
    distances = [float(haversine_km([position], [other])[0]) for _, other in usable if other != position]
    if max(distances, default=0) > SAME_PLACE_KM:
        names = " and ".join(dict.fromkeys(name for name, _ in usable))
        result.apart[image.name] = f"{names}, {max(distances):,.0f} km"
    return position


def _told(store: Store, sidecars: Sidecars, image: StoredImage) -> list[Recorded]:
    """Return all that is told of the position of an image, in the order of the sources.

    Raises:
        DatasetError: no row of a table can mean this image.
    """
    try:
        is_named = store.find(image.name) == image
    except DatasetError:
        is_named = False
    if not is_named:
        raise DatasetError("its name is that of another file too")
    try:
        inside = photo_positions(store.content(image))
    except ImageError as error:
        inside = [Recorded("", None, str(error).removeprefix(f"{image.name}: "))]
    return [*inside, *sidecars.positions(image)]
