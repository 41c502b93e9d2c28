"""Positions in a running text: ``lat, lon``, labelled, with hemispheres, in degrees, minutes and seconds."""

from __future__ import annotations

import re
from typing import NamedTuple

from geobench.words.coordinate_text import degrees, split_position
from geobench.words.texts import Unparseable, shown

_LABELS = {
    "latitude": "latitude latitud latitudine breitengrad breite breddegrad szerokość широта 纬度 緯度 위도 enlem",
    "longitude": "longitude longitud longitudine längengrad länge lengdegrad długość долгота довгота 经度 經度 経度 "
    "경도 boylam",
}
_TRANSLATED = [(axis, re.compile(rf"(?<!\w)(?:{'|'.join(words.split())})", re.I)) for axis, words in _LABELS.items()]
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MINUS = str.maketrans({"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "：": ":", "，": ",", "；": ";", "、": ","})
_SIGN = r"[-+]?\s?"
_NUMBER = r"\d{1,3}(?:[.,]\d+)?"
_DMS = r"\d{1,3}\s*[°º˚]\s*\d{1,2}(?:[.,]\d+)?\s*['′’]\s*(?:\d{1,2}(?:[.,]\d+)?\s*(?:\"|″|”|''|′′)\s*)?"  # 48° 51′ 24″
_ONE = rf"(?:{_SIGN}(?:{_DMS}|{_NUMBER}\s*(?:[°º˚]|degrees?\b)?))"
_NS, _EW = r"(?:north|south|[ns])\b\.?", r"(?:east|west|[ew])\b\.?"
_APART = r"\s*(?:,|;|/|\||\band\b|&)?\s*"
_LATITUDE, _LONGITUDE = r"\blat(?:itude)?\b\s*[:=]?\s*", r"\b(?:longitude|long|lon|lng)\b\s*[:=]?\s*"
_NORTH = rf"(?P<a>{_ONE}\s*{_NS}|{_NS}\s*{_ONE})"
_EAST = rf"(?P<b>{_ONE}\s*{_EW}|{_EW}\s*{_ONE})"
_FORMS = [
    rf"{_LATITUDE}(?P<a>{_ONE}(?:\s*{_NS})?)[^\d\n]{{0,20}}?\s*{_LONGITUDE}(?P<b>{_ONE}(?:\s*{_EW})?)",
    rf"{_LONGITUDE}(?P<b>{_ONE}(?:\s*{_EW})?)[^\d\n]{{0,20}}?\s*{_LATITUDE}(?P<a>{_ONE}(?:\s*{_NS})?)",
    rf"{_NORTH}{_APART}{_EAST}",
    rf"{_EAST}{_APART}{_NORTH}",
    r"[(\[]\s*(?P<a>[-+]?\d{1,3}(?:\.\d+)?\s*°?)\s*[,;]\s*(?P<b>[-+]?\d{1,3}(?:\.\d+)?\s*°?)\s*[)\]]",
    r"(?<![\w.,-])(?P<a>[-+]?\d{1,3}\.\d+\s*°?)(?:\s*[,;/]\s*|\s+)(?P<b>[-+]?\d{1,3}(?:\.\d+)?\s*°?)(?![\w°])",
    r"(?<![\w.,-])(?P<a>[-+]?\d{1,3},\d+\s*°?)(?:\s*[;/]\s*|,\s+|\s+)(?P<b>[-+]?\d{1,3},\d+\s*°?)(?![\w°])",
]
_SERIES = re.compile(r"\s*[,;]\s*[-+]?\d+\.\d")
"""What follows the second of more than two numbers: a list is no position."""


_BARE = _FORMS[-2:]
NEAR = 60  # characters before two numbers that say what they are
_CUE = re.compile(r"coordinate|position|latitude|gps|geo:|answer|guess|estimate|location|located|maps", re.I)
"""What tells that two bare numbers of one or two decimals are a position, not dates or prices."""


class Stated(NamedTuple):
    """A position in a text: where it stands, and latitude and longitude in degrees."""

    start: int
    end: int
    latitude: float
    longitude: float

    @property
    def coordinates(self) -> tuple[float, float]:
        """Return latitude and longitude."""
        return self.latitude, self.longitude


def normalised(text: str) -> str:
    """Return ``text`` with ASCII digits, signs and punctuation, and the words for latitude and longitude in English."""
    text = text.translate(_FULL_WIDTH).translate(_MINUS)
    for axis, words in _TRANSLATED:
        text = words.sub(axis, text)
    return text


def valid_position(latitude: float, longitude: float) -> tuple[float, float]:
    """Return a position; raise ``Unparseable`` if it is out of range, or 0, 0, which stands in for no answer."""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise Unparseable(f"{latitude:g}, {longitude:g} is out of range (latitude ±90, longitude ±180)")
    if latitude == longitude == 0:
        raise Unparseable("0, 0 stands in for no answer")
    return latitude, longitude


def whole_position(text: str) -> tuple[float, float] | None:
    """Return the position that ``text``, normalised, is and nothing else; None if it is more, or none.

    Raises:
        Unparseable: out of range, 0, 0, or a number that was cut off, such as ``48.8584, 2.``.
    """
    if re.match(r"-\s+\d", text):
        raise _dash(text)
    pair = split_position(text.rstrip(" .\n")) if not text.startswith("{") else None
    if pair is None and (found := re.fullmatch(rf"{_FORMS[-1]}\s*\.?", text)):
        pair = found["a"], found["b"]
    if pair is None:
        return None
    values = degrees(pair[0], "latitude"), degrees(pair[1], "longitude")
    if values[0] is None or values[1] is None:
        return None
    _refuse_cut(text, pair[0], pair[1])
    return valid_position(values[0], values[1])


def positions_in(text: str) -> list[Stated]:
    """Return the positions that a running ``text``, normalised, states, in their order.

    Raises:
        Unparseable: the only ones are out of range or 0, 0, or the last was cut off.
    """
    found: list[Stated] = []
    wrong: Unparseable | None = None
    for form in _FORMS:
        for match in re.finditer(form, text, re.IGNORECASE):
            if any(match.start() < other.end and other.start < match.end() for other in found):
                continue
            values = degrees(match["a"], "latitude"), degrees(match["b"], "longitude")
            if values[0] is None or values[1] is None or not _is_meant(match, text, form in _BARE):
                continue
            if match.end() >= len(text.rstrip()) - 1:
                _refuse_cut(text, match["a"], match["b"])
            try:
                found.append(Stated(match.start(), match.end(), *valid_position(values[0], values[1])))
            except Unparseable as error:
                wrong = error
    if not found and wrong is not None:
        raise wrong
    return sorted(found)


def _is_meant(match: re.Match[str], text: str, bare: bool) -> bool:
    """Return whether numbers are a position: not denied, not of a list; bare ones by decimals, degrees or a cue.

    Raises:
        Unparseable: a dash at the beginning of the line is a minus sign or a bullet.
    """
    before = text[max(0, match.start() - NEAR) : match.start()]
    if _SERIES.match(text, match.end()) or re.search(r"\bnot\s+$|\d\s*[,;]\s*$", before, re.IGNORECASE):
        return False
    if re.search(r"(?:^|\n)\s*-\s+$", before):
        raise _dash(match[0])
    decimals = any(re.search(r"[.,]\d{3}", match[half]) for half in "ab")
    return not bare or decimals or all("°" in match[half] for half in "ab") or _CUE.search(before) is not None


def _dash(text: str) -> Unparseable:
    return Unparseable(f"{shown(text)} after a dash and a blank: a minus sign, or a bullet")


def _refuse_cut(text: str, latitude: str, longitude: str) -> None:
    """Raise ``Unparseable`` if ``text`` ends in a longitude of no decimals and a point, its latitude having some."""
    last = longitude.strip()
    if "." in latitude and re.fullmatch(r"[-+]?\d{1,3}\.?", last) and text.rstrip().endswith("."):
        raise Unparseable(f"the answer was cut off in a number: {shown(text[-40:])}")
