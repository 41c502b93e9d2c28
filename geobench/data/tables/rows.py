"""Reading a metadata table: which column is which, and a clear line for every row that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geobench.data.tables.columns import AXES, RECOGNISED, Layout, find_layout
from geobench.errors import DatasetError
from geobench.geo import FloatArray, invalid_rows, valid_if_swapped

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 10_000  # held as Python strings; many more take longer, the garbage collector walks through them
SHOWN = 3  # problems that an error names
SWAPPED = "latitude and longitude look swapped: exchange their names in the header, or the numbers of their columns"
_UNUSABLE_NAMES = {
    "no image is named": r"^$",
    "image {name} leads out of the folder of the images; write it relative to that folder": (
        r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)"
    ),
    "image {name} was rounded by a spreadsheet; export the table again with this column as text": (
        r"^[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+$"
    ),
    "image {name} is a formula or an error of a spreadsheet; save its values": (
        r"^=[A-Z]+[0-9(]|^#(?:N/A|NAME\?|REF!|VALUE!|NUM!|DIV/0!|NULL!)$"
    ),
}
_DECIMAL_COMMA = r"\s*[+\-−]?[0-9]{1,3},[0-9]+\s*"
_SEXAGESIMAL = re.compile(r"[°º'′’\"″]|[0-9]\s*[NSEWO]\s*$|^\s*[NSEWO]\s*[0-9]", re.IGNORECASE)


class Problem(NamedTuple):
    """A row that cannot be used.

    Attributes:
        line: it begins in, counted from 1.
        image: it names; empty where that is not known.
        kind: ``cells``, ``coordinates``, ``image`` or ``repeated``.
        reason: what is wrong, and what would be right.
    """

    line: int
    image: str
    kind: str
    reason: str


class Rows(NamedTuple):
    """The rows of a table that can be used, indexed by their line, all problems of the others, and advice on them."""

    table: pd.DataFrame
    problems: list[Problem]
    advice: str


def read_table(path: Path, columns: Mapping[str, str | int] | None = None, header: bool = True) -> pd.DataFrame:
    """Return the table in the text file ``path`` with the columns ``image``, ``latitude``, ``longitude`` and the rest.

    Args:
        path: a CSV file; cells may be separated by commas, semicolons, tabs or bars.
        columns: the file's names, or numbers counted from 1, for ``image``, ``latitude`` and ``longitude``, where they
            are not recognised.
        header: False for a file whose first line is a row; ``columns`` then are numbers.

    Raises:
        DatasetError: the file is missing, empty or no table; a column is missing; a row cannot be used.
    """
    rows = read_rows(path, columns, header)
    _refuse(path, rows)
    return rows.table.reset_index(drop=True)


def read_coordinates(path: Path) -> FloatArray:
    """Return the coordinates (n, 2) in the CSV file ``path``; raise ``DatasetError`` as :func:`read_table` does."""
    rows = read_rows(path, roles=tuple(AXES))
    _refuse(path, rows)
    coordinates: FloatArray = rows.table[list(AXES)].to_numpy(np.float64)
    return coordinates


def read_rows(
    path: Path,
    columns: Mapping[str, str | int] | None = None,
    header: bool = True,
    roles: Sequence[str] = tuple(RECOGNISED),
) -> Rows:
    """Return the rows of ``path`` that can be used and all problems of the others; the rest as :func:`read_table`.

    Raises:
        DatasetError: the file is missing, empty or no table; a column is missing.
    """
    layout = find_layout(path, columns or {}, header, roles)
    problems: list[Problem] = []
    table = _read(layout, problems)
    if table.empty and not problems:
        raise DatasetError(f"{path} holds no rows below its header; it needs a header and rows below it.")
    coordinates, wrong, advice = _coordinates(table)
    table["latitude"], table["longitude"] = coordinates.T
    if "image" in roles:
        table["image"] = table["image"].str.strip()
        wrong |= _name_problems(table)
        wrong |= _repeated(_without(table, wrong))
    table = _without(table, wrong)
    others = [name for name in layout.names if name not in roles]
    return Rows(table[[*roles, *others]], sorted([*problems, *wrong.values()]), advice)


def _refuse(path: Path, rows: Rows) -> None:
    """Raise the ``DatasetError`` of the rows that cannot be used; the first three are named."""
    if not rows.problems:
        return
    shown = "; ".join(f"line {problem.line}: {problem.reason}" for problem in rows.problems[:SHOWN])
    n = len(rows.table) + len(rows.problems)
    raise DatasetError(
        f"{path}: {len(rows.problems):,} of {n:,} rows cannot be used, {shown}; "
        f"{rows.advice or 'correct or remove them'}."
    )


def _read(layout: Layout, problems: list[Problem]) -> pd.DataFrame:
    """Return the rows as text, indexed by their line; a row of another length goes to ``problems``."""
    import pandas as pd

    names, width = list(layout.names), len(layout.names)
    frames = [pd.DataFrame(columns=names, index=pd.Index([], dtype=np.int64), dtype=str)]
    for block in layout.cells.blocks(ROWS_AT_ONCE):
        all_fit = set(map(len, block[1])) == {width} and block[0][0] > layout.header_line
        lines, rows = block if all_fit else _fitting(*block, layout, problems)
        if rows:
            # Everything as text, nothing read as missing: ids keep their zeros and the country NA stays Namibia.
            values = dict(zip(names, zip(*rows, strict=True), strict=True))
            frames.append(pd.DataFrame(values, index=lines, dtype=str))
    return pd.concat(frames).rename_axis(index="line")


def _fitting(
    lines: list[int], rows: list[list[str]], layout: Layout, problems: list[Problem]
) -> tuple[list[int], list[list[str]]]:
    """Return the rows below the header that are as long as it; empty cells beyond are left out."""
    width = len(layout.names)
    kept: tuple[list[int], list[list[str]]] = [], []
    for line, row in zip(lines, rows, strict=True):
        if line <= layout.header_line:
            continue
        if len(row) < width or any(row[width:]):
            more = "; put a text that holds the separator in quotes" if len(row) > width else ""
            problems.append(Problem(line, "", "cells", f"{len(row)} cells where the first line has {width}{more}"))
            continue
        kept[0].append(line)
        kept[1].append(row[:width])
    return kept


def _name_problems(table: pd.DataFrame) -> dict[int, Problem]:
    """Return for the lines whose image cannot be the name of a file in a folder what is wrong."""
    suspicious = table["image"][table["image"].str.contains("|".join(_UNUSABLE_NAMES.values()))]
    return {
        line: Problem(line, name, "image", reason.format(name=_short(name)))
        for line, name in zip(suspicious.index.tolist(), suspicious, strict=True)
        for reason in [next(why for why, pattern in _UNUSABLE_NAMES.items() if re.search(pattern, name))]
    }


def _without(table: pd.DataFrame, lines: Mapping[int, Problem]) -> pd.DataFrame:
    return table.drop(index=list(lines)) if lines else table  # nothing is copied for nothing


def _repeated(table: pd.DataFrame) -> dict[int, Problem]:
    """Return for the lines whose image stands further up already what is wrong."""
    repeated = table["image"].duplicated()
    if not repeated.any():
        return {}
    again = table["image"][repeated]
    firsts = table["image"][table["image"].isin(again) & ~repeated]
    line_of = dict(zip(firsts, firsts.index.tolist(), strict=True))
    return {
        line: Problem(line, name, "repeated", f"image {_short(name)} is listed in line {line_of[name]} already")
        for line, name in zip(again.index.tolist(), again, strict=True)
    }


def _coordinates(table: pd.DataFrame) -> tuple[FloatArray, dict[int, Problem], str]:
    """Return the coordinates (n, 2), for the lines of unusable ones what is wrong, and advice on all of them."""
    comma = _has_decimal_commas(table)
    coordinates = np.stack([_numbers(table[axis], comma) for axis in AXES], axis=1)
    wrong = {}
    for row in invalid_rows(coordinates):
        line = int(table.index[row])
        texts = {axis: str(table[axis].iloc[row]) for axis in AXES}
        reason = ", ".join(filter(None, map(_reason, AXES, texts.values(), coordinates[row].tolist())))
        image = str(table["image"].iloc[row]) if "image" in table else ""
        wrong[line] = Problem(line, image, "coordinates", reason)
    return coordinates, wrong, _advice(coordinates) if wrong else ""


def _has_decimal_commas(table: pd.DataFrame) -> bool:
    """Return whether every comma in the coordinates is a decimal one: no cell holds a point, none two commas."""
    texts = [table[axis] for axis in AXES]
    with_comma = [text[text.str.contains(",", regex=False)] for text in texts]
    return (
        any(map(len, with_comma))
        and all(bool(text.str.fullmatch(_DECIMAL_COMMA).all()) for text in with_comma)
        and not any(bool(text.str.contains(".", regex=False).any()) for text in texts)
    )


def _numbers(texts: pd.Series[str], decimal_comma: bool) -> FloatArray:
    """Return ``texts`` as numbers, NaN where one is none. A minus sign of typography counts as one."""
    import pandas as pd

    if decimal_comma:
        texts = texts.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, copy=True)
    odd = np.flatnonzero(np.isnan(numbers))
    if len(odd):
        again = texts.iloc[odd].str.strip().str.replace("−", "-", regex=False)
        numbers[odd] = pd.to_numeric(again, errors="coerce").to_numpy(np.float64)
    return numbers


def _reason(axis: str, text: str, value: float) -> str:
    if not text.strip():
        return f"{axis} is empty"
    if np.isfinite(value):
        return f"{axis} {_short(text)} is beyond ±{AXES[axis]:.0f}" if abs(value) > AXES[axis] else ""
    if "," in text:
        return f"{axis} {_short(text)} has a comma where others have a point, or two; write 48.85"
    if _SEXAGESIMAL.search(text):
        return f"{axis} {_short(text)} is not in decimal degrees; write 48.85, south and west negative"
    return f"{axis} {_short(text)} is no number"


def _advice(coordinates: FloatArray) -> str:
    """Return what all the coordinates together say about the unusable ones."""
    finite = coordinates[np.isfinite(coordinates).all(axis=1)]
    if valid_if_swapped(finite):
        return SWAPPED
    longitude = finite[:, 1]
    if (longitude > 180).any() and ((longitude >= 0) & (longitude <= 360)).all():
        return "longitudes run from 0 to 360: subtract 360 from those above 180"
    return ""


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
