"""Breakdowns and calibration as text: terminal, Markdown, CSV, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from geobench.analysis import calibration
from geobench.analysis.breakdown import Breakdown, GroupScores, breakdown, to_rows
from geobench.analysis.details import DetailedResult
from geobench.errors import unknown_name
from geobench.metrics import Metric, accuracies, headings
from geobench.plugins import get_metrics, get_models
from geobench.rounding import shown

FORMATS = ("table", "markdown", "csv", "json")
LAYOUTS = {"table": "simple", "markdown": "github"}
TOP_K = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def show_breakdown(
    results: Sequence[DetailedResult],
    by: str,
    smallest: int,
    style: str = "table",
    thresholds_km: Sequence[float] | None = None,
) -> str:
    """Return the :func:`geobench.analysis.breakdown.breakdown` of each of ``results`` as text in one of ``FORMATS``."""
    found = [breakdown(each, by, smallest, thresholds_km) for each in results]
    if _style(style) in LAYOUTS:
        return "\n\n".join(_breakdown_table(each, style) for each in found)
    return as_data([row for each in found for row in to_rows(each)], style)


def _breakdown_table(found: Breakdown, style: str) -> str:
    rows = [_breakdown_line(row, found.metrics) for row in (*found.groups, *found.overall)]
    rows[len(found.groups) : len(found.groups)] = [dict.fromkeys(rows[0], "")] if style == "table" else []
    return _titled(found.detailed, f"by {found.by}", rows, found.notes, style)


def _breakdown_line(row: GroupScores, metrics: Sequence[Metric]) -> dict[str, str]:
    heads = headings(metrics, ("Group", "n"))
    return {"Group": row.name, "n": f"{row.n:,}"} | {heads[m.name]: _score(row, m) for m in metrics}


def _score(row: GroupScores, metric: Metric) -> str:
    value, interval = row.scores[metric.name], row.intervals[metric.name]
    if value is None:
        return "–"
    digits = metric.decimals(value)
    ends = f" ({'–'.join(shown(end, digits) for end in interval)})" if interval else ""
    return f"{shown(value, digits)}{ends}"


def show_calibration(
    results: Sequence[DetailedResult],
    probabilities: bool | None = None,
    style: str = "table",
    thresholds_km: Sequence[float] | None = None,
) -> str:
    """Return how well the model of each of ``results`` knows when it is right, as text in one of ``FORMATS``.

    Args:
        results: see :func:`geobench.analysis.details.load_detailed`.
        probabilities: whether the scores are probabilities; None asks the model.
        style: one of ``FORMATS``.
        thresholds_km: distances of the accuracies, in place of the test set's own.

    Raises:
        ResultError: the scores should be probabilities and are not.
        SettingError: a threshold is not a distance.
    """
    found = [(each, calibration_rows(each, probabilities, thresholds_km)) for each in results]
    if _style(style) in LAYOUTS:
        return "\n\n".join(_calibration_table(each, rows, style) for each, rows in found)
    return as_data([each.identity() | row for each, rows in found for row in rows], style)


def calibration_rows(
    detailed: DetailedResult, probabilities: bool | None = None, thresholds_km: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Return a row per accuracy: its value, coverage of the top k, what confidence is worth, calibration error.

    ``ece`` is None if the scores are not probabilities, as is everything that rests on scores if there are none; shares
    are in percent. ``kept_mass`` is the probability that the kept predictions of an image add up to, on average: far
    below 1 the ``ece`` says little, since what was not kept is not counted.
    """
    claims = says_probabilities(detailed) if probabilities is None else probabilities
    if claims:
        calibration.check_probabilities(detailed.predictions, detailed.name)
    distances = calibration.distances_km(detailed.predictions, detailed.truth)
    confidence = calibration.confidence_of(detailed.predictions)
    scored = _scored(detailed)
    mass = _kept_mass(detailed) if claims and not math.isnan(_kept_mass(detailed)) else None
    rows = []
    for metric in accuracies(get_metrics(detailed.result.dataset, thresholds_km)):
        km = metric.threshold_km or 0.0
        hits = distances[:, 0] <= km
        covered = calibration.top_k_coverage(distances, km)
        worth = calibration.selection(hits, confidence)
        error = (
            calibration.reliability(hits, calibration.claimed_probability(detailed.predictions, km)) if claims else None
        )
        rows.append(
            {"metric": metric.name, "level": metric.heading, "km": km, "n": len(detailed)}
            | {f"top_{k}": float(covered[k - 1]) for k in _ranks(distances.shape[1])}
            | {
                name: None if math.isnan(value) or not (scored or name == "accuracy") else value
                for name, value in vars(worth).items()
            }
            | {"ece": error.error if error is not None else None, "kept_mass": mass}
        )
    return rows


