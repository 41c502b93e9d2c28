"""Whether predictions can be what they are said to be: not swapped, not the truth, not a score made from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from geobench.errors import ResultError
from geobench.geo import FloatArray, haversine_km
from geobench.metrics import Metric, accuracies
from geobench.predictions import Predictions
from geobench.statistics.ranking import auroc

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
        swapped = "latitude={longitude},longitude={latitude}" if "latitude" in columns else "of a list its parts"
        advice = f"name both columns: {swapped.format(**columns)}" if "swapped" in what else "write degrees"
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
