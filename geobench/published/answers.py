"""What became of each question: a position, or why there is none, from the texts of a file of predictions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geobench.data.tables.columns import AXES
from geobench.geo import FloatArray, invalid_rows
from geobench.predictions import FAILED, NOT_ASKED, OK, REFUSED, SERVICE, UNPARSEABLE, UNREADABLE
from geobench.words.coordinate_text import degrees, split_position

NOTHING = ("", "nan", "none", "null", "n/a", "na", "<na>")
"""Values that mean no prediction."""
STATED = {
    OK: "ok success successful succeeded answered completed complete done valid true 1 200",
    REFUSED: "refused refusal declined rejected content_filter blocked",
    UNPARSEABLE: "unparseable unparsable parse_error parsing_error parse_failed invalid no_position no_answer unknown",
    SERVICE: "error service_error api_error server_error timeout timed_out rate_limit rate_limited exception "
    "408 429 500 502 503 504",
    UNREADABLE: "unreadable unreadable_image image_error image_unreadable corrupt corrupted bad_image missing_image",
    NOT_ASKED: "not_asked skipped pending todo queued not_run unasked",
    FAILED: "failed failure false 0",
}
"""Values of a column ``status``, in lower case with ``_`` for blanks."""
_STATED = {word: status for status, words in STATED.items() for word in words.split()}
_SAID = {
    UNREADABLE: r"cannot identify image|(?:image|photo|file)\s+(?:is\s+|was\s+|could not be |cannot be |can't be )?"
    r"(?:unreadable|corrupt\w*|damaged|truncated|read\b|opened|loaded|decoded|not found|missing)|invalid image",
    REFUSED: r"\bi'?m (?:very |so )?sorry\b|\bi am sorry\b|^\s*sorry\b|\brefus\w+|\bdeclin\w+|content[_ ]filter|"
    r"\b(?:can(?:no|'|’)?t|can not|won'?t|unable to|not able to)\s+(?:help|assist|comply|fulfil\w*|respond)",
    SERVICE: r"time[d]?[ -]?out|rate.?limit|\bHTTP\b|\b(?:4|5)\d\d\b\s*(?:error|client|server)|\berror\b|\bexception\b|"
    r"connection|overloaded|unavailable|bad gateway|quota",
}
"""What texts in place of a position say; the first that fits counts."""


class Answers(NamedTuple):
    """What was made of the texts of n rows.

    Attributes:
        coordinates: (n, 2) degrees, NaN where there is no position.
        status: (n,) of :data:`geobench.predictions.STATUSES`.
        reasons: (n,) why a text is no position; '' where there is one, or no text.
    """

    coordinates: FloatArray
    status: npt.NDArray[np.object_]
    reasons: list[str]


def read_answers(latitudes: Sequence[str], longitudes: Sequence[str]) -> Answers:
    """Return the positions in ``latitudes`` and ``longitudes``; a text that is none is counted, nothing is guessed."""
    import pandas as pd

    texts = (latitudes, longitudes)
    coordinates: FloatArray = np.stack(
        [np.asarray(pd.to_numeric(pd.Series(each, dtype=object), errors="coerce"), dtype=np.float64) for each in texts],
        axis=1,
    )
    status = np.full(len(latitudes), OK, dtype=object)
    reasons = [""] * len(latitudes)
    for row in invalid_rows(coordinates).tolist():
        coordinates[row], status[row], reasons[row] = _read(latitudes[row], longitudes[row])
    return Answers(coordinates, status, reasons)


_LONGITUDE_FIRST = re.compile(r"(?:longitude|long|lng|lon)s?[\W_]*(?:and)?[\W_]*lat(?:itude)?s?(?![a-z])", re.I)


def positions(texts: Sequence[str], name: str = "") -> tuple[list[str], list[str]]:
    """Return latitudes and longitudes, as texts, of positions in one text; one that is none is left as it is.

    Two bare numbers are latitude and longitude, unless the column is called ``lonlat``, ``lng_lat`` or the like.
    """
    reverse = bool(_LONGITUDE_FIRST.search(name))
    pairs = [split_position(_reversed(text) if reverse else text) or (text, "") for text in texts]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def positions_in(text: Mapping[str, Sequence[str]], found: Mapping[str, str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the latitudes and longitudes in ``text``, by role, of columns that are called as ``found`` says."""
    if "position" in text:
        return positions(text["position"], found["position"])
    return text["latitude"], text["longitude"]


