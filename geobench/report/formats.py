"""From results to text in any format: tables for the terminal, Markdown and LaTeX, rows as CSV and JSON, or a page."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geobench.errors import ResultError, SettingError, unknown_name
from geobench.metrics import Metric, accuracies
from geobench.named import NO_RESULTS, meant
from geobench.progress import SILENT, Progress
from geobench.report.choice import floors_last, own_rows, sorted_by, with_columns
from geobench.report.doubts import doubts
from geobench.report.rows import Row, rows, score_of
from geobench.report.tables import NO_REMARKS, SHOWN, tables
from geobench.report.text import LAYOUTS
from geobench.results import FOLDER, Result, left_behind, read_results

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Format:
    """A way to write rows.

    Attributes:
        write: takes the rows, a line for each result that was left out, and what ``kind`` says; returns the text.
        kind: ``tables`` take ``shown_conditions`` and ``remarks``, and that of a terminal its ``width``; ``data``, a
            row for each result, take ``columns``; a ``page`` takes ``remarks``, ``thumbnails`` and ``progress``.
    """

    write: Callable[..., str]
    kind: Literal["tables", "data", "page"] = "tables"


def report(
    format: str = "table",
    folder: Path | str = FOLDER,
    datasets: Sequence[str] | None = None,
    published: str = "methods",
    join_seeds: bool = True,
    say: Callable[[str], None] = lambda line: None,
    thumbnails: int | None = None,
    progress: Progress = SILENT,
    thresholds_km: Sequence[float] | None = None,
    shown: Collection[str] = (),
    *,
    models: Sequence[str] | None = None,
    sort: str | None = None,
    columns: Sequence[str] | None = None,
    own: Collection[str] | None = None,
    width: int | None = None,
) -> str:
    """Return the results in ``folder`` as text.

    Args:
        format: ``table`` (terminal), ``markdown``, ``latex`` (a document), ``latex-fragment`` (its tables, to input
            into a paper), ``html`` (a page with map, curves and a card per image), ``csv`` or ``json``; the last two
            have one row per result, with every column, unrounded.
        folder: of results.
        datasets: only these test sets.
        published: which published rows are shown, a name in :data:`geobench.published.rows.SELECTIONS`.
        join_seeds: put results that differ only by seed into one row.
        say: called with a line for each result that is damaged and left out.
        thumbnails: at most so many small pictures of images in the page; by default as many as it chooses.
        progress: reports the making of the page, and predictions without a record.
        thresholds_km: distances of the accuracies, in place of the test sets' own.
        shown: keys of results that count even if there are newer ones for their entries: see
            :func:`geobench.report.rows.rows`.
        models: only the results that one of these names means: see :mod:`geobench.named`. Marks compare those alone.
        sort: rows by this score, the best first, or by ``model``; by default models that ignore the photo stand last.
        columns: names of scores, or their headings, and of what a result was measured with; in ``csv`` and ``json``
            names of their columns. A column without which rows would look alike is shown too.
        own: keys of results whose rows are shown alone, with the places that they take among all.
        width: columns of the terminal that a ``table`` has to fit; None for any number.

    Raises:
        ResultError: there are no results, or all are damaged.
        UnknownNameError: no such format, model, score or column, or no results on one of ``datasets``.
        SettingError: a threshold is not a distance; a page cannot have fewer columns.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    for line in left_behind(Path(folder)):
        progress.say(line)
    chosen, damaged = _of_sets(Path(folder), datasets)
    for line in damaged:
        say(line)
    style = FORMATS[format]
    named = chosen if models is None else meant(chosen, models, Path(folder))
    found = rows(named, published, join_seeds and style.kind != "data", thresholds_km, shown=shown)
    found = floors_last(found) if sort is None else sorted_by(found, sort)
    remarks = {} if models is None else _of_hidden(chosen, named)
    if own is not None:
        found, places = own_rows(found, own)
        remarks = {found[0].dataset: places}
    if style.kind == "data":
        return style.write(found, damaged, columns=columns)
    if style.kind == "page":
        if columns is not None:
            raise SettingError("a page shows every column; columns are chosen for tables, csv and json.")
        most = {} if thumbnails is None else {"thumbnails": thumbnails}
        return style.write(found, damaged, progress=progress, remarks=remarks, **most)
    found, conditions = (found, SHOWN) if columns is None else with_columns(found, columns)
    fit = {"width": width} if format == "table" else {}
    return style.write(found, damaged, shown_conditions=conditions, remarks=remarks, **fit)


