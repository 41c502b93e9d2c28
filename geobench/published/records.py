"""From a file of others to records: CSV, JSON, JSON Lines or a spreadsheet, each record with the place it stands at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geobench.data.tables.parsing import SEPARATORS, TextRows, encoding_of, first_row, footer_at, stated_separator
from geobench.errors import DatasetError, ResultError
from geobench.published.coordinate_text import split_position

ROWS_AT_ONCE = 100_000
ARCHIVE = b"PK\x03\x04"  # a spreadsheet is a zip archive
EXAMPLE = '{"id": "a.jpg", "latitude": 48.85, "longitude": 2.35}'


class Record(NamedTuple):
    """What a file says of an answer.

    Attributes:
        line: where it stands, counted from 1: of a text file the line, of a JSON document the record.
        values: by column; those of nested JSON have the names of their path, such as ``location.latitude``.
    """

    line: int
    values: Mapping[str, Any]


class Records(NamedTuple):
    """The records of a file.

    Attributes:
        found: in their order.
        unit: what they are counted in: ``line``, ``record`` or ``row``.
        notes: lines on how the file was read, for the user.
    """

    found: list[Record]
    unit: str = "line"
    notes: tuple[str, ...] = ()


def read_records(path: Path) -> Records:
    """Return the records of ``path``, whose content says what it is: CSV, JSON, JSON Lines or a spreadsheet (.xlsx).

    Raises:
        ResultError: it is none of these, or damaged; names the line.
    """
    head = _head(path)
    if head.startswith(ARCHIVE) and path.suffix.lower() in (".xlsx", ".xlsm"):
        return _spreadsheet(path)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _json(path)
    return _csv(path)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}.") from None


def _csv(path: Path) -> Records:
    """Return the rows by column; the separator is the stated one, or that which gives most columns."""
    try:
        encoding = encoding_of(path)
        readings = [TextRows(path, encoding, separator) for separator in SEPARATORS]
        stated = stated_separator(readings[0])
        if stated is None:
            cells = max(readings, key=lambda reading: len(first_row(reading)[1]))
        else:
            cells = TextRows(path, encoding, stated)
        blocks = list(cells.blocks(ROWS_AT_ONCE))
    except DatasetError as error:
        raise ResultError(str(error)) from None
    above = 1 if stated is None else 2
    lines = [line for block in blocks for line in block[0]][above - 1 :]
    rows = [row for block in blocks for row in block[1]][above - 1 :]
    if not rows:
        raise ResultError(f"{path} has no rows; it needs a header and rows below it.")
    names = [name.strip() for name in rows[0]]
    _refuse_repeated(path, names)
    end = footer_at(lines[1:], rows[1:])
    notes = () if end is None else (_footer(lines[end + 1 :], rows[end + 1]),)
    body = slice(1, None if end is None else end + 1)
    for line, row in zip(lines[body], rows[body], strict=True):
        if len(row) != len(names):
            raise ResultError(f"{path}: line {line} has {len(row)} values, the header {len(names)}.")
    found = [
        Record(line, dict(zip(names, row, strict=True))) for line, row in zip(lines[body], rows[body], strict=True)
    ]
    return Records(found, notes=notes)


def _footer(lines: Sequence[int], first: Sequence[str]) -> str:
    which = f"line {lines[0]} is" if len(lines) == 1 else f"lines {lines[0]} to {lines[-1]} are"
    return f"{which} another table below a blank line, and left out: {', '.join(first)[:60]}"


def _refuse_repeated(path: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise ResultError(f"{path} has several columns called {', '.join(repeated)}; rename all but one.")


def _json(path: Path) -> Records:
    """Return the records of a JSON document, or of JSON Lines."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ResultError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None
    try:
        document = json.loads(text)
    except ValueError:
        return Records(list(_json_lines(path, text)))
    except RecursionError:
        raise ResultError(f"{path} is nested too deeply to be a list of predictions.") from None
    return Records([Record(n, flat(each)) for n, each in enumerate(_elements(path, document), 1)], "record")


