"""Anyone's predictions as a result of ours: a CSV or JSON Lines file of ids and positions, scored without the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench import files
from geobench.data.tables.columns import AXES
from geobench.errors import ResultError, SettingError
from geobench.geo import FloatArray, haversine_km, invalid_rows
from geobench.metrics import ScoredImages, scores_of
from geobench.plugins import get_dataset, get_metrics
from geobench.predictions import Predictions
from geobench.progress import SILENT, Progress
from geobench.provenance import now
from geobench.published.matching import Matched, match_ids, matches
from geobench.published.predictions_file import read_predictions
from geobench.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

SHOWN = 3  # ids that a message names
SWAPPED_AT_LEAST = 10
"""With this many images or fewer, swapped columns and a file that contains the truth cannot be recognised."""
TRUTH_KM = 0.01
"""Closer to the truth than any model's prediction: a true position, rounded to four decimals or more."""


def score_file(
    path: Path,
    dataset: Dataset | str,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    progress: Progress = SILENT,
) -> Result:
    """Return the result of the predictions in ``path`` on ``dataset``; only the set's table is needed, no images.

    An image without a prediction is a miss. Ids that differ from the set's by suffix, folder, or ``_`` for ``/`` are
    matched if that is unambiguous.

    Args:
        path: CSV or JSON Lines: id, latitude, longitude; for the top k a row for each, with rank or score.
        dataset: the test set, or its name.
        name: of the model; by default the file's stem.
        columns: the file's names for ``image``, ``latitude``, ``longitude``, ``rank`` and ``score``, if they are not
            recognised.
        progress: reports what a reader of the scores must know: ids that are missing, unknown or matched loosely.

    Raises:
        ResultError: the file cannot be used; names the line.
        SettingError: the name is empty or more than a line.
        DatasetNotFoundError: the set's table is not on this machine.
    """
    dataset = get_dataset(dataset) if isinstance(dataset, str) else dataset
    name = _checked(path.stem if name is None else name)
    table = dataset.positions("test")
    truth = table[["latitude", "longitude"]].to_numpy(np.float64)
    images = table["image"].to_list()
    found = read_predictions(path, columns or {}, partial(matches, images))
    for note in (*dataset.notes("test"), *found.attrs["notes"]):
        progress.say(f"{note}.")
    ids = found["image"].to_list()
    matched = match_ids(ids, images)
    if not (matched.rows >= 0).any():
        raise ResultError(
            f"{path}: none of its {len(set(ids)):,} ids is an image of {dataset.name}: {_some(ids)} there, "
            f"{_some(images)} here; is it the right data set, and the right column (columns: "
            "image=NAME)?"
        )
    predictions = _predictions(found, matched.rows, images, path)
    if not {*AXES} <= {*(columns or {})}:
        _check_plausible(predictions, truth, path, found.attrs["columns"])
    unknown = [image for image, row in zip(ids, matched.rows, strict=True) if row < 0]
    _report(progress, predictions, unknown, matched, dataset.name)
    origin = {"columns": found.attrs["columns"], "unknown_ids": len(set(unknown))}
    return _result(path, dataset, name, table, predictions, origin)


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

    If an image has fewer predictions than others, its last one is repeated: that changes no accuracy of the top k.
    """
    n = len(images)
    known = table.assign(row=rows).loc[rows >= 0]
    known = known.loc[known["latitude"].notna()].sort_values(["row", "order"], kind="stable")
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
            "which is better; keep one, or add a column rank (1 is best) or score for several predictions of an image."
        )
    place = known.groupby("row").cumcount().to_numpy(np.int64)
    k = int(place.max()) + 1 if len(place) else 1
    coordinates, scores = np.full((n, k, 2), np.nan), np.full((n, k), np.nan)
    row = known["row"].to_numpy(np.int64)
    coordinates[row, place] = known[["latitude", "longitude"]].to_numpy(np.float64)
    scores[row, place] = known["score"].to_numpy(np.float64)
    for rank in range(1, k):
        short = np.isnan(coordinates[:, rank, 0])
        coordinates[short, rank], scores[short, rank] = coordinates[short, rank - 1], scores[short, rank - 1]
    return Predictions(coordinates, scores, np.isnan(coordinates[:, 0, 0]))


def _check_plausible(predictions: Predictions, truth: FloatArray, path: Path, columns: Mapping[str, str]) -> None:
    """Refuse columns that look swapped, and positions that are the true ones; naming the columns overrides it."""
    ok = ~predictions.failed
    if np.count_nonzero(ok) <= SWAPPED_AT_LEAST:
        return
    placed, there = predictions.coordinates[ok, 0], truth[ok]
    error = haversine_km(placed, there)
    if np.mean(error < TRUTH_KM) > 0.9:
        raise ResultError(
            f"{path}: {np.count_nonzero(error < TRUTH_KM):,} of {len(error):,} positions are the true ones, to "
            f"{1000 * TRUTH_KM:g} m, as in the set's own table. Name the predicted columns: "
            "latitude=NAME,longitude=NAME."
        )
    for what, other, advice in (
        ("latitude and longitude look swapped", placed[:, ::-1], "latitude={longitude},longitude={latitude}"),
        ("positions look like radians", np.degrees(placed), "latitude={latitude},longitude={longitude}"),
    ):
        if not len(invalid_rows(other)) and 2 * np.median(haversine_km(other, there)) < np.median(error):
            raise ResultError(
                f"{path}: {what}: the median error is {np.median(error):,.0f} km as they are, "
                f"{np.median(haversine_km(other, there)):,.0f} km otherwise. "
                f"{'Name both columns' if 'swapped' in what else 'Write degrees; to score them as they are'}: "
                f"{advice.format(**columns)}"
            )


def _report(progress: Progress, predictions: Predictions, unknown: list[str], matched: Matched, dataset: str) -> None:
    failed = int(predictions.failed.sum())
    if failed:
        progress.say(
            f"{failed:,} of {len(predictions):,} images of {dataset} have no prediction; they count as misses."
        )
    at_zero = int((predictions.coordinates[:, 0] == 0).all(axis=1).sum())
    if at_zero:
        progress.say(f"predictions exactly at 0, 0, which some use for a failure, are scored as given: {at_zero:,}.")
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
        table_hash=files.digest(names.tolist(), truth),
        model=name,
        code={},
        n=len(table),
        failed=int(predictions.failed.sum()),
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
