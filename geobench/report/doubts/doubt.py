"""A reason to doubt rows of a table, and how rows are named in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from geobench.report.rows import Row
from geobench.results import Result

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Doubt:
    """A reason to doubt.

    Attributes:
        kind: a few words, the same for all doubts of a kind.
        rows: that it concerns.
        text: a sentence.
    """

    kind: str
    rows: tuple[Row, ...]
    text: str


def named(rows: Sequence[Row], among: Sequence[Row]) -> str:
    """Return the names of ``rows``; "all rows" if they are all that are ``among``."""
    if len(rows) == len(among) > 1:
        return "all rows"
    return ", ".join(dict.fromkeys(row.model for row in rows))


def rows_by(rows: Sequence[Row], value: Callable[[Result], Key]) -> dict[Key, list[Row]]:
    """Return ``rows`` by a value of their results, which is the same for all of a row."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(value(row.results[0]), []).append(row)
    return found
