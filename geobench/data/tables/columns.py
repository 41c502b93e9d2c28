"""Which columns of a table may have which role, as given or recognised by name, and which separator shows them all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geobench.data.tables.parsing import (
    MAX_COLUMNS,
    SEPARATORS,
    TextRows,
    encoding_of,
    first_row,
    first_rows,
    stated_separator,
)
from geobench.errors import DatasetError

RECOGNISED = {
    "image": ("image", "img_id", "img_file", "image_id", "id", "file", "filename", "file_name", "path", "name"),
    "latitude": ("latitude", "lat", "gps_latitude", "latitude_mean", "y"),
    "longitude": ("longitude", "lon", "lng", "long", "gps_longitude", "longitude_mean", "x"),
}
"""Column names that are recognised, case-insensitive. If a table has several for one role, its content decides."""
PLANE = {"latitude": "y", "longitude": "x"}
"""Names that may as well be those of pixels or of a map's grid: they count together, and beside no other."""
AXES = {"latitude": 90.0, "longitude": 180.0}
"""The coordinates and their bounds in degrees."""
PREAMBLE = 20
"""Lines that may stand above the header, such as a title and remarks."""
SHOWN = 12  # column names in an error
_NUMBER = re.compile(r"\s*[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How to read a table.

    Attributes:
        rows: its rows as text.
        header_line: the line of the header, 0 if there is none.
        header: the names of the columns as the file has them, '' if it has none.
        above: the lines above the header that are no rows, such as a title; a line ``sep=;`` does not count.
        candidates: the columns that may have each role, counted from 0; one if it was given.
    """

    rows: TextRows
    header_line: int
    header: tuple[str, ...]
    candidates: Mapping[str, tuple[int, ...]]
    above: tuple[int, ...] = ()

    def called(self, column: int) -> str:
        """Return how the file calls a column."""
        return repr(self.header[column]) if self.header[column] else f"column {column + 1}"


def find_layout(path: Path, columns: Mapping[str, str | int], header: bool, roles: Sequence[str]) -> Layout:
    """Return the layout of ``path``; ``columns`` gives the columns whose names are not recognised.

    The separator is the only one with which the first row contains all ``roles``.

    Raises:
        DatasetError: there is no such separator, or more than one; the file is not a table.
    """
    encoding = encoding_of(path)
    plain = TextRows(path, encoding, ",")
    plain.refuse_nul()
    stated = stated_separator(plain)
    found: list[Layout] = []
    failures: list[tuple[int, DatasetError]] = []
    for separator in SEPARATORS if stated is None else [stated]:
        width = 0
        try:
            rows = TextRows(path, encoding, separator, quoted=header or separator != "\t")
            first = first_rows(rows, 1 if stated is None else 2)[-1]
            width = len(first[1])
            found.append(_layout(rows, *first, columns, header, roles))
        except DatasetError as error:
            below = _below_preamble(rows, stated is not None, columns, roles) if header else None
            if below is not None:
                found.append(below)
            failures.append((width, error))
    if not found:
        raise max(failures, key=lambda failure: failure[0])[1]
    if len(found) > 1:
        separators = " and by ".join(SEPARATORS[layout.rows.separator] for layout in found)
        raise DatasetError(
            f"{path} can be read as separated by {separators}; use only one of them throughout the file."
        )
    return found[0]


def _below_preamble(
    rows: TextRows, stated: bool, columns: Mapping[str, str | int], roles: Sequence[str]
) -> Layout | None:
    """Return the layout of a table whose header stands below other lines, such as a title; None if none is found."""
    try:
        first = first_rows(rows, PREAMBLE + 1)[stated:]
    except DatasetError:
        return None
    for number, (line, names) in enumerate(first[1:], 1):
        try:
            layout = _layout(rows, line, names, columns, True, roles)
        except DatasetError:
            continue
        return replace(layout, above=tuple(above for above, _ in first[:number]))
    return None


def has_choice(path: Path, columns: Mapping[str, str | int], header: bool) -> bool:
    """Return whether several columns of ``path`` could name the image, by its header alone; False if it has none."""
    if "image" in columns or not header:
        return False
    try:
        encoding = encoding_of(path)
        headers = [first_row(TextRows(path, encoding, separator))[1] for separator in SEPARATORS]
    except DatasetError:
        return False
    return any(len(recognised([name.strip().lower() for name in names], "image")) > 1 for names in headers)


def advice_on(role: str) -> str:
    """Return what to do if the column of ``role`` is not recognised in the table of a data set."""
    return (
        f"Correct the header, or name the column: geobench datasets add NAME … --{role}-column COLUMN (with --replace "
        "if NAME exists)."
    )


def unique_names(header: Sequence[str], roles: Mapping[int, str]) -> tuple[str, ...]:
    """Return ``header`` with the columns of ``roles`` called by their role, and nameless or repeated ones numbered."""
    taken = set(roles.values())
    unique = []
    for index, name in enumerate(header):
        if index in roles:
            unique.append(roles[index])
            continue
        numbered = f"{name} (column {index + 1})" if name else f"column {index + 1}"
        unique.append(numbered if not name or name in taken else name)
        taken.add(unique[-1])
    return tuple(unique)


def recognised(names: Sequence[str], role: str) -> list[str]:
    """Return those of ``names``, all in lower case, that are recognised for ``role``: the most usual first."""
    found = [name for name in RECOGNISED[role] if name in names]
    plane = PLANE.get(role)
    other = [name for axis in PLANE if axis != role for name in RECOGNISED[axis] if name in names]
    if plane in found and (len(found) > 1 or any(name not in PLANE.values() for name in other)):
        found.remove(plane)
    return found


def _layout(
    rows: TextRows, line: int, first: list[str], columns: Mapping[str, str | int], header: bool, roles: Sequence[str]
) -> Layout:
    """Return the layout whose first row is ``first``; raise ``DatasetError`` if a role is missing from it."""
    if len(first) > MAX_COLUMNS:
        raise DatasetError(f"{rows.path}: line {line} has {len(first):,} fields; at most {MAX_COLUMNS:,} are read.")
    while first and not first[-1].strip():
        first = first[:-1]
    names = [name.strip() for name in first] if header else [""] * len(first)
    found = {role: _find(rows.path, names, role, columns.get(role), roles) for role in roles}
    if len({candidates[0] for candidates in found.values()}) < len(roles):
        raise DatasetError(f"{rows.path}: {', '.join(roles)} must be different columns.")
    for role, (index, *_) in found.items():
        if not header and role in AXES and not _NUMBER.fullmatch(first[index]):
            raise DatasetError(
                f"{rows.path}: line {line}: column {index + 1}, {first[index][:40]!r}, is not a {role}; is it the "
                "right column?"
            )
    return Layout(rows, line if header else 0, tuple(names), found)


def _find(
    path: Path, names: Sequence[str], role: str, wanted: str | int | None, roles: Sequence[str]
) -> tuple[int, ...]:
    """Return the indices of the columns that may have the ``role``: one if it is ``wanted``, else all recognised."""
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(names):
            raise DatasetError(f"{path} has no column {wanted} for the {role}; it has {len(names)}.")
        return (wanted - 1,)
    if names and not any(names):  # a table without a header
        raise DatasetError(
            f"{path} is read without a header: state which of its {len(names)} columns, counted from 1, is the {role}: "
            f"geobench datasets add NAME … --{role}-column NUMBER."
        )
    lower = [name.lower() for name in names]
    found = ([wanted.lower()] if wanted.lower() in lower else []) if wanted else recognised(lower, role)
    for candidate in found:
        if lower.count(candidate) > 1:
            raise DatasetError(f"{path} has {lower.count(candidate)} columns called {candidate!r}; rename all but one.")
    if not found:
        raise _missing(path, names, role, wanted, roles)
    return tuple(map(lower.index, found))


def _missing(path: Path, names: Sequence[str], role: str, wanted: str | None, roles: Sequence[str]) -> DatasetError:
    """Return the error for a table of which no column has the ``role``."""
    listed = ", ".join(name[:40] if name.isprintable() else repr(name[:40]) for name in names[:SHOWN])
    listed += f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    looked_for = repr(wanted) if wanted else ", ".join(RECOGNISED[role])
    advice = advice_on(role) if "image" in roles else f"Call it {role}."
    if any(map(_NUMBER.fullmatch, names)):
        advice = "Its first line looks like a row of data; add a header above it."
    return DatasetError(f"{path} has no {role} column (looked for {looked_for}); it has {listed}. {advice}")
