"""Anyone's predictions as a result of ours: a CSV or JSON lines file of ids and positions, scored without the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench import files, metrics
from geobench.data.stores.names import key_of
from geobench.errors import ResultError, SettingError
from geobench.geo import FloatArray, haversine_km
from geobench.plugins import get_dataset
from geobench.predictions import Predictions
from geobench.progress import SILENT, Progress
from geobench.provenance import now
from geobench.published.predictions_file import read_answers
from geobench.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

SHOWN = 3  # ids that a message names
SWAPPED_AT_LEAST = 10
"""So few images or fewer say nothing about swapped columns or a file that holds the truth."""


@dataclass(frozen=True)
class Matched:
    """Which image of the data set each id stands for.

    Attributes:
        rows: (n,) row of the data set for each id in the file, −1 for none.
        loosely: ids that fit without their folder or suffix, or with ``_`` for ``/``.
    """

    rows: np.ndarray[Any, np.dtype[np.int64]]
    loosely: list[str] = field(default_factory=list)


def score_file(
    path: Path,
    dataset: Dataset | str,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    progress: Progress = SILENT,
) -> Result:
    """Return the result of the predictions in ``path`` on ``dataset``; only the set's table is needed, no image.

    An image that the file does not answer is a miss. Ids that differ from the set's by suffix, folder, or ``_`` for
    ``/`` are matched where that is unambiguous.

    Args:
        path: CSV or JSON lines: id, latitude, longitude; for the top k a row for each, with rank or score.
        dataset: the test set, or its name.
        name: of the model; the file's stem where it is None.
        columns: the file's names for ``image``, ``latitude``, ``longitude``, ``rank`` and ``score``, where they are not
            recognised.
        progress: told what a reader of the scores must know: ids that are missing, unknown or matched loosely.

    Raises:
        ResultError: the file cannot be used; names the line.
        SettingError: the name is empty or more than a line.
        DatasetNotFoundError: the set's table is not on this machine.
    """
    dataset = get_dataset(dataset) if isinstance(dataset, str) else dataset
    name = _checked(path.stem if name is None else name)
    answers = read_answers(path, columns or {})
    table = dataset.positions("test")
    truth = table[["latitude", "longitude"]].to_numpy(np.float64)
    ids = answers["image"].to_list()
    matched = match_ids(ids, table["image"].to_list())
    if not (matched.rows >= 0).any():
        raise ResultError(
            f"{path}: none of its {len(set(ids)):,} ids is an image of {dataset.name}: {_some(ids)} there, "
            f"{_some(table['image'].to_list())} here; is it the right data set, and the right column "
            "(--columns image=NAME)?"
        )
    predictions = _predictions(answers, matched.rows, len(table), path)
    if not columns:
        _check_plausible(predictions, truth, path, answers.attrs["columns"])
    unknown = [image for image, row in zip(ids, matched.rows, strict=True) if row < 0]
    _tell(progress, predictions, unknown, matched, dataset.name)
    origin = {"columns": answers.attrs["columns"], "unknown_ids": len(set(unknown))}
    return _result(path, dataset, name, table, predictions, origin)


def _checked(name: str) -> str:
    """Return ``name`` without blanks around it; raise ``SettingError`` where it is no line of text."""
    if not name.strip() or not name.isprintable():
        raise SettingError(
            f"{name!r} cannot be the name of a model: it is empty, or holds a line break or another sign that is not "
            "printed; give a line of text, such as --name PIGEOTTO."
        )
    return name.strip()


def match_ids(ids: Sequence[str], images: Sequence[str]) -> Matched:
    """Return which of ``images`` each of ``ids`` stands for: the same text, else the only one that is alike.

    Alike are two names without the suffix of an image, with ``/`` and ``_`` the same; then without their folders.
    """
    exact = {image: row for row, image in enumerate(images)}
    rows = np.array([exact.get(image, -1) for image in ids], dtype=np.int64)
    loosely: list[str] = []
    for plain in (_flat, _last):
        alike = _only(images, plain)
        for i in np.flatnonzero(rows < 0).tolist():
            rows[i] = alike.get(plain(ids[i]), -1)
            if rows[i] >= 0:
                loosely.append(ids[i])
    return Matched(rows, loosely)


def _only(images: Sequence[str], plain: Any) -> dict[str, int]:
    """Return the row of each plain name that one image alone has."""
    rows: dict[str, int] = {}
    for row, image in enumerate(images):
        key = plain(image)
        rows[key] = -1 if key in rows else row
    return rows


def _flat(image: str) -> str:
    return key_of(str(_path(image)))


def _last(image: str) -> str:
    return key_of(_path(image).name)


def _path(image: str) -> PurePosixPath:
    return PurePosixPath(image.replace("\\", "/"))


def _predictions(answers: pd.DataFrame, rows: np.ndarray[Any, Any], n: int, path: Path) -> Predictions:
    """Return predictions for n images from ``answers``, best first; ``rows`` are the images they are for.

    An image with fewer answers than others has its last one repeated: that changes no accuracy among the best k.
    """
    known = answers.assign(row=rows).loc[rows >= 0]
    known = known.loc[known["latitude"].notna()].sort_values(["row", "order"], kind="stable")
    same = known.duplicated(["row", "order"])
    if same.any():
        second = known.loc[same].iloc[0]
        first = known.loc[(known["row"] == second["row"]) & (known["order"] == second["order"])].iloc[0]
        raise ResultError(
            f"{path}: lines {first['line']} and {second['line']} both answer {second['image']!r} and nothing tells "
            "which is better; keep one, or add a column rank (1 is the best) or score for several answers to one."
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
    """Refuse columns that look swapped, and positions that are the truth itself; naming the columns overrides it."""
    ok = ~predictions.failed
    if np.count_nonzero(ok) <= SWAPPED_AT_LEAST:
        return
    placed, there = predictions.coordinates[ok, 0], truth[ok]
    error = haversine_km(placed, there)
    if np.mean(error == 0) > 0.9:
        raise ResultError(
            f"{path}: {np.count_nonzero(error == 0):,} of {len(error):,} positions are the true ones to the last "
            "digit, as in the set's own table. Name the predicted ones: --columns latitude=NAME,longitude=NAME."
        )
    turned = placed[:, ::-1]
    if (np.abs(turned[:, 0]) <= 90).all() and 2 * np.median(haversine_km(turned, there)) < np.median(error):
        raise ResultError(
            f"{path}: latitude and longitude look swapped: the median error is {np.median(error):,.0f} km as they "
            f"stand, {np.median(haversine_km(turned, there)):,.0f} km the other way round. Name both: --columns "
            f"latitude={columns['longitude']},longitude={columns['latitude']}"
        )


def _tell(progress: Progress, predictions: Predictions, unknown: list[str], matched: Matched, dataset: str) -> None:
    failed = int(predictions.failed.sum())
    if failed:
        progress.say(f"{failed:,} of {len(predictions):,} images of {dataset} have no answer; they count as misses.")
    at_zero = int((predictions.coordinates[:, 0] == 0).all(axis=1).sum())
    if at_zero:
        progress.say(f"exactly at 0, 0, where some put an image without an answer, scored as given: {at_zero:,}.")
    if unknown:
        progress.say(
            f"{dataset} has no image of these ids, which are left out ({len(set(unknown)):,}): {_some(unknown)}."
        )
    if matched.loosely:
        progress.say(
            f"matched without suffix or folder, or with _ for / ({len(set(matched.loosely)):,}): "
            f"{_some(matched.loosely)}."
        )


def _some(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(map(repr, distinct[:SHOWN])) + (", …" if len(distinct) > SHOWN else "")


def _result(
    path: Path, dataset: Dataset, name: str, table: pd.DataFrame, predictions: Predictions, origin: dict[str, Any]
) -> Result:
    from importlib.metadata import version

    truth = table[["latitude", "longitude"]].to_numpy(np.float64)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    nothing: dict[str, Any] = dict.fromkeys(
        ("checkpoint", "gallery", "encoder", "trained_on", "gallery_hash", "device"), ""
    )
    zero: dict[str, Any] = dict.fromkeys(
        ("seed", "crops", "training_images", "gallery_size", "gallery_distinct", "seconds", "peak_memory_mb"), 0
    )
    return Result(
        key=files.digest("foreign", sha256, name, dataset.name, truth, table["image"].to_list()),
        dataset=dataset.name,
        model=name,
        n=len(table),
        failed=int(predictions.failed.sum()),
        expected=dataset.count,
        scores=metrics.score(predictions.errors_km(truth)),
        top_k=predictions.coordinates.shape[1],
        preprocessing=f"predictions of others, read from {path.name} (sha256 {sha256[:16]})",
        images=dataset.describe(),
        config={"foreign_file": path.name, "sha256": sha256} | origin,
        created=now(),
        versions={"geobench": version("geobench-geolocalization")},
        predictions=predictions,
        names=table["image"].to_numpy(object),
        truth=truth,
        extra=table.drop(columns=["image", "latitude", "longitude"]),
        **nothing,
        **zero,
    )
