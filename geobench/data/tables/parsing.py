"""From a text file to rows of cells: encoding, separator, quotes, and a line number for whatever is wrong."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geobench.errors import DatasetError
from geobench.images.signatures import HEAD, describe_content

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_COLUMNS = 4096
"""A header of more names is no metadata table."""
CHARACTERS = 1 << 20  # read at once
NUL, BROKEN = "\0", "\ufffd"
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

    def blocks(self, size: int) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Yield ``size`` rows at a time, and the lines that they begin in; blank rows are left out.

        Raises:
            DatasetError: a quote is left open, a byte is no text; names the line.
        """
        line, lines, rows = 1, [], []
        try:
            with self.path.open(encoding=self.encoding, newline="") as file:
                reader = csv.reader(
                    file,
                    delimiter=self.separator,
                    quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
                    skipinitialspace=True,
                    strict=True,
                )
                for row in reader:
                    if row and (row[0] or any(row)):
                        lines.append(line)
                        rows.append(row)
                        if len(rows) == size:
                            yield lines, rows
                            lines, rows = [], []
                    line = reader.line_num + 1
                yield lines, rows
        except csv.Error as error:
            raise DatasetError(
                f"{self.path}: line {line}: {error}; a cell in quotes must end with one, and a quote inside it is "
                "doubled."
            ) from None
        except UnicodeError:
            raise DatasetError(
                f"{self.path}: line {self._line_with(BROKEN)} is no {self.encoding.removesuffix('-sig').upper()} text; "
                "save the file as UTF-8 (iconv -f latin1 -t utf-8)."
            ) from None
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read: {error.strerror}.") from error

    def refuse_nul(self) -> None:
        """Raise ``DatasetError`` where the file holds NUL characters; names the line."""
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            while text := file.read(CHARACTERS):
                if "\0" in text:
                    raise DatasetError(
                        f"{self.path}: line {self._line_with(NUL)} holds NUL characters; is it damaged, or UTF-16 "
                        "without its mark? Save it as UTF-8."
                    )

    def _line_with(self, character: str) -> int:
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            return next((number for number, text in enumerate(file, 1) if character in text), 1)


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
        DatasetError: there is none.
    """
    for lines, rows in cells.blocks(1):
        if rows:
            return lines[0], rows[0]
    raise DatasetError(f"{cells.path} holds no rows; it needs a header and rows below it.")