def _json_lines(path: Path, text: str) -> Iterator[Record]:
    """Yield the record of each line that is not blank; U+2028 and U+0085 are characters of a text, not line ends."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ResultError(
                f"{path}: line {number} is not JSON ({error}); write one object per line, or all in one list."
            ) from None
        if not isinstance(record, dict):
            raise ResultError(
                f"{path}: line {number} is a JSON {type(record).__name__}, not an object; write one per line, such as "
                f"{EXAMPLE}."
            )
        yield Record(number, flat(record))


def _elements(path: Path, document: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON document: a list of them, under a name or not, or answers by the name of the image.

    >>> list(_elements(Path("x.json"), {"a.jpg": [48.85, 2.35]}))
    [{'image': 'a.jpg', 'position': [48.85, 2.35]}]
    """
    if isinstance(document, dict):
        lists = [value for value in document.values() if _is_list_of_objects(value)]
        if document and all(isinstance(value, dict) for value in document.values()):
            yield from ({"image": name} | value for name, value in document.items())
            return
        if document and all(_is_position(value) for value in document.values()):
            yield from ({"image": name, "position": value} for name, value in document.items())
            return
        if len(lists) != 1:
            yield document
            return
        document = lists[0]
    for number, element in enumerate(document, 1):
        if not isinstance(element, dict):
            raise ResultError(
                f"{path}: record {number} is a JSON {type(element).__name__}, not an object; write a list of objects, "
                f"such as {EXAMPLE}."
            )
        yield element


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)


def _is_position(value: Any) -> bool:
    return value is None or split_position(text_of(value)) is not None


def flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the values of a nested object by their paths; those of a list have its name and, each, a number.

    >>> flat({"id": 1, "at": {"lat": 2, "lon": 3}})
    {'id': 1, 'at.lat': 2, 'at.lon': 3}
    >>> flat({"at": [48.85, 2.35]})
    {'at': [48.85, 2.35], 'at.0': 48.85, 'at.1': 2.35}
    """
    found: dict[str, Any] = {}
    for name, inner in value.items():
        key = f"{above}{name}"
        if isinstance(inner, dict):
            found |= flat(inner, f"{key}.")
            continue
        found[key] = inner
        if isinstance(inner, list):
            found |= flat({str(number): element for number, element in enumerate(inner)}, f"{key}.")
    return found


def text_of(value: Any) -> str:
    """Return a value of a record as text; empty for none."""
    return "" if value is None else str(value).strip()


def _spreadsheet(path: Path) -> Records:
    """Return the rows of the first sheet that has any."""
    try:
        import openpyxl
    except ImportError:
        raise ResultError(
            f"{path} is a spreadsheet, which needs the package openpyxl: pip install "
            "'geobench-geolocalization[xlsx]'; or save it as CSV."
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = [(sheet.title, list(sheet.iter_rows(values_only=True))) for sheet in book.worksheets]
        book.close()
    except Exception as error:  # openpyxl raises whatever it stumbles over
        raise ResultError(f"{path} is not a readable spreadsheet ({type(error).__name__}); save it as CSV.") from None
    filled = [(title, rows) for title, rows in sheets if any(map(_has_value, rows))]
    if not filled:
        return Records([], "row")
    title, rows = filled[0]
    others = ", ".join(repr(other) for other, _ in filled[1:])
    notes = (f"of the spreadsheet, the sheet {title!r} is read, not {others}",) if others else ()
    start = next(number for number, row in enumerate(rows) if _has_value(row))
    names = [text_of(name) for name in rows[start]]
    _refuse_repeated(path, names)
    found = [
        Record(number, {name: value for name, value in zip(names, row, strict=False) if name})
        for number, row in enumerate(rows[start + 1 :], start + 2)
        if _has_value(row)
    ]
    return Records(found, "row", notes)


def _has_value(row: tuple[Any, ...]) -> bool:
    return any(value is not None and str(value).strip() for value in row)
