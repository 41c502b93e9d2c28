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
from geobench.data.tables.coordinates import apply_hemispheres, hemisphere_column
from geobench.errors import DatasetError, ResultError
from geobench.geo import FloatArray, valid_if_swapped
from geobench.predictions import UNPARSEABLE
from geobench.published.answers import Answers, positions, read_answers, with_reasons
from geobench.published.file_columns import Pair, Roles, check_roles, find_roles, remedy_for, truth_of
from geobench.published.matching import check_order
from geobench.published.ordering import order_of
from geobench.published.records import Record, Records, read_records, text_of

if TYPE_CHECKING:
    import pandas as pd

SWAPPED_SHARE = 0.05
"""Share of the positions out of range from which on a file is refused if swapping its columns mends all of them."""
SHOWN = 3  # unusable answers that a note names


@dataclass(frozen=True)
class Answered:
    """What a file says of one model.

    Attributes:
        model: as the file calls it; empty if it has one model only.
        table: a row per prediction: ``line``, ``image``, ``latitude``, ``longitude`` (NaN if there is no position),
            ``score``, ``order`` (what the predictions for an image are sorted by, best first), ``ranked`` (whether that
            is a rank) and ``status``.
        columns: the file's name for each role.
        notes: lines on how it was read, for the user.
    """

    model: str
    table: pd.DataFrame
    columns: dict[str, str]
    notes: list[str] = field(default_factory=list)


