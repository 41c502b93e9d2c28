"""Coordinates as people and language models write them: ``44.9° N``, ``48°51′24″``, ``lat, lon`` in one text.

What has one meaning is read; what has none, or more than one, is no coordinate. Nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

HEMISPHERES = {"n": 1, "north": 1, "s": -1, "south": -1, "e": 1, "east": 1, "w": -1, "west": -1}
OF_AXIS = {"latitude": ("n", "s"), "longitude": ("e", "w")}
_LETTER = r"north|south|east|west|[nsew]"
_HEMISPHERE = re.compile(
    rf"^\s*(?P<before>(?:{_LETTER})\b\.?)?(?P<rest>.*?)(?P<after>(?<![a-z])(?:{_LETTER})\.?)?\s*$", re.I | re.S
)
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_DEGREES = r"\s*(?:°|º|˚|deg(?:rees?)?\b|d(?=\s*\d))"
_MINUTES = r"\s*(?:'|′|’|´|min(?:utes?)?\b|m(?=\s*\d|\s*$))"
_SECONDS = r"\s*(?:\"|″|”|“|''|′′|sec(?:onds?)?\b|s(?=\s*$))"
_PARTS = re.compile(
    rf"(?P<d>{_NUMBER})(?:{_DEGREES})?(?:\s*(?P<m>{_NUMBER}){_MINUTES}(?:\s*(?P<s>{_NUMBER})(?:{_SECONDS})?)?)?\s*",
    re.I,
)
_PLAIN_PARTS = re.compile(rf"(?P<d>\d+)(?:\s+|\s*:\s*|,)(?P<m>{_NUMBER})(?:(?:\s+|\s*:\s*|,)(?P<s>{_NUMBER}))?\s*")
"""Degrees, minutes and seconds without their signs: only with a hemisphere, as in XMP's ``41,24.2028N``."""
_DECIMAL_COMMA = re.compile(r"(\d+),(?:(\d{3,})\s*(?:°|º|˚)?|(\d+)\s*(?:°|º|˚))\s*")
"""A comma that no minutes follow: they have two digits, and stand after the sign of degrees."""
_AMBIGUOUS = re.compile(r"\d+,\d+\s*")  # 41,24 with a letter: a decimal comma, or minutes
_FENCE = re.compile(r"^```(?:json)?|```$", re.I)
"""Around JSON, as language models write it."""
_LABEL = re.compile(r"\b(lat(?:itude)?|lon(?:g|gitude)?|lng)\b\s*[:=]?\s*", re.I)
_POINT = re.compile(r"(?:SRID=\d+;)?\s*POINT\s*(?:ZM?|M)?\s*\(\s*(\S+)\s+(\S+)(?:\s+\S+){0,2}\s*\)", re.I)
LONGEST = 200
"""Characters of a position in one text, other than JSON; what is longer is prose."""
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # ４８．８５ as East Asian keyboards write it
_NORTH_FIRST = re.compile(
    r"(.*\d.*?(?:\b|(?<=\d))(?:north|south|[ns])\.?)[\s,;/]+(.*\d.*?(?:east|west|[ew])\.?)", re.I | re.S
)
_EAST_FIRST = re.compile(
    r"(.*\d.*?(?:\b|(?<=\d))(?:east|west|[ew])\.?)[\s,;/]+(.*\d.*?(?:north|south|[ns])\.?)", re.I | re.S
)


def degrees(text: str, axis: str) -> float | None:
    """Return the coordinate in ``text`` in degrees, south and west negative; None if it has no single meaning.

    Args:
        text: a number, with or without the degree sign, minutes, seconds and hemisphere.
        axis: ``latitude`` or ``longitude``.

    >>> [degrees(text, "latitude") for text in ("44.9° N", "48°51′24″S", "33.86 South", "-33.86° S", "48,85")]
    [44.9, -48.85666666666667, -33.86, -33.86, 48.85]
    >>> [degrees(text, "latitude") for text in ("-33.86 N", "44.9° E", "48°61′N", "41,24 N", "Unknown")]
    [None, None, None, None, None]
    """
    text = text.translate(_FULL_WIDTH).replace("−", "-").replace("–", "-").replace("\u00a0", " ").strip()
    split = _HEMISPHERE.match(text)
    assert split is not None
    letters = [letter.rstrip(".").lower() for letter in (split["before"], split["after"]) if letter]
    body = split["rest"].strip()
    negative = body.startswith("-")
    body = body[1:].strip() if body[:1] in ("-", "+") else body
    if len(letters) > 1 or any(letter[0] not in OF_AXIS[axis] for letter in letters):
        return None
    sign = HEMISPHERES[letters[0]] if letters else -1 if negative else 1
    value = _magnitude(body, bool(letters))
    return None if value is None or (negative and sign > 0) else sign * value


