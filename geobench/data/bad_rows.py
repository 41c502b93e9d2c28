"""Rows of a user's table that are left out of a set on request, and the table that remains."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geobench.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.tables.rows import Rows

MOST = 0.5
"""If a larger share of the rows is bad, the table is misread, and leaving them out would keep rows misread likewise."""


class Bad(NamedTuple):
    """What was left out, an image or a line, and why."""

    what: str
    reason: str


def refuse_too_many(rows: Rows) -> None:
    """Raise ``DatasetError`` if the whole table is misread rather than some of its rows bad.

    That is so if one correction would make all of them good, such as swapping latitude and longitude: rows that pass
    by chance would be placed wrongly.
    """
    n = len(rows.table) + len(rows.problems)
    if rows.problems and (rows.advice or len(rows.problems) > MOST * n):
        why = rows.advice or "that is no row or two: is it the right table, and are these the right columns?"
        first = rows.problems[0]
        raise DatasetError(
            f"{rows.where}: {len(rows.problems):,} of {n:,} rows cannot be used, such as line {first.line}: "
            f"{first.reason}; {why}. They are not left out as bad rows."
        )


def write_exact(
    folder: Path, tables: Mapping[str, pd.DataFrame], columns: Mapping[str, str | int]
) -> dict[str, str | int]:
    """Write the tables of a set's splits as ``metadata.csv``, or ``train.csv`` and ``test.csv``, into ``folder``.

    Args:
        folder: of the set's definition.
        tables: ``image``, ``latitude``, ``longitude`` first, then all others; names are exact.
        columns: of the set so far: shards name their images by the field that it states, so that name is kept.

    Returns:
        The columns of the set with these tables, by number: other columns may be called ``image`` too.
    """
    field = columns.get("image")
    for split, table in tables.items():
        head = ["image", "latitude", "longitude", *(str(name) for name in table.columns[3:])]
        head[0] = field if isinstance(field, str) else head[0]
        path = folder / f"{'metadata' if split == 'all' else split}.csv"
        # quoted, or blanks at the beginning of a name would be lost
        table.to_csv(path, index=False, header=head, quoting=csv.QUOTE_NONNUMERIC)
    found: dict[str, str | int] = {"image": field if isinstance(field, str) else 1, "latitude": 2, "longitude": 3}
    return found | {role: column for role, column in columns.items() if role == "photo"}
