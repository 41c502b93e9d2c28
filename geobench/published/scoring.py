"""Anyone's predictions as a result of ours: a file of ids and positions, scored without the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.audits.fitting import FittingSubsets
from geobench.audits.subsets import score_subset
from geobench.errors import ResultError, SettingError
from geobench.geo import FloatArray, haversine_km
from geobench.metrics import ScoredImages, scores_of
from geobench.models import hash_positions
from geobench.plugins import get_dataset, get_metrics
from geobench.predictions import ANSWER, ANSWER_TEXTS, NOT_ASKED, OK, STATUSES, UNPARSEABLE, Predictions, status_counts
from geobench.progress import SILENT, Progress
from geobench.provenance import now
from geobench.published.matching import Matched, match_ids, matches
from geobench.published.plausibility import (
    TRUTH_KM,
    check_plausible,
    contrary_distances,
    score_from_truth,
    several_tries,
)
from geobench.published.predictions_file import Answered, read_predictions
from geobench.published.test_sets import name_for, set_of_truth
from geobench.published.verdicts import close_name
from geobench.results import Result
from geobench.words.parsers import get_parser

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

SHOWN = 3  # ids that a message names
STAND_INS = ((0, 0), (-1, -1), (-90, -180), (90, 180), (-90, 180), (90, -180))
"""Positions that some write for a failure."""


@dataclass(frozen=True)
class Options:
    """How a file of predictions is read.

    Attributes:
        columns: the file's names for roles such as ``image``, ``latitude``, ``longitude``, ``rank`` and ``score``, if
            they are not recognised.
        truth: a file of true positions, which become a test set of their own.
        subset: also score this part of the test set, ``clean``.
        as_given: score positions that look swapped, like radians, or like the truth.
        parser: name of the one that reads the answers in words that the file has; empty reads the positions in it.
    """

    columns: Mapping[str, str] | None = None
    truth: Path | None = None
    subset: str = ""
    as_given: bool = False
    parser: str = ""


def score_file(
    path: Path,
    dataset: Dataset | str | None = None,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    truth: Path | None = None,
    as_given: bool = False,
    parser: str = "",
    progress: Progress = SILENT,
) -> Result:
    """Return the result of the predictions of the one model in ``path``; see :func:`score_models`.

    Raises:
        ResultError: also if the file has the predictions of several models.
    """
    found = score_models(
        path, dataset, name, Options(columns, truth, as_given=as_given, parser=parser), progress=progress
    )
    if len(found) > 1:
        named = ", ".join(result.model for result in found[:6])
        raise ResultError(
            f"{path} has the predictions of {len(found)} models: {named}; use score_models, or name the columns of "
            "one: latitude=NAME,longitude=NAME."
        )
    return found[0]


def score_models(
    path: Path,
    dataset: Dataset | str | None = None,
    name: str | None = None,
    options: Options | None = None,
    *,
    progress: Progress = SILENT,
) -> list[Result]:
    """Return the result of each model in ``path`` on ``dataset``; only the set's table is needed, no images.

    An image that is not in the file was not asked for: it is a miss, and the result is partial. Ids that differ from
    the set's by suffix, folder, or ``_`` for ``/`` are matched if that is unambiguous.

    Args:
        path: CSV, JSON, JSON Lines or a spreadsheet: id, latitude, longitude; for the top k a row for each, with rank
            or score. Several models have columns of their own, or a column ``model``.
        dataset: the test set, or its name; None registers the true positions in the file, or in ``options.truth``, as a
            test set of their own, called like the file.
        name: of the model; by default the file's stem. Of several models the beginning of their names.
        options: columns, file of true positions, subset.
        progress: reports what a reader of the scores must know: ids that are missing, unknown or matched loosely.

    Raises:
        ResultError: the file cannot be used; names the line.
        SettingError: the name is empty or more than a line.
        DatasetNotFoundError: the set's table is not on this machine.
    """
    options = options or Options()
    columns = options.columns or {}
    given = name is not None
    name = _checked(path.stem if name is None else name)
    parser = get_parser(options.parser) if options.parser else None
    dataset = _test_set(path, dataset, options, progress)
    table = dataset.positions("test")
    resolve = partial(matches, table["image"].to_list())
    found = read_predictions(path, columns, resolve, options.as_given, parser)
    for note in dataset.notes("test"):
        progress.say(f"{note}.")
    subsets = FittingSubsets(options.subset) if options.subset else None
    results = []
    for answered in found:
        model = name if len(found) == 1 else " ".join(filter(None, (name if given else "", answered.model))) or name
        told = progress if len(found) == 1 else _Named(progress, model)
        result = _score(path, dataset, _checked(model), table, answered, options, told)
        results.append(result)
        if subsets is not None:
            subset, remark = subsets.choose(dataset, None)
            results.append(score_subset(result, subset, None, None, remark))
    return results


class _Named(Progress):
    """Says of which of several models something is said."""

    def __init__(self, progress: Progress, model: str) -> None:
        self._progress, self._model = progress, model

    def say(self, message: str) -> None:
        self._progress.say(f"{self._model}: {message}")


def _test_set(path: Path, dataset: Dataset | str | None, options: Options, progress: Progress) -> Dataset:
    """Return the test set: that of a name, or the true positions in a file."""
    if options.truth is None and dataset is not None:
        return get_dataset(dataset) if isinstance(dataset, str) else dataset
    source = options.truth or path
    name = dataset if isinstance(dataset, str) else name_for(source) if dataset is None else dataset.name
    columns = {role: column for role, column in (options.columns or {}).items() if role.startswith("truth_")}
    try:
        return set_of_truth(source, name, columns, progress)
    except ResultError as error:
        if options.truth is None and "recognised column" in str(error):
            raise ResultError(
                f"{error} Nothing says what the true positions are: name a test set (--dataset NAME), or a file of "
                "them (--truth FILE)."
            ) from None
        raise


def _score(
    path: Path,
    dataset: Dataset,
    name: str,
    table: pd.DataFrame,
    answered: Answered,
    options: Options,
    progress: Progress,
) -> Result:
    """Return the result of one model."""
    truth = table[["latitude", "longitude"]].to_numpy(np.float64)
    images, ids = table["image"].to_list(), answered.table["image"].to_list()
    for note in answered.notes:
        progress.say(f"{note}.")
    matched = match_ids(ids, images)
    if not (matched.rows >= 0).any():
        raise ResultError(
            f"{path}: none of its {len(set(ids)):,} ids is an image of {dataset.name}: {_some(ids)} there, "
            f"{_some(images)} here; is it the right data set, and the right column (columns: "
            "image=NAME)?"
        )
    predictions = _predictions(answered.table, matched.rows, images, path)
    if not options.as_given:
        check_plausible(predictions, truth, path, answered.columns)
    elif told := _equal_to_truth(predictions, truth):
        progress.say(told)
    if "score" in answered.columns and (
        told := score_from_truth(predictions, truth, get_metrics(dataset), answered.columns["score"])
    ):
        progress.say(f"{told}.")
    unknown = [image for image, row in zip(ids, matched.rows, strict=True) if row < 0]
    _report(progress, predictions, unknown, matched, dataset.name)
    for note in (
        several_tries(answered.table),
        *contrary_distances(answered.table, answered.distances, matched.rows, truth),
    ):
        if note:
            progress.say(f"{note}.")
    origin = {"columns": answered.columns, "unknown_ids": len(set(unknown))}
    origin |= {"of": answered.model} if answered.model else {}
    origin |= {"parser": get_parser(options.parser).label} if options.parser else {}
    origin |= {"geocoder": answered.geocoder} if answered.geocoder else {}
    result = _result(path, dataset, name, table, predictions, origin)
    if system := close_name(result):
        progress.say(
            f"{name!r} is close to the published {system}, and is not held against it; to do so: --name {system!r}."
        )
    return result


def _checked(name: str) -> str:
    """Return ``name`` without surrounding blanks; raise ``SettingError`` if it is not a line of text."""
    if not name.strip() or not name.isprintable():
        raise SettingError(
            f"{name!r} cannot be the name of a model: it is empty, or contains a line break or another character that "
            "cannot be printed; use a line of text such as PIGEOTTO."
        )
    return name.strip()


def _predictions(table: pd.DataFrame, rows: np.ndarray[Any, Any], images: Sequence[str], path: Path) -> Predictions:
    """Return the predictions in ``table`` for n ``images``, best first; ``rows`` are the images they are for.

    If an image has fewer predictions than others, its last one is repeated: that changes no accuracy of the top k. An
    image whose best prediction, by rank, has no position failed. One that is not in the table was not asked for.
    """
    import pandas as pd

    n = len(images)
    every = table.assign(row=rows).loc[rows >= 0].sort_values(["row", "order"], kind="stable")
    reasons = np.full(n, NOT_ASKED, dtype=object)
    first = every.drop_duplicates("row")
    reasons[first["row"].to_numpy(np.int64)] = first["status"].to_numpy(object)
    lost = first.loc[first["ranked"] & first["latitude"].isna(), "row"]  # the best answer is none: no other counts
    known = every.loc[every["latitude"].notna() & ~every["row"].isin(lost)]
    known = known.drop_duplicates(
        ["row", "image", "order", "latitude", "longitude"]
    )  # said twice, as in logs of retries
    _refuse_doubled(known, images, path)
    place = known.groupby("row").cumcount().to_numpy(np.int64)
    k = int(place.max()) + 1 if len(place) else 1
    coordinates, scores = np.full((n, k, 2), np.nan), np.full((n, k), np.nan)
    row = known["row"].to_numpy(np.int64)
    coordinates[row, place] = known[["latitude", "longitude"]].to_numpy(np.float64)
    scores[row, place] = known["score"].to_numpy(np.float64)
    for rank in range(1, k):
        short = np.isnan(coordinates[:, rank, 0])
        coordinates[short, rank] = coordinates[short, rank - 1]
        scores[short, rank] = np.minimum(scores[short, rank - 1], 0.0)  # a probability is claimed once
    failed = np.isnan(coordinates[:, 0, 0])
    reasons[~failed] = OK
    reasons[failed & (reasons == OK)] = UNPARSEABLE
    counted = pd.concat([known.loc[place == 0], first]).drop_duplicates("row")
    return Predictions(coordinates, scores, failed, reasons, _answers(counted, n))


def _answers(counted: pd.DataFrame, n: int) -> dict[str, Any] | None:
    """Return what is known of the answers to n images, of those in ``counted``; None if they are not in words."""
    found: dict[str, Any] = {}
    for column in (name for name in counted.columns if name.startswith(ANSWER)):
        is_text = column.removeprefix(ANSWER) in ANSWER_TEXTS
        found[column.removeprefix(ANSWER)] = values = np.full(
            n, "" if is_text else np.nan, object if is_text else float
        )
        values[counted["row"].to_numpy(np.int64)] = counted[column].to_numpy(object if is_text else float)
    return found or None


def _refuse_doubled(known: pd.DataFrame, images: Sequence[str], path: Path) -> None:
    """Raise ``ResultError`` for two ids of one image, and for two positions of an image of which none is the better."""
    ids = known.drop_duplicates(["row", "image"])
    doubled = ids.loc[ids.duplicated("row", keep=False)]
    if len(doubled):
        first, second = (row for _, row in doubled.head(2).sort_values("line").iterrows())
        raise ResultError(
            f"{path}: lines {first['line']} and {second['line']}, {first['image']!r} and {second['image']!r}, are both "
            f"for the image {images[int(first['row'])]!r}; keep those of its own name."
        )
    same = known.duplicated(["row", "order"])
    if same.any():
        second = known.loc[same].iloc[0]
        first = known.loc[(known["row"] == second["row"]) & (known["order"] == second["order"])].iloc[0]
        raise ResultError(
            f"{path}: lines {first['line']} and {second['line']} are both for {second['image']!r}, and nothing says "
            "which is better; keep one, or add a column rank (1 is best) or score for several predictions of an image; "
            "of several models or runs name the column that tells them apart: model=NAME."
        )


def _equal_to_truth(predictions: Predictions, truth: FloatArray) -> str:
    """Return a line on the positions that are the true ones; empty if there are none."""
    ok = ~predictions.failed
    equal = int((haversine_km(predictions.coordinates[ok, 0], truth[ok]) < TRUTH_KM).sum())
    return f"{equal:,} of {int(ok.sum()):,} positions are the true ones, to {1000 * TRUTH_KM:g} m." if equal else ""


def _report(progress: Progress, predictions: Predictions, unknown: list[str], matched: Matched, dataset: str) -> None:
    n, counts = len(predictions), status_counts(predictions)
    failed, absent = predictions.count_failed(), counts.get(NOT_ASKED, 0)
    if failed:
        each = ", ".join(f"{count:,} {STATUSES[what]}" for what, count in counts.items() if what not in (OK, NOT_ASKED))
        progress.say(f"{failed:,} of {n:,} images of {dataset} have no prediction; they count as misses: {each}.")
    if absent:
        progress.say(
            f"partial: {absent:,} of {n:,} images of {dataset} were not asked for; they count as misses, and the "
            "result is not ranked with those of whole sets."
        )
    for place in STAND_INS:
        if count := int((predictions.coordinates[:, 0] == place).all(axis=1).sum()):
            progress.say(
                f"predictions exactly at {place[0]}, {place[1]}, which some use for a failure, are scored as given: "
                f"{count:,}."
            )
    if unknown:
        progress.say(f"ids that are not in {dataset} are left out ({len(set(unknown)):,}): {_some(unknown)}.")
    if matched.loosely:
        progress.say(
            f"ids matched without suffix or folder, or with _ for / ({len(set(matched.loosely)):,}): "
            f"{_some(matched.loosely)}."
        )


def _some(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(map(repr, distinct[:SHOWN])) + (", …" if len(distinct) > SHOWN else "")


def _result(
    path: Path, dataset: Dataset, name: str, table: pd.DataFrame, predictions: Predictions, origin: dict[str, Any]
) -> Result:
    from importlib.metadata import version

    names, truth = table["image"].to_numpy(object), table[["latitude", "longitude"]].to_numpy(np.float64)
    extra = table.drop(columns=["image", "latitude", "longitude"])
    images = ScoredImages(predictions.errors_km(truth), truth, predictions, extra)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Result(
        dataset=dataset.name,
        table_hash=hash_positions(names, truth),
        model=name,
        code={},
        n=len(table),
        failed=predictions.count_failed(),
        statuses=status_counts(predictions),
        expected=dataset.count,
        scores=scores_of(images, get_metrics(dataset)),
        top_k=predictions.coordinates.shape[1],
        preprocessing=f"predictions of others (sha256 {sha256[:16]})",
        images=dataset.describe(),
        config={"foreign_file": path.name, "sha256": sha256} | origin,
        created=now(),
        versions={"geobench": version("geobench-geolocalization")},
        predictions=predictions,
        names=names,
        truth=truth,
        extra=extra,
    )
