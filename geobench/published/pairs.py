"""Pairs of columns of a latitude and a longitude: what their names share, and whether several are ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from geobench.data.tables.columns import AXES

PREDICTED = frozenset(
    {"pred", "predicted", "prediction", "predictions", "predict", "estimate", "estimated", "est", "guess", "guessed"}
    | {"answer", "answers", "response", "output", "model", "inferred", "hat", "llm", "candidate", "candidates"}
)
TRUE = frozenset(
    {"true", "truth", "gt", "groundtruth", "ground", "actual", "real", "label", "target", "correct"}
    | {"reference", "ref", "expected", "gold"}
)
"""Words in the name of a column of predicted, and of true positions."""
COMPLETING = frozenset({"min", "mins", "minute", "minutes", "sec", "secs", "second", "seconds"})
EDGE = frozenset({"max"})
"""Words in the name of a column of minutes and seconds, and of one beside which ``min`` is the edge of a box."""
AXIS = {
    axis: re.compile(rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{words})(?![a-z])(?!(?<=[A-Z])[A-Z])")
    for axis, words in (("latitude", "latitude|lat"), ("longitude", "longitude|long|lng|lon"))
}
TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Pair:
    """Columns of a latitude and a longitude, or of a position in one text.

    Attributes:
        label: what their names have in common besides the axis, such as ``gpt`` of ``pred_lat_gpt``.
        columns: those that may have each role.
        words: in what their names have in common.
    """

    label: str
    columns: Mapping[str, list[str]]
    words: frozenset[str] = frozenset()


def pairs_of(names: Iterable[str]) -> list[Pair]:
    """Return the pairs of columns whose names are the same but for the words of latitude and longitude."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    labels: dict[tuple[str, str], str] = {}
    for name in names:
        for axis, pattern in AXIS.items():
            cuts = list(pattern.finditer(name))
            if cuts:
                before, after = name[: cuts[-1].start()], name[cuts[-1].end() :]
                key = before.strip().lower(), after.strip().lower()
                found.setdefault(key, {}).setdefault(axis, []).append(name)
                labels.setdefault(key, f"{before}|{after}")
    return [
        Pair(_label(labels[key]), axes, frozenset(_words(labels[key])))
        for key, axes in found.items()
        if {*AXES} == {*axes}
    ]


def _words(text: str) -> list[str]:
    return [word.lower() for word in TOKEN.findall(text)]


def words_of(name: str) -> set[str]:
    """Return the words in the name of a column, in lower case."""
    return set(_words(name))


def _label(rest: str) -> str:
    """Return what is left of the name of a column without the words for predicted: the name of a model.

    >>> _label("pred_|_gpt-4o"), _label("predictions.GPT4.|"), _label("predicted_|")
    ('gpt-4o', 'GPT4', '')
    """
    without = TOKEN.sub(lambda word: "" if word[0].lower() in PREDICTED else word[0], rest)
    return re.sub(r"[|._\s-]*\|[|._\s-]*", " ", without).strip(" ._-")


def in_order(pairs: list[Pair]) -> tuple[list[Pair], bool]:
    """Return ``pairs``, by number and True if they differ by a number alone that counts up: one model's, best first."""
    numbers = [re.findall(r"\d+", pair.label) for pair in pairs]
    plain = {re.sub(r"\d+", "#", pair.label) for pair in pairs}
    if len(pairs) < 2 or len(plain) > 1 or any(len(each) != 1 for each in numbers) or plain.pop().strip() != "#":
        return pairs, False
    by_number = {int(each[0]): pair for each, pair in zip(numbers, pairs, strict=True)}
    counted = sorted(by_number)
    ranked = counted in (list(range(len(pairs))), list(range(1, len(pairs) + 1)))
    return ([by_number[number] for number in counted] if ranked else pairs), ranked
