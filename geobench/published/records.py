"""From a file of others to records: CSV, JSON, JSON Lines or a spreadsheet, each record with the place it stands at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geobench.data.tables.parsing import (
    SEPARATORS,
    TextRows,
    encoding_of,
    encoding_of_head,
    first_row,
    footer_at,
    stated_separator,
)
from geobench.errors import DatasetError, ResultError
from geobench.words.coordinate_text import split_position

ROWS_AT_ONCE = 100_000
MANY_ROWS = 10  # from which on a short number at the end tells of a file that was cut off
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
        response: the column of the answers in words that the positions were read from; empty for none.
    """

    found: list[Record]
    unit: str = "line"
    notes: tuple[str, ...] = ()
    response: str = ""


def read_records(path: Path) -> Records:
    """Return the records of ``path``, whose content says what it is: CSV, JSON, JSON Lines or a spreadsheet (.xlsx).

    Raises:
        ResultError: it is none of these, or damaged; names the line.
    """
    head = _head(path)
    if head.startswith(ARCHIVE) and path.suffix.lower() in (".xlsx", ".xlsm"):
        return _spreadsheet(path)
    if head.decode(encoding_of_head(head), errors="replace").lstrip()[:1] in ("{", "["):
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
    notes = [] if end is None else [_footer(lines[end + 1 :], rows[end + 1])]
    body = slice(1, None if end is None else end + 1)
    found, again = [], []
    for line, row in zip(lines[body], rows[body], strict=True):
        if _is_header(path, line, row, names):
            again.append(line)
            continue
        if len(row) != len(names):
            raise ResultError(f"{path}: line {line} has {len(row)} values, the header {len(names)}.")
        found.append(Record(line, dict(zip(names, row, strict=True))))
    if again:
        notes.append(f"the header stands again on line {', '.join(map(str, again[:3]))}: the file is several joined")
    if end is None:
        notes += _cut_off(path, encoding, [list(record.values.values()) for record in found], lines[-1])
    return Records(found, notes=tuple(notes))


def _is_header(path: Path, line: int, row: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a row is the header again; raise ``ResultError`` if it is the header of another table."""
    own = [field.strip() for field in row]
    if own == list(names):
        return True
    shared = {field.lower() for field in own if field} & {name.lower() for name in names if name}
    if len(shared) >= 2:
        raise ResultError(
            f"{path}: line {line} is another header ({', '.join(own)[:60]}), with other columns than line 1 "
            f"({', '.join(names)[:60]}); split the file there."
        )
    return False


def _cut_off(path: Path, encoding: str, rows: Sequence[Sequence[str]], line: int) -> list[str]:
    """Return a note if the last line ends without a line break, in a number that is shorter than all above it."""
    with path.open("rb") as file:
        file.seek(-min(4, path.stat().st_size), 2)
        ends = b"\n" in file.read() if encoding.startswith("utf-16") or encoding.startswith("utf-32") else None
        file.seek(-1, 2)
        ends = file.read() in (b"\n", b"\r") if ends is None else ends
    if ends or len(rows) < MANY_ROWS or not rows[-1]:
        return []
    decimals = [len(row[-1].strip().partition(".")[2]) for row in rows]
    if decimals[-1] >= min(decimals[:-1]):
        return []
    return [
        f"line {line} ends without a line break, in {rows[-1][-1]!r}, shorter than the numbers above: if the writing "
        "was interrupted, remove the line"
    ]


def _footer(lines: Sequence[int], first: Sequence[str]) -> str:
    which = f"line {lines[0]} is" if len(lines) == 1 else f"lines {lines[0]} to {lines[-1]} are"
    return f"{which} another table below a blank line, and left out: {', '.join(first)[:60]}"


def _refuse_repeated(path: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise ResultError(f"{path} has several columns called {', '.join(repeated)}; rename all but one.")


def _json(path: Path) -> Records:
    """Return the records of a JSON document, or of JSON Lines."""
    content = path.read_bytes()
    try:
        text = content.decode(encoding_of_head(content))
    except UnicodeDecodeError as error:
        raise ResultError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except _RepeatedKeyError as error:
        if _is_document(text):
            raise ResultError(f"{path}: an object has {error} twice, with different values; keep one.") from None
        return Records(list(_json_lines(path, text)))
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
            record = json.loads(line, object_pairs_hook=_object)
        except _RepeatedKeyError as error:
            raise ResultError(f"{path}: line {number} has {error} twice, with different values; keep one.") from None
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


class _RepeatedKeyError(ValueError):
    """An object has a name twice: a parser takes the last without a word."""


def _is_document(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise _RepeatedKeyError(repr(name[:60]))
        found[name] = value
    return found


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
    >>> flat({"at": {"type": "Point", "coordinates": [2.35, 48.85]}})["at.coordinates"]
    'POINT(2.35 48.85)'
    """
    found: dict[str, Any] = {}
    for name, inner in value.items():
        key = f"{above}{name}"
        if isinstance(inner, dict):
            found |= flat(inner, f"{key}.")
            continue
        found[key] = inner
        if name == "coordinates" and value.get("type") == "Point" and isinstance(inner, list) and len(inner) >= 2:
            found[key] = f"POINT({inner[0]} {inner[1]})"  # GeoJSON: longitude first (RFC 7946)
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
