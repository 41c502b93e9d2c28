"""JSON in an answer: the object that is meant, and what its keys claim."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import deque
from typing import Any

from geobench.words.claims import Claim
from geobench.words.coordinate_text import degrees
from geobench.words.names import ROLE_OF, known
from geobench.words.positions import normalised, valid_position, whole_position
from geobench.words.texts import Unparseable, nothing_in, shown

_AXIS_OF = {"lat": "latitude", "latitude": "latitude", "纬度": "latitude", "lon": "longitude", "lng": "longitude"}
_AXIS_OF |= {"long": "longitude", "longitude": "longitude", "经度": "longitude"}
_POSITION = frozenset(
    [
        "coordinates",
        "coordinate",
        "coords",
        "coord",
        "position",
        "gps",
        "gps_coordinates",
        "lat_lon",
        "latlon",
        "lat/lng",
        "lat_lng",
    ]
)
_ASIDE = re.compile(r"reason|evidence|analysis|alternative|example|clue|information|explanation|rationale|runner", re.I)
"""Keys of what is said besides the answer."""
_BESIDE = {"neighborhood": "place", "neighbourhood": "place", "district": "place", "administrative_area": "region"}
"""Keys that count where none of the role's own is there. Streets do not: they are in no gazetteer."""
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


def object_in(text: str) -> Any:
    """Return the JSON that an answer is, or that stands in it: the last object, or list of them, that is complete.

    Text around it, code fences, commas before a closing bracket and Python's quotes and None are tolerated. What is
    open at the end was cut off: nothing of it is read.

    Raises:
        Unparseable: there is none, or the last one is cut off.
    """
    found, at, last = None, 0, ""
    while (start := re.compile(r"[{\[]").search(text, at)) is not None:
        end = _closed(text, start.start())
        if end is None:
            if found is None or re.search(r"[\"'{]\s*[\w\"']", text[start.start() :]):
                raise Unparseable(f"JSON that was cut off: {shown(text[start.start() :])}")
            break
        piece = text[start.start() : end]
        value = _loaded(piece)
        if isinstance(value, dict) and (found is None or _speaks(value)):
            found = value
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            found = next(each for each in value if isinstance(each, dict))
        elif value is None and piece.startswith("{"):
            last = piece
        at = end if value is not None or piece.startswith("{") else start.start() + 1
    if found is None:
        raise nothing_in(text, f"invalid JSON: {shown(last)}" if last else f"no JSON object: {shown(text)}")
    return found


def _closed(text: str, start: int) -> int | None:
    """Return where the bracket at ``start`` is closed, brackets inside strings not counted; None if it is open."""
    depth, quote, escaped = 0, "", False
    for position in range(start, len(text)):
        sign = text[position]
        if quote:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == quote:
                quote = ""
        elif sign == '"' or (sign == "'" and text[position - 1] in "{[,: \n\t"):
            quote = sign
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if not depth:
                return position + 1
    return None


def _loaded(piece: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        for text in (piece, _TRAILING_COMMA.sub(r"\1", piece)):
            try:
                return read(text)
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
    return None


def _speaks(value: dict[Any, Any]) -> bool:
    """Return whether an object has a key of a place, whatever its value."""
    return any(_role(str(key)) or _key(str(key)) in _POSITION for _, pairs in _levels(value) for key, _ in pairs)


def claim_of(found: dict[Any, Any], text: str) -> Claim:
    """Return what an object claims; ``text`` is what it stands in.

    A key counts at any depth, the shallowest first, then the first; of a list the first element. Keys of reasoning,
    evidence, examples and alternatives do not. A key with no value, or one that says unknown, is taken as said.

    Raises:
        NoAnswer: no place, a latitude without a longitude, or a position out of range.
    """
    values: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    for point, pairs in _levels(found):
        for key, value in pairs:
            role = _role(key) or ("position" if _key(key) in _POSITION and not isinstance(value, dict) else None)
            if role == "place" and isinstance(value, dict):
                continue
            if role == "position" and point and isinstance(value, list) and len(value) >= 2:
                value = value[1::-1]  # noqa: PLW2901  # GeoJSON: longitude first (RFC 7946)
            if role and role not in values and not isinstance(value, dict):
                values[role] = value
            elif _key(key) in _BESIDE:
                beside.setdefault(_BESIDE[_key(key)], value)
    values = {**beside, **{role: value for role, value in values.items() if role not in beside or _name(value)}}
    position = _position(values)
    names = {role: _name(values.get(role)) for role in ("continent", "country", "region", "city", "place")}
    if position is None and not any(names.values()):
        raise nothing_in(text, f"JSON that names no place: {shown(text)}")
    return Claim(coordinates=position, confidence=confidence_of(values.get("confidence")), **names)


def _levels(found: dict[Any, Any]) -> list[tuple[bool, list[tuple[str, Any]]]]:
    """Return the pairs of nested objects, the shallowest first, and whether each object is a GeoJSON point."""
    waiting, levels = deque([found]), []
    while waiting:
        value = waiting.popleft()
        pairs = [(str(key), each) for key, each in value.items() if not _ASIDE.search(str(key))]
        levels.append((value.get("type") == "Point", pairs))
        for _, each in pairs:
            inner = next((one for one in each if isinstance(one, dict)), None) if isinstance(each, list) else each
            if isinstance(inner, dict):
                waiting.append(inner)
    return levels


def _key(key: str) -> str:
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip()).lower())


def _role(key: str) -> str | None:
    word = _key(key)
    if word in ("confidence", "probability", "certainty"):
        return "confidence"
    return _AXIS_OF.get(word) or ROLE_OF.get(word)


def _position(values: dict[str, Any]) -> tuple[float, float] | None:
    """Return the position in ``values``; None if it is null, unknown, or 0, 0 beside names."""
    if not {"latitude", "longitude"} & values.keys():
        given = values.get("position")
        text = ", ".join(map(str, given)) if isinstance(given, list) else str(given or "")
        if not known(text) and not re.search(r"\d", text):
            return None
        found = whole_position(normalised(text))
        if found is None:
            raise Unparseable(f"{shown(text)} is no position")
        return found
    pair = [_number(values.get(axis), axis) for axis in ("latitude", "longitude")]
    if pair[0] is None and pair[1] is None:
        return None
    if pair[0] is None or pair[1] is None:
        raise Unparseable("a latitude or a longitude, not both")
    named = any(_name(values.get(role)) for role in ("country", "region", "city", "place"))
    if pair[0] == pair[1] == 0 and named:
        return None
    return valid_position(pair[0], pair[1])


def _number(value: Any, axis: str) -> float | None:
    """Return a coordinate; None if there is none; raise ``Unparseable`` for a text that has digits and is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else None
    text = normalised(str(value)).strip()
    found = degrees(text, axis)
    if found is None and re.search(r"\d", text):
        raise Unparseable(f"{shown(text)} is no {axis}")
    return found


def _name(value: Any) -> str:
    return known(value) if isinstance(value, str) else ""


def confidence_of(value: Any) -> float | None:
    """Return a confidence from 0 to 1, or in percent with its sign; None for any other scale, which is not guessed.

    >>> [confidence_of(value) for value in (0.9, "85%", 85, "high", None)]
    [0.9, 0.85, None, None, None]
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(value)) if not isinstance(value, bool) else None
    number = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    return round(number, 12) if 0 <= number <= 1 else None
