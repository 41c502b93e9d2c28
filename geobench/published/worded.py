"""Logs of answers in words: where a file has the answers, and what a parser and the geocoder make of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geobench.errors import ResultError, SettingError
from geobench.predictions import ANSWER, OK, REFUSED, SERVICE, UNPARSEABLE
from geobench.published.answers import says
from geobench.published.file_columns import RESPONSES, listed, others_of
from geobench.published.records import Record, Records, text_of
from geobench.words.geocoding import geocoder
from geobench.words.parsers import PARSERS, Parser, Refusal, Unparseable
from geobench.words.reading import read_answer

_OF_SERVICES = re.compile(
    r"(?:^|\.)(?:choices\.0\.(?:message\.content(?:\.\d+\.text)?|text)|message\.content\.\d+\.text|"
    r"output\.\d+\.content\.\d+\.text|candidates\.0\.content\.parts\.\d+\.text)$"
)
"""Paths of an answer in what OpenAI's, Anthropic's and Google's services return, in a batch or one by one."""
_FURTHER = re.compile(r"(?:^|\.)(?:choices|candidates)\.[1-9]\d*\.")
_FINISH = re.compile(r"(?:^|\.)(?:finish_?reason|stop_reason|done_reason)$", re.IGNORECASE)
_REFUSED = re.compile(r"(?:^|\.)message\.refusal$")
_ERROR = re.compile(r"(?:^|\.)(?:error|error_message|exception|error\.(?:message|code|type))$")
_LOST = re.compile(
    r"\W*(?:error|exception|traceback|https?\b|api[_ ]error|request failed|timed? ?out)\b", re.IGNORECASE
)
_WRAPPED = frozenset(("data", "text", "content", "response", "answer", "output"))
_STATE = re.compile(r"(?:^|\.)(?:result\.type|response\.status_code)$")
_FINE = ("", "succeeded", "200")
SHOWN = 3
POSITIONS = ("latitude", "longitude", "position", "score", "status")


def in_words(path: Path, records: Records, parser: Parser, columns: Mapping[str, str]) -> Records:
    """Return ``records`` with what their answers claim in columns latitude, longitude, status and confidence.

    What else a record says of a position is left out: it was read by another parser. Further columns, which begin with
    :data:`geobench.predictions.ANSWER`, hold the text, the place found and the rule, or the reason why there is none.

    Raises:
        ResultError: no column of answers is recognised; no answer claims a place, and most are no refusals.
        SettingError: ``columns`` names a column of positions, scores or statuses.
    """
    if given := sorted(set(columns) & set(POSITIONS)):
        raise SettingError(f"columns: {given[0]} is not read where a parser reads answers; leave it out.")
    names = list(dict.fromkeys(name for record in records.found for name in record.values))
    answers, notes = _answers(path, names, records.found, columns)
    kept = {name for role in ("image", "model", "rank") for name in others_of(names).get(role, ())}
    kept |= {name for name in names if name.lower() in {column.lower() for column in columns.values()}}
    kept -= {*POSITIONS, "confidence"}
    found = [
        Record(record.line, {name: record.values.get(name) for name in kept} | _read(record, answers, parser))
        for record in records.found
    ]
    notes += _unread(path, found, records.unit, parser)
    return records._replace(found=found, notes=(*records.notes, *notes), response=" and ".join(answers))


def geocoder_of(records: Records) -> str:
    """Return what turned names into places, with its versions; empty if every answer states coordinates."""
    levels = {record.values.get(f"{ANSWER}level") for record in records.found}
    return geocoder() if levels - {"", "coordinates"} else ""


