"""Which column of a table is which: told, or recognised by its name. The separator is the one that finds them all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geobench.data.tables.parsing import MAX_COLUMNS, SEPARATORS, Cells, encoding_of, first_row
from geobench.errors import DatasetError

RECOGNISED = {
    "image": ("image", "img_id", "img_file", "image_id", "id", "file", "filename", "file_name", "path", "name"),
    "latitude": ("latitude", "lat", "gps_latitude", "y"),
    "longitude": ("longitude", "lon", "lng", "long", "gps_longitude", "x"),
}
"""Column names that are understood without being told, case-insensitive, in this order."""
AXES = {"latitude": 90.0, "longitude": 180.0}
"""The coordinates and their bounds in degrees."""
LISTED = 12  # names that an error shows
_NUMBER = re.compile(r"\s*[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a table is to be read.

    Attributes:
        cells: its rows.
        header_line: the line of the header, 0 where there is none.
        names: of the columns, each once; those of the roles are ``image``, ``latitude`` and ``longitude``.
    """

    cells: Cells
    header_line: int
    names: tuple[str, ...]


def find_layout(path: Path, columns: Mapping[str, str | int], header: bool, roles: Sequence[str]) -> Layout:
    """Return the layout of ``path``, whose columns ``columns`` tells where their names are not recognised.

    The separator is the only one by which the first row holds all ``roles``.

    Raises:
        DatasetError: there is no such separator, or more than one; the file is no table.
    """
    encoding = encoding_of(path)
    Cells(path, encoding, ",").refuse_nul()
    fitting: list[Layout] = []
    failures: list[tuple[int, DatasetError]] = []
    for separator in SEPARATORS:
        width = 0
        try:
            cells = Cells(path, encoding, separator, quoted=header or separator != "\t")
            line, first = first_row(cells)
            width = len(first)
            fitting.append(_layout(cells, line, first, columns, header, roles))
        except DatasetError as error:
            failures.append((width, error))
    if not fitting:
        raise max(failures, key=lambda failure: failure[0])[1]
    if len(fitting) > 1:
        listed = " and by ".join(SEPARATORS[layout.cells.separator] for layout in fitting)
        raise DatasetError(f"{path} can be read as separated by {listed}; use one of them in the whole file.")
    return fitting[0]


def advice_on(role: str) -> str:
    """Return what to do where the column of ``role`` is not recognised in the table of a data set."""
    return (
        f"Correct the header, or name the column with --{role}-column: geobench datasets add NAME …, with --replace "
        "where NAME is there already."
    )


def _layout(
    cells: Cells, line: int, first: list[str], columns: Mapping[str, str | int], header: bool, roles: Sequence[str]
) -> Layout:
    """Return the layout whose first row is ``first``; raise ``DatasetError`` where it does not hold all ``roles``."""
    if len(first) > MAX_COLUMNS:
        raise DatasetError(f"{cells.path}: line {line} holds {len(first):,} cells; {MAX_COLUMNS:,} are the most.")
    while first and not first[-1].strip():
        first = first[:-1]
    names = [name.strip() for name in first] if header else [""] * len(first)
    found = {role: _find(cells.path, names, role, columns.get(role), roles) for role in roles}
    if len(set(found.values())) < len(roles):
        raise DatasetError(f"{cells.path}: {', '.join(roles)} must be columns of their own, not one for two of them.")
    for role, index in found.items():
        if not header and role in AXES and not _NUMBER.fullmatch(first[index]):
            raise DatasetError(
                f"{cells.path}: line {line}: column {index + 1}, {first[index][:40]!r}, is no {role}; is it the right "
                "column?"
            )
    return Layout(cells, line if header else 0, _unique(names, {index: role for role, index in found.items()}))


def _unique(names: Sequence[str], roles: Mapping[int, str]) -> tuple[str, ...]:
    """Return ``names``, those of ``roles`` replaced by their role, a nameless or repeated one told by its number."""
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
    listed = ", ".join(name[:40] if name.isprintable() else repr(name[:40]) for name in names[:LISTED])
    listed += f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(names):
            raise DatasetError(f"{path} has no column {wanted} for the {role}; it has {len(names)}.")
        return wanted - 1
    if names and not any(names):  # a table without a header
        raise DatasetError(
            f"{path} is read without a header: say which of its {len(names)} columns, counted from 1, is the {role}, "
            f"with --{role}-column."
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
        advice = "Its first line looks like a row; put a header above it."
    raise DatasetError(f"{path} has no {role} column (looked for {looked_for}); it has {listed}. {advice}")
