"""What answers in words are worth and cost: how many were given, how fine they are, and what a hit costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geobench.analysis.details import DetailedResult
from geobench.analysis.tables import FORMATS, as_data, as_table
from geobench.errors import ResultError
from geobench.metrics import Metric, accuracies
from geobench.plugins import get_metric, get_metrics
from geobench.predictions import OK, REFUSED, SERVICE, UNPARSEABLE, UNREADABLE
from geobench.rounding import shown

FINE_KM = {"coordinates": 0.0, "place": 25.0, "city": 25.0, "region": 200.0, "country": 750.0}
"""How fine an answer is that names no more than this: at a smaller distance a hit is the luck of its centre."""
HIT_KM = 25.0
"""The distance that the cost of a hit is stated for."""
COUNTED = {"Answered": OK, "Refused": REFUSED, "Unparseable": UNPARSEABLE, "Lost": SERVICE, "Unreadable": UNREADABLE}
COARSE = "°"
"""Marks an accuracy at a distance finer than some of the answers are."""


def answer_row(detailed: DetailedResult) -> dict[str, Any]:
    """Return what is known of the answers of a result: counts, accuracies in percent, levels, cost, tokens and times.

    ``acc_…km`` is the share of all images, ``acc_…km_answered`` that of the answered ones, ``coarser_…km`` the share of
    answers whose own level is coarser than the distance. What the service or its prices do not say is None.

    Raises:
        ResultError: nobody was asked: the result is of a model that runs here.
    """
    result = detailed.result
    if not result.statuses:
        raise ResultError(f"{detailed.name} on {result.dataset} was computed here, not answered; it has no statuses.")
    answers = detailed.predictions.answers or {}
    answered = ~detailed.predictions.failed
    row: dict[str, Any] = detailed.identity() | {"name": detailed.name, "n": len(detailed)}
    row |= {head.lower(): result.statuses.get(status, 0) for head, status in COUNTED.items()}
    levels = answers.get("level")
    fine = None if levels is None else np.array([FINE_KM.get(level, 0.0) for level in levels[answered]])
    for metric in _accuracies(detailed):
        hits = detailed.errors <= (metric.threshold_km or 0.0)
        row[metric.name] = 100 * float(hits.mean())
        row[f"{metric.name}_answered"] = 100 * float(hits[answered].mean()) if answered.any() else None
        row[f"coarser_{metric.threshold_km:g}km"] = (
            None if fine is None or not len(fine) else 100 * float(np.mean(fine > metric.threshold_km))
        )
    row["country"] = get_metric("country").score(detailed.scored)
    service = result.service
    within = int((detailed.errors <= HIT_KM).sum())
    cost = service.get("cost")
    row |= {"requests": service.get("requests"), "cost": cost}
    row["cost_per_image"] = None if cost is None else cost / len(detailed)
    row["cost_per_hit"] = None if cost is None or not within else cost / within
    row |= {name: service.get(name) for name in ("tokens_in", "tokens_out", "seconds_50", "seconds_95")}
    return row | {name: service.get(name, "") for name in ("served", "first", "last")}


def show_answers(results: Sequence[DetailedResult], style: str = "table") -> str:
    """Return the :func:`answer_row` of each of ``results`` as text in one of ``FORMATS``.

    Raises:
        ResultError: nobody was asked for one of them.
    """
    rows = [answer_row(each) for each in results]
    if style in ("csv", "json") or style not in FORMATS:
        return as_data(rows, style)
    metrics = _accuracies(results[0])
    names = _told_apart(results)
    lines = [_line(each, row, metrics) | {"Model": name} for each, row, name in zip(results, rows, names, strict=True)]
    return as_table("Answers", lines, _notes(rows, metrics), style)


def _accuracies(detailed: DetailedResult) -> list[Metric]:
    return accuracies(get_metrics(detailed.result.dataset))


def _told_apart(results: Sequence[DetailedResult]) -> list[str]:
    """Return the names of ``results``, with the settings in which those of one name differ."""
    configs = [each.result.config for each in results]
    names = [each.name for each in results]
    told = []
    for name, config in zip(names, configs, strict=True):
        alike = [other for other, called in zip(configs, names, strict=True) if called == name]
        differ = [key for key in config if any(other.get(key) != config[key] for other in alike)]
        told.append(f"{name} ({', '.join(f'{key}={config[key]}' for key in differ)})" if differ else name)
    return told


def _line(detailed: DetailedResult, row: dict[str, Any], metrics: Sequence[Metric]) -> dict[str, str]:
    line = {"Model": detailed.name, "Test set": detailed.result.dataset, "n": f"{row['n']:,}"}
    line |= {head: f"{row[head.lower()]:,}" for head in COUNTED if row[head.lower()] or head != "Unreadable"}
    line.setdefault("Unreadable", "0")
    for metric in metrics:
        km = f"{metric.threshold_km:g}km"
        alone = row[f"{metric.name}_answered"]
        within = f" ({shown(alone, 1)})" if alone is not None and row["answered"] < row["n"] else ""
        mark = COARSE if (row[f"coarser_{km}"] or 0) > 0 else ""
        line[f"{metric.threshold_km:,g} km"] = f"{shown(row[metric.name], 1)}{within}{mark}"
    line["Country"] = shown(row["country"], 1)
    line["Tokens"] = "–" if not row["tokens_in"] else f"{(row['tokens_in'] + row['tokens_out']) / row['n']:,.0f}"
    line["s (50 %, 95 %)"] = "–" if row["seconds_50"] is None else f"{row['seconds_50']:.1f}, {row['seconds_95']:.1f}"
    line["Cost"] = "–" if row["cost"] is None else f"{row['cost']:.4g}"
    line["Cost of a hit"] = "–" if row["cost_per_hit"] is None else f"{row['cost_per_hit']:.2g}"
    return line


def _notes(rows: Sequence[dict[str, Any]], metrics: Sequence[Metric]) -> list[str]:
    notes = ["Accuracy: share of all n images, in %, within the distance; in brackets, of the answered ones alone."]
    coarse = [f"coarser_{metric.threshold_km:g}km" for metric in metrics]
    if any((row[name] or 0) > 0 for row in rows for name in coarse):
        notes.append(
            f"{COARSE} some answers name nothing as fine as this distance: a city counts as 25 km, a region as 200, a "
            "country as 750; a hit below is the luck of where its centre lies."
        )
    if any(row["cost"] is not None for row in rows):
        notes.append(
            f"Cost: by the prices that were stated for the run, of all images; of a hit: of each within {HIT_KM:g} km."
        )
    if any(row["tokens_in"] for row in rows):
        notes.append("Tokens: sent and answered, for each image.")
    return notes


def cost_points(results: Sequence[DetailedResult]) -> list[tuple[str, float, float]]:
    """Return name, cost of an image and accuracy within 25 km in % of each of ``results`` that has a cost.

    Raises:
        ResultError: none of them has.
    """
    rows = [answer_row(each) for each in results]
    priced = [row for row in rows if row["cost_per_image"]]
    if not priced:
        raise ResultError(
            "none of these results has a cost; state prices per million tokens and run again, which asks nothing anew: "
            "--set price_in=2.5 --set price_out=10 --force"
        )
    return [(row["name"], row["cost_per_image"], row[f"acc_{HIT_KM:g}km"]) for row in priced]
