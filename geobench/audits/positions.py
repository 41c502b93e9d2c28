"""Valid coordinates that are probably wrong: swapped, at (0, 0), at sea, rounded, or the same for many images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.countries import country_code, country_name
from geobench.data.places import find_places
from geobench.data.plausibility import at_sea, at_zero, evidence
from geobench.data.tables.coordinates import SWAPPED
from geobench.data.tables.rows import Rows
from geobench.geo import FloatArray, place_keys

if TYPE_CHECKING:
    import pandas as pd

COUNTRY_COLUMNS = ("country", "country_name", "country_code", "countrycode", "iso2", "cc")
MOST_COUNTRIES = 20_000
"""Rows, evenly spaced, whose country is looked up: a second for ten thousand."""
MANY_COUNTRIES = 0.2
"""A larger share of positions in another country than stated is an error, such as a hemisphere that got lost."""
MANY = 10
"""Places with at least this many images are reported. Im2GPS3k has 12 of them; the largest has 43 images."""


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


def check_positions(rows: Rows, thresholds_km: Sequence[float]) -> Iterator[Finding]:
    """Yield findings about the valid coordinates of ``rows``, whose index holds line numbers.

    ``thresholds_km`` are the distances of the accuracies that they are used for.
    """
    table = rows.table
    coordinates = table[["latitude", "longitude"]].to_numpy(np.float64)
    found = evidence(coordinates, thresholds_km)
    if swapped := found.get("swapped positions") or (SWAPPED if SWAPPED in rows.advice else ""):
        yield Finding("swapped", True, swapped)
    if rows.unit is not None:
        text = rows.unit.text + ("; a run refuses the table" if rows.unit.is_certain else "")
        yield Finding("unit", "look like" in text, text)
    if "positions at (0, 0)" in found:
        yield Finding("zero", True, found["positions at (0, 0)"], _items(table, at_zero(coordinates)))
    sea = at_sea(coordinates)
    if sea.any() and not swapped and rows.unit is None:
        unusual = found.get("positions at sea", "")
        text = unusual or f"{sea.sum():,} of {len(sea):,} positions are on the open sea, 25 km or more from any land"
        yield Finding("at sea", bool(unusual), text, _items(table, sea))
    if "rounded positions" in found:
        yield Finding("rounded", True, found["rounded positions"])
    yield from _other_countries(table, coordinates)
    yield from _crowded_places(table, coordinates)


def _other_countries(table: pd.DataFrame, coordinates: FloatArray) -> Iterator[Finding]:
    """Yield a finding on images whose table names another country than their position is in."""
    column = next((name for name in table.columns if str(name).lower() in COUNTRY_COLUMNS), None)
    if column is None:
        return
    rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), MOST_COUNTRIES)).astype(int))
    stated = [country_code(str(text)) for text in table[column].iloc[rows]]
    places = find_places(coordinates[rows]).countries
    pairs = [(row, code, place) for row, code, place in zip(rows, stated, places, strict=True) if code and place]
    other = [(row, code, place) for row, code, place in pairs if code != place]
    if not other:
        return
    of = f" looked at (of {len(table):,})" if len(rows) < len(table) else ""
    text = (
        f"{len(other):,} of {len(pairs):,} positions{of} are in another country than the column {str(column)!r} says; "
        "at a border maps differ, else one of the two is wrong"
    )
    items = [
        f"line {table.index[row]}: {table['image'].iloc[row]}: {country_name(code)}, and at {coordinates[row, 0]}, "
        f"{coordinates[row, 1]} is {country_name(place)}"
        for row, code, place in other
    ]
    yield Finding("country", len(other) > MANY_COUNTRIES * len(pairs), text, items)


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