def says_probabilities(detailed: DetailedResult) -> bool:
    """Return whether the model says that its scores are probabilities; False if it is not registered here."""
    model = get_models().get(detailed.result.model)
    return model is not None and model.probabilities


def _kept_mass(detailed: DetailedResult) -> float:
    """Return the probability that the kept predictions of an image add up to, on average; NaN if all have failed."""
    answered = ~detailed.predictions.failed
    return float(detailed.predictions.scores[answered].sum(axis=1).mean()) if answered.any() else math.nan


def _scored(detailed: DetailedResult) -> bool:
    return not np.isnan(detailed.predictions.scores).all()


def _ranks(k: int) -> list[int]:
    return sorted({rank for rank in TOP_K if rank < k} | {k})


def _calibration_table(detailed: DetailedResult, rows: list[dict[str, Any]], style: str) -> str:
    lines = []
    for row in rows:
        line = {"Level": row["level"]}
        line |= {f"Top {k}": shown(row[f"top_{k}"], 1) for k in _ranks(detailed.predictions.scores.shape[1])}
        shares = {"half": "Surer half", "area": "Area", "best": "Best"}
        line |= {head: "–" if row[name] is None else shown(row[name], 1) for name, head in shares.items()}
        line |= {head: "–" if row[name] is None else shown(row[name], 2) for name, head in _ORDER.items()}
        lines.append(line | {"ECE": "–" if row["ece"] is None else shown(row["ece"], 1)})
    return _titled(detailed, "calibration", lines, _calibration_notes(detailed, rows), style)


ENOUGH_MASS = 0.9
"""If the kept predictions hold less probability on average, the calibration error is not that of the model."""
_ORDER = {"gain": "Gain", "auroc": "AUROC"}


def _calibration_notes(detailed: DetailedResult, rows: list[dict[str, Any]]) -> list[str]:
    k = detailed.predictions.scores.shape[1]
    notes = [
        f"n = {len(detailed):,}. Top k: share of images in % with any of the first k predictions within the distance"
        + (" (one was kept; geobench run --top-k 100 keeps more)." if k == 1 else "."),
        "Surer half: accuracy over the more confident half of the images. Area: mean accuracy over all coverages, most "
        "confident images first. Best: the area if every hit were more confident than every miss. Gain: from a random "
        "order (0) to that one (1). AUROC: how often a hit is more confident than a miss (0.5: random).",
    ]
    if not _scored(detailed):
        notes.append("The predictions have no scores, so nothing is known about the model's confidence.")
    elif rows[0]["ece"] is None:
        notes.append("ECE: not shown, since the scores are not known to be probabilities; only their order is used.")
    else:
        kept = _kept_mass(detailed)
        notes.append(
            f"ECE: expected calibration error in percentage points, {calibration.BINS} bins. The probability claimed "
            f"for a distance is the sum over the kept predictions within that distance of the best one. The {k:,} kept "
            f"hold {kept:.0%} on average."
        )
        if kept < ENOUGH_MASS:
            notes.append(
                f"That is too little: what lies beyond the {k:,} is not counted, so that each claim is too low, and "
                "the ECE says little about the model. Keep more: geobench run --top-k 100, or 1000."
            )
    return notes


def _style(style: str) -> str:
    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)
    return style


def _titled(detailed: DetailedResult, what: str, rows: list[dict[str, str]], notes: Sequence[str], style: str) -> str:
    return as_table(f"{detailed.name} on {detailed.result.dataset}, {what}", rows, notes, style)


def as_table(title: str, rows: list[dict[str, str]], notes: Sequence[str], style: str) -> str:
    """Return rows of text with a title above and notes below; on the terminal each note has a line of its own."""
    from tabulate import tabulate

    align = ["left", *["right"] * (len(rows[0]) - 1)]
    table = tabulate(rows, headers="keys", tablefmt=LAYOUTS[style], disable_numparse=True, colalign=align)
    joined = ("\n" if style == "table" else " ").join(notes)
    return f"{'### ' if style == 'markdown' else ''}{title}\n\n{table}\n\n{joined}"


def as_data(rows: list[dict[str, Any]], style: str) -> str:
    """Return flat rows as ``csv`` or ``json``; raise ``UnknownNameError`` for another format."""
    _style(style)
    if style == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)
    import pandas as pd

    return str(pd.DataFrame(rows).to_csv(index=False)).rstrip("\n")
