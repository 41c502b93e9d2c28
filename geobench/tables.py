"""Reading a metadata CSV: which column is which, and a clear line for what cannot be used."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench.errors import DatasetError
from geobench.geo import FloatArray, invalid_rows

if TYPE_CHECKING:
    import pandas as pd

RECOGNISED = {
    "image": ("image", "img_id", "img_file", "image_id", "id", "file", "filename", "file_name", "path", "name"),
    "latitude": ("latitude", "lat", "gps_latitude", "y"),
    "longitude": ("longitude", "lon", "lng", "long", "gps_longitude", "x"),
}
"""Column names that are understood without being told, case-insensitive, in this order."""
HEADER_LINES = 1  # row 0 of a table is line 2 of its file


def read_table(path: Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the table in the CSV file ``path`` with the columns ``image``, ``latitude``, ``longitude`` and the rest.

    Args:
        path: a CSV file with a header.
        columns: the file's names for ``image``, ``latitude`` and ``longitude``, where they are not recognised.

    Raises:
        DatasetError: the file is missing, empty or no table; a column is missing; coordinates are not usable.
    """
    table = _named(_read_csv(path), list(RECOGNISED), columns or {}, path, "Name it with --{role}-column.")
    coordinates = _coordinates(table, path)
    repeated = table["image"].duplicated()
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        raise DatasetError(
            f"{path}: {int(repeated.sum())} images are listed twice, first {table['image'].iloc[row]!r} in line "
            f"{_line(table, row)}; keep one row for each image."
        )
    table["latitude"], table["longitude"] = coordinates.T
    return table[[*RECOGNISED, *(c for c in table.columns if c not in RECOGNISED)]].reset_index(drop=True)


def read_coordinates(path: Path) -> FloatArray:
    """Return the coordinates (n, 2) in the CSV file ``path``; raise ``DatasetError`` as :func:`read_table` does."""
    table = _named(_read_csv(path), ["latitude", "longitude"], {}, path, "Call it {role}.")
    return _coordinates(table, path)


def _read_csv(path: Path) -> pd.DataFrame:
    """Return the rows that are not blank; the index is that of the file, blank rows counted."""
    import pandas as pd

    try:
        # Everything as text, nothing read as missing: ids keep their zeros and the country NA stays Namibia.
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
            skip_blank_lines=False,
        )
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, csv.Error, OSError) as error:
        detail = str(error).splitlines()[0]
        raise DatasetError(f"{path} is no readable CSV file ({detail}); it needs a header and UTF-8 text.") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas would take the first column for an index
        raise DatasetError(f"{path}: rows hold more values than the header names; put texts with a comma in quotes.")
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise DatasetError(f"{path} holds no rows; it needs a header and a row for each image.")
    return table


def _named(
    table: pd.DataFrame, roles: Sequence[str], columns: Mapping[str, str], path: Path, advice: str
) -> pd.DataFrame:
    """Return ``table`` with the columns of ``roles`` renamed to them; another column of such a name gives way."""
    found = {_find_column(table, role, columns.get(role), path, advice): role for role in roles}
    if len(found) < len(roles):
        raise DatasetError(f"{path}: {', '.join(roles)} must be columns of their own; named were {', '.join(found)}.")
    others = [role for role in roles if role in table.columns and role not in found]
    return table.drop(columns=others).rename(columns=found)


def _find_column(table: pd.DataFrame, role: str, wanted: str | None, path: Path, advice: str) -> str:
    by_lower = {str(column).strip().lower(): str(column) for column in table.columns}
    candidates = (wanted.lower(),) if wanted else RECOGNISED[role]
    for candidate in candidates:
        if candidate in by_lower:
            return by_lower[candidate]
    looked_for = repr(wanted) if wanted else ", ".join(RECOGNISED[role])
    raise DatasetError(
        f"{path} has no {role} column (looked for {looked_for}); it has {', '.join(map(str, table.columns))}. "
        + advice.format(role=role)
    )


def _coordinates(table: pd.DataFrame, path: Path) -> FloatArray:
    import pandas as pd

    numbers = [pd.to_numeric(table[axis], errors="coerce").to_numpy(np.float64) for axis in ("latitude", "longitude")]
    coordinates = np.stack(numbers, axis=1)
    bad = invalid_rows(coordinates)
    if len(bad):
        shown = "; ".join(
            f"line {_line(table, row)}: {table['latitude'].iloc[row]!r}, {table['longitude'].iloc[row]!r}"
            for row in bad[:3]
        )
        raise DatasetError(
            f"{path}: {len(bad)} of {len(table)} rows have no usable coordinates (latitude ±90, longitude ±180), "
            f"{shown}; correct or remove them."
        )
    return coordinates


def _line(table: pd.DataFrame, row: int) -> int:
    """Return the line of the file that ``row`` begins in; a cell in quotes may hold line breaks."""
    above = table.iloc[:row]
    breaks = sum(int(above[column].str.count("\n").sum()) for column in above)
    return int(table.index[row]) + 1 + HEADER_LINES + breaks
