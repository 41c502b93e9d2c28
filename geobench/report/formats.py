"""From results to text in any format: tables for the terminal, Markdown and LaTeX, rows as CSV and JSON, or a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench import metrics
from geobench.errors import ResultError, unknown_name
from geobench.progress import SILENT, Progress
from geobench.report.rows import Row, rows
from geobench.report.text import LAYOUTS, tables
from geobench.results import FOLDER, left_behind, read_results

if TYPE_CHECKING:
    import pandas as pd

NO_RESULTS = "no results in {folder}; make some: geobench demo, or geobench run --models geoclip --datasets bluemarble"


@dataclass(frozen=True)
class Format:
    """A way to write rows.

    Attributes:
        write: takes the rows and a line for each result that was left out; returns the text.
        joins_seeds: False where every result has a row of its own.
        pictures: True where ``write`` also takes ``thumbnails``, their number, and ``progress``.
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
) -> str:
    """Return the results in ``folder`` as text.

    Args:
        format: ``table`` (terminal), ``markdown``, ``latex`` (a document), ``latex-fragment`` (its tables, to input
            into a paper), ``html`` (a page with map, curves and a card per image), ``csv`` or ``json``; the last two
            hold one row per result, every column, unrounded.
        folder: of results.
        datasets: only these test sets.
        published: which of the papers' rows stand beside ours: a name in :data:`geobench.published.rows.SELECTIONS`.
        join_seeds: put results that differ by seed only into one row.
        say: told each result that is damaged and left out.
        thumbnails: small pictures of images in the page at most; None leaves it to the page.
        progress: told of the making of the page, and of predictions without a record.

    Raises:
        ResultError: there are no results, or none that is sound.
        UnknownNameError: no such format, or no results on one of ``datasets``.
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
    return style.write(rows(chosen, published, join_seeds and style.joins_seeds), damaged, **options)


def flat(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield for each of our results a row of every column, unrounded: the record, intervals, ties and verdicts."""
    for row in rows:
        for result in row.results:
            ends = {
                f"{name}_{end}": row.intervals[name][side] if row.intervals else None
                for name in metrics.SCORES
                for side, end in enumerate(("low", "high"))
            }
            yield (
                result.row()
                | ends
                | {
                    "best": [name for name in metrics.SCORES if name in row.best],
                    "oracle": row.oracle,
                    "clustered_by": row.clusters[0],
                    "clusters": row.clusters[1],
                    "verdicts": "; ".join(
                        f"{j.verdict.word}: {j.model}, {' and '.join(j.sources)} ({j.verdict.reason})"
                        for j in row.judged
                    ),
                }
            )


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(line | {"best": " ".join(line["best"])} for line in flat(rows))


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
"""Another module may add one."""
