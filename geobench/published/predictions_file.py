"""Reading predictions that others wrote: CSV or JSON Lines, whatever the columns are called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.data.tables.choice import Column, Resolve, choose_axis, choose_image_column
from geobench.data.tables.columns import AXES, RECOGNISED, recognised
from geobench.data.tables.parsing import SEPARATORS, TextRows, encoding_of, first_row
from geobench.errors import DatasetError, ResultError, SettingError
from geobench.geo import FloatArray, valid_if_swapped
from geobench.published.matching import check_order

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 100_000
ROLES = ("image", "latitude", "longitude", "rank", "score")
AFFIXES = ("predicted_{}", "pred_{}", "{}_predicted", "{}_pred", "{}")
"""Names of predicted positions, made from each name of a position. A bare ``lat`` comes last: in a file with both it is
the truth."""
OPTIONAL = {
    "rank": ("rank", "place"),
    "score": ("score", "probability", "prob", "confidence", "similarity"),
}
SYSTEMS = ("model", "method", "system", "checkpoint", "run", "seed", "experiment")
"""Names of columns that tell the predictions of several models apart."""
NOTHING = ("", "nan", "none", "null", "n/a")
"""Values that mean no prediction; the image is then a miss."""


def read_predictions(path: Path, columns: Mapping[str, str], resolve: Resolve | None = None) -> pd.DataFrame:
    """Return the predictions in ``path``: ``line``, ``image``, ``latitude``, ``longitude``, ``score``, ``order``.

    ``order`` is what the predictions for an image are sorted by, best first; positions are NaN if there is no
    prediction. ``attrs["columns"]`` has the file's name for each role, ``attrs["notes"]`` lines on how it was chosen. A
    file of ours, with ``latitude_1``, ``latitude_2``, … in a row, gives a prediction for each.

    Args:
        path: CSV or JSON Lines.
        columns: the file's names for roles; those of others are recognised.
        resolve: looks for images by name, to tell which of several recognised columns names them.

    Raises:
        SettingError: ``columns`` names a role other than ``image``, ``latitude``, ``longitude``, ``rank``, ``score``.
        ResultError: the file is not a table of predictions; names the line. Several columns may have a role.
    """
    import pandas as pd

    unknown = sorted(set(columns) - set(ROLES))
    if unknown:
        raise SettingError(f"columns: unknown role {', '.join(unknown)}; valid are {', '.join(ROLES)}.")
    records = _long(list(_json_lines(path) if _is_json(path) else _csv_rows(path)))
    if not records:
        raise ResultError(f"{path} contains no predictions; it needs a row for each image: id, latitude, longitude.")
    candidates = find_columns(path, list(dict.fromkeys(name for _, record in records for name in record)), columns)
    found, notes = _chosen(path, records, candidates, resolve)
    text = {role: [_text(record.get(name)) for _, record in records] for role, name in found.items()}
    _refuse_several_systems(path, records, text["image"], set(found.values()))
    lines = [line for line, _ in records]
    numbers = {role: _numbers(values, role, lines, path) for role, values in text.items() if role != "image"}
    _check(text["image"], numbers, lines, found, path)
    score = numbers.get("score", np.full(len(lines), np.nan))
    by_score = pd.Series(-score).rank(method="first")  # of equal scores the first in the file is better
    order = pd.Series(numbers["rank"]) if "rank" in numbers else by_score
    axes = {axis: numbers[axis] for axis in AXES}
    table = pd.DataFrame({"line": lines, "image": text["image"], **axes, "score": score, "order": order.fillna(np.inf)})
    table.attrs["columns"], table.attrs["notes"] = found, notes
    return table


def find_columns(path: Path, names: Sequence[str], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the columns of ``path`` that may have each role: the one in ``columns``, or all that are recognised."""
    by_lower = {name.strip().lower(): name for name in names}
    found: dict[str, list[str]] = {}
    for role, wanted in columns.items():
        if wanted.strip().lower() not in by_lower:
            raise ResultError(f"{path} has no column {wanted!r} for the {role}; it has {_listed(names)}.")
        found[role] = [by_lower[wanted.strip().lower()]]
    for role, usual in {"image": RECOGNISED["image"], **OPTIONAL}.items():
        there = [by_lower[name] for name in usual if name in by_lower]
        if there:
            found.setdefault(role, there)
    for affix in AFFIXES:
        bare = [name for axis in AXES for name in RECOGNISED[axis] if affix.format(name) in by_lower]
        pair = {axis: [by_lower[affix.format(name)] for name in recognised(bare, axis)] for axis in AXES}
        if all(pair.values()):
            found = pair | found
            break
    missing = [role for role in RECOGNISED if role not in found]
    if missing:
        raise ResultError(
            f"{path} has no recognised column for {' and '.join(missing)}; it has {_listed(names)}. Name it (columns): "
            f"{','.join(f'{role}=NAME' for role in missing)}."
        )
    return found


def _chosen(
    path: Path,
    records: Sequence[tuple[int, dict[str, Any]]],
    candidates: Mapping[str, Sequence[str]],
    resolve: Resolve | None,
) -> tuple[dict[str, str], list[str]]:
    """Return the column of each role, and notes on those that were chosen among several by their content."""
    import pandas as pd

    found, notes = {role: names[0] for role, names in candidates.items()}, []
    lines = [line for line, _ in records]
    for role in (role for role, names in candidates.items() if len(names) > 1):
        columns = [
            Column(name, pd.Series([_text(record.get(name)) for _, record in records], index=lines, dtype=str))
            for name in candidates[role]
        ]
        remedy = partial(_remedy, role)
        try:
            if role == "image":
                chosen = choose_image_column(str(path), columns, resolve, remedy)
                found[role] = columns[chosen.number].name
                notes += [chosen.note] if chosen.note else []
            elif role in AXES:
                found[role] = columns[choose_axis(str(path), role, columns, remedy)].name
            else:
                check_order(str(path), columns, [_text(record.get(found["image"])) for _, record in records], remedy)
        except DatasetError as error:
            raise ResultError(str(error)) from None
    return found, notes


