"""Parsers: from the text of an answer to what it claims. Each has a name and a version, which a result records."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from geobench.errors import unknown_name
from geobench.words.claims import Claim
from geobench.words.names import labelled, marked, stated, whole
from geobench.words.objects import claim_of, confidence_of, object_in
from geobench.words.positions import Stated, normalised, positions_in, whole_position
from geobench.words.refusals import is_refusal
from geobench.words.texts import NoAnswer, Refusal, Unparseable, answer_in, nothing_in, plain, shown

__all__ = ["PARSERS", "NoAnswer", "Parser", "Refusal", "Unparseable", "get_parser"]

CUT = frozenset({"length", "max_tokens", "MAX_TOKENS", "max_output_tokens"})
FILTERED = frozenset({"content_filter", "refusal", "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "RECITATION"})
"""Reasons for which services end an answer, as they call them."""


@dataclass(frozen=True)
class Parser:
    """A rule by which answers are read.

    Attributes:
        name: by which users choose it.
        version: raised with every change of what an answer is read as.
        reads: what it reads, in a line.
    """

    name: str
    version: int
    reads: str
    _claim: Callable[[str], Claim]

    @property
    def label(self) -> str:
        """Return name and version as one word, for keys and records."""
        return f"{self.name}@{self.version}"

    def __call__(self, text: str, finish: str = "") -> Claim:
        """Return what the answer ``text`` claims.

        Args:
            text: as the model sent it; reasoning in tags, ``<answer>``, code fences and Markdown are taken off.
            finish: why the service says that the answer ended (``finish_reason``); of one cut off for its length
                nothing is read, and one that a filter ended is a refusal.

        Raises:
            Refusal: it declines to answer, in any of some thirty languages, and claims no place.
            Unparseable: it claims no place in the form that this parser reads; the message says why.
        """
        if finish in FILTERED:
            raise Refusal(f"ended by a filter ({finish})")
        if finish in CUT:
            raise Unparseable(f"cut off at the limit of tokens ({finish}): {shown(text[-40:])}")
        return self._claim(answer_in(text))


def _json(text: str) -> Claim:
    return claim_of(object_in(text), text)


def _lat_lon(text: str) -> Claim:
    if text.startswith("{") and text.endswith("}"):
        return Claim(coordinates=claim_of(object_in(text), text).coordinates or _no_position(text))
    bare = normalised(plain(text))
    if (position := whole_position(bare)) is not None:
        return Claim(coordinates=position)
    found = {each.coordinates for each in positions_in(bare)}
    if len(found) > 1:
        raise Unparseable(f"{len(found)} positions: {shown(text)}")
    return Claim(coordinates=found.pop() if found else _no_position(text))


def _no_position(text: str) -> tuple[float, float]:
    raise nothing_in(text, f"no position: {shown(text)}")


def _country_city(text: str) -> Claim:
    names = labelled(plain(text))
    names.pop("place", None)
    if not any(names.values()):
        raise nothing_in(text, f"no line country: NAME or city: NAME: {shown(text)}")
    return replace(Claim(), **names)  # type: ignore[arg-type]  # roles are fields of text


def _free(text: str) -> Claim:
    """Return the first of: JSON, a position, labelled names, a stated place, a name that is the whole answer."""
    if "{" in text:
        return _json(text)
    bare = plain(text)
    names = {role: name for role, name in labelled(bare).items() if name}
    position = _final_position(normalised(bare))
    confidence = re.search(r"\bconfidence\b\W{0,3}(\d+(?:\.\d+)?\s*%?)", bare, re.IGNORECASE)
    if position is None and not names:
        final = marked(bare)
        lines = [line for line in bare.split("\n") if line.strip()]
        place = (final and (whole(final.split("\n")[0]) or stated(f"it is {final}"))) or stated(bare) or _short(lines)
        names = {"place": place} if place else {}
    if position is None and not names:
        raise nothing_in(text, f"no place in a form that is read: {shown(text)}")
    return Claim(coordinates=position, confidence=confidence_of(confidence[1]) if confidence else None, **names)


def _short(lines: list[str]) -> str:
    """Return the only line, or the last, if it is a name and declines nothing."""
    return "" if not lines or is_refusal(lines[-1]) else whole(lines[-1])


def _final_position(text: str) -> tuple[float, float] | None:
    """Return the position that is marked as the answer, else the last in ``text``; None if there is none."""
    if (position := whole_position(text)) is not None:
        return position
    found = positions_in(text)
    final = marked(text)
    after: list[Stated] = [each for each in found if final is not None and each.start >= len(text) - len(final)]
    chosen = after[:1] or found[-1:]
    return chosen[0].coordinates if chosen else None


_ALL = (
    Parser(
        "json",
        1,
        "a JSON object with latitude and longitude, or continent, country, region, city, and confidence from 0 to 1",
        _json,
    ),
    Parser("country-city", 1, "lines country: NAME and city: NAME, as GLOBE asks for them", _country_city),
    Parser("lat-lon", 1, "one position, in any notation, and no more than a sentence around it", _lat_lon),
    Parser("free", 1, "any text: JSON, the final or last position in it, or the place that it states", _free),
)
PARSERS = {parser.name: parser for parser in _ALL}
"""The parsers by name."""


def get_parser(name: str) -> Parser:
    """Return the parser ``name``; raise ``UnknownNameError`` if there is none."""
    if name not in PARSERS:
        raise unknown_name("parser", name, PARSERS)
    return PARSERS[name]
