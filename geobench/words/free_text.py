"""Free text that says where something is, cut into the names in it: ``near Lyon, France``."""

from __future__ import annotations

import re
from collections.abc import Callable

_BETWEEN = re.compile(r"[,;/|\n()\[\]、，；（）]+|\s[-–—>→]+\s|:\s|(?<=\w{4})\.\s")
"""Between names; a full stop after a longer word than ``St.``"""
_WITHIN = re.compile(r"\s(?:in|near|of|at|outside|from|within|around|close to|is|and|und|et)\s", re.I)
"""Between names in what is not known as a whole, such as ``a café in Lyon``."""
_OR = re.compile(r"(?:^either\s|\s(?:or|oder|ou)\s)", re.I)
_LEADS = re.compile(
    r"^(?:(?:this is|it is|it's|i think|i believe|my guess is|likely|probably|possibly|perhaps|maybe|most likely|"
    r"taken|photo|somewhere|located|just|the|a|an|in|at|on|near|nearby|close to|next to|outside(?: of)?|around|from|"
    r"within|inside|not far from|(?:outskirts|suburbs|suburb|vicinity|area|city|town|village|centre|center|country|"
    r"state|province|region|island|heart|middle|edge|streets|city centre|city center|coast|north|south|east|west|"
    r"capital|municipality|district) of|rural|urban|downtown|central|greater|coastal|inland|"
    r"metropolitan|suburban|northern|southern|eastern|western|north[- ]?(?:east|west)(?:ern)?|"
    r"south[- ]?(?:east|west)(?:ern)?|nahe|bei|près de|cerca de|vicino a)\s+)+",
    re.I,
)
_TAILS = re.compile(r"\s+(?:area|metropolitan area|countryside|city centre|city center|suburbs?|outskirts)$", re.I)
_AROUND = " .!?\"“”*'"


def names_in(text: str, is_known: Callable[[str], bool]) -> list[str]:
    """Return the names in ``text`` that are known, in its order, without what stands around them.

    Of alternatives, as in ``Paris or Lyon``, the first that has a known name counts.

    >>> names_in("a café in the city of Porto (Portugal)", lambda name: name in ("Porto", "Portugal"))
    ['Porto', 'Portugal']
    """
    stripped = text.strip(_AROUND)
    if not stripped or is_known(stripped):
        return [stripped] if stripped else []
    if len(pieces := _OR.split(stripped)) > 1:
        return next(filter(None, (names_in(piece, is_known) for piece in pieces)), [])
    if len(pieces := _BETWEEN.split(stripped)) > 1:
        return [name for piece in pieces for name in names_in(piece, is_known)]
    bare = _TAILS.sub("", _LEADS.sub("", stripped))
    if bare and is_known(bare):
        return [bare]
    pieces = _WITHIN.split(bare)
    return [name for piece in pieces for name in names_in(piece, is_known)] if len(pieces) > 1 else []
