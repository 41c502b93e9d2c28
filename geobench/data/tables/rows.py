"""Read a metadata table: coordinates and image names checked, with a clear message for every unusable row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geobench.data.tables.choice import Column, Resolve, choose_axis, choose_image_column, remedy_for
from geobench.data.tables.columns import AXES, RECOGNISED, Layout, find_layout, unique_names
from geobench.data.tables.coordinates import Unit, other_unit, parse_coordinates, shortened
from geobench.data.tables.parsing import is_number
from geobench.data.tables.plain import Parsed, Plain, pieces
from geobench.errors import DatasetError
from geobench.geo import FloatArray

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = (
    10_000  # kept as Python strings; much larger blocks are slower, because the garbage collector visits each string
)
FOOTER = 20
"""Rows that may follow a blank line and be no rows of the table: averages, a source, a remark."""
SHOWN = 3  # problems listed in an error
ROUNDED = "image {name} was rounded by a spreadsheet; export the table again with this column as text"
"""Said of ``12E3``, unless there is an image of that name: digits of a hash look alike."""
_UNUSABLE_NAMES = {
    "the image name is empty": r"^$",
    "image {name} leads outside the folder of the images; give its path relative to that folder": (
        r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)"
    ),
    ROUNDED: r"^[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+$",
    "image {name} is a spreadsheet formula or error; save the values instead": (
        r"^=[A-Z]+[0-9(]|^#(?:N/A|NAME\?|REF!|VALUE!|NUM!|DIV/0!|NULL!)$"
    ),
}


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
    """The rows of a table.

    Attributes:
        table: those that can be used, indexed by line.
        problems: of all others.
        advice: on the problems.
        unit: why the coordinates are not degrees, if they look like something else.
        where: the file, for messages; ``more`` is added to one about the problems.
        chosen: the file's name of a column that was chosen among several, by its role.
        notes: lines on what was chosen, for the user.
    """

    table: pd.DataFrame
    problems: list[Problem]
    advice: str = ""
    unit: Unit | None = None
    where: str = ""
    more: str = ""
    chosen: Mapping[str, str] = {}
    notes: Sequence[str] = ()

    def usable(self) -> pd.DataFrame:
        """Return the table with its rows numbered from 0; raise ``DatasetError`` if a row or the unit is wrong."""
        if self.problems:
            shown = "; ".join(f"line {problem.line}: {problem.reason}" for problem in self.problems[:SHOWN])
            n = len(self.table) + len(self.problems)
            raise DatasetError(
                f"{self.where}: {len(self.problems):,} of {n:,} rows cannot be used: {shown}; "
                f"{self.advice or 'correct or remove them'}. {self.more}".rstrip()
            )
        if self.unit is not None and self.unit.is_certain:
            raise DatasetError(f"{self.where}: {self.unit.text}.")
        return self.table.reset_index(drop=True)


def read_table(
    path: Path,
    columns: Mapping[str, str | int] | None = None,
    header: bool = True,
    resolve: Resolve | None = None,
) -> pd.DataFrame:
    """Return the table in the text file ``path``: ``image``, ``latitude``, ``longitude`` and all other columns.

    Args:
        path: a CSV file; fields may be separated by commas, semicolons, tabs or bars.
        columns: the file's names, or numbers counted from 1, for ``image``, ``latitude`` and ``longitude``, if they are
            not recognised.
        header: False for a file without a header; ``columns`` are then numbers.
        resolve: looks for images by name, to tell which of several recognised columns names them.

    Raises:
        DatasetError: the file is missing, empty or not a table; a column is missing, or it cannot be told which of
            several it is; a row is unusable.
    """
    return read_rows(path, columns, header, resolve=resolve).usable()


def read_coordinates(path: Path, columns: Mapping[str, str | int] | None = None) -> FloatArray:
    """Return the coordinates (n, 2) in the CSV file ``path``; arguments and errors as for :func:`read_table`."""
    table = read_rows(path, columns, roles=tuple(AXES)).usable()
    coordinates: FloatArray = table[list(AXES)].to_numpy(np.float64)
    return coordinates


def read_rows(
    path: Path,
    columns: Mapping[str, str | int] | None = None,
    header: bool = True,
    roles: Sequence[str] = tuple(RECOGNISED),
    resolve: Resolve | None = None,
    exact: bool = False,
) -> Rows:
    """Return the usable rows of ``path`` and the problems of all others; arguments as for :func:`read_table`.

    The names in an ``exact`` table are those of files that a program listed: any of them is right as it stands.

    Raises:
        DatasetError: the file is missing, empty or not a table; a column is missing, or it cannot be told which of
            several it is.
    """
    import pandas as pd

    layout = find_layout(path, columns or {}, header, roles)
    problems: list[Problem] = []
    footer = Footer(layout)
    table = _read(layout, problems, footer)
    if footer.line:
        problems = [problem for problem in problems if problem.line < footer.line]
        table = table[table.index < footer.line]
    if table.empty and not problems:
        raise DatasetError(f"{path} has no rows below its header.")
    number_of, notes = _choose(layout, table, resolve)
    notes += [f"{path.name}: {left_out}" for left_out in (_above(layout), footer.note) if left_out]
    table.columns = pd.Index(unique_names(layout.header, {number: role for role, number in number_of.items()}))
    coordinates, reasons, advice = parse_coordinates(table)
    wrong = _coordinate_problems(table, reasons)
    table["latitude"], table["longitude"] = coordinates.T
    if "image" in roles:
        if not exact:
            table["image"] = table["image"].str.strip()
            wrong |= _name_problems(table, resolve)
        wrong |= _repeated(_without(table, wrong))
    table = _without(table, wrong)
    others = [name for name in table.columns if name not in roles]
    chosen = {role: layout.header[number] for role, number in number_of.items() if len(layout.candidates[role]) > 1}
    return Rows(
        table[[*roles, *others]],
        sorted([*problems, *wrong.values()]),
        advice,
        other_unit(table[list(AXES)].to_numpy(np.float64)),
        str(path),
        chosen=chosen,
        notes=notes,
    )


def _choose(layout: Layout, table: pd.DataFrame, resolve: Resolve | None) -> tuple[dict[str, int], list[str]]:
    """Return the number of the column of each role, and notes on those that were chosen among several."""
    found, notes = {}, []
    for role, numbers in layout.candidates.items():
        if len(numbers) == 1:
            found[role] = numbers[0]
            continue
        columns = [Column(layout.header[number], table[number]) for number in numbers]
        where, remedy = str(layout.rows.path), remedy_for(role, "image" in layout.candidates)
        if role == "image":
            chosen = choose_image_column(where, columns, resolve, remedy)
            notes += [chosen.note] if chosen.note else []
            found[role] = numbers[chosen.number]
        else:
            found[role] = numbers[choose_axis(where, role, columns, remedy)]
    return found, notes


def _above(layout: Layout) -> str:
    """Return what is left out above the header, empty for nothing."""
    if not layout.above:
        return ""
    first, last = layout.above[0], layout.above[-1]
    lines = f"line {first} above it is" if first == last else f"lines {first} to {last} above it are"
    return f"the header is line {layout.header_line}; {lines} left out"


class Footer:
    """What follows the last blank line of a table, if it is another table or a remark.

    It is one if its first row has another number of fields than the header and no number in any, and if it is short.

    Attributes:
        line: that it begins on, 0 for none.
        note: a line for the user on what is left out.
    """

    def __init__(self, layout: Layout) -> None:
        self.line, self.note = 0, ""
        self._layout = layout
        self._next = self._rows = 0  # the line after the last row; the rows since the footer began

    def look(self, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> None:
        """Look at further rows."""
        for line, row in zip(lines, rows, strict=True):
            if line > self._layout.header_line and 0 < self._next < line:
                other = len(row) != len(self._layout.header) and not any(is_number(field) for field in row)
                self.line, self._rows = (line, 0) if other else (0, 0)
                text = ", ".join(field for field in row if field)
                self.note = f"what stands below a blank line, from line {line} on, is left out: {text[:60]}"
            self._next = line + 1 + sum(field.count("\n") for field in row)
            self._rows += 1
        self._end()

    def look_past(self, line: int, n: int) -> None:
        """Count the ``n`` rows, without a blank line among them, that follow; the last is on ``line``."""
        self._next = line + 1
        self._rows += n
        self._end()

    def _end(self) -> None:
        if self._rows > FOOTER:
            self.line = 0
        self.note = self.note if self.line else ""


def _read(layout: Layout, problems: list[Problem], footer: Footer) -> pd.DataFrame:
    """Return the rows as text, indexed by line, columns by number; rows of the wrong length go to ``problems``."""
    import pandas as pd

    width = len(layout.header)
    names = list(range(width))
    frames = [pd.DataFrame(columns=names, index=pd.Index([], dtype=np.int64), dtype=str)]
    for block in _blocks(layout):
        if isinstance(block, Plain):
            footer.look([block.line], [block.first])
            footer.look_past(block.line + len(block.table) - 1, len(block.table) - 1)
            frames.append(block.frame(width))
            continue
        footer.look(*block)
        all_fit = set(map(len, block[1])) == {width} and block[0][0] > layout.header_line
        lines, rows = block if all_fit else _fitting(*block, layout, problems)
        if rows:
            # Everything as text, nothing as missing: ids keep their leading zeros, and the country NA remains Namibia.
            values = dict(zip(names, zip(*rows, strict=True), strict=True))
            frames.append(pd.DataFrame(values, index=lines, dtype=str))
    return pd.concat(frames).rename_axis(index="line")


def _blocks(layout: Layout) -> Iterator[Plain | Parsed]:
    if layout.rows.encoding.startswith("utf-8"):
        return pieces(layout.rows, len(layout.header), layout.header_line)
    return layout.rows.blocks(ROWS_AT_ONCE)


def _fitting(
    lines: list[int], rows: list[list[str]], layout: Layout, problems: list[Problem]
) -> tuple[list[int], list[list[str]]]:
    """Return the rows below the header that have its length, ignoring additional empty fields."""
    width = len(layout.header)
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


def _name_problems(table: pd.DataFrame, resolve: Resolve | None) -> dict[int, Problem]:
    """Return the problems of the lines whose image cannot be the name of a file in a folder."""
    suspicious = table["image"][table["image"].str.contains("|".join(_UNUSABLE_NAMES.values()))]
    rounded = suspicious[suspicious.str.fullmatch(_UNUSABLE_NAMES[ROUNDED])]
    there = resolve(rounded.tolist()) if len(rounded) and resolve is not None else None
    if there is not None:
        named = [match is not None for match in there]
        suspicious = suspicious.drop(index=rounded.index[named])
    return {
        line: Problem(line, name, "image", reason.format(name=shortened(name)))
        for line, name in zip(suspicious.index.tolist(), suspicious, strict=True)
        for reason in [next(why for why, pattern in _UNUSABLE_NAMES.items() if re.search(pattern, name))]
    }


def _without(table: pd.DataFrame, lines: Mapping[int, Problem]) -> pd.DataFrame:
    return table.drop(index=list(lines)) if lines else table  # avoid a copy


def _repeated(table: pd.DataFrame) -> dict[int, Problem]:
    """Return the problems of the lines whose image is already listed above."""
    if _are_distinct(table["image"]):
        return {}
    repeated = table["image"].duplicated()
    if not repeated.any():
        return {}
    again = table["image"][repeated]
    firsts = table["image"][table["image"].isin(again) & ~repeated]
    line_of = dict(zip(firsts, firsts.index.tolist(), strict=True))
    return {
        line: Problem(line, name, "repeated", f"image {shortened(name)} is already listed on line {line_of[name]}")
        for line, name in zip(again.index.tolist(), again, strict=True)
    }


def _are_distinct(texts: pd.Series[str]) -> bool:
    """Return whether all ``texts`` have hashes of their own, so that none is repeated: without a table of them all."""
    hashes = np.empty(len(texts), dtype=np.int64)
    for start in range(0, len(texts), ROWS_AT_ONCE):
        block = texts.iloc[start : start + ROWS_AT_ONCE].tolist()
        hashes[start : start + len(block)] = np.fromiter(map(hash, block), np.int64, len(block))
    hashes.sort()
    return not (hashes[1:] == hashes[:-1]).any()


def _coordinate_problems(table: pd.DataFrame, reasons: Mapping[int, str]) -> dict[int, Problem]:
    """Return the problems of the lines whose coordinates cannot be used, from ``reasons`` by row."""
    problems = {}
    for row, reason in reasons.items():
        line, image = int(table.index[row]), str(table["image"].iloc[row]) if "image" in table else ""
        problems[line] = Problem(line, image, "coordinates", reason)
    return problems
