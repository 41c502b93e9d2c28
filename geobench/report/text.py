"""From rows to tables, and tables to text for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from geobench import metrics
from geobench.report.latex import WORDS, Cell, Table, latex_document, latex_tables
from geobench.report.notes import MARKS, notes, sources

if TYPE_CHECKING:
    from geobench.report.rows import Row

HEADS = dict(
    zip(metrics.ACCURACIES, (f"{level.title()} {km} km" for level, km in metrics.LEVELS_KM.items()), strict=True)
) | {"median_km": "Median km", "mean_km": "Mean km", "geoscore": "GeoScore"}
"""The papers' column heads, Street 1 km … Continent 2500 km, and ours."""
NONE = "–"


def tables(rows: Sequence[Row], damaged: Sequence[str] = ()) -> list[Table]:
    """Return a table per test set, and what a reader must know under each."""
    made = []
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        here = list(group)
        marks = sources(here)
        ours = sum(bool(row.results) for row in here)
        made.append(Table(dataset, [_cells(row, here, marks) for row in here], ours, notes(here, marks)))
    if damaged and made:
        names = ", ".join(line.split(" ")[0].rstrip(":") for line in damaged)
        made[-1].notes.append(f"Left out, because damaged or of another version: {names}.")
    return made


def _cells(row: Row, here: Sequence[Row], marks: dict[str, int]) -> dict[str, Cell]:
    """Return the cells of ``row`` by head; a column in which all rows ``here`` are alike and dull is left out."""
    ours = [result for each in here for result in each.results]
    texts = _our_texts(row) if row.results else _published_texts(row, marks)
    if not any(result.subset for result in ours):
        del texts["Subset"]
    if len({result.crops for result in ours}) == 1:
        del texts["Crops"]
    cells = {head: Cell(text) for head, text in texts.items()} | {
        head: _score(row, name) for name, head in HEADS.items()
    }
    if any(each.judged for each in here):
        cells["Published"] = Cell("; ".join(_words(row, marks)))
    return cells


def _our_texts(row: Row) -> dict[str, str]:
    first = row.results[0]
    return {
        "Model": row.model + (" ‡" if row.recorded_only else ""),
        "Subset": first.subset or "all",
        "Gallery": (first.gallery or NONE) + (" (oracle)" if row.oracle else ""),
        "Crops": str(first.crops or NONE),
        "Seed": _seeds(row),
        "n": f"{first.n:,}",
        "Failed": f"{max(result.failed for result in row.results):,}",
    }


def _published_texts(row: Row, marks: dict[str, int]) -> dict[str, str]:
    numbers = ", ".join(str(marks[source]) for source in (row.source, *row.also))
    return {
        "Model": f"{row.model} {MARKS[row.how]} [{numbers}]",
        "Subset": "",
        "Gallery": row.gallery.replace("|", " or "),
        "Crops": row.crops,
        "Seed": "",
        "n": "" if row.n is None else f"{row.n:,}",
        "Failed": "",
    }


def _words(row: Row, marks: dict[str, int]) -> Iterator[str]:
    """Yield each verdict on published rows once, with the numbers of their sources."""
    for word in dict.fromkeys(judged.verdict.word for judged in row.judged):
        named = {marks[source] for judged in row.judged if judged.verdict.word == word for source in judged.sources}
        yield f"{word} [{', '.join(map(str, sorted(named)))}]"


def _seeds(row: Row) -> str:
    if len(row.results) < 2:
        return str(row.results[0].seed) if row.results and row.results[0].gallery else NONE if row.results else ""
    training = {result.training_seed for result in row.results}
    drawn = {result.seed for result in row.results if result.gallery}
    parts = [f"{len(seeds)} {what}" for seeds, what in ((training, "training"), (drawn, "gallery")) if len(seeds) > 1]
    return " × ".join(parts)


def _score(row: Row, name: str) -> Cell:
    value = row.scores[name]
    if math.isnan(value):
        return Cell("")
    if not row.results:
        return Cell(as_published(value))
    digits = 1 if name in metrics.ACCURACIES or value < 10 else 0
    spread = f" ± {row.spread[name]:,.{digits}f}" if row.spread else ""
    ends = f"[{', '.join(f'{end:,.{digits}f}' for end in row.intervals[name])}]" if row.intervals else ""
    return Cell(f"{value:,.{digits}f}{spread}", ends, name in row.best)


def as_published(value: float) -> str:
    """Return a published score as papers print it: one digit, two where it has them."""
    return f"{value:.1f}" if math.isclose(value, round(value, 1)) else f"{value:.2f}"


def _grid(table: Table, style: str, heads: Callable[[str], str], cell: Callable[[Cell], str]) -> str:
    from tabulate import tabulate

    lines = [{heads(head): cell(each) for head, each in row.items()} for row in table.rows]
    align = ["left" if head in WORDS else "right" for head in table.rows[0]]
    return str(tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True, colalign=align))


def _terminal(table: Table) -> str:
    """Return the interval under its score, and * behind the best; heads in two lines keep the table narrow."""

    def cell(each: Cell) -> str:
        return f"{each.text}{'*' if each.best else ''}\n{each.below}".rstrip("\n")

    return f"{table.title}\n\n{_grid(table, 'simple', lambda head: head.replace(' ', chr(10), 1), cell)}\n"


def _markdown(table: Table) -> str:
    def cell(each: Cell) -> str:
        text = _one_line(each.text).replace("|", "\\|")
        return f"{f'**{text}**' if each.best else text} {each.below}".rstrip()

    return f"### {table.title}\n\n{_grid(table, 'github', str, cell)}\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _with_notes(write: Callable[[Table], str], bullet: str) -> Callable[[Sequence[Table]], str]:
    def made(tables: Sequence[Table]) -> str:
        return "\n\n".join(
            "\n".join([write(table), *(bullet + _one_line(note) for note in table.notes)]) for table in tables
        )

    return made


LAYOUTS: dict[str, Callable[[Sequence[Table]], str]] = {
    "table": _with_notes(_terminal, ""),
    "markdown": _with_notes(_markdown, "- "),
    "latex": latex_document,
    "latex-fragment": latex_tables,
}
"""How tables are written, whatever is in them."""
