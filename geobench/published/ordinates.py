"""Columns beside a latitude and a longitude that complete them: hemispheres, minutes and seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from geobench.data.tables.columns import AXES
from geobench.data.tables.coordinates import add_minutes, apply_hemispheres
from geobench.errors import ResultError
from geobench.geo import FloatArray
from geobench.published.records import Records, text_of

_WORD = {"latitude": r"latitude|lat|y", "longitude": r"longitude|long|lng|lon|x"}


def complete(path: Path, records: Records, coordinates: FloatArray, found: Mapping[str, str]) -> None:
    """Add minutes and seconds to ``coordinates`` (n, 2), in place, and give them the signs of their hemispheres.

    A column is that of a position if its name has the same further words: ``pred_lat_ref`` is of ``pred_lat``, and
    ``lat_ref`` of ``lat``, which may be the true one.

    Raises:
        ResultError: a hemisphere or a number of minutes cannot be what it is called; names the line.
    """
    names = list(dict.fromkeys(name for record in records.found for name in record.values))
    for number, axis in enumerate(AXES):
        if axis not in found:
            continue
        own = _of_position(names, found[axis], axis)
        columns = {short: [text_of(record.values.get(name)) for record in records.found] for short, name in own.items()}
        values = coordinates[:, number]
        wrong = {**add_minutes(values, axis, columns), **apply_hemispheres(values, axis, columns)}
        for row, reason in wrong.items():
            called = re.search(r"column '([^']*)'", reason)
            said = reason.replace(f"'{called[1]}'", f"'{own[called[1]]}'") if called else reason
            raise ResultError(f"{path}: {records.unit} {records.found[row].line}: {said}.")


def _of_position(names: list[str], column: str, axis: str) -> dict[str, str]:
    """Return the columns that may complete ``column``, by their names without what that has besides the axis."""
    cuts = list(re.finditer(_WORD[axis], column, re.IGNORECASE))
    before, after = (column[: cuts[-1].start()], column[cuts[-1].end() :]) if cuts else ("", "")
    own = {axis: column}
    for name in names:
        if name == column:
            continue
        if before + after and name.startswith(column):
            own[axis + name.removeprefix(column)] = name
        elif name.startswith(before) and name.endswith(after):
            own[name[len(before) : len(name) - len(after)]] = name
    if before + after and not any(re.fullmatch(_WORD[axis], name.strip(), re.IGNORECASE) for name in names):
        own |= {name: name for name in names if name not in own.values()}  # no other position has hemispheres
    return own
