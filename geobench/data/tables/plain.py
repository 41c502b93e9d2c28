"""Large tables quickly: what needs no CSV reader is read by pyarrow, a few megabytes at a time.

Plain is a block of whole lines in which each line is a row: no blank line, no quote but around a whole field, the same
number of fields everywhere. Python's ``csv`` makes of it what pyarrow does, and every row begins on its own line. Any
other block goes to ``csv``, from its first line to the end of the row that its last line is in.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from geobench.data.tables.parsing import TextRows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BLOCK_BYTES = 4 << 20
FIRST_BYTES = 1 << 16
"""What is read first goes to ``csv``: the header is in it. Small tables are no larger."""
_MARK = b"\xef\xbb\xbf"
_NEWLINE, _RETURN, _QUOTE, _SPACE = b'\n\r" '


class Plain(NamedTuple):
    """The rows of a plain block.

    Attributes:
        line: that the first begins on; each of the others begins on the next.
        first: the fields of the first.
        table: a column of texts for each field.
    """

    line: int
    first: list[str]
    table: pa.Table

    def frame(self, width: int) -> pd.DataFrame:
        """Return the first ``width`` columns, called by number, indexed by line."""
        import pandas as pd

        frame: pd.DataFrame = self.table.select(range(width)).to_pandas()
        frame.columns = pd.RangeIndex(width)
        frame.index = np.arange(self.line, self.line + len(frame))
        return frame


Parsed = tuple[list[int], list[list[str]]]
"""Lines and fields of rows, as :meth:`TextRows.blocks` yields them."""


def pieces(rows: TextRows, width: int, header_line: int) -> Iterator[Plain | Parsed]:
    """Yield all rows of a table in UTF-8, header and lines above it included; blank rows are skipped.

    Args:
        rows: the file.
        width: of its header; further fields of a plain block are empty.
        header_line: up to it, nothing is plain.

    Raises:
        DatasetError: as for :meth:`TextRows.blocks`.
    """
    source = _Blocks()
    with rows.named_errors(lambda: source.line), rows.path.open("rb") as source.file:
        size, encoding = FIRST_BYTES, rows.encoding
        while block := source.take(size):
            plain = _plain(rows, block, width) if source.line > header_line and encoding == "utf-8" else None
            if plain is not None:
                yield Plain(source.line, *plain)
                source.line += len(plain[1])
            else:
                yield _parsed(rows, _Lines(block, source, encoding))
            size, encoding = BLOCK_BYTES, "utf-8"


class _Blocks:
    """Whole lines of a file, some megabytes at a time."""

    file: BinaryIO
    line = 1  # the next row begins on

    def __init__(self) -> None:
        self._rest = b""

    def take(self, size: int) -> bytes:
        """Return about ``size`` further bytes, up to the end of a line or of the file; none at its end."""
        parts = [self._rest]
        while True:
            more = self.file.read(size)
            end = more.rfind(b"\n") + 1
            parts.append(more[:end] if end else more)
            if end or not more:
                self._rest = more[end:]
                return b"".join(parts)


class _Lines:
    """The lines of a block as text, and those of the next ones when a row goes on there."""

    def __init__(self, block: bytes, source: _Blocks, encoding: str) -> None:
        self.source = source
        self._text = io.TextIOWrapper(io.BytesIO(block), encoding, newline="")
        self._next = self._text.readline()

    @property
    def ended(self) -> bool:
        """Return whether a block has just been read to its end."""
        return not self._next

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if not self._next and (block := self.source.take(BLOCK_BYTES)):
            self._text = io.TextIOWrapper(io.BytesIO(block), "utf-8", newline="")
            self._next = self._text.readline()
        line, self._next = self._next, self._text.readline()
        if not line:
            raise StopIteration
        return line


def _parsed(rows: TextRows, lines: _Lines) -> Parsed:
    """Return what ``csv`` makes of ``lines``."""
    numbers: list[int] = []
    found: list[list[str]] = []
    source, first, reader = lines.source, lines.source.line, rows.reader(lines)
    while not lines.ended:
        row = next(reader)
        if row and (row[0] or any(row)):
            numbers.append(source.line)
            found.append(row)
        source.line = first + reader.line_num
    return numbers, found


def _plain(rows: TextRows, block: bytes, width: int) -> tuple[list[str], pa.Table] | None:
    """Return the first row of a plain ``block`` and all of them; None if it is not plain."""
    import pyarrow as pa
    import pyarrow.compute as pc

    separator = rows.separator.encode()
    quotes = rows.quoted and b'"' in block
    if not _is_a_row_for_each_line(block) or (quotes and not _are_quotes_around_fields(block, separator)):
        return None
    try:
        table = _read(block, rows, quotes)
    except (pa.ArrowInvalid, csv.Error):  # rows of other lengths, or not UTF-8
        return None
    if len(table) != block.count(b"\n") + (not block.endswith(b"\n")):  # blank lines, or lines within quotes
        return None
    columns = table.columns
    if not quotes and b" " in block:  # as ``skipinitialspace`` does
        columns = [pc.utf8_ltrim(column, characters=" ") for column in columns]
        table = pa.table(dict(zip(table.column_names, columns, strict=True)))
    longest = max(pc.max(pc.binary_length(column)).as_py() for column in columns)
    if len(columns) < width or longest > csv.field_size_limit() or _any_is_blank(columns[:width]):
        return None
    if any(pc.any(pc.not_equal(column, "")).as_py() for column in columns[width:]):
        return None
    return [column[0].as_py() for column in columns], table


def _any_is_blank(columns: Sequence[pa.ChunkedArray]) -> bool:
    """Return whether a row has no text in any of ``columns``."""
    import pyarrow.compute as pc

    blank = pc.equal(columns[0], "")
    for column in columns[1:]:
        if not pc.any(blank).as_py():
            return False
        blank = pc.and_(blank, pc.equal(column, ""))
    return bool(pc.any(blank).as_py())


def _is_a_row_for_each_line(block: bytes) -> bool:
    """Return whether a row can end nowhere but at a newline; pyarrow refuses a blank line among rows by itself."""
    returns = block.count(b"\r") if b"\r" in block else 0
    return returns == block.count(b"\r\n", 0, len(block) if returns else 0) and not block.startswith(_MARK)


def _are_quotes_around_fields(block: bytes, separator: bytes) -> bool:
    """Return whether the quotes in ``block`` open and close fields in turn, and none is within a field.

    No field outside quotes may begin with a space, which would not count.
    """
    data = np.frombuffer(b"\n%b\n" % block, np.uint8)
    quotes = np.flatnonzero(data == _QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    if len(opening) != len(closing):
        return False
    ends = (separator[0], _NEWLINE)
    if not np.isin(data[opening - 1], ends).all() or not np.isin(data[closing + 1], (*ends, _RETURN)).all():
        return False
    spaces = np.flatnonzero((data[1:] == _SPACE) & np.isin(data[:-1], ends)) + 1
    return bool((np.searchsorted(quotes, spaces) % 2).all())


def _read(block: bytes, rows: TextRows, quotes: bool) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as arrow

    fields = next(rows.reader([block[: block.find(b"\n") + 1 or None].decode(errors="replace")]))
    names = [str(number) for number in range(len(fields))]
    return arrow.read_csv(
        pa.BufferReader(block),
        arrow.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        arrow.ParseOptions(
            delimiter=rows.separator, quote_char='"' if quotes else False, double_quote=False, ignore_empty_lines=False
        ),
        arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )
