"""Countries and regions by name, and the point that stands for one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from geobench.data import countries
from geobench.data.places import CONTINENTS
from geobench.geo import unit_vectors
from geobench.words.index import index
from geobench.words.languages import pycountry, translated_countries, translated_divisions
from geobench.words.region_names import geonames_name
from geobench.words.spelling import names_nothing, plain

WITHOUT_SETTLEMENTS = {"AQ": (-77.85, 166.67)}
"""The point of a country where GeoNames has no settlement: McMurdo, the largest station of Antarctica."""
ABBREVIATED = ("US", "CA", "AU")
"""Countries whose regions people abbreviate without naming the country: ``San Francisco, CA``."""
TRADITIONAL = {
    "US": "ala alabama, ariz arizona, ark arkansas, cal california, calif california, colo colorado, conn connecticut, "
    "del delaware, fla florida, ill illinois, ind indiana, kan kansas, kans kansas, mass massachusetts, "
    "mich michigan, minn minnesota, miss mississippi, mont montana, neb nebraska, nebr nebraska, nev nevada, "
    "okla oklahoma, ore oregon, oreg oregon, penn pennsylvania, penna pennsylvania, tenn tennessee, tex texas, "
    "wash washington, wis wisconsin, wisc wisconsin, wyo wyoming",
    "CA": "ont ontario, que quebec, man manitoba, sask saskatchewan, alta alberta",
    "AU": "vic victoria, tas tasmania",
}
"""Abbreviations of newspapers, older than those of the post offices."""
_KIND = re.compile(
    r"\b(?:region|province|prefecture|state|oblast|krai|kray|county|department|departement|governorate|district|"
    r"municipality|canton|autonomous|republic|community|city|special|administrative|area|division|emirate|parish|"
    r"voivodeship|land|estado|provincia|provinz|kanton|sheng|ken|fu|of|de|del|do|da|di|la|the)\b|[省州県府道都]$"
)
"""Words for what a region is, which one list has and another has not."""
_INVERTED = re.compile(r", | ?[\[\]()]")  # Asturias, Principado de; Catalunya [Cataluña]


@dataclass(frozen=True)
class Area:
    """A first-level division of a country, or a second-level one.

    Attributes:
        key: as in ``geobench.data.places.Gazetteer``: ``US Georgia``, or ``US Georgia / Fulton County``.
        country: ISO 3166-1 code.
        fine: whether it is of the second level.
    """

    key: str
    country: str
    fine: bool = False

    @property
    def region(self) -> str:
        """Return the name of the first-level division."""
        return self.key.removeprefix(self.country).strip().partition(" / ")[0]

    @property
    def inhabitants(self) -> float:
        """Return the inhabitants of its places."""
        return float(index().places.inhabitants[rows_of(self.key)].sum())


def country_of(text: str) -> str | None:
    """Return the code of the country that ``text`` names in any language, or by its code; None if it names none.

    A code of two letters is in capitals: ``no``, ``in`` and ``is`` are words.
    """
    stripped = text.strip()
    letters = stripped.replace(".", "")
    if names_nothing(text) or (re.fullmatch("[A-Za-z]{2}", letters) and letters not in (letters.upper(), "us", "uk")):
        return None
    code = countries.country_code(stripped)
    if code is None and len(letters) == 3 and letters.isascii() and letters.isupper():
        found = pycountry().countries.get(alpha_3=letters)
        code = found.alpha_2 if found is not None else None
    code = code or translated_countries().get(plain(text))
    return code if code in _KNOWN else None


_KNOWN = frozenset(code for listed in CONTINENTS.values() for code in listed.split())


def areas_of(text: str, country: str | None = None) -> list[Area]:
    """Return the divisions called ``text``, in ``country`` if it is given, the most populous first.

    Those of the first level come alone if there are any; without a country, there are no others.
    """
    if names_nothing(text):
        return []
    for found in _readings(text, country):
        kept = [area for area in found if country in (None, area.country) and (country or not area.fine)]
        first = [area for area in kept if not area.fine]
        if kept:
            return sorted(first or kept, key=lambda area: (-area.inhabitants, area.key))
    return []


def _readings(text: str, country: str | None) -> Iterator[list[Area]]:
    letters = text.strip().replace(".", "")
    if letters.isupper() or country is not None:
        yield _abbreviations().get(letters.upper(), [])
    named = _named()
    yield named.get(plain(text), []) + _traditional().get(plain(text), [])
    yield named.get(_without_kind(text), [])
    yield _translated().get(plain(text), [])
    yield _translated().get(_without_kind(text), [])


def _without_kind(text: str) -> str:
    return _kindless(plain(text))


def _kindless(words: str) -> str:
    return " ".join(_KIND.sub(" ", words).split())


@cache
def _named() -> dict[str, list[Area]]:
    """Return the areas by GeoNames' name, and by that without the word for its kind unless another is called so."""
    exact: dict[str, list[Area]] = {}
    loose: dict[str, list[Area]] = {}
    for key in _keys():
        area = Area(key, key[:2], " / " in key)
        name = area.key.rpartition(" / ")[2] if area.fine else area.region
        exact.setdefault(plain(name), []).append(area)
        loose.setdefault(_without_kind(name), []).append(area)
    for name, found in loose.items():
        taken = {area.country for area in exact.get(name, []) if not area.fine}
        others = [area for area in found if area not in exact.get(name, []) and area.country not in taken]
        exact.setdefault(name, []).extend(others)
    exact.pop("", None)
    return exact


