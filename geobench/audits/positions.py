"""Coordinates that can be used and yet are most likely wrong: swapped, at (0, 0), the same for many images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.land import is_open_sea
from geobench.data.tables.rows import SWAPPED, Rows
from geobench.geo import FloatArray, place_keys

if TYPE_CHECKING:
    import pandas as pd

MANY = 10
"""So many images at one place and more are told. Im2GPS3k has 12 such places, the largest of 43 images."""
SIGMAS, TIMES, TWICE = 3.0, 4, 2
"""Headers are called swapped when the images that lie at sea only as they are read outnumber those that do only when
exchanged by so many standard deviations of chance and so many times over, and when twice as many are at sea in all:
photos taken on ships are at sea either way."""


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its user should know.

    Attributes:
        kind: such as ``missing``.
        wrong: it changes scores, or makes them meaningless; else it is worth knowing.
        text: one line.
        items: each image or row that is meant.
    """

    kind: str
    wrong: bool
    text: str
    items: list[str] = field(default_factory=list)


def suspicious_coordinates(rows: Rows) -> Iterator[Finding]:
    """Yield what is suspicious about the usable coordinates of ``rows``, read with their lines as the index."""
    table = rows.table
    coordinates = table[["latitude", "longitude"]].to_numpy(np.float64)
    evidence = swapped(coordinates) or (SWAPPED if SWAPPED in rows.advice else "")
    if evidence:
        yield Finding("swapped", True, evidence)
    zero = (np.abs(coordinates) < 1e-6).all(axis=1)
    if zero.any():
        yield Finding(
            "zero", True, f"{zero.sum():,} images are at (0, 0), which stands for no position", _named(table, zero)
        )
    yield from _in_bulk(table, coordinates)


def swapped(coordinates: FloatArray) -> str:
    """Return why latitude and longitude of ``coordinates`` (n, 2) look swapped, '' where they do not.

    Far more images lie on the open sea, 25 km and more from any land, than when they are exchanged; a longitude beyond
    ±90 cannot have been a latitude.
    """
    as_read = is_open_sea(coordinates)
    exchanged = np.abs(coordinates[:, 1]) > 90
    exchanged[~exchanged] = is_open_sea(coordinates[~exchanged][:, ::-1])
    worse, better = int((as_read & ~exchanged).sum()), int((exchanged & ~as_read).sum())
    by_chance = worse - better < SIGMAS * np.sqrt(worse + better)
    if not worse or by_chance or worse < TIMES * better or as_read.sum() < TWICE * exchanged.sum():
        return ""
    return (
        f"{SWAPPED}. {as_read.sum():,} of {len(coordinates):,} images lie on the open sea; exchanged, "
        f"{exchanged.sum():,} would lie there or beyond latitude ±90"
    )


def _in_bulk(table: pd.DataFrame, coordinates: FloatArray) -> Iterator[Finding]:
    """Yield the places that many images share."""
    _, first, counts = np.unique(place_keys(coordinates), return_index=True, return_counts=True)
    many = np.flatnonzero(counts >= MANY)
    if len(many):
        ordered = many[np.argsort(-counts[many], kind="stable")]
        text = f"{counts[many].sum():,} images are at {len(many):,} places that {MANY} or more share"
        items = [f"{counts[i]:,} at {coordinates[first[i], 0]}, {coordinates[first[i], 1]}" for i in ordered]
        yield Finding("in bulk", False, text, items)


def _named(table: pd.DataFrame, rows: npt.NDArray[np.bool_]) -> list[str]:
    return [f"line {line}: {image}" for line, image in table["image"][rows].items()]