def _reversed(text: str) -> str:
    """Return two bare numbers the other way round, any other text as it is."""
    found = re.fullmatch(r"[\s([]*([+\-−]?[\d.]+)\s*[,;\s]\s*([+\-−]?[\d.]+)[\s)\]]*", text)
    return f"{found[2]}, {found[1]}" if found else text


def _read(latitude: str, longitude: str) -> tuple[Any, str, str]:
    """Return the position in two texts of which one is not a number in range, its status and what is wrong with it."""
    nothing = (np.nan, np.nan)
    empty = [text.strip().lower() in NOTHING for text in (latitude, longitude)]
    if all(empty):
        return nothing, UNPARSEABLE, ""
    if empty[1] and (pair := split_position(latitude)) is not None:
        latitude, longitude, empty = *pair, [False, False]
    said = " ".join(text for text, void in zip((latitude, longitude), empty, strict=True) if not void)
    shown = repr(said if len(said) <= 60 else f"{said[:59]}…")
    values = [_number(text, axis) for text, axis in zip((latitude, longitude), AXES, strict=True)]
    if any(empty) and any(value is not None for value in values):
        return nothing, UNPARSEABLE, f"{shown}: a latitude or a longitude, not both"
    if any(value is None for value in values):
        return nothing, says(said) or UNPARSEABLE, f"{shown} is no position"
    position = np.array(values, dtype=np.float64)
    if len(invalid_rows(position[None])):
        text = f"{position[0]:g}, {position[1]:g} is out of range (latitude ±90, longitude ±180)"
        return nothing, UNPARSEABLE, text
    return position, OK, ""


def _number(text: str, axis: str) -> float | None:
    try:
        value = float(text) if "_" not in text else np.nan  # Python's 1_000 is nobody's coordinate
    except ValueError:
        return degrees(text, axis)
    return value if np.isfinite(value) else None


def says(text: str) -> str:
    """Return the status that words in place of a position tell; empty if they tell none.

    >>> [says(text) for text in ("I'm sorry, but I can't help with that.", "HTTP 503", "Unknown")]
    ['refused', 'service error', '']
    """
    return next((status for status, pattern in _SAID.items() if re.search(pattern, text, re.IGNORECASE)), "")


def stated(texts: Sequence[str]) -> npt.NDArray[np.object_] | None:
    """Return the statuses (n,) that a column states, '' where it is empty; None if it holds anything else."""
    if not any(texts) or not_stated(texts) is not None:
        return None
    return np.array([_STATED.get(_word(text), "") for text in texts], dtype=object)


def not_stated(texts: Sequence[str]) -> int | None:
    """Return the first row whose text is no known status, None if there is none."""
    return next((row for row, text in enumerate(texts) if _word(text) and _word(text) not in _STATED), None)


def _word(text: str) -> str:
    word = re.sub(r"[\s-]+", "_", text.strip().lower())
    return "" if word in ("nan", "none", "null") else word.removesuffix(".0")


def _are_distances(errors: Sequence[str]) -> bool:
    """Return whether a column called error holds numbers other than 0 and 1: kilometres, not messages."""
    filled = [text for text in errors if text.lower() not in NOTHING]
    try:
        return any(float(text) not in (0, 1) for text in filled) and bool(filled)
    except ValueError:
        return False


def with_reasons(answers: Answers, status: Sequence[str], errors: Sequence[str], responses: Sequence[str]) -> Answers:
    """Return ``answers`` with what further columns say of them, each empty where there is none.

    A status that says that there is no answer holds, whatever the position; an error or a response tells why a position
    is missing.
    """
    found = answers.status.copy()
    coordinates = answers.coordinates.copy()
    held = stated(status) if len(status) else None
    errors = () if _are_distances(errors) else errors
    for row in np.flatnonzero(found != OK).tolist():
        if len(errors) and errors[row].lower() not in (*NOTHING, "false", "0"):
            found[row] = says(errors[row]) or SERVICE
        elif found[row] == UNPARSEABLE and len(responses) and says(responses[row]) == REFUSED:
            found[row] = REFUSED
    if held is not None:
        told = (held != "") & (held != OK)
        found[told] = held[told]
        coordinates[told] = np.nan
    return Answers(coordinates, found, answers.reasons)
