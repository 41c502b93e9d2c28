"""Which of several columns has a role: their content decides, and if it does not, the user is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geobench.data.tables.coordinates import as_numbers
from geobench.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

SAMPLED = 1000
"""Rows, evenly spaced, whose images are looked for to tell which column names them."""
SAME_DEGREES = 1.01e-4
"""Two columns of one coordinate agree if they differ by no more: the same value, rounded to four decimals (11 m)."""
_SHOWN = 40  # characters of a value in a message


class Match(NamedTuple):
    """What a name in a table refers to: ``target``, which is called exactly so (``exact``) or nearly so."""

    target: str
    exact: bool


Resolve = Callable[[Sequence[str]], "Sequence[Match | None] | None"]
"""Returns for each name the image that it refers to, None for no image; None altogether if the images are not here."""


Remedy = Callable[[str], str]
"""Returns what a user can do, for the name of a column."""


class Column(NamedTuple):
    """A column that may have a role.

    Attributes:
        name: as messages have it.
        texts: of its rows.
    """

    name: str
    texts: pd.Series[str]


class Chosen(NamedTuple):
    """The number of the column chosen, and a note for the user, '' if there was no choice."""

    number: int
    note: str = ""


def choose_image_column(where: str, columns: Sequence[Column], resolve: Resolve | None, remedy: Remedy) -> Chosen:
    """Return which of ``columns`` names the images: the only one that names some exactly, and as many as any other.

    If none names any exactly, the only one that names some nearly. If all are the same, the first.

    Args:
        where: the table, for messages.
        columns: the candidates.
        resolve: looks for the images; None if there are none to look for.
        remedy: says how the user can name the column.

    Raises:
        DatasetError: it cannot be told.
    """
    first = columns[0].texts.str.strip()
    if all((column.texts.str.strip() == first).all() for column in columns[1:]):
        return Chosen(0)
    rows = np.unique(np.linspace(0, len(first) - 1, min(SAMPLED, len(first))).astype(int))
    samples = [column.texts.iloc[rows].str.strip().tolist() for column in columns]
    found = [resolve(sample) if resolve is not None else None for sample in samples]
    matches = [m for m in found if m is not None]
    winner = _winner(matches)
    if winner is not None:
        return Chosen(winner, _note(columns, matches, winner, len(rows)))
    names = " and ".join(repr(column.name) for column in columns)
    examples = ", ".join(repr(sample[0][:_SHOWN]) for sample in samples)
    raise DatasetError(
        f"{where}: {names} may each be the column of the image ({examples}), {_undecided(matches)}; "
        f"{remedy(columns[-1].name)}."
    )


def _winner(found: Sequence[Sequence[Match | None]]) -> int | None:
    """Return the number of the column whose names are the images', None if that cannot be told."""
    exact = [sum(match is not None and match.exact for match in column) for column in found]
    there = [sum(match is not None for match in column) for column in found]
    for counts in (exact, there):
        ahead = [number for number, count in enumerate(counts) if count]
        if ahead:
            best = max(ahead, key=there.__getitem__)
            same = all(_agree(found[best], found[number]) for number in ahead)
            return best if same and there[best] == max(there) else None
    return None


def _agree(one: Sequence[Match | None], other: Sequence[Match | None]) -> bool:
    """Return whether two columns refer to the same images."""
    pairs = zip(one, other, strict=True)
    return all(a is None or b is None or a.target == b.target for a, b in pairs)


def _note(columns: Sequence[Column], found: Sequence[Sequence[Match | None]], winner: int, n: int) -> str:
    count = sum(match is not None and match.exact for match in found[winner])
    how = f"{count:,} of {n:,} rows looked at" if count else "no other names any"
    others = " and ".join(repr(column.name) for number, column in enumerate(columns) if number != winner)
    return f"the column {columns[winner].name!r} names the images ({how}), not {others}"


def _undecided(found: Sequence[Sequence[Match | None]]) -> str:
    if not found:
        return "and there are no images here to tell by"
    if not any(match for column in found for match in column):
        return "and none of them names an image that is here"
    return "and more than one of them names images that are here"


def choose_axis(where: str, axis: str, columns: Sequence[Column], remedy: Remedy) -> int:
    """Return which of ``columns`` holds a coordinate: the first that has numbers, if all that have agree with it.

    Args:
        where: the table, for messages.
        axis: ``latitude`` or ``longitude``.
        columns: the candidates, whose texts are indexed by line.
        remedy: says how the user can name the column.

    Raises:
        DatasetError: the columns differ.
    """
    values = [as_numbers(column.texts) for column in columns]
    filled = [number for number, column in enumerate(values) if np.isfinite(column).any()]
    for number in filled[1:]:
        chosen = filled[0]
        with np.errstate(invalid="ignore"):
            apart = np.abs((values[number] - values[chosen] + 180) % 360 - 180) > SAME_DEGREES
        if apart.any():
            row, both = int(apart.argmax()), np.isfinite(values[number] + values[chosen])
            a, b = columns[chosen], columns[number]
            raise DatasetError(
                f"{where}: {a.name!r} and {b.name!r} may both be the column of the {axis}, and they differ in "
                f"{int(apart.sum()):,} of {int(both.sum()):,} rows, such as line {a.texts.index[row]}: "
                f"{a.texts.iloc[row].strip()[:_SHOWN]} and {b.texts.iloc[row].strip()[:_SHOWN]}; "
                f"{remedy(b.name)}."
            )
    return filled[0] if filled else 0


def remedy_for(role: str, is_table: bool) -> Remedy:
    """Return what to do if several columns may have a role in the table of a data set, or in a file of coordinates."""
    if not is_table:
        return lambda name: "rename or remove all but one"
    return lambda name: (
        f"name the right one: columns={{{role!r}: {name!r}}} in Python, or geobench datasets add NAME … "
        f"--{role}-column {name} (with --replace if NAME exists)"
    )