def read_predictions(
    path: Path, columns: Mapping[str, str], resolve: Resolve | None = None, as_given: bool = False
) -> list[Answered]:
    """Return the predictions in ``path``, those of each model that it has.

    A text that is no position is an answer without one, counted and told in the notes. Several positions in a row are
    those of several models, or of one, best first, if their names differ by a number alone.

    Args:
        path: CSV, JSON, JSON Lines or a spreadsheet.
        columns: the file's names for roles; those of others are recognised.
        resolve: looks for images by name, to tell which of several recognised columns names them.
        as_given: do not refuse positions out of range that fit with latitude and longitude swapped.

    Raises:
        SettingError: ``columns`` names an unknown role.
        ResultError: the file is not a table of predictions; names the line. Several columns may have a role.
    """
    check_roles(columns)
    records = read_records(path)
    if not records.found:
        raise ResultError(f"{path} contains no predictions; it needs a row for each image: id, latitude, longitude.")
    roles = find_roles(path, records.found, columns)
    if roles.ranked:
        return [_of_ranks(path, records, roles, columns, resolve, as_given)]
    found = []
    for pair in roles.answers:
        label = pair.label if len(roles.answers) > 1 else ""
        own = Roles(roles.others, [pair], notes=roles.notes)
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
    return [
        _read(path, records._replace(found=own), roles, model, columns, resolve, as_given)
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
    first = {axis: names[0] for axis, names in roles.answers[0].columns.items()}
    long = []
    for record in records.found:
        for rank, pair in enumerate(roles.answers, 1):
            own = {name: record.values.get(pair.columns[axis][0]) for axis, name in first.items()}
            long.append(
                Record(record.line, {**record.values, **own, "rank": rank, "score": record.values.get(f"score_{rank}")})
            )
    others = {**roles.others, "rank": ["rank"], "score": ["score"]}
    ranked = Roles(others, [Pair("", {axis: [name] for axis, name in first.items()})])
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
    latitudes, longitudes = positions(text["position"]) if "position" in text else (text["latitude"], text["longitude"])
    answers = read_answers(latitudes, longitudes)
    if not as_given:
        _refuse_swapped(path, latitudes, longitudes, found)
    _sign(path, records, answers)
    if not model:
        _refuse_none(path, records.unit, answers, lines, found)
    answers = with_reasons(answers, *(text.get(role, ()) for role in ("status", "error", "response")))
    score, told = _scores(path, records.unit, text, lines, found, columns)
    rank = _ranks(path, records.unit, text.get("rank"), lines)
    axes = {axis: answers.coordinates[:, number] for number, axis in enumerate(AXES)}
    table = pd.DataFrame({"line": lines, "image": text["image"], **axes, "score": score, "status": answers.status})
    table["order"] = order_of(path, records.unit, table, rank, columns)
    table["ranked"] = rank is not None
    used = {role: name for role, name in found.items() if role not in ("error", "response", "model")}
    return Answered(
        model, table, used, [*records.notes, *roles.notes, *notes, *told, *_unusable(answers, lines, records.unit)]
    )


def _sign(path: Path, records: Records, answers: Answers) -> None:
    """Give unsigned degrees the signs of columns of hemispheres; raise ``ResultError`` for one that says nothing."""
    names = dict.fromkeys(name for record in records.found for name in record.values)
    for number, axis in enumerate(AXES):
        name = hemisphere_column(names, axis)
        if name is None:
            continue
        given = [text_of(record.values.get(name)) for record in records.found]
        for row, reason in apply_hemispheres(answers.coordinates[:, number], axis, {name: given}).items():
            raise ResultError(f"{path}: {records.unit} {records.found[row].line}: {reason}.")


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


def _refuse_swapped(path: Path, latitudes: Sequence[str], longitudes: Sequence[str], found: Mapping[str, str]) -> None:
    """Raise ``ResultError`` if positions are out of range and none is with latitude and longitude swapped."""
    given = np.stack([_as_numbers(latitudes)[0], _as_numbers(longitudes)[0]], axis=1)
    given = given[np.isfinite(given).all(axis=1)]
    beyond = int((np.abs(given) > (AXES["latitude"], AXES["longitude"])).any(axis=1).sum())
    if beyond and beyond >= SWAPPED_SHARE * len(given) and valid_if_swapped(given):
        advice = (
            f"name the columns latitude={found['longitude']},longitude={found['latitude']}"
            if "longitude" in found
            else "write the latitude first; of a list in JSON name the parts: latitude=NAME.1,longitude=NAME.0"
        )
        raise ResultError(
            f"{path}: {beyond:,} of {len(given):,} positions are out of range (latitude ±90, longitude ±180), and none "
            f"is the other way round: they look swapped: {advice}; to count them as no position: --as-given"
        )


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


def read_truth(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the true positions in ``path``, each image once: ``image``, ``latitude``, ``longitude``.

    Args:
        path: CSV, JSON, JSON Lines or a spreadsheet; it may be a file of predictions with true positions beside them.
        columns: the file's names for ``image``, ``truth_latitude`` and so on, if they are not recognised.

    Raises:
        ResultError: it has no true positions; one cannot be read, or an image has two.
    """
    import pandas as pd

    check_roles(columns)
    records = read_records(path)
    image, truth = truth_of(path, records.found, columns)
    text = {
        role: [text_of(record.values.get(names[0])) for record in records.found]
        for role, names in truth.columns.items()
    }
    answers = read_answers(
        *(positions(text["position"]) if "position" in text else (text["latitude"], text["longitude"]))
    )
    table = pd.DataFrame({"image": [text_of(record.values.get(image)) for record in records.found]})
    table["latitude"], table["longitude"] = answers.coordinates.T
    wrong = np.flatnonzero(np.isnan(answers.coordinates[:, 0]))
    named = " and ".join(name for names in truth.columns.values() for name in names)
    if len(wrong):
        row = int(wrong[0])
        raise ResultError(
            f"{path}: {records.unit} {records.found[row].line}: no true position in {named}"
            f"{f': {answers.reasons[row]}' if answers.reasons[row] else ''} (such {records.unit}s: {len(wrong):,}); "
            "correct it or remove it: every image of a test set needs one."
        )
    table = table.drop_duplicates()
    if (again := table["image"].duplicated()).any():
        name = table.loc[again, "image"].iloc[0]
        raise ResultError(f"{path}: {name!r} has two true positions in {named}; a test set has one for each image.")
    return table.reset_index(drop=True)
