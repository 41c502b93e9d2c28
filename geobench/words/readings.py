"""Which words of an answer are country, region and city: the reading that explains most of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geobench.data.countries import ALIASES, TERRITORIES
from geobench.geo import nearest_km
from geobench.words.areas import Area, areas_of, country_of
from geobench.words.claims import Claim
from geobench.words.free_text import names_in
from geobench.words.index import LARGE, Rows, index
from geobench.words.spelling import ALSO_WORDS, names_nothing, plain

APART_KM = 50.0
"""Of two cities in one text, as a borough and its city, the first is meant if it is no farther from the second."""


@dataclass(frozen=True)
class Frame:
    """What an answer states beside the city.

    Attributes:
        country: code of the country stated.
        areas: the region stated, inside that country; several if it is ambiguous.
        others: names in these fields that are neither, for a reading to explain.
        notes: what is not known or contradicts, in words.
    """

    country: str | None = None
    areas: tuple[Area, ...] = ()
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What the names in an answer are.

    Attributes:
        explained: how many of them this reading accounts for.
        country: code.
        areas: regions, the most populous first.
        cities: rows of the index, the likeliest first.
    """

    explained: int = 0
    country: str | None = None
    areas: tuple[Area, ...] = ()
    cities: Rows = ()

    @property
    def rank(self) -> tuple[int, int, float]:
        """Return what the best of several readings has most of: names explained, fineness, inhabitants.

        A name alone that is a country's and a region's, such as Georgia, is the country.
        """
        in_country = 2 * (self.country is not None)
        fineness = 4 if self.cities else in_country + 1 if self.areas else in_country
        inhabitants = float(index().places.inhabitants[self.cities[0]]) if self.cities else 0.0
        return self.explained, fineness, inhabitants


def is_known(name: str) -> bool:
    """Return whether ``name`` is one of a country, a region or a city."""
    if names_nothing(name):
        return False
    return country_of(name) is not None or any(index().find(name)) or bool(areas_of(name))


def frame_of(claim: Claim) -> Frame:
    """Return what the fields for country and region of ``claim`` say."""
    notes, others = [], []
    country = country_of(claim.country)
    areas = _part_of(claim.country, country) if country is not None else []
    if country is None and not names_nothing(claim.country):
        others = names_in(claim.country, is_known)
        notes += [] if others else [f"the country {claim.country.strip()!r} is not known"]
    if not names_nothing(claim.region):
        found, there = areas_of(claim.region, country), country_of(claim.region)
        if not found and there is not None and country in (None, there, *_owners(there)):
            country = there
        elif not found:
            others += [name for name in names_in(claim.region, is_known) if name != claim.region.strip()]
            notes.append(f"no region {claim.region.strip()!r}" + (f" in {country}" if country else " is known"))
        areas = found or areas
    return Frame(country, tuple(areas), tuple(others), tuple(notes))


def _owners(territory: str) -> list[str]:
    return [country for country, listed in TERRITORIES.items() if territory in listed.split()]


def _part_of(text: str, country: str) -> list[Area]:
    """Return the region that ``text`` names although it is taken for a country, as Scotland is."""
    if plain(text) not in {plain(name) for name in ALIASES.get(country, "").split(";")}:
        return []
    return [area for area in areas_of(text, country) if plain(area.region) == plain(text)]


def best_reading(free: list[str], named: list[str], frame: Frame) -> Reading:
    """Return the reading that explains most of the names.

    Args:
        free: names in free text.
        named: names that the answer calls a city.
        frame: country and region that it states.
    """
    names = [*((name, False) for name in free), *((name, True) for name in named)]
    names += [(name, False) for name in frame.others]
    readings = [Reading(0, frame.country, frame.areas)]
    for country, rest, explained in _countries(names, frame):
        for areas, others, more in _regions(rest, country, frame):
            cities, cited = _cities(others, country, areas)
            readings.append(Reading(explained + more + cited, country, areas, cities))
    return max(readings, key=lambda reading: reading.rank)


Names = list[tuple[str, bool]]
"""Each with whether the answer calls it a city."""


def _countries(names: Names, frame: Frame) -> Iterator[tuple[str | None, Names, int]]:
    """Yield each country that one of ``names`` may be, the names left, and how many are explained."""
    if frame.country is not None:
        same = [name for name in names if not name[1] and country_of(name[0]) == frame.country]
        yield frame.country, [name for name in names if name not in same], len(same)
        return
    yield None, names, 0
    for number, (name, _) in enumerate(names):
        if (code := country_of(name)) is not None:
            yield code, names[:number] + names[number + 1 :], 1


def _regions(names: Names, country: str | None, frame: Frame) -> Iterator[tuple[tuple[Area, ...], Names, int]]:
    """Yield each region that one of ``names`` may be, the names left, and how many are explained."""
    inside = tuple(area for area in frame.areas if country in (None, area.country))
    yield inside, names, 0
    for number, (name, _) in enumerate(names):
        areas = tuple(areas_of(name, country))
        if areas and (not inside or set(areas) & set(inside)):
            yield areas, names[:number] + names[number + 1 :], 1


def _cities(names: Names, country: str | None, areas: tuple[Area, ...]) -> tuple[Rows, int]:
    """Return the cities that the first of ``names`` may be which is one, and how many names that explains."""
    found: list[Rows] = []
    for name, called in names:
        rows = _inside(name, country, areas)
        if rows and _is_city(name, rows, called, country, areas):
            found.append(rows)
    while len(found) > 1:
        near = _near(found[0], found[1])
        if near:
            return near, len(found)
        found.pop(0)
    return (found[0], 1) if found else ((), 0)


def _inside(name: str, country: str | None, areas: tuple[Area, ...]) -> Rows:
    """Return the places called ``name`` in one of ``areas``, or in ``country``, or the large ones anywhere."""
    places = index().places
    keys = {area.key for area in areas}
    for rows in index().find(name):
        if keys:
            kept = tuple(row for row in rows if {places.regions[row], places.counties[row]} & keys)
        elif country is not None:
            kept = tuple(row for row in rows if places.countries[row] == country)
            kept = kept or tuple(row for row in rows if country in _owners(places.countries[row]))
        else:
            kept = tuple(row for row in rows if places.inhabitants[row] >= LARGE)
        if kept:
            return kept
    return ()


def _is_city(name: str, rows: Rows, called: bool, country: str | None, areas: tuple[Area, ...]) -> bool:
    """Return whether ``name`` means one of the cities ``rows``, and not the country, the region or the word."""
    places, likeliest = index().places, rows[0]
    alone = country is None and not areas
    if alone and (code := country_of(name)) is not None:
        return called and places.countries[likeliest] == code
    if called:
        return True
    if alone and plain(name) in ALSO_WORDS:
        return False
    countries = {area.country for area in areas}
    regions = [area for area in areas_of(name, country) if not area.fine and (not areas or area.country in countries)]
    if not regions or places.regions[likeliest] in [area.key for area in regions]:
        return True
    return bool(places.inhabitants[likeliest] > regions[0].inhabitants)


def _near(rows: Rows, others: Rows) -> Rows:
    """Return those of ``rows`` that are near one of ``others``."""
    coordinates = index().places.coordinates
    away = nearest_km(coordinates[list(rows)], coordinates[list(others)])
    return tuple(np.array(rows)[away <= APART_KM].tolist())
