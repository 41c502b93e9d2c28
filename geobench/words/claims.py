"""What an answer in words says about where a photo was taken, and the place that it means.

A parser makes a :class:`Claim` of a text; :func:`geobench.words.geocoding.locate` makes a :class:`Place` of a claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["coordinates", "place", "city", "region", "country", "continent", ""]
"""How finely an answer says where a photo was taken; empty if it says nothing."""
LEVELS: tuple[Level, ...] = ("coordinates", "place", "city", "region", "country", "continent")
"""All that an answer can claim, finest first."""


@dataclass(frozen=True)
class Claim:
    """What an answer says about where a photo was taken, as it was written.

    Attributes:
        coordinates: latitude and longitude in degrees, if stated.
        continent: or a part of the world, such as ``Europe``.
        country: in any language or spelling, or its code.
        region: first-level division, or another area inside a country.
        city: or a town, a village, a borough.
        place: whatever else says where: a landmark, a plus code, or a free text such as ``near Lyon, France``.
        confidence: as stated, 0 to 1.
    """

    coordinates: tuple[float, float] | None = None
    continent: str = ""
    country: str = ""
    region: str = ""
    city: str = ""
    place: str = ""
    confidence: float | None = None

    @property
    def level(self) -> Level:
        """Return the finest level claimed, whether or not that is a place; empty if nothing is claimed.

        >>> Claim(country="France", city="Lyon").level, Claim(continent="Asia", country=" ").level, Claim().level
        ('city', 'continent', '')
        """
        if self.coordinates is not None:
            return "coordinates"
        words = {
            "place": self.place,
            "city": self.city,
            "region": self.region,
            "country": self.country,
            "continent": self.continent,
        }
        return next((level for level in LEVELS if words.get(level, "").strip()), "")


@dataclass(frozen=True)
class Place:
    """Where on Earth a claim is.

    Attributes:
        latitude, longitude: the point, in degrees.
        level: how fine the point is: ``coordinates``, ``city``, ``region`` or ``country``. It is coarser than
            ``Claim.level`` if the finest words named nothing that is known.
        country: ISO 3166-1 code, XK for Kosovo; empty at sea.
        region: English name of the first-level division; empty if unknown.
        city: main name; empty unless the level is ``city``.
        candidates: how many places are called so within what was said; 1 is unambiguous.
        rule: which written rule gave the point.
    """

    latitude: float
    longitude: float
    level: Literal["coordinates", "city", "region", "country"]
    country: str = ""
    region: str = ""
    city: str = ""
    candidates: int = 1
    rule: str = ""
