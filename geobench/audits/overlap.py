"""Overlap of two tables of images: the same photographer, id, place, or the same photo in another file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench.audits.fingerprints import OK, Fingerprints
from geobench.audits.near_pairs import near_pairs
from geobench.data.tables.photographers import FLICKR_USER, one_spelling, photographers
from geobench.geo import haversine_km, place_keys
from geobench.images.decoding import SUFFIXES
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
SAME_PLACE_KM = 1.0
"""Positions of one photo may differ by this much."""
_FLICKR_PHOTO = (
    rf"([0-9]+)_[0-9a-f]+_[0-9]+_{FLICKR_USER}",  # 1000269685_e60e9cdfb4_1125_78841376@N00: Im2GPS and Im2GPS3k
    r"[0-9a-f]{2,3}_[0-9a-f]{2,3}_([0-9]+)",  # 45/77/3228511372: MP-16 and YFCC
    r"([0-9]{6,})_[0-9a-f]{8,10}(?:_[a-z0-9]{1,2})?",  # 3228511372_0a1b2c3d4e_b: downloads from Flickr
)
"""File names of Flickr photos without suffix, with ``/`` replaced by ``_``; the group is the photo id."""


@dataclass(frozen=True)
class Matches:
    """Pairs of n test images and training images, grouped: test images of one group match the same training images.

    Attributes:
        group: (n,) group of each test image, −1 if it is in no pair.
        starts: (groups + 1,) where the rows of each group start in ``training``.
        training: rows of the training table, group by group.
        shared: (n,) what each test image has in common with its matches, as text; None for twins.
        distance: of twins in bits, for each element of ``training``; otherwise None.
    """

    group: Ints
    starts: Ints
    training: Ints
    shared: npt.NDArray[np.object_] | None = None
    distance: npt.NDArray[np.uint8] | None = None

    @cached_property
    def counts(self) -> Ints:
        """Return the number of pairs (n,) of each test image."""
        counts: Ints = np.where(self.group >= 0, np.diff(self.starts, append=0)[self.group], 0)
        return counts

    @property
    def leaking(self) -> npt.NDArray[np.bool_]:
        """Return a mask (n,) of the test images that are in a pair."""
        return self.counts > 0

    def pairs(self) -> Iterator[tuple[int, int, str]]:
        """Yield the row of the test image, that of the training image, and what they share, for each pair."""
        for row in np.flatnonzero(self.leaking):
            group = self.group[row]
            for at in range(self.starts[group], self.starts[group + 1]):
                shared = self.shared[row] if self.shared is not None else ""
                bits = f"{self.distance[at]} bits apart" if self.distance is not None else ""
                yield int(row), int(self.training[at]), shared or bits

    def pair_rows(self) -> tuple[Ints, Ints]:
        """Return the row of the test image and that of the training image of each pair, two arrays (pairs,)."""
        rows = np.flatnonzero(self.leaking)
        times = self.counts[rows]
        return np.repeat(rows, times), self.training[np.repeat(self.starts[self.group[rows]], times) + _ranges(times)]

    @property
    def training_images(self) -> Ints:
        """Return the rows of the training table that are in a pair."""
        return np.unique(self.training)


def same_photographer(ours: pd.DataFrame, theirs: pd.DataFrame) -> Matches | None:
    """Return the pairs by the same photographer; None if a table does not name photographers."""
    mine, other = photographers(ours), photographers(theirs)
    if mine is None or other is None:
        return None
    keys = [who.map({name: one_spelling(name) for name in who.unique()}) for who in (mine, other)]
    return _equal_keys(keys[0], keys[1], mine)


def same_id(ours: pd.DataFrame, theirs: pd.DataFrame) -> Matches:
    """Return the pairs with the same id: :func:`photo_ids`."""
    return _equal_keys(photo_ids(ours["image"]), photo_ids(theirs["image"]))


def same_coordinate(ours: pd.DataFrame, theirs: pd.DataFrame) -> Matches:
    """Return the pairs with the same coordinates to six decimals (11 cm)."""
    import pandas as pd

    axes = ["latitude", "longitude"]
    mine, other = (pd.Series(place_keys(table[axes].to_numpy(np.float64))) for table in (ours, theirs))
    text = ours["latitude"].astype(str) + " " + ours["longitude"].astype(str)
    return _equal_keys(mine, other, text)


def photo_ids(images: pd.Series[str]) -> pd.Series[str]:
    """Return an id for each of ``images``: the Flickr id in its name, else the name without its suffix.

    ``45/77/3228511372.jpg``, ``45_77_3228511372`` and ``3228511372_0a1b2c3d4e_1125_78841376@N00.jpg`` are one photo.
    """
    suffixes = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    names = images.str.strip().str.replace(rf"(?i)(?:{suffixes})$", "", regex=True)
    names = names.str.replace(r"[/\\]", "_", regex=True).str.lstrip("_")
    for pattern in _FLICKR_PHOTO:
        names = names.str.replace(rf"(?i)^{pattern}$", r"\1", regex=True)
    return names


def same_photos(ours: pd.DataFrame, theirs: pd.DataFrame, matches: Mapping[str, Matches]) -> npt.NDArray[np.bool_]:
    """Return a mask (n,) of the test images that are a training image: twins, and equal ids at one place.

    An id alone is none: in many sets the photos are called ``0.jpg``, ``1.jpg``, ….
    """
    found = np.zeros(len(ours), dtype=np.bool_)
    if "twin" in matches:
        found |= matches["twin"].leaking
    if "id" in matches:
        rows, others = matches["id"].pair_rows()
        axes = ["latitude", "longitude"]
        places = [table[axes].to_numpy(np.float64)[at] for table, at in ((ours, rows), (theirs, others))]
        found[rows[haversine_km(*places) <= SAME_PLACE_KM]] = True
    return found


def twins(ours: Fingerprints, theirs: Fingerprints, distance: int, what: str, progress: Progress = SILENT) -> Matches:
    """Return the pairs of images whose fingerprints differ in at most ``distance`` bits.

    Each distinct fingerprint is compared once, so that a thousand copies of a placeholder do not cost a thousand
    searches.
    """
    (mine, group), (other, other_group) = _distinct(ours), _distinct(theirs)
    with progress.track(what, len(other), "images") as advance:
        hits = list(near_pairs(mine, other, distance, advance))
    if not hits:
        return _grouped(group, np.empty(0, np.int64), np.empty(0, np.int64))
    a, b, bits = (np.concatenate(part) for part in zip(*hits, strict=True))
    order = np.lexsort((b, a))
    a, b, bits = a[order], b[order], bits[order]
    # From pairs of fingerprints to training rows: all rows that have the second fingerprint of each pair.
    order = np.argsort(other_group, kind="stable")
    begin, end = (np.searchsorted(other_group[order], b, side=side) for side in ("left", "right"))
    times = end - begin
    rows = order[np.repeat(begin, times) + _ranges(times)]
    return _grouped(group, np.repeat(a, times), rows, distance=np.repeat(bits, times))


def _equal_keys(ours: pd.Series[Any], theirs: pd.Series[Any], text: pd.Series[str] | None = None) -> Matches:
    """Return the pairs whose keys are equal and not empty; ``text`` describes the keys if they are not readable."""
    import pandas as pd

    group, keys = pd.factorize(ours.where(ours != ""))  # −1 for empty keys
    of_row = pd.Index(keys).get_indexer(pd.Index(theirs))
    shared = (ours if text is None else text).astype(str).to_numpy(object)
    return _grouped(group.astype(np.int64), of_row.astype(np.int64), np.arange(len(theirs)), shared)


def _grouped(
    group: Ints,
    of_row: Ints,
    rows: Ints,
    shared: npt.NDArray[np.object_] | None = None,
    distance: npt.NDArray[np.uint8] | None = None,
) -> Matches:
    """Return the matches in which the training ``rows`` belong to the groups ``of_row``; −1 is no group."""
    grouped = np.flatnonzero(of_row >= 0)
    order = grouped[np.argsort(of_row[grouped], kind="stable")]
    starts = np.searchsorted(of_row[order], np.arange(group.max(initial=-1) + 2))
    return Matches(group, starts, rows[order], shared, None if distance is None else distance[order])


def _distinct(found: Fingerprints) -> tuple[Fingerprints, Ints]:
    """Return the distinct fingerprints, and for each image the index of its fingerprint, −1 if it has none."""
    ok = np.flatnonzero(found[:, 2] == OK)
    order = ok[np.lexsort((found[ok, 1], found[ok, 0]))]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
    group = np.full(len(found), -1, dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    return found[order[new]], group


def _ranges(times: Ints) -> Ints:
    """Return 0 … t − 1 for each t of ``times``, concatenated."""
    ends: Ints = np.cumsum(times)
    counted: Ints = np.arange(times.sum()) - np.repeat(ends - times, times)
    return counted
