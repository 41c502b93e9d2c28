"""Whether predictions can be what they are said to be: not swapped, not the truth, not a score made from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.errors import ResultError
from geobench.geo import FloatArray, haversine_km
from geobench.metrics import Metric, accuracies
from geobench.predictions import Predictions
from geobench.published.ranges import swapped_in_one
from geobench.statistics.ranking import auroc

if TYPE_CHECKING:
    import pandas as pd

TOLD_FROM = 10
"""With this many answers or fewer, a file that contains the truth cannot be recognised."""
TRUTH_KM = 0.01
"""Closer to the truth than any model's prediction: a true position, rounded to four decimals or more."""
TRUTH_SHARE = 0.9
"""Share of answers that close from which on they are taken for the truth."""
TOO_GOOD = 0.99
"""An AUROC that no score reaches that a model can know."""
FEWEST = 5
"""Right and wrong answers that an AUROC needs to be told of."""


def check_plausible(predictions: Predictions, truth: FloatArray, path: Path, columns: Mapping[str, str]) -> None:
    """Raise ``ResultError`` for columns that look swapped, for radians, and for positions that are the true ones."""
    ok = ~predictions.failed
    if np.count_nonzero(ok) <= TOLD_FROM:
        return
    placed, there = predictions.coordinates[ok, 0], truth[ok]
    error = haversine_km(placed, there)
    named = " and ".join(columns[role] for role in ("latitude", "longitude", "position") if role in columns)
    if np.mean(error < TRUTH_KM) > TRUTH_SHARE:
        raise ResultError(
            f"{path}: {np.count_nonzero(error < TRUTH_KM):,} of {len(error):,} positions in {named} are the true ones, "
            f"to {1000 * TRUTH_KM:g} m, as in the set's own table. Name the predicted columns: "
            "latitude=NAME,longitude=NAME; to score these all the same: --as-given"
        )
    if what := predictions.misread(truth):
        if "swapped" not in what:
            advice = "give the south and the west a minus sign" if "hemispheres" in what else "write degrees"
        elif "latitude" in columns:
            advice = "name both columns: latitude={longitude},longitude={latitude}".format(**columns)
        else:
            advice = swapped_in_one(columns.get("position", ""))
        raise ResultError(f"{path}: the positions {what}; {advice}; to score them as they are: --as-given")


def score_from_truth(predictions: Predictions, truth: FloatArray, metrics: Sequence[Metric], column: str) -> str:
    """Return a line on a score in ``column`` that tells right from wrong as nothing a model knows can; else empty."""
    scores, errors = predictions.scores[:, 0], predictions.errors_km(truth)
    known = ~predictions.failed & np.isfinite(scores)
    found = []
    for metric in accuracies(metrics):
        hits = errors[known] <= (metric.threshold_km or 0.0)
        if min(hits.sum(), (~hits).sum()) >= FEWEST:
            found.append((abs(auroc(hits, scores[known]) - 0.5) + 0.5, auroc(hits, scores[known]), metric.threshold_km))
    if not found or max(found)[0] < TOO_GOOD:
        return ""
    _, area, km = max(found)
    way = "" if area > 0.5 else ", the wrong way round"
    return (
        f"the score in {column!r} tells answers within {km:g} km from all others almost without fail{way} (AUROC "
        f"{area:.3f}): a score computed from the truth, such as a distance, is no confidence of a model"
    )


def several_tries(table: pd.DataFrame) -> str:
    """Return a line on images that have a row without a position beside one with, such as retries; else empty."""
    if table["ranked"].any():
        return ""
    placed = table["latitude"].notna()
    images = set(table.loc[placed, "image"]) & set(table.loc[~placed, "image"])
    if not images:
        return ""
    first = min(images, key=table["image"].tolist().index)
    return (
        f"of an image with several rows, those without a position, such as failed tries, do not count ({len(images):,} "
        f"images): {first!r}"
    )


def contrary_distances(
    table: pd.DataFrame, distances: Mapping[str, FloatArray], rows: npt.NDArray[np.int64], truth: FloatArray
) -> list[str]:
    """Return a line on each column of distances that are not those from the positions to ``truth`` (m, 2).

    Args:
        table: ``line``, ``latitude`` and ``longitude`` of n rows.
        distances: (n,) by column, in km, m or miles.
        rows: (n,) of the truth, −1 for none.
        truth: in degrees.
    """
    placed = table[["latitude", "longitude"]].to_numpy(np.float64)
    errors = np.full(len(table), np.nan)
    known = (rows >= 0) & np.isfinite(placed).all(axis=1)
    errors[known] = haversine_km(placed[known], truth[rows[known]])
    found = []
    for name, stated in distances.items():
        both = np.isfinite(errors) & np.isfinite(stated)
        if np.count_nonzero(both) <= TOLD_FROM or np.isin(stated[both], (0, 1)).all():
            continue
        near = [
            np.abs(stated[both] * km - errors[both]) <= 0.01 * errors[both] + 0.05 * max(km, 0.1)
            for km in (1.0, 0.001, 1.609344)
        ]
        agree = max(near, key=np.count_nonzero)
        if 2 * np.count_nonzero(agree) >= len(agree):
            continue
        row = int(np.flatnonzero(both)[np.flatnonzero(~agree)[0]])
        found.append(
            f"the column {name!r} has other distances than those from the positions read to the true ones (line "
            f"{table['line'].iloc[row]}: {stated[row]:g}, not {errors[row]:,.1f} km): if it is the error, the file "
            "was scored with other positions, images or truth"
        )
    return found
