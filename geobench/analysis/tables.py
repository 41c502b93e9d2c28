"""Breakdowns and calibration as text: terminal, Markdown, CSV, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from geobench.analysis import calibration
from geobench.analysis.breakdown import Breakdown, Row, breakdown, to_rows
from geobench.analysis.details import Answers
from geobench.errors import unknown_name
from geobench.metrics import ACCURACIES, LEVELS_KM
from geobench.plugins import get_models
from geobench.report.text import HEADS
from geobench.statistics.intervals import Interval

FORMATS = ("table", "markdown", "csv", "json")
LAYOUTS = {"table": "simple", "markdown": "github"}
SHARES = {name: HEADS[name] for name in ACCURACIES} | {"country": "Country", "region": "Region"}
TOP_K = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def show_breakdown(answers: Sequence[Answers], by: str, smallest: int, style: str = "table") -> str:
    """Return the :func:`geobench.analysis.breakdown.breakdown` of each of ``answers`` as text in one of ``FORMATS``."""
    found = [breakdown(each, by, smallest) for each in answers]
    if _style(style) in LAYOUTS:
        return "\n\n".join(_breakdown_table(each, style) for each in found)
    return _data([row for each in found for row in to_rows(each)], style)


def _breakdown_table(found: Breakdown, style: str) -> str:
    rows = [_breakdown_line(row) for row in found.groups] + [_breakdown_line(row) for row in found.overall]
    rows[len(found.groups) : len(found.groups)] = [dict.fromkeys(rows[0], "")] if style == "table" else []
    return _titled(found.answers, f"by {found.by}", rows, found.notes, style)


def _breakdown_line(row: Row) -> dict[str, str]:
    shares = {head: _share(row.scores[name], row.intervals[name]) for name, head in SHARES.items()}
    median, ends = row.scores["median_km"], row.intervals["median_km"]
    shown = "" if median is None else f"{median:,.0f}" + (f" ({ends[0]:,.0f}–{ends[1]:,.0f})" if ends else "")
    return {"Group": row.name, "n": f"{row.n:,}"} | shares | {"Median km": shown}


def _share(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} ({interval[0]:.1f}–{interval[1]:.1f})" if interval else f"{value:.1f}"


def show_calibration(answers: Sequence[Answers], probabilities: bool | None = None, style: str = "table") -> str:
    """Return how well each of ``answers`` knows when it is right, as text in one of ``FORMATS``.

    Args:
        answers: see :func:`geobench.analysis.details.load_answers`.
        probabilities: whether the scores are probabilities; None asks the model.
        style: one of ``FORMATS``.

    Raises:
        ResultError: the scores are said to be probabilities and are not.
    """
    found = [(each, calibration_rows(each, probabilities)) for each in answers]
    if _style(style) in LAYOUTS:
        return "\n\n".join(_calibration_table(each, rows, style) for each, rows in found)
    return _data([each.identity() | row for each, rows in found for row in rows], style)


def calibration_rows(answers: Answers, probabilities: bool | None = None) -> list[dict[str, Any]]:
    """Return a row per level: its accuracy, coverage of the top k, what confidence is worth, calibration error.

    ``ece`` is None where the scores are no probabilities, and all that rests on scores where there are none; shares
    are in percent.
    """
    claims = says_probabilities(answers) if probabilities is None else probabilities
    if claims:
        calibration.check_probabilities(answers.predictions, answers.name)
    distances = calibration.distances_km(answers.predictions, answers.truth)
    confidence = calibration.confidence_of(answers.predictions)
    scored = _scored(answers)
    rows = []
    for level, km in LEVELS_KM.items():
        hits = distances[:, 0] <= km
        covered = calibration.top_k_coverage(distances, km)
        worth = calibration.selection(hits, confidence)
        error = (
            calibration.reliability(hits, calibration.claimed_probability(answers.predictions, km)) if claims else None
        )
        rows.append(
            {"level": level, "km": km, "n": len(answers)}
            | {f"top_{k}": float(covered[k - 1]) for k in _ranks(distances.shape[1])}
            | {
                name: None if math.isnan(value) or not (scored or name == "accuracy") else value
                for name, value in vars(worth).items()
            }
            | {"ece": error.error if error is not None else None}
        )
    return rows


def says_probabilities(answers: Answers) -> bool:
    """Return whether the model says that its scores are probabilities; False where it is not known."""
    model = get_models().get(answers.result.model)
    return model is not None and model.probabilities


def _scored(answers: Answers) -> bool:
    return not np.isnan(answers.predictions.scores).all()


def _ranks(k: int) -> list[int]:
    return sorted({rank for rank in TOP_K if rank < k} | {k})


def _calibration_table(answers: Answers, rows: list[dict[str, Any]], style: str) -> str:
    lines = []
    for row in rows:
        line = {"Level": f"{row['level'].title()} {row['km']} km"}
        line |= {f"Top {k}": f"{row[f'top_{k}']:.1f}" for k in _ranks(answers.predictions.scores.shape[1])}
        shares = {"half": "Surer half", "area": "Area", "best": "Best"}
        line |= {head: "–" if row[name] is None else f"{row[name]:.1f}" for name, head in shares.items()}
        line |= {
            head: "–" if row[name] is None else f"{round(row[name], 2) + 0.0:.2f}" for name, head in _ORDER.items()
        }
        lines.append(line | {"ECE": "–" if row["ece"] is None else f"{row['ece']:.1f}"})
    return _titled(answers, "calibration", lines, _calibration_notes(answers, rows), style)


_ORDER = {"gain": "Gain", "auroc": "AUROC"}


def _calibration_notes(answers: Answers, rows: list[dict[str, Any]]) -> list[str]:
    k = answers.predictions.scores.shape[1]
    notes = [
        f"n = {len(answers):,}. Top k: share of images in % with any of the first k predictions within the distance"
        + (" (one was kept; geobench run --top-k 100 keeps more)." if k == 1 else "."),
        "Surer half: accuracy over the half of the images with the higher scores. Area: mean accuracy over all shares "
        "kept, the surest first; Best, where every right answer is surer than any wrong one; Gain: how much of the way "
        "from no order (0) to that (1). AUROC: how often a right answer is surer than a wrong one (0.5: no order).",
    ]
    if not _scored(answers):
        notes.append("The predictions have no scores: nothing is known of how sure they are.")
    elif rows[0]["ece"] is None:
        notes.append("ECE: not shown, as the scores are not known to be probabilities; only their order is used.")
    else:
        kept = float(np.nanmean(np.where(answers.predictions.failed, np.nan, answers.predictions.scores.sum(axis=1))))
        notes.append(
            f"ECE: expected calibration error in percentage points, {calibration.BINS} bins; the probability claimed "
            f"for a distance is the sum over the kept predictions that lie within it of the best one. The {k:,} kept "
            f"hold {kept:.0%} on average" + ("; keep more with geobench run --top-k." if kept < 0.9 else ".")
        )
    return notes


def _style(style: str) -> str:
    if style not in FORMATS:
        raise unknown_name("format", style, FORMATS)
    return style


def _titled(answers: Answers, what: str, rows: list[dict[str, str]], notes: Sequence[str], style: str) -> str:
    """Return a table with its title and its notes, on the terminal a line each."""
    from tabulate import tabulate

    title = f"{answers.name} on {answers.result.dataset}, {what}"
    align = ["left", *["right"] * (len(rows[0]) - 1)]
    table = tabulate(rows, headers="keys", tablefmt=LAYOUTS[style], disable_numparse=True, colalign=align)
    joined = ("\n" if style == "table" else " ").join(notes)
    return f"{'### ' if style == 'markdown' else ''}{title}\n\n{table}\n\n{joined}"


def _data(rows: list[dict[str, Any]], style: str) -> str:
    if style == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)
    import pandas as pd

    return str(pd.DataFrame(rows).to_csv(index=False)).rstrip("\n")
