"""From a finished experiment to its record: every row of ours with the published ones that it repeats below it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from geobench.experiments.notes import notes
from geobench.experiments.plans import Plan, PlannedRow
from geobench.experiments.progress import EvaluationRecord
from geobench.experiments.run import Finished
from geobench.metrics import ordered
from geobench.plugins import get_datasets, get_metric, get_metrics
from geobench.provenance import now
from geobench.published.rows import published_rows, score_metrics
from geobench.published.verdicts import Verdict, verdict
from geobench.report.groups import Group, file_name, without_repeats
from geobench.report.rows import Row, row_of, with_leaders
from geobench.results import FOLDER, Result, load_result

SCHEMA = 1
"""Version of the record's form; it is raised when an entry changes its meaning."""
Line = dict[str, Any]


def make_record(finished: Finished, folder: Path = FOLDER) -> dict[str, Any]:
    """Return the record of a finished experiment: definition, versions, evaluations, and lines of the table.

    Args:
        finished: what :func:`geobench.experiments.run.run_plan` left.
        folder: of the results.
    """
    plan = finished.plan
    by_row = _our_rows(finished, folder)
    lines = [line for number in range(len(plan.rows)) for line in _lines(finished, number, by_row)]
    results = [result for row in by_row.values() for result in row.results]
    return {
        "schema": SCHEMA,
        "experiment": plan.experiment.name,
        "title": plan.experiment.title,
        "data": plan.data,
        "datasets": list(plan.datasets),
        "key": plan.key,
        "created": now(),
        "versions": results[0].versions if results else {},
        "columns": list(plan.experiment.columns),
        "notes": list(notes(finished, list(by_row.values()), lines)),
        "lines": lines,
        "cells": [_evaluation(finished, record) for record in finished.records],
        "definition": plan.experiment.path.read_text(encoding="utf-8"),
    }


def _evaluation(finished: Finished, record: EvaluationRecord) -> Line:
    row = finished.plan.rows[record.evaluation.row]
    said = {key: value for key, value in asdict(record).items() if key != "evaluation"}
    settings = {key: value for key, value in row.choices.items() if value is not None and key != "seeds"}
    return {"title": row.title, **asdict(record.evaluation), **said, "choices": settings}


def _our_rows(finished: Finished, folder: Path) -> dict[tuple[int, str], Row]:
    """Return what was measured for each row of the table and test set: its own evaluations joined, ties, intervals."""
    measured: dict[tuple[int, str], list[Result]] = {}
    load = cache(lambda name: load_result(folder / name, predictions=True))
    for record in finished.records:
        if record.result:
            place = record.evaluation.row, record.evaluation.dataset
            measured.setdefault(place, []).append(load(record.result))
    found: dict[tuple[int, str], Row] = {}
    for dataset in dict.fromkeys(dataset for _, dataset in measured):
        found |= _rows_on(dataset, finished.plan, {p: each for p, each in measured.items() if p[1] == dataset})
    return found


def _rows_on(
    dataset: str, plan: Plan, measured: Mapping[tuple[int, str], Sequence[Result]]
) -> dict[tuple[int, str], Row]:
    """Return the rows on one test set; two that share all evaluations are one in the comparison."""
    metrics = tuple(ordered([*get_metrics(dataset), *map(get_metric, plan.experiment.columns)]))
    places: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for place, results in measured.items():
        places.setdefault(tuple(sorted(result.key for result in results)), []).append(place)
    own = []
    for several in places.values():
        kept, repeats = without_repeats(measured[several[0]])
        row = row_of(Group(tuple(kept), repeats=tuple(map(file_name, repeats))), metrics)
        own.append(replace(row, model=" / ".join(dict.fromkeys(plan.rows[number].title for number, _ in several))))
    ranked = zip(places.values(), with_leaders(own), strict=True)
    return {place: row for several, row in ranked for place in several}