def _answers(
    path: Path, names: Sequence[str], records: Sequence[Record], columns: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the columns whose texts, joined, are the answers, and notes on those that are not read."""
    if "response" in columns:
        by_lower = {name.strip().lower(): name for name in names}
        wanted = columns["response"].strip().lower()
        if wanted not in by_lower:
            raise ResultError(f"{path} has no column {columns['response']!r} for the answers; it has {listed(names)}.")
        return [by_lower[wanted]], []
    texts = [name for name in names if any(isinstance(record.values.get(name), str) for record in records)]
    if of_service := [name for name in texts if _OF_SERVICES.search(name)]:
        more = any(_FURTHER.search(name) for name in texts)
        return of_service, ["of several answers to a request the first is read"] if more else []
    found = called_so(texts)
    if not found:
        raise ResultError(
            f"{path} has no recognised column of answers; it has {listed(names)}. Name it (columns): response=NAME."
        )
    others = ", ".join(found[1:])
    return found[:1], [
        f"answers are read from {found[0]}, not from {others}; to read others: response=NAME"
    ] if others else []


def called_so(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that are called like answers, alone or at the end of a path, the likeliest first."""
    ends: dict[str, list[str]] = {}
    for name in names:
        ends.setdefault(name.strip().lower().rpartition(".")[2].replace(" ", "_"), []).append(name)
    return [ends[word][0] for word in RESPONSES if len(ends.get(word, ())) == 1]


def _read(record: Record, answers: Sequence[str], parser: Parser) -> dict[str, Any]:
    """Return the columns of what an answer claims, or why it claims nothing."""
    values = record.values
    parts = [
        text_of(values.get(name)) for name in answers if values.get(name.rpartition(".")[0] + ".thought") is not True
    ]
    text = _unwrapped("\n".join(filter(None, parts)))
    status, reason, claimed = OK, "", {}
    try:
        if declined := _said(values, _REFUSED):
            raise Refusal(declined)
        if not text and (lost := _said(values, _ERROR) or _state(values)):
            status, reason = says(lost) or SERVICE, lost
        else:
            claimed = _place(parser, text, _said(values, _FINISH))
    except Refusal as refusal:
        status, reason = REFUSED, str(refusal)
    except Unparseable as fault:
        status, reason = (says(text) or SERVICE if _LOST.match(text) else UNPARSEABLE), str(fault)
    told = {"text": text, "reason": reason} | {
        name: claimed.get(name, "") for name in ("level", "country", "region", "city", "rule")
    }
    numbers = {name: claimed.get(name) for name in ("confidence", "candidates")}
    return {
        "latitude": claimed.get("latitude"),
        "longitude": claimed.get("longitude"),
        "status": status,
        "confidence": claimed.get("confidence"),
        **{f"{ANSWER}{name}": value for name, value in {**told, **numbers}.items()},
    }


def _place(parser: Parser, text: str, finish: str) -> dict[str, Any]:
    """Return what ``text`` claims, and where that is; raise ``Refusal`` or ``Unparseable`` if it claims no place."""
    claim, place = read_answer(parser, text, finish)
    return {
        "latitude": repr(place.latitude),
        "longitude": repr(place.longitude),
        "confidence": claim.confidence,
        "level": place.level,
        **{name: getattr(place, name) for name in ("country", "region", "city", "rule", "candidates")},
    }


def _said(values: Mapping[str, Any], pattern: re.Pattern[str]) -> str:
    """Return the texts of the columns that ``pattern`` finds, joined; those of further answers to a request not."""
    named = [name for name in values if pattern.search(name) and not _FURTHER.search(name)]
    return ": ".join(text_of(values[name]) for name in named if isinstance(values[name], str) and text_of(values[name]))


def _state(values: Mapping[str, Any]) -> str:
    """Return the state of a request that failed, as its service calls it; empty if it did not fail."""
    states = [text_of(values[name]) for name in values if _STATE.search(name)]
    return next((f"error {state}" for state in states if state not in _FINE), "")


def _unwrapped(text: str) -> str:
    """Return the text in JSON that holds nothing else, as GLOBE's evaluation writes it: ``{"data": "…"}``."""
    if not text.startswith("{"):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict) and len(found) == 1 and (key := next(iter(found))) in _WRAPPED:
        return text_of(found[key]) if isinstance(found[key], str) or found[key] is None else text
    return text


def _unread(path: Path, found: Sequence[Record], unit: str, parser: Parser) -> list[str]:
    """Return a note on the answers in which the parser reads nothing; raise ``ResultError`` if it reads none at all."""
    wrong = [record for record in found if record.values["status"] == UNPARSEABLE]
    if not wrong:
        return []
    shown = "; ".join(f"{unit} {record.line}: {record.values[f'{ANSWER}reason']}" for record in wrong[:SHOWN])
    if 2 * len(wrong) >= len(found) and not any(record.values["status"] == OK for record in found):
        raise ResultError(
            f"{path}: the parser {parser.name} reads no place in any of {len(found):,} {unit}s: {shown}. Is it the "
            f"right parser ({', '.join(PARSERS)}), and the right column (columns: response=NAME)?"
        )
    more = "; …" if len(wrong) > SHOWN else ""
    return [f"answers in which {parser.label} reads no place, counted as unparseable ({len(wrong):,}): {shown}{more}"]
