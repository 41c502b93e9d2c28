"""What of a report is shown: floors last, rows in the order of a score, chosen columns, the place of one result."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from geobench.errors import unknown_name
from geobench.metrics import headings
from geobench.plugins import get_models
from geobench.report.rows import Row, images_of
from geobench.report.tables import CONDITIONS, FIXED
from geobench.results import Result

BY_NAME = "model"
"""Sorts by the model's name, in place of the name of a metric."""


def floors_last(rows: Sequence[Row]) -> list[Row]:
    """Return ``rows``, test set by test set, with models that ignore the photo below the others measured here."""
    return _within_sets(rows, lambda row: (not row.results, bool(row.results) and is_floor(row.results[0])))


def is_floor(result: Result) -> bool:
    """Return whether the model of ``result`` ignores the photo, such as ``random``."""
    model = get_models().get(result.model)
    return model is not None and model.input == "none" and not result.foreign


def sorted_by(rows: Sequence[Row], name: str) -> list[Row]:
    """Return ``rows``, test set by test set, by the score ``name``, the best first; published rows stay below ours.

    Args:
        rows: of several test sets; one without that score keeps its order.
        name: of a metric, its heading, or ``model``.

    Raises:
        UnknownNameError: no test set has such a score.
    """
    if name.lower() == BY_NAME:
        return _within_sets(rows, lambda row: (not row.results, row.model.lower()))
    names = _names(rows)
    if name.lower() not in names:
        raise unknown_name("score to sort by", name, {*names.values(), BY_NAME})

    def key(row: Row) -> tuple[bool, bool, float]:
        metric = next((metric for metric in row.metrics if metric.name == names[name.lower()]), None)
        score = math.nan if metric is None else row.scores[metric.name]
        if metric is None or math.isnan(score):
            return not row.results, True, 0.0
        return not row.results, False, -score if metric.higher_is_better else score

    return _within_sets(rows, key)


def with_columns(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[Row], frozenset[str]]:
    """Return ``rows`` with the chosen scores alone, and the headings of the chosen conditions.

    Args:
        rows: of several test sets.
        names: of metrics or their headings, and headings of conditions such as ``Gallery``, in any case.

    Raises:
        UnknownNameError: there is no such column.
    """
    metrics = _names(rows)
    conditions = {head.lower(): head for head in (*CONDITIONS, "Model", "Published")}
    for name in names:
        if name.lower() not in metrics and name.lower() not in conditions:
            raise unknown_name("column", name, {*metrics.values(), *conditions})
    chosen = {metrics.get(name.lower()) for name in names}
    heads = frozenset(conditions[name.lower()] for name in names if name.lower() in conditions)
    return [replace(row, metrics=tuple(m for m in row.metrics if m.name in chosen)) for row in rows], heads


def own_rows(rows: Sequence[Row], keys: Collection[str]) -> tuple[list[Row], list[str]]:
    """Return the rows of the results ``keys`` and the published ones that they repeat, and a line on the place of each.

    Args:
        rows: of one test set, all that there are.
        keys: of results.
    """
    own = [row for row in rows if any(result.key in keys for result in row.results)]
    repeated = {(judged.model, source) for row in own for judged in row.judged for source in judged.sources}
    papers = [row for row in rows if not row.results and (row.model, row.source) in repeated]
    return own + papers, [place_of(row, rows) for row in own]


def place_of(row: Row, rows: Iterable[Row]) -> str:
    """Return in words which place ``row`` takes among ``rows`` of its test set at each score."""
    if not row.compared:
        return f"{row.model} takes no place: it is not part of the comparison, for a reason given here."
    images = images_of(row.results[0])
    among = [each for each in rows if each.compared and images_of(each.results[0]) == images]
    if len(among) == 1:
        return f"{row.model} is the only result on these images that can be compared."
    places = []
    for metric in row.metrics:
        sign = 1 if metric.higher_is_better else -1
        better = sum(sign * each.scores[metric.name] > sign * row.scores[metric.name] for each in among)
        if not math.isnan(row.scores[metric.name]):
            places.append(f"{better + 1} by {metric.heading}")
    return f"Place of {row.model} among the {len(among):,} results on these images: {', '.join(places)}."


def _names(rows: Sequence[Row]) -> dict[str, str]:
    """Return the names of the metrics of ``rows`` by their names and headings in lower case."""
    found: dict[str, str] = {}
    for row in rows:
        heads = headings(row.metrics, FIXED)
        found |= {text.lower(): name for name, head in heads.items() for text in (name, head)}
    return found


def _within_sets(rows: Sequence[Row], key: Callable[[Row], Any]) -> list[Row]:
    return [row for _, group in groupby(rows, lambda row: row.dataset) for row in sorted(group, key=key)]
