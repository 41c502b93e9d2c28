"""Read a metadata table: coordinates and image names checked, with a clear message for every unusable row."""

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

ROWS_AT_ONCE = (
    10_000  # kept as Python strings; much larger blocks are slower, because the garbage collector visits each string
)
SHOWN = 3  # problems listed in an error
SWAPPED = "latitude and longitude look swapped: swap their names in the header, or the numbers of their columns"
_UNUSABLE_NAMES = {
    "the image name is empty": r"^$",
    "image {name} leads outside the folder of the images; give its path relative to that folder": (
        r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)"
    ),
    "image {name} was rounded by a spreadsheet; export the table again with this column as text": (
        r"^[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+$"
    ),
    "image {name} is a spreadsheet formula or error; save the values instead": (
        r"^=[A-Z]+[0-9(]|^#(?:N/A|NAME\?|REF!|VALUE!|NUM!|DIV/0!|NULL!)$"
    ),
}
_DECIMAL_COMMA = r"\s*[+\-−]?[0-9]{1,3},[0-9]+\s*"
_SEXAGESIMAL = re.compile(r"[°º'′’\"″]|[0-9]\s*[NSEWO]\s*$|^\s*[NSEWO]\s*[0-9]", re.IGNORECASE)


class Problem(NamedTuple):
    """An unusable row.

    Attributes:
        line: that it begins on, counted from 1.
        image: its image name; empty if unknown.
        kind: ``fields``, ``coordinates``, ``image`` or ``repeated``.
        reason: what is wrong, and what would be right.
    """

    line: int
    image: str
    kind: str
    reason: str


class Rows(NamedTuple):
    """The usable rows of a table, indexed by line, the problems of all others, and advice on them."""

    table: pd.DataFrame
    problems: list[Problem]
    advice: str