def _of_sets(folder: Path, datasets: Sequence[str] | None) -> tuple[list[Result], list[str]]:
    """Return the results in ``folder`` on ``datasets``, and a line for each result that is damaged."""
    results, damaged = read_results(folder)
    if not results:
        raise ResultError(" ".join(damaged) or NO_RESULTS.format(folder=folder))
    there = {result.dataset for result in results}
    for name in datasets or ():
        if name not in there:
            raise unknown_name("data set among the results", name, there)
    return [result for result in results if not datasets or result.dataset in datasets], damaged


def _of_hidden(results: Sequence[Result], named: Sequence[Result]) -> dict[str, list[str]]:
    """Return a remark for each test set of which some results are not shown."""
    counts = Counter(result.dataset for result in results)
    counts.subtract(result.dataset for result in named)
    return {
        dataset: [f"Chosen models alone: {n:,} other results are not shown, and no mark takes account of them."]
        for dataset, n in counts.items()
        if n
    }


def flat(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield for each of our results a row of every column, unrounded: the record, intervals, ties, verdicts, doubts.

    Its scores are those of the row's metrics; what it does not have is None.
    """
    for _, group in groupby(rows, key=lambda row: row.dataset):
        ours = [row for row in group if row.results]
        reasons = doubts(ours)
        for row in ours:
            own: dict[str, str] = {}
            for doubt in reasons:
                if any(row is concerned for concerned in doubt.rows):
                    own[doubt.kind] = f"{own.get(doubt.kind, '')} {doubt.text}".lstrip()
            for result in row.results:
                yield _flat_result(row, result) | {"doubts": own}


def _flat_result(row: Row, result: Result) -> dict[str, Any]:
    scores = {metric.name: score_of(result, metric) for metric in row.metrics}
    known = {name: None if math.isnan(score) else score for name, score in scores.items()}
    ends = {
        f"{name}_{end}": row.intervals[name][side] if name in row.intervals else None
        for name in scores
        for side, end in enumerate(("low", "high"))
    }
    answered = _of_the_answered(result, row.metrics)
    return (
        replace(result, scores=scores).row()
        | known
        | ends
        | answered
        | {
            "label": row.model,
            "best": [name for name in scores if name in row.best],
            "oracle": row.oracle,
            "clustered_by": row.clusters[0],
            "clusters": row.clusters[1],
            "asked": result.asked,
            "answered": result.answered,
            "statuses": ", ".join(f"{count} {status}" for status, count in result.statuses.items()),
            "verdicts": "; ".join(
                f"{j.verdict.word}: {j.model}, {' and '.join(j.sources)} ({j.verdict.reason})" for j in row.judged
            ),
        }
    )


def _of_the_answered(result: Result, metrics: Sequence[Metric]) -> dict[str, float | None]:
    """Return the accuracies of the images that others' models answered, ``acc_25km_answered``; none if all were."""
    if result.predictions is None or not result.statuses or not 0 < result.answered < result.n:
        return {}
    part = result.scored.take(~result.predictions.failed)
    return {f"{metric.name}_answered": metric.score(part) for metric in accuracies(metrics)}


def _chosen(rows: Sequence[Row], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the flat ``rows`` with ``columns`` alone; None for all."""
    found = list(flat(rows))
    there = {name for line in found for name in line}
    for name in columns or ():
        if name not in there:
            raise unknown_name("column", name, there)
    return found if columns is None else [{name: line.get(name) for name in columns} for line in found]


def _csv(rows: Sequence[Row], damaged: Sequence[str], columns: Sequence[str] | None = None) -> str:
    import pandas as pd

    joined: dict[str, Callable[[Any], str]] = {"best": " ".join, "doubts": lambda doubts: " ".join(doubts.values())}
    lines = [
        {name: joined[name](value) if name in joined else value for name, value in line.items()}
        for line in _chosen(rows, columns)
    ]
    return str(pd.DataFrame(lines).to_csv(index=False)).rstrip("\n")


def _json(rows: Sequence[Row], damaged: Sequence[str], columns: Sequence[str] | None = None) -> str:
    return json.dumps(_chosen(rows, columns), indent=2, ensure_ascii=False)


def _html(rows: Sequence[Row], damaged: Sequence[str], **options: Any) -> str:
    from geobench.report.html.page import html_page

    return html_page(rows, damaged, **options)


FORMATS: dict[str, Format] = {
    **{
        name: Format(
            lambda rows, damaged, write=write, shown_conditions=SHOWN, remarks=NO_REMARKS, **fit: write(
                tables(rows, damaged, shown_conditions, remarks), **fit
            )
        )
        for name, write in LAYOUTS.items()
    },
    "html": Format(_html, "page"),
    "csv": Format(_csv, "data"),
    "json": Format(_json, "data"),
}
"""Other modules may add one."""
