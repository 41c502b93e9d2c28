"""From a text file to rows of cells: encoding, separator, quotes, and a line number for whatever is wrong."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from geobench.errors import DatasetError
from geobench.signatures import HEAD, describe_content

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_COLUMNS = 4096
"""A header of more names is no metadata table."""
# A mark of UTF-32 begins with one of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Cells:
    """The cells of a text file.

    Attributes:
        path: the file.
        encoding: UTF-8, or what its byte order mark says.
        separator: between cells.
        quoted: whether a cell may stand in quotes; dumps of databases have none.
    """

    path: Path
    encoding: str
    separator: str
    quoted: bool = True

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line that a row begins in and its cells; blank rows are left out.

        Raises:
            DatasetError: a quote is left open, a byte is no text; names the line.
        """
        line = 1
        try:
            with self.path.open(encoding=self.encoding, newline="") as file:
                reader = csv.reader(
                    self._lines(file),
                    delimiter=self.separator,
                    quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
                    skipinitialspace=True,
                    strict=True,
                )
                for cells in reader:
                    if any(cells):
                        yield line, cells
                    line = reader.line_num + 1
        except csv.Error as error:
            raise DatasetError(
                f"{self.path}: line {line}: {error}; a cell in quotes must end with one, and a quote inside it is "
                "doubled."
            ) from None
        except UnicodeError:
            raise DatasetError(
                f"{self.path}: line {self._undecodable()} is no UTF-8 text; save the file as UTF-8 "
                "(iconv -f latin1 -t utf-8)."
            ) from None
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read: {error.strerror}.") from error

    def _lines(self, file: TextIO) -> Iterator[str]:
        for number, text in enumerate(file, 1):
            if "\0" in text:
                raise DatasetError(
                    f"{self.path}: line {number} holds NUL bytes; is it damaged, or UTF-16? Save it as UTF-8."
                )
            yield text

    def _undecodable(self) -> int:
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            return next((number for number, text in enumerate(file, 1) if "\ufffd" in text), 1)


def encoding_of(path: Path) -> str:
    """Return the encoding of the text file ``path``.

    Raises:
        DatasetError: it is not there, is no regular file or no text.
    """
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file.")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise DatasetError(f"{path} is {kind}; a CSV file with a header is needed.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    content = describe_content(head)
    if content:
        raise DatasetError(f"{path} is {content}, no CSV file; unpack, fetch or save it as CSV (UTF-8) first.")
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), "utf-8")


def first_row(cells: Cells) -> tuple[int, list[str]]:
    """Return line and cells of the first row, the header where there is one.

    Raises:
        DatasetError: there is none, or it holds too many cells.
    """
    for line, row in cells:
        if len(row) > MAX_COLUMNS:
            raise DatasetError(
                f"{cells.path}: line {line} holds {len(row):,} cells, more than {MAX_COLUMNS:,}; it needs a header "
                "and a row for each image."
            )
        return line, row
    raise DatasetError(f"{cells.path} holds no rows; it needs a header and a row for each image.")