def _keys() -> list[str]:
    return sorted(key for key in _rows() if len(key) > 2)


@cache
def _abbreviations() -> dict[str, list[Area]]:
    """Return the areas by the letters of their ISO 3166-2 codes, of countries that use them."""
    found: dict[str, list[Area]] = {}
    for division in pycountry().subdivisions:
        code, _, letters = division.code.partition("-")
        if code in ABBREVIATED and letters.isalpha():
            same = [area for area in _named().get(plain(division.name), []) if area.country == code and not area.fine]
            found.setdefault(letters, []).extend(same)
    return found


@cache
def _traditional() -> dict[str, list[Area]]:
    found: dict[str, list[Area]] = {}
    for code, listed in TRADITIONAL.items():
        for short, name in (pair.split(" ", 1) for pair in listed.split(", ")):
            same = [area for area in _named().get(name, []) if area.country == code and not area.fine]
            found.setdefault(short, []).extend(same)
    return found


@cache
def _translated() -> dict[str, list[Area]]:
    """Return the areas by ISO's names and their translations; ISO and GeoNames are joined where any form agrees."""
    found: dict[str, set[Area]] = {}
    translations = translated_divisions()
    for division in pycountry().subdivisions:
        code, iso = division.country_code, division.name
        own = [form for name in (iso, geonames_name(code, iso) or "") for form in (name, *_INVERTED.split(name))]
        others = translations.get(code, {}).get(iso, [])
        written = {plain(form) for form in (*own, *others, *(name.partition("[")[0] for name in others))}
        written |= {_kindless(form) for form in written}
        same = {area for form in written for area in _named().get(form, []) if area.country == code}
        same = {area for area in same if not area.fine} or same
        if len(same) == 1:
            for form in written - {""}:
                found.setdefault(form, set()).update(same)
    return {form: list(areas) for form, areas in found.items()}


def rows_of(key: str) -> npt.NDArray[np.intp]:
    """Return the rows of the index that are in the country or area ``key``."""
    return np.array(_rows().get(key, []), dtype=np.intp)


@cache
def _rows() -> dict[str, list[int]]:
    places, found = index().places, defaultdict(list)
    for column in (places.countries, places.regions, places.counties):
        for row, key in enumerate(column.tolist()):
            found[key].append(row)
    return found


@cache
def centre_of(key: str) -> tuple[float, float] | None:
    """Return the point of the country or area ``key``: the settlement nearest to the mean of its inhabitants.

    It is thereby in that country or area, which the mean need not be. None where there are no settlements.
    """
    rows, places = rows_of(key), index().places
    if not len(rows):
        return WITHOUT_SETTLEMENTS.get(key)
    vectors, weights = unit_vectors(places.coordinates[rows]), places.inhabitants[rows]
    mean = (vectors * (weights if weights.any() else np.ones(len(rows)))[:, None]).sum(axis=0)
    latitude, longitude = places.coordinates[rows[int(np.argmax(vectors @ mean))]].tolist()
    return latitude, longitude