def read_table(path: Path, columns: Mapping[str, str | int] | None = None, header: bool = True) -> pd.DataFrame:
    """Return the table in the text file ``path``: ``image``, ``latitude``, ``longitude`` and all other columns.

    Args:
        path: a CSV file; fields may be separated by commas, semicolons, tabs or bars.
        columns: the file's names, or numbers counted from 1, for ``image``, ``latitude`` and ``longitude``, if they are
            not recognised.
        header: False for a file without a header; ``columns`` are then numbers.

    Raises:
        DatasetError: the file is missing, empty or not a table; a column is missing; a row is unusable.
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
    """Return the usable rows of ``path`` and the problems of all others; arguments as for :func:`read_table`.

    Raises:
        DatasetError: the file is missing, empty or not a table; a column is missing.
    """
    layout = find_layout(path, columns or {}, header, roles)
    problems: list[Problem] = []
    table = _read(layout, problems)
    if table.empty and not problems:
        raise DatasetError(f"{path} has no rows below its header.")
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
    """Raise ``DatasetError`` if there are unusable rows; names the first three."""
    if not rows.problems:
        return
    shown = "; ".join(f"line {problem.line}: {problem.reason}" for problem in rows.problems[:SHOWN])
    n = len(rows.table) + len(rows.problems)
    raise DatasetError(
        f"{path}: {len(rows.problems):,} of {n:,} rows cannot be used: {shown}; "
        f"{rows.advice or 'correct or remove them'}."
    )


def _read(layout: Layout, problems: list[Problem]) -> pd.DataFrame:
    """Return the rows as text, indexed by line; rows of the wrong length are added to ``problems``."""
    import pandas as pd

    names, width = list(layout.names), len(layout.names)
    frames = [pd.DataFrame(columns=names, index=pd.Index([], dtype=np.int64), dtype=str)]
    for block in layout.rows.blocks(ROWS_AT_ONCE):
        all_fit = set(map(len, block[1])) == {width} and block[0][0] > layout.header_line
        lines, rows = block if all_fit else _fitting(*block, layout, problems)
        if rows:
            # Everything as text, nothing as missing: ids keep their leading zeros, and the country NA remains Namibia.
            values = dict(zip(names, zip(*rows, strict=True), strict=True))
            frames.append(pd.DataFrame(values, index=lines, dtype=str))
    return pd.concat(frames).rename_axis(index="line")


def _fitting(
    lines: list[int], rows: list[list[str]], layout: Layout, problems: list[Problem]
) -> tuple[list[int], list[list[str]]]:
    """Return the rows below the header that have its length, ignoring additional empty fields."""
    width = len(layout.names)
    kept: tuple[list[int], list[list[str]]] = [], []
    for line, row in zip(lines, rows, strict=True):
        if line <= layout.header_line:
            continue
        if len(row) < width or any(row[width:]):
            more = "; quote texts that contain the separator" if len(row) > width else ""
            fields = f"{len(row)} field{'' if len(row) == 1 else 's'}"
            problems.append(Problem(line, "", "fields", f"{fields} instead of {width} as in the first line{more}"))
            continue
        kept[0].append(line)
        kept[1].append(row[:width])
    return kept


def _name_problems(table: pd.DataFrame) -> dict[int, Problem]:
    """Return the problems of the lines whose image cannot be the name of a file in a folder."""
    suspicious = table["image"][table["image"].str.contains("|".join(_UNUSABLE_NAMES.values()))]
    return {
        line: Problem(line, name, "image", reason.format(name=_short(name)))
        for line, name in zip(suspicious.index.tolist(), suspicious, strict=True)
        for reason in [next(why for why, pattern in _UNUSABLE_NAMES.items() if re.search(pattern, name))]
    }


def _without(table: pd.DataFrame, lines: Mapping[int, Problem]) -> pd.DataFrame:
    return table.drop(index=list(lines)) if lines else table  # avoid a copy


def _repeated(table: pd.DataFrame) -> dict[int, Problem]:
    """Return the problems of the lines whose image is already listed above."""
    repeated = table["image"].duplicated()
    if not repeated.any():
        return {}
    again = table["image"][repeated]
    firsts = table["image"][table["image"].isin(again) & ~repeated]
    line_of = dict(zip(firsts, firsts.index.tolist(), strict=True))
    return {
        line: Problem(line, name, "repeated", f"image {_short(name)} is already listed on line {line_of[name]}")
        for line, name in zip(again.index.tolist(), again, strict=True)
    }


def _coordinates(table: pd.DataFrame) -> tuple[FloatArray, dict[int, Problem], str]:
    """Return the coordinates (n, 2), the problems of lines with unusable ones, and advice on all of them."""
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
    """Return whether every comma in the coordinates is a decimal one: no field has a point, none has two commas."""
    texts = [table[axis] for axis in AXES]
    with_comma = [text[text.str.contains(",", regex=False)] for text in texts]
    return (
        any(map(len, with_comma))
        and all(bool(text.str.fullmatch(_DECIMAL_COMMA).all()) for text in with_comma)
        and not any(bool(text.str.contains(".", regex=False).any()) for text in texts)
    )


def _numbers(texts: pd.Series[str], decimal_comma: bool) -> FloatArray:
    """Return ``texts`` as numbers, NaN for what is not a number. A typographic minus sign is accepted."""
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
        return f"{axis} {_short(text)} has a comma where others have a point, or has two; write 48.85"
    if _SEXAGESIMAL.search(text):
        return f"{axis} {_short(text)} is not in decimal degrees; write 48.85, south and west negative"
    return f"{axis} {_short(text)} is not a number"


def _advice(coordinates: FloatArray) -> str:
    """Return advice on the unusable coordinates, from all coordinates together."""
    finite = coordinates[np.isfinite(coordinates).all(axis=1)]
    if valid_if_swapped(finite):
        return SWAPPED
    longitude = finite[:, 1]
    if (longitude > 180).any() and ((longitude >= 0) & (longitude <= 360)).all():
        return "longitudes run from 0 to 360: subtract 360 from those above 180"
    return ""


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