def _magnitude(body: str, with_letter: bool) -> float | None:
    """Return degrees, minutes and seconds without their sign as degrees."""
    if comma := _DECIMAL_COMMA.fullmatch(body):
        return float(f"{comma[1]}.{comma[2] or comma[3]}")
    if with_letter and _AMBIGUOUS.fullmatch(body):
        return None
    found = _PARTS.fullmatch(body) or (_PLAIN_PARTS.fullmatch(body) if with_letter else None)
    if found is None:
        return float(body.replace(",", ".")) if re.fullmatch(r"\d+,\d+", body) else None
    whole, minutes, seconds = found["d"], found["m"], found["s"]
    if minutes is None:
        return float(whole)
    if "." in whole or float(minutes) >= 60 or (seconds is not None and ("." in minutes or float(seconds) >= 60)):
        return None
    return float(whole) + float(minutes) / 60 + float(seconds or 0) / 3600


def split_position(text: str) -> tuple[str, str] | None:
    """Return latitude and longitude of a position in one text, each as text; None if it is not two coordinates.

    Latitude comes first, unless letters, labels or well-known text (``POINT``) say otherwise.

    >>> split_position("(48.85, 2.35)"), split_position("POINT(2.35 48.85)"), split_position("lon: 2, lat: 48")
    (('48.85', '2.35'), ('48.85', '2.35'), ('48', '2'))
    """
    text = _FENCE.sub("", text.translate(_FULL_WIDTH).strip()).strip()
    if text.startswith("{"):
        return _of_object(text)
    if len(text) > LONGEST:
        return None
    if point := _POINT.fullmatch(text.strip()):
        return (point[2], point[1]) if _both_read(point[2], point[1]) else None
    body = text.strip().strip("()[]").strip()
    labels = [label[0].lower() + label[1:2].lower() for label in _LABEL.findall(body)]
    body = _LABEL.sub("", body)
    reversed_labels = labels[:1] in (["lo"], ["ln"])
    for first, second in _halves(body):
        pair = (second, first) if reversed_labels else (first, second)
        if _both_read(*pair):
            return pair
    return None


def _halves(body: str) -> list[tuple[str, str]]:
    """Return the ways to cut a text into latitude and longitude, in their order; the first that reads counts."""
    found = []
    if cut := _NORTH_FIRST.fullmatch(body):
        found.append((cut[1], cut[2]))
    if cut := _EAST_FIRST.fullmatch(body):
        found.append((cut[2], cut[1]))
    for separator in (r"\s*;\s*", r"\s*,\s*", r"\s*/\s*", r"\s+"):
        parts = re.split(separator, body.strip(" ,;"))
        if len(parts) == 2:
            found.append((parts[0], parts[1]))
    return found


def _both_read(latitude: str, longitude: str) -> bool:
    return degrees(latitude, "latitude") is not None and degrees(longitude, "longitude") is not None


def _of_object(text: str) -> tuple[str, str] | None:
    """Return the position in JSON that a language model answered as text, if that has one of each; a GeoJSON point."""
    try:
        found = json.loads(text)
        if found.get("type") == "Point" and isinstance(found.get("coordinates"), list):
            return split_position(f"POINT({' '.join(map(str, found['coordinates'][:2]))})")
        named = list(_named(found))
    except (ValueError, RecursionError):
        return None
    values: dict[str, list[Any]] = {"la": [], "lo": []}
    for name, value in named:
        if _LABEL.fullmatch(name):
            values["la" if name.lower().startswith("la") else "lo"].append(value)
    if [len(values[axis]) for axis in ("la", "lo")] != [1, 1]:
        return None
    pair = str(values["la"][0]), str(values["lo"][0])
    return pair if _both_read(*pair) else None


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values in nested objects with their names."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            yield from _named(inner)
        else:
            yield str(name), inner