def _lines(finished: Finished, number: int, by_row: Mapping[tuple[int, str], Row]) -> Iterator[Line]:
    """Yield the lines of one row of the table: ours on each test set, each with the published ones below."""
    plan, columns = finished.plan, finished.plan.experiment.columns
    row, published = plan.rows[number], _published(plan.experiment.datasets, plan.rows[number], columns)
    here = [line for line in published if line["dataset"] in plan.datasets]
    for dataset in plan.datasets if row.run else ():
        own = [line for line in here if line["dataset"] == dataset]
        yield _our_line(row, dataset, by_row.get((number, dataset)), own or published, columns)
        yield from own
    if not row.run:
        yield from here
    if plan.tests_elsewhere or not here:  # what the published ones were tested on is not what we have
        yield from (line for line in published if line not in here)


def _names(dataset: str, columns: Sequence[str]) -> list[str]:
    """Return the names of the metrics of ``dataset`` and of ``columns``."""
    return [metric.name for metric in ordered([*get_metrics(dataset), *map(get_metric, columns)])]


def _published(datasets: Sequence[str], row: PlannedRow, columns: Sequence[str]) -> list[Line]:
    """Return the published rows that ``row`` repeats, on ``datasets``, else on any test set it was published for."""
    found: list[Line] = []
    here = [name for name in datasets if any(source == row.source for source, _ in _rows_of(name))]
    for dataset in here or (list(get_datasets()) if row.source else []):
        for each in _rows_of(dataset).get((row.source, row.published), ()):
            scores = {name: _number(each.get(name)) for name in _names(dataset, columns)}
            about = {key: str(each[key]) for key in ("source", "gallery", "crops", "protocol", "note")}
            n = None if each["n"] != each["n"] or each["n"] is None else int(each["n"])
            found.append({"of": "published", "title": each["model"], "dataset": dataset, "n": n, **scores, **about})
    return found


@cache
def _rows_of(dataset: str) -> dict[tuple[str, str], list[dict[Any, Any]]]:
    found: dict[tuple[str, str], list[dict[Any, Any]]] = {}
    table = published_rows(dataset)
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        found.setdefault((row["source"], row["model"]), []).append(row)
    return found


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _our_line(
    planned: PlannedRow, dataset: str, row: Row | None, below: Sequence[Line], columns: Sequence[str]
) -> Line:
    head = {"of": "ours", "title": planned.title, "dataset": dataset, "asked_seeds": len(planned.seeds)}
    if row is None:
        return head | {"n": None, **dict.fromkeys(_names(dataset, columns)), "failed": True, "note": planned.note}
    head["asked_seeds"] = len(planned.seeds) - len(row.repeats)  # those that draw something
    first = row.results[0]
    ends = {
        f"{name}_{end}": pair[side] for name, pair in row.intervals.items() for side, end in enumerate(("low", "high"))
    }
    reached = [_verdict(planned, row, dataset, each) for each in below]
    return (
        head
        | {"n": first.n, "unreadable": max(result.failed for result in row.results)}
        | {"gallery": first.gallery, "gallery_size": first.gallery_size, "crops": str(first.crops)}
        | {"seeds": sorted(_seeds(row)), "models": sorted({result.spec for result in row.results})}
        | {name: _number(score) for name, score in row.scores.items()}
        | {f"{name}_sd": _number(value) for name, value in row.spread.items()}
        | ends
        | {"best": [metric.name for metric in row.metrics if metric.name in row.best], "oracle": row.oracle}
        | {"verdict": "; ".join(dict.fromkeys(each.word for each in reached))}
        | {"reason": "; ".join(dict.fromkeys(each.reason for each in reached)), "note": planned.note}
    )


def _seeds(row: Row) -> set[int]:
    return {result.training_seed or 0 for result in row.results}


def _verdict(planned: PlannedRow, row: Row, dataset: str, published: Mapping[str, Any]) -> Verdict:
    """Return what our ``row`` says about a published line; of another test set, or other settings, it says nothing."""
    if published["dataset"] != dataset:
        return Verdict("not comparable", f"test set {dataset}, published {published['dataset']}")
    if planned.changed:
        return Verdict("not comparable", f"other settings: {', '.join(planned.changed)}")
    full = _rows_of(dataset)[published["source"], published["title"]][0]
    scores = {metric.name: math.nan for metric in score_metrics() if full.get(metric.name) is None}
    return verdict(row.results[0], row.intervals, full | scores, row.scores)
