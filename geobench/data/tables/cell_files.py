"""Files of S2 cells, as the ISN authors released theirs: a row for each cell, called by its token."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geobench.data.tables.columns import PREAMBLE
from geobench.data.tables.parsing import SEPARATORS, TextRows, encoding_of, first_rows
from geobench.errors import DatasetError

NAMES = ("hex_id", "token", "s2_token", "cell", "cell_id", "s2")
"""Columns that may hold tokens; ``hex_id`` is the ISN authors'."""
ROWS_AT_ONCE = 10_000
_TOKEN = re.compile(r"[0-9a-f]{1,16}", re.IGNORECASE)
_ROUNDED = re.compile(r"[0-9]+([.,][0-9]+)?E[+-]?[0-9]+", re.IGNORECASE)


def read_cells(path: Path) -> npt.NDArray[np.uint64]:
    """Return the ids (c,) of the cells in ``path``, in their order.

    Raises:
        DatasetError: the file is no table, or has no column of tokens; a token is no cell, was rounded by a
            spreadsheet, or stands twice; a cell lies within another.
    """
    lines, tokens = _tokens(path)
    cells = np.array([_cell(path, line, token) for line, token in zip(lines, tokens, strict=True)], dtype=np.uint64)
    _, first, counts = np.unique(cells, return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = tokens[int(first[counts > 1][0])]
        raise DatasetError(f"{path}: the cell {twice} stands {int(counts.max())} times; keep one row for each.")
    _refuse_overlap(path, cells, tokens)
    return cells


def _tokens(path: Path) -> tuple[list[int], list[str]]:
    """Return the lines and the tokens of the rows below the header."""
    encoding = encoding_of(path)
    for separator in SEPARATORS:
        rows = TextRows(path, encoding, separator)
        for line, names in first_rows(rows, PREAMBLE):
            lower = [name.strip().lower() for name in names]
            column = next((lower.index(name) for name in NAMES if name in lower), None)
            if column is None:
                continue
            found = [
                (at, row[column].strip() if len(row) > column else "")
                for lines, block in rows.blocks(ROWS_AT_ONCE)
                for at, row in zip(lines, block, strict=True)
                if at > line and any(field.strip() for field in row)
            ]
            if not found:
                raise DatasetError(f"{path} has no cells below its header.")
            return [at for at, _ in found], [token for _, token in found]
    raise DatasetError(f"{path} has no column with the tokens of S2 cells (looked for {', '.join(NAMES)}).")


def _cell(path: Path, line: int, token: str) -> int:
    import s2cell

    if _ROUNDED.fullmatch(token) and not _TOKEN.fullmatch(token):
        raise DatasetError(
            f"{path}: line {line}: the token {token!r} was made a number by a spreadsheet; get the file as it was."
        )
    cell = int(s2cell.token_to_cell_id(token.lower())) if _TOKEN.fullmatch(token) else 0
    if not s2cell.cell_id_is_valid(cell):
        raise DatasetError(f"{path}: line {line}: {token[:20]!r} is not the token of an S2 cell, such as 47a1cbd595.")
    return cell


def _refuse_overlap(path: Path, cells: npt.NDArray[np.uint64], tokens: list[str]) -> None:
    """Raise ``DatasetError`` if a cell lies within another: leaves of the first are then those of both."""
    lowest = cells & (~cells + np.uint64(1))
    order = np.argsort(cells - lowest, kind="stable")
    begin, end = (cells - lowest)[order], (cells + lowest - np.uint64(1))[order]
    furthest = np.maximum.accumulate(end)
    within = np.flatnonzero(begin[1:] < furthest[:-1])
    if len(within):
        a, b = order[within[0]], order[within[0] + 1]
        raise DatasetError(f"{path}: the cells {tokens[a]} and {tokens[b]} overlap; a partition has each place once.")
