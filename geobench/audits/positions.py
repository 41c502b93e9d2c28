"""Valid coordinates that are probably wrong: swapped, at (0, 0), or the same for many images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.land import is_open_sea
from geobench.data.tables.coordinates import SWAPPED
from geobench.data.tables.rows import Rows
from geobench.geo import FloatArray, place_keys

if TYPE_CHECKING:
    import pandas as pd

MANY = 10
"""Places with at least this many images are reported. Im2GPS3k has 12 of them; the largest has 43 images."""
SIGMAS, RATIO, TOTAL_RATIO = 3.0, 4, 2
"""The header is reported as swapped if the images that are at sea only as read outnumber those that are at sea only
when swapped by ``SIGMAS`` standard deviations of chance and by the factor ``RATIO``, and if ``TOTAL_RATIO`` times as
many are at sea in total: photos taken on ships are at sea either way."""


@dataclass(frozen=True)
class Finding:
    """Something that users of a data set should know.

    Attributes:
        kind: such as ``missing``.
        is_error: whether it changes scores or makes them meaningless; otherwise it is a note.
        text: one line.
        items: the images or lines concerned.
    """

    kind: str
    is_error: bool
    text: str
    items: list[str] = field(default_factory=list)


def check_positions(rows: Rows) -> Iterator[Finding]:
    """Yield findings about the valid coordinates of ``rows``, whose index holds line numbers."""
    table = rows.table
    coordinates = table[["latitude", "longitude"]].to_numpy(np.float64)
    evidence = swap_evidence(coordinates) or (SWAPPED if SWAPPED in rows.advice else "")
    if evidence:
        yield Finding("swapped", True, evidence)
    if rows.unit is not None:
        text = rows.unit.text + ("; a run refuses the table" if rows.unit.is_certain else "")
        yield Finding("unit", "radians" in text, text)
    zero = (np.abs(coordinates) < 1e-6).all(axis=1)
    if zero.any():
        yield Finding(
            "zero",
            True,
            f"{zero.sum():,} images are at (0, 0), which usually means that the position is unknown",
            _items(table, zero),
        )
    yield from _crowded_places(table, coordinates)


def swap_evidence(coordinates: FloatArray) -> str:
    """Return why latitude and longitude of ``coordinates`` (n, 2) look swapped, '' if they do not.

    They do if far more images are on the open sea, at least 25 km from any land, than with the columns swapped. A
    longitude beyond ±90 cannot be a latitude.
    """
    as_read = is_open_sea(coordinates)
    swapped = np.abs(coordinates[:, 1]) > 90
    swapped[~swapped] = is_open_sea(coordinates[~swapped][:, ::-1])
    worse, better = int((as_read & ~swapped).sum()), int((swapped & ~as_read).sum())
    by_chance = worse - better < SIGMAS * np.sqrt(worse + better)
    if not worse or by_chance or worse < RATIO * better or as_read.sum() < TOTAL_RATIO * swapped.sum():
        return ""
    return (
        f"{SWAPPED}. {as_read.sum():,} of {len(coordinates):,} images are on the open sea; with the columns swapped, "
        f"{swapped.sum():,} would be there or beyond latitude ±90"
    )


def _crowded_places(table: pd.DataFrame, coordinates: FloatArray) -> Iterator[Finding]:
    """Yield a finding on places that many images share."""
    _, first, counts = np.unique(place_keys(coordinates), return_index=True, return_counts=True)
    many = np.flatnonzero(counts >= MANY)
    if len(many):
        ordered = many[np.argsort(-counts[many], kind="stable")]
        text = f"{counts[many].sum():,} images are at {len(many):,} places shared by {MANY} or more images"
        items = [f"{counts[i]:,} at {coordinates[first[i], 0]}, {coordinates[first[i], 1]}" for i in ordered]
        yield Finding("in bulk", False, text, items)


def _items(table: pd.DataFrame, rows: npt.NDArray[np.bool_]) -> list[str]:
    return [f"line {line}: {image}" for line, image in table["image"][rows].items()]