def _refuse_several_systems(
    path: Path, records: Sequence[tuple[int, dict[str, Any]]], images: Sequence[str], taken: set[str]
) -> None:
    """Raise ``ResultError`` if the rows of an image are predictions of several models, which are no top k of one."""
    names = dict.fromkeys(name for _, record in records for name in record if name.strip().lower() in SYSTEMS)
    for name in names:
        of_image: dict[str, str] = {}
        for (line, record), image in zip(records, images, strict=True):
            system = _text(record.get(name))
            if name not in taken and of_image.setdefault(image, system) != system:
                raise ResultError(
                    f"{path}: line {line}: {image!r} has predictions with {name} {of_image[image]!r} and {system!r}; "
                    f"write those of each {name} into a file of its own, and score them one by one."
                )


def _is_json(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _remedy(role: str, name: str) -> str:
    return (
        f"name the right one: columns={{{role!r}: {name!r}}} in Python, or geobench score FILE --dataset NAME "
        f"--columns {role}={name}"
    )


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and record of each line that is not blank."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ResultError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ResultError(f"{path}: line {number} is not JSON ({error}); write one object per line.") from None
        if not isinstance(record, dict):
            raise ResultError(
                f"{path}: line {number} is a JSON {type(record).__name__}, not an object; write one per line, such as "
                '{"id": "a.jpg", "latitude": 48.85, "longitude": 2.35}.'
            )
        yield number, record


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and values by column; the separator is the one that gives most columns."""
    try:
        encoding = encoding_of(path)
        readings = [TextRows(path, encoding, separator) for separator in SEPARATORS]
        header, cells = max(((first_row(cells), cells) for cells in readings), key=lambda found: len(found[0][1]))
        names = [name.strip() for name in header[1]]
        repeated = sorted({name for name in names if name and names.count(name) > 1})
        if repeated:
            raise ResultError(f"{path} has several columns called {', '.join(repeated)}; rename all but one.")
        for lines, rows in cells.blocks(ROWS_AT_ONCE):
            for line, row in zip(lines, rows, strict=True):
                if line > header[0] and len(row) != len(names):
                    raise ResultError(f"{path}: line {line} has {len(row)} values, the header {len(names)}.")
                if line > header[0]:
                    yield line, dict(zip(names, row, strict=True))
    except DatasetError as error:
        raise ResultError(str(error)) from None


def _long(records: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """Return a record for each of ``latitude_1``, ``latitude_2``, … if the file has them in one row."""
    if not records or not {"latitude_1", "longitude_1"} <= records[0][1].keys():
        return records
    ranks = [rank for rank in range(1, len(records[0][1])) if f"latitude_{rank}" in records[0][1]]
    return [
        (line, record | {"rank": rank} | {role: record.get(f"{role}_{rank}") for role in (*AXES, "score")})
        for line, record in records
        for rank in ranks
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _numbers(texts: Sequence[str], what: str, lines: Sequence[int], path: Path) -> FloatArray:
    """Return ``texts`` as numbers, NaN for no prediction; raise ``ResultError`` for anything else."""
    import pandas as pd

    empty = np.array([text.lower() in NOTHING for text in texts], dtype=np.bool_)
    numbers: FloatArray = np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce"), dtype=np.float64)
    wrong = ~empty & ~np.isfinite(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise ResultError(
            f"{path}: line {lines[row]}: {what} {texts[row]!r} is not a number (such lines: {int(wrong.sum()):,}); "
            "correct it, or leave it empty for an image without a prediction."
        )
    return np.where(empty, np.nan, numbers)


def _check(
    images: Sequence[str],
    numbers: Mapping[str, FloatArray],
    lines: Sequence[int],
    found: Mapping[str, str],
    path: Path,
) -> None:
    """Raise ``ResultError`` for a row without an id, with half a position, or with a position out of range."""
    latitude, longitude = numbers["latitude"], numbers["longitude"]
    if "" in images:
        raise ResultError(f"{path}: line {lines[images.index('')]} names no image.")
    half = np.isnan(latitude) != np.isnan(longitude)
    if half.any():
        raise ResultError(
            f"{path}: line {lines[int(half.argmax())]} has a latitude or a longitude, not both (such lines: "
            f"{int(half.sum()):,}); complete it, or leave both empty for an image without a prediction."
        )
    beyond = (np.abs(latitude) > AXES["latitude"]) | (np.abs(longitude) > AXES["longitude"])
    if not beyond.any():
        return
    row = int(beyond.argmax())
    given = np.stack([latitude, longitude], axis=1)[~np.isnan(latitude)]
    advice = (
        f"they look swapped: name the columns latitude={found['longitude']},longitude={found['latitude']}"
        if valid_if_swapped(given)
        else "correct them, or leave them empty for an image without a prediction"
    )
    raise ResultError(
        f"{path}: line {lines[row]}: {latitude[row]:g}, {longitude[row]:g} is out of range (latitude ±90, longitude "
        f"±180; such lines: {int(beyond.sum()):,}); {advice}."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")
