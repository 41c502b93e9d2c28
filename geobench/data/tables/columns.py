"""Which column of a table is which, as given or recognised by name, and which separator makes them all appear."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geobench.data.tables.parsing import MAX_COLUMNS, SEPARATORS, TextRows, encoding_of, first_row
from geobench.errors import DatasetError

RECOGNISED = {
    "image": ("image", "img_id", "img_file", "image_id", "id", "file", "filename", "file_name", "path", "name"),
    "latitude": ("latitude", "lat", "gps_latitude", "y"),
    "longitude": ("longitude", "lon", "lng", "long", "gps_longitude", "x"),
}
"""Column names that are recognised, case-insensitive, in this order."""
AXES = {"latitude": 90.0, "longitude": 180.0}
"""The coordinates and their bounds in degrees."""
SHOWN = 12  # column names in an error
_NUMBER = re.compile(r"\s*[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How to read a table.

    Attributes:
        rows: its rows as text.
        header_line: the line of the header, 0 if there is none.
        names: of the columns, without duplicates; the roles are called ``image``, ``latitude`` and ``longitude``.
    """

    rows: TextRows
    header_line: int
    names: tuple[str, ...]


def find_layout(path: Path, columns: Mapping[str, str | int], header: bool, roles: Sequence[str]) -> Layout:
    """Return the layout of ``path``; ``columns`` gives the columns whose names are not recognised.

    The separator is the only one with which the first row contains all ``roles``.

    Raises:
        DatasetError: there is no such separator, or more than one; the file is not a table.
    """
    encoding = encoding_of(path)
    TextRows(path, encoding, ",").refuse_nul()
    found: list[Layout] = []
    failures: list[tuple[int, DatasetError]] = []
    for separator in SEPARATORS:
        width = 0
        try:
            rows = TextRows(path, encoding, separator, quoted=header or separator != "\t")
            line, first = first_row(rows)
            width = len(first)
            found.append(_layout(rows, line, first, columns, header, roles))
        except DatasetError as error:
            failures.append((width, error))
    if not found:
        raise max(failures, key=lambda failure: failure[0])[1]
    if len(found) > 1:
        separators = " and by ".join(SEPARATORS[layout.rows.separator] for layout in found)
        raise DatasetError(
            f"{path} can be read as separated by {separators}; use only one of them throughout the file."
        )
    return found[0]


def advice_on(role: str) -> str:
    """Return what to do if the column of ``role`` is not recognised in the table of a data set."""
    return (
        f"Correct the header, or name the column: geobench datasets add NAME … --{role}-column COLUMN (with --replace "
        "if NAME exists)."
    )


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
    if len(set(found.values())) < len(roles):
        raise DatasetError(f"{rows.path}: {', '.join(roles)} must be different columns.")
    for role, index in found.items():
        if not header and role in AXES and not _NUMBER.fullmatch(first[index]):
            raise DatasetError(
                f"{rows.path}: line {line}: column {index + 1}, {first[index][:40]!r}, is not a {role}; is it the "
                "right column?"
            )
    return Layout(rows, line if header else 0, _unique(names, {index: role for role, index in found.items()}))


def _unique(names: Sequence[str], roles: Mapping[int, str]) -> tuple[str, ...]:
    """Return ``names`` with those of ``roles`` replaced by their role, and nameless or repeated ones numbered."""
    taken = set(roles.values())
    unique = []
    for index, name in enumerate(names):
        if index in roles:
            unique.append(roles[index])
            continue
        numbered = f"{name} (column {index + 1})" if name else f"column {index + 1}"
        unique.append(numbered if not name or name in taken else name)
        taken.add(unique[-1])
    return tuple(unique)


def _find(path: Path, names: Sequence[str], role: str, wanted: str | int | None, roles: Sequence[str]) -> int:
    """Return the index of the column of ``role``."""
    listed = ", ".join(name[:40] if name.isprintable() else repr(name[:40]) for name in names[:SHOWN])
    listed += f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(names):
            raise DatasetError(f"{path} has no column {wanted} for the {role}; it has {len(names)}.")
        return wanted - 1
    if names and not any(names):  # a table without a header
        raise DatasetError(
            f"{path} is read without a header: state which of its {len(names)} columns, counted from 1, is the {role}: "
            f"geobench datasets add NAME … --{role}-column NUMBER."
        )
    lower = [name.lower() for name in names]
    for candidate in (wanted.lower(),) if wanted else RECOGNISED[role]:
        if lower.count(candidate) > 1:
            raise DatasetError(f"{path} has {lower.count(candidate)} columns called {candidate!r}; rename all but one.")
        if candidate in lower:
            return lower.index(candidate)
    looked_for = repr(wanted) if wanted else ", ".join(RECOGNISED[role])
    advice = advice_on(role) if "image" in roles else f"Call it {role}."
    if any(map(_NUMBER.fullmatch, names)):
        advice = "Its first line looks like a row of data; add a header above it."
    raise DatasetError(f"{path} has no {role} column (looked for {looked_for}); it has {listed}. {advice}")
