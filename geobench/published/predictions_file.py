"""Reading predictions that others wrote: CSV, JSON or a spreadsheet, whatever the columns are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.tables.choice import Column, Resolve, choose_axis, choose_image_column
from geobench.data.tables.columns import AXES
from geobench.errors import DatasetError, ResultError
from geobench.geo import FloatArray
from geobench.predictions import ANSWER, UNPARSEABLE
from geobench.published.answers import Answers, not_stated, positions_in, read_answers, with_reasons
from geobench.published.file_columns import (
    Roles,
    beside_of,
    check_roles,
    find_roles,
    flags_of,
    remedy_for,
)
from geobench.published.flags import with_flags
from geobench.published.groups import notes_on_parts, refuse_merged
from geobench.published.matching import check_order
from geobench.published.ordering import order_of
from geobench.published.ordinates import complete
from geobench.published.pairs import Pair, words_of
from geobench.published.ranges import refuse_out_of_range
from geobench.published.records import Record, Records, read_records, text_of
from geobench.published.worded import geocoder_of, in_words
from geobench.words.parsers import Parser

if TYPE_CHECKING:
    import pandas as pd

DISTANCES = frozenset({"distance", "dist", "error", "err", "haversine", "geodesic"})
"""Words in the name of a column of distances to the truth."""
SHOWN = 3  # unusable answers that a note names


@dataclass(frozen=True)
class Answered:
    """What a file says of one model.

    Attributes:
        model: as the file calls it; empty if it has one model only.
        table: a row per prediction: ``line``, ``image``, ``latitude``, ``longitude`` (NaN if there is no position),
            ``score``, ``order`` (what the predictions for an image are sorted by, best first), ``ranked`` (whether that
            is a rank) and ``status``; of answers in words what is known of them, in columns that begin with
            :data:`geobench.predictions.ANSWER`.
        columns: the file's name for each role.
        notes: lines on how it was read, for the user.
        distances: the numbers (n,) in columns that are called like a distance to the truth.
        geocoder: what turned the names in answers into places; empty for none.
    """

    model: str
    table: pd.DataFrame
    columns: dict[str, str]
    notes: list[str] = field(default_factory=list)
    distances: Mapping[str, FloatArray] = field(default_factory=dict)
    geocoder: str = ""


def read_predictions(
    path: Path,
    columns: Mapping[str, str],
    resolve: Resolve | None = None,
    as_given: bool = False,
    parser: Parser | None = None,
) -> list[Answered]:
    """Return the predictions in ``path``, those of each model that it has.

    A text that is no position is an answer without one, counted and told in the notes. Several positions in a row are
    those of several models, or of one, best first, if their names differ by a number alone.

    Args:
        path: CSV, JSON, JSON Lines or a spreadsheet.
        columns: the file's names for roles; those of others are recognised.
        resolve: looks for images by name, to tell which of several recognised columns names them.
        as_given: do not refuse positions out of range that fit with latitude and longitude swapped.
        parser: reads the answers in words that ``path`` has; None reads the positions that it has.

    Raises:
        SettingError: ``columns`` names an unknown role.
        ResultError: the file is not a table of predictions; names the line. Several columns may have a role.
    """
    check_roles(columns)
    records = read_records(path)
    if not records.found:
        raise ResultError(f"{path} contains no predictions; it needs a row for each image: id, latitude, longitude.")
    if parser is not None:
        records = in_words(path, records, parser, columns)
        columns = {role: name for role, name in columns.items() if role != "response"}
    roles = find_roles(path, records.found, columns)
    if roles.ranked:
        return [_of_ranks(path, records, roles, columns, resolve, as_given)]
    found = []
    for pair in roles.answers:
        label = pair.label if len(roles.answers) > 1 else ""
        others, flags = roles.others, roles.flags
        if label:
            names = list(dict.fromkeys(name for record in records.found for name in record.values))
            others = {
                **others,
                **{role: [name] for role, name in beside_of(pair, names).items() if role not in columns},
            }
            flags = flags_of(pair, names)
        own = Roles(others, [pair], flags=flags, notes=roles.notes)
        found += _of_models(path, records, own, label, columns, resolve, as_given)
    return found


def _of_models(
    path: Path,
    records: Records,
    roles: Roles,
    label: str,
    columns: Mapping[str, str],
    resolve: Resolve | None,
    as_given: bool,
) -> list[Answered]:
    """Return the predictions of each model that columns tell apart: those in which the rows of an image differ."""
    image = roles.others["image"][0]
    candidates = roles.others.get("model", [])
    telling = [name for name in candidates if "model" in columns or _tells_apart(records.found, image, name)]
    models: dict[str, list[Record]] = {}
    for record in records.found:
        named = [(name, text_of(record.values.get(name)) or "unnamed") for name in telling]
        called = [value if name == telling[0] and not value.isdigit() else f"{name} {value}" for name, value in named]
        models.setdefault(" ".join(filter(None, (label, *called))), []).append(record)
    told = notes_on_parts(records.found, [name for name in candidates if name not in telling])
    return [
        _read(
            path, records._replace(found=own, notes=(*records.notes, *told)), roles, model, columns, resolve, as_given
        )
        for model, own in models.items()
    ]


def _tells_apart(records: Sequence[Record], image: str, column: str) -> bool:
    """Return whether rows of one image differ in ``column``: predictions of several models are no top k of one."""
    first: dict[str, str] = {}
    for record in records:
        value = text_of(record.values.get(column))
        if first.setdefault(text_of(record.values.get(image)), value) != value:
            return True
    return False


def _of_ranks(
    path: Path, records: Records, roles: Roles, columns: Mapping[str, str], resolve: Resolve | None, as_given: bool
) -> Answered:
    """Return the predictions of a file that has the best, the second and so on in columns of one row."""
    first = {axis: called[0] for axis, called in roles.answers[0].columns.items()}
    names = list(dict.fromkeys(name for record in records.found for name in record.values))
    besides = [beside_of(pair, names) for pair in roles.answers]
    flags = [flags_of(pair, names) for pair in roles.answers]
    called_so = {called: called for each in flags for called in each.values()}
    long = []
    for record in records.found:
        for place, (pair, beside) in enumerate(zip(roles.answers, besides, strict=True), 1):
            own = {name: record.values.get(pair.columns[axis][0]) for axis, name in first.items()}
            rank = record.values.get(beside["rank"]) if "rank" in beside else place
            score = record.values.get(beside.get("score", f"score_{place}"))
            said = {called: record.values.get(name) for name, called in flags[place - 1].items()}
            long.append(Record(record.line, {**record.values, **own, **said, "rank": rank, "score": score}))
    others = {**roles.others, "rank": ["rank"], "score": ["score"]}
    ranked = Roles(
        others, [Pair("", {axis: [name] for axis, name in first.items()})], flags=called_so, notes=roles.notes
    )
    return _read(path, records._replace(found=long), ranked, "", columns, resolve, as_given)


def _read(
    path: Path,
    records: Records,
    roles: Roles,
    model: str,
    columns: Mapping[str, str],
    resolve: Resolve | None,
    as_given: bool,
) -> Answered:
    """Return the predictions in the columns of one model."""
    import pandas as pd

    found, notes = _chosen(path, records, roles, resolve)
    text = {role: [text_of(record.values.get(name)) for record in records.found] for role, name in found.items()}
    lines = [record.line for record in records.found]
    if "" in text["image"]:
        raise ResultError(f"{path}: {records.unit} {lines[text['image'].index('')]} names no image.")
    latitudes, longitudes = positions_in(text, found)
    answers = read_answers(latitudes, longitudes)
    if not as_given:
        numbers = [_as_numbers([text.replace(",", ".") for text in texts])[0] for texts in (latitudes, longitudes)]
        refuse_out_of_range(path, np.stack(numbers, axis=1), found)
    complete(path, records, answers.coordinates, found)
    if not model:
        _refuse_none(path, records.unit, answers, lines, found)
    placed = int(np.isfinite(answers.coordinates[:, 0]).sum())
    answers = with_reasons(answers, *(text.get(role, ()) for role in ("status", "error", "response")))
    if fewer := placed - int(np.isfinite(answers.coordinates[:, 0]).sum()):
        notes.append(
            f"the column {found['status']!r} says of {fewer:,} {records.unit}s with a position that they are no "
            "answer; those positions do not count"
        )
    notes += _not_stated(text.get("status", ()), found, lines, records.unit)
    flags = {name: called for name, called in roles.flags.items() if name not in found.values()}
    stated = {name: [text_of(record.values.get(name)) for record in records.found] for name in flags}
    answers, flagged = with_flags(answers, stated, flags, records.unit)
    notes += flagged
    score, told = _scores(path, records.unit, text, lines, found, columns)
    rank = _ranks(path, records.unit, text.get("rank"), lines)
    axes = {axis: answers.coordinates[:, number] for number, axis in enumerate(AXES)}
    table = pd.DataFrame({"line": lines, "image": text["image"], **axes, "score": score, "status": answers.status})
    table["order"] = order_of(path, records.unit, table, rank, columns)
    table["ranked"] = rank is not None
    if rank is None and "score" in found and not {"score", "rank", "model"} & {*columns}:
        refuse_merged(path, records.unit, records.found, table, found)
    used = {role: name for role, name in found.items() if role not in ("error", "response", "model")}
    if records.response:
        used = {role: used[role] for role in ("image", "rank") if role in used} | {"response": records.response}
        for name in (name for name in records.found[0].values if name.startswith(ANSWER)):
            table[name] = [record.values.get(name) for record in records.found]
    notes = [*records.notes, *roles.notes, *notes, *told, *_unusable(answers, lines, records.unit)]
    geocoder = geocoder_of(records) if records.response else ""
    return Answered(model, table, used, notes, {} if model else _distances(records, found), geocoder)


def _distances(records: Records, found: Mapping[str, str]) -> dict[str, FloatArray]:
    """Return the numbers in columns that are called like a distance to the truth and have no other role."""
    names = dict.fromkeys(name for record in records.found for name in record.values)
    called = [n for n in names if words_of(n) & DISTANCES and n not in [c for r, c in found.items() if r != "error"]]
    numbers = {name: _as_numbers([text_of(record.values.get(name)) for record in records.found]) for name in called}
    return {name: values for name, (values, wrong) in numbers.items() if not wrong.any()}


def _chosen(path: Path, records: Records, roles: Roles, resolve: Resolve | None) -> tuple[dict[str, str], list[str]]:
    """Return the column of each role, and notes on those that were chosen among several by their content."""
    import pandas as pd

    candidates = {**roles.others, **roles.answers[0].columns}
    found, notes = {role: names[0] for role, names in candidates.items()}, []
    lines = [record.line for record in records.found]
    for role in (role for role, names in candidates.items() if len(names) > 1):
        columns = [
            Column(name, pd.Series([text_of(r.values.get(name)) for r in records.found], index=lines, dtype=str))
            for name in candidates[role]
        ]
        try:
            if role == "image":
                chosen = choose_image_column(str(path), columns, resolve, remedy_for(role))
                found[role] = columns[chosen.number].name
                notes += [chosen.note] if chosen.note else []
            elif role in AXES:
                found[role] = columns[choose_axis(str(path), role, columns, remedy_for(role))].name
            elif role in ("rank", "score"):
                ids = [text_of(record.values.get(found["image"])) for record in records.found]
                check_order(str(path), columns, ids, remedy_for(role))
        except DatasetError as error:
            raise ResultError(str(error)) from None
    return found, notes


def _scores(
    path: Path,
    unit: str,
    text: Mapping[str, list[str]],
    lines: Sequence[int],
    found: dict[str, str],
    columns: Mapping[str, str],
) -> tuple[FloatArray, list[str]]:
    """Return the scores (n,), NaN for none, and a note on the column; one that is not of numbers is left out."""
    if "score" not in text:
        return np.full(len(lines), np.nan), []
    numbers, wrong = _as_numbers(text["score"])
    if not wrong.any():
        known = bool(np.isfinite(numbers).any())
        return numbers, [f"the column {found['score']!r} is taken for the score; higher is better"] if known else []
    row = int(wrong.argmax())
    where = f"{unit} {lines[row]}: score {text['score'][row]!r} is not a number"
    if "score" in columns:
        raise ResultError(f"{path}: {where} (such {unit}s: {int(wrong.sum()):,}); correct it, or leave it empty.")
    name = found.pop("score")
    return np.full(len(lines), np.nan), [f"the column {name!r} is not taken for the score: {where}"]


def _ranks(path: Path, unit: str, texts: Sequence[str] | None, lines: Sequence[int]) -> FloatArray | None:
    if texts is None:
        return None
    numbers, wrong = _as_numbers(texts)
    if wrong.any():
        row = int(wrong.argmax())
        raise ResultError(f"{path}: {unit} {lines[row]}: rank {texts[row]!r} is not a number; 1 is the best.")
    return numbers


def _as_numbers(texts: Sequence[str]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return ``texts`` as numbers, NaN for none, and which are something else."""
    import pandas as pd

    empty = np.array([text.lower() in ("", "nan", "none", "null", "n/a") for text in texts], dtype=np.bool_)
    numbers: FloatArray = np.asarray(pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce"), dtype=np.float64)
    wrong: npt.NDArray[np.bool_] = ~empty & ~np.isfinite(numbers)
    return np.where(empty, np.nan, numbers), wrong


def _not_stated(texts: Sequence[str], found: dict[str, str], lines: Sequence[int], unit: str) -> list[str]:
    """Return a note on a column of statuses that is not taken for one, because a value is none."""
    row = not_stated(texts)
    if row is None:
        return []
    name = found.pop("status")
    return [f"the column {name!r} is not taken for the status: {unit} {lines[row]}: {texts[row][:40]!r} is none known"]


def _refuse_none(path: Path, unit: str, answers: Answers, lines: Sequence[int], found: Mapping[str, str]) -> None:
    """Raise ``ResultError`` if no text is a position, and most are something else: it is another column."""
    wrong = [row for row, reason in enumerate(answers.reasons) if reason and answers.status[row] == UNPARSEABLE]
    if wrong and 2 * len(wrong) >= len(lines) and np.isnan(answers.coordinates).all():
        named = " and ".join(found[role] for role in (*AXES, "position") if role in found)
        raise ResultError(
            f"{path}: none of {len(lines):,} {unit}s has a position in {named}: {unit} {lines[wrong[0]]}: "
            f"{answers.reasons[wrong[0]]}. Name the predicted columns: latitude=NAME,longitude=NAME, or position=NAME "
            "if both are in one."
        )


def _unusable(answers: Answers, lines: Sequence[int], unit: str) -> list[str]:
    """Return a line on the answers with a text that is no position."""
    rows = [row for row, reason in enumerate(answers.reasons) if reason and answers.status[row] == UNPARSEABLE]
    if not rows:
        return []
    shown = "; ".join(f"{unit} {lines[row]}: {answers.reasons[row]}" for row in rows[:SHOWN])
    more = "; …" if len(rows) > SHOWN else ""
    return [f"answers that are no position, counted as unparseable ({len(rows):,}): {shown}{more}"]
