"""From the text of an answer to a place: what parser and geocoder make of it, for a run and for a log of others."""

from __future__ import annotations

from geobench.words.claims import Claim, Place
from geobench.words.geocoding import locate
from geobench.words.parsers import Parser
from geobench.words.texts import Unparseable


def read_answer(parser: Parser, text: str, finish: str = "") -> tuple[Claim, Place]:
    """Return what ``text`` claims, and where that is.

    Args:
        parser: by which it is read.
        text: of the answer, as the model sent it.
        finish: why the service says that it ended.

    Raises:
        Refusal: it declines to answer.
        Unparseable: it claims no place, or none that is known.
    """
    claim = parser(text, finish)
    place = locate(claim)
    if place is None:
        named = ", ".join(filter(None, (claim.place, claim.city, claim.region, claim.country, claim.continent)))
        raise Unparseable(f"no place is known by the name {named!r}")
    return claim, place
