"""From results to text in any format: tables for the terminal, Markdown and LaTeX, rows as CSV and JSON, or a page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.errors import ResultError, unknown_name
from geobench.metrics import Metric, accuracies
from geobench.named import NO_RESULTS
from geobench.progress import SILENT, Progress
from geobench.report.doubts import doubts
from geobench.report.rows import Row, rows, score_of
from geobench.report.tables import tables
from geobench.report.text import LAYOUTS
from geobench.results import FOLDER, Result, left_behind, read_results

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Format:
    """A way to write rows.

    Attributes:
        write: takes the rows and a line for each result that was left out; returns the text.
        joins_seeds: False if every result has a row of its own.
        pictures: True if ``write`` also takes ``thumbnails``, their number, and ``progress``.
    """

    write: Callable[..., str]
    joins_seeds: bool = True
    pictures: bool = False


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

    Raises:
        ResultError: there are no results, or all are damaged.
        UnknownNameError: no such format, or no results on one of ``datasets``.
        SettingError: a threshold is not a distance.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    results, damaged = read_results(Path(folder))
    for line in left_behind(Path(folder)):
        progress.say(line)
    if not results:
        raise ResultError(" ".join(damaged) or NO_RESULTS.format(folder=folder))
    there = {result.dataset for result in results}
    for name in datasets or ():
        if name not in there:
            raise unknown_name("data set among the results", name, there)
    for line in damaged:
        say(line)
    chosen = [result for result in results if not datasets or result.dataset in datasets]
    style = FORMATS[format]
    options: dict[str, Any] = {"progress": progress} if style.pictures else {}
    if style.pictures and thumbnails is not None:
        options["thumbnails"] = thumbnails
    found = rows(chosen, published, join_seeds and style.joins_seeds, thresholds_km, shown=shown)
    return style.write(found, damaged, **options)


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


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        line | {"best": " ".join(line["best"]), "doubts": " ".join(line["doubts"].values())} for line in flat(rows)
    )


def _csv(rows: Sequence[Row], damaged: Sequence[str]) -> str:
    return str(_frame(rows).to_csv(index=False)).rstrip("\n")


def _json(rows: Sequence[Row], damaged: Sequence[str]) -> str:
    return json.dumps(list(flat(rows)), indent=2, ensure_ascii=False)


def _html(rows: Sequence[Row], damaged: Sequence[str], **options: Any) -> str:
    from geobench.report.html.page import html_page

    return html_page(rows, damaged, **options)


FORMATS: dict[str, Format] = {
    **{
        name: Format(lambda rows, damaged, write=write: write(tables(rows, damaged))) for name, write in LAYOUTS.items()
    },
    "html": Format(_html, pictures=True),
    "csv": Format(_csv, joins_seeds=False),
    "json": Format(_json, joins_seeds=False),
}
"""Other modules may add one."""
