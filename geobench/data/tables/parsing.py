"""From a text file to rows of fields: encoding, separator, quotes, and a line number for every problem."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geobench.errors import DatasetError
from geobench.images.signatures import HEAD, describe_content

if TYPE_CHECKING:
    from _csv import Reader

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_COLUMNS = 4096
"""A longer header is not that of a metadata table."""
CHARACTERS = 1 << 20  # read at a time
NUL, BROKEN = "\0", "\ufffd"
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class TextRows:
    """The rows of a text file, as lists of fields.

    Attributes:
        path: the file.
        encoding: UTF-8, or that of its byte order mark.
        separator: between fields.
        quoted: whether fields may be quoted; in database dumps they are not.
    """

    path: Path
    encoding: str
    separator: str
    quoted: bool = True

    def blocks(self, size: int) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yield ``size`` rows at a time and the lines that they begin on; blank rows are skipped.

        Raises:
            DatasetError: a quote is left open or the encoding is wrong; names the line.
        """
        line, lines, rows = 1, [], []
        with self.named_errors(lambda: line), self.path.open(encoding=self.encoding, newline="") as file:
            reader = self.reader(file)
            for row in reader:
                if row and (row[0] or any(row)):
                    lines.append(line)
                    rows.append(row)
                    if len(rows) == size:
                        yield lines, rows
                        lines, rows = [], []
                line = reader.line_num + 1
            yield lines, rows

    def reader(self, lines: Iterable[str]) -> Reader:
        """Return what makes rows of ``lines``, with their ends."""
        return csv.reader(
            lines,
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            skipinitialspace=True,
            strict=True,
        )

    @contextmanager
    def named_errors(self, line: Callable[[], int]) -> Iterator[None]:
        """Make what is wrong with the file a ``DatasetError``; ``line`` tells where the row begins that is read."""
        try:
            yield
        except csv.Error as error:
            raise DatasetError(
                f"{self.path}: line {line()}: {error}; a quoted field must end with a quote, and quotes inside it "
                "must be doubled."
            ) from None
        except UnicodeError:
            encoding = self.encoding.removesuffix("-sig").upper()
            raise DatasetError(
                f"{self.path}: line {self._line_with(BROKEN)} is not {encoding} text; save the file as UTF-8 "
                "(iconv -f latin1 -t utf-8)."
            ) from None
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read: {error.strerror}.") from error

    def refuse_nul(self) -> None:
        """Raise ``DatasetError`` if the file contains NUL characters; names the line."""
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            while text := file.read(CHARACTERS):
                if "\0" in text:
                    raise DatasetError(
                        f"{self.path}: line {self._line_with(NUL)} contains NUL characters; is it damaged, or UTF-16 "
                        "without a byte order mark? Save it as UTF-8."
                    )

    def _line_with(self, character: str) -> int:
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            return next((number for number, text in enumerate(file, 1) if character in text), 1)


def encoding_of(path: Path) -> str:
    """Return the encoding of the text file ``path``.

    Raises:
        DatasetError: it does not exist, is not a regular file or not text.
    """
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file.")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise DatasetError(f"{path} is {kind}; a CSV file with a header is needed.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    content = describe_content(head)
    if content:
        raise DatasetError(f"{path} is {content}, not a CSV file; unpack, fetch or save it as CSV (UTF-8) first.")
    return encoding_of_head(head)


def encoding_of_head(head: bytes) -> str:
    """Return the encoding of the byte order mark that ``head`` begins with, UTF-8 without one."""
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), "utf-8")


def first_row(rows: TextRows) -> tuple[int, list[str]]:
    """Return line and fields of the first row, which is the header if there is one.

    Raises:
        DatasetError: there is none.
    """
    for lines, block in rows.blocks(1):
        if block:
            return lines[0], block[0]
    raise DatasetError(f"{rows.path} has no rows; it needs a header and rows below it.")


def first_rows(rows: TextRows, n: int) -> list[tuple[int, list[str]]]:
    """Return line and fields of the first ``n`` rows, or of all if there are fewer.

    Raises:
        DatasetError: there is none.
    """
    for lines, block in rows.blocks(n):
        if block:
            return list(zip(lines, block, strict=True))
    raise DatasetError(f"{rows.path} has no rows; it needs a header and rows below it.")


def stated_separator(rows: TextRows) -> str | None:
    """Return the separator that a first line such as ``sep=;``, which spreadsheets write, states; None without one."""
    with rows.path.open(encoding=rows.encoding, errors="replace") as file:
        found = re.fullmatch(r"\s*\"?sep=(.)\"?\s*", file.readline(HEAD), re.IGNORECASE)
    return found[1] if found and found[1] in SEPARATORS else None


def footer_at(lines: Sequence[int], rows: Sequence[Sequence[str]]) -> int | None:
    """Return the number of the first row of another table below a blank line, such as one of averages; None if none is.

    It is one if the rows above have a number in some column, and its first row has none in any.

    Args:
        lines: that rows begin on.
        rows: below the header.

    >>> footer_at([2, 3, 5, 6], [["a.jpg", "1"], ["b.jpg", "2"], ["images", "mean"], ["2", "1.5"]])
    2
    """
    if not rows or not any(map(is_number, rows[0])):
        return None
    for number in range(len(rows) - 1, 0, -1):
        above = lines[number - 1] + 1 + sum(field.count("\n") for field in rows[number - 1])
        if lines[number] > above:
            return None if any(map(is_number, rows[number])) else number
    return None


def is_number(text: str) -> bool:
    """Return whether ``text`` is a number, with a decimal point."""
    try:
        float(text)
    except ValueError:
        return False
    return True
