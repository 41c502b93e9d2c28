"""From rows to tables: what is in each entry, before it is written for the terminal, Markdown, LaTeX or HTML."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from geobench.metrics import Metric, headings
from geobench.report.notes import MARKS, notes, sources
from geobench.rounding import shown

if TYPE_CHECKING:
    from geobench.report.rows import Row

TEXTUAL = frozenset({"Model", "Subset", "Gallery", "Published", "Of", "Test set"})
"""Headings of columns of text, which are aligned left; those of numbers are aligned right."""
CONDITIONS = ("Gallery", "Subset", "Crops", "Seed", "n", "Failed", "Not asked")
"""Headings of what a result was measured with: where there is no room for columns, a line under the model's name."""
FAULTS = ("Failed", "Not asked")
"""Those that are shown whenever they are not 0."""
SHOWN = frozenset((*CONDITIONS, "Published"))
NO_REMARKS: Mapping[str, Sequence[str]] = {}
FIXED = TEXTUAL | set(CONDITIONS)
"""Headings that no metric can have."""
NONE = "–"


@dataclass(frozen=True)
class Entry:
    """What one place of a table shows.

    Attributes:
        text: the value.
        below: small, below it: the confidence interval.
        best: whether it is marked as best.
        value: the score unrounded, to sort by; None if it is not a score.
        parts: what else ``text`` and ``below`` say, unrounded: ``low`` and ``high``, ends of the confidence interval;
            ``sd``, standard deviation over seeds; ``answered``, the score of the answered images.
    """

    text: str
    below: str = ""
    best: bool = False
    value: float | None = None
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table with notes.

    Attributes:
        title: of the table.
        rows: entries by the heading of their column.
        ours: so many of the first rows are measured, the rest published.
        notes: under the table, a sentence each.
    """

    title: str
    rows: list[dict[str, Entry]]
    ours: int
    notes: list[str] = field(default_factory=list)


def tables(
    rows: Sequence[Row],
    damaged: Sequence[str] = (),
    shown_conditions: Collection[str] = SHOWN,
    remarks: Mapping[str, Sequence[str]] = NO_REMARKS,
) -> list[Table]:
    """Return a table per test set, each with what a reader must know under it.

    Args:
        rows: test set by test set.
        damaged: a line for each result that was left out.
        shown_conditions: headings of the columns besides names and scores; a column that tells rows of one name apart,
            or marks a result that is not like the others, is shown anyway.
        remarks: first notes, by test set.
    """
    found = []
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        here = list(group)
        numbers = sources(here)
        ours = sum(bool(row.results) for row in here)
        entries = _with_conditions([_entries(row, here, numbers) for row in here], shown_conditions)
        found.append(Table(dataset, entries, ours, [*remarks.get(dataset, ()), *notes(here, numbers)]))
    if damaged and found:
        names = ", ".join(line.split(" ")[0].rstrip(":") for line in damaged)
        found[-1].notes.append(f"Left out, because damaged or of another version: {names}.")
    return found


def _with_conditions(lines: list[dict[str, Entry]], chosen: Collection[str]) -> list[dict[str, Entry]]:
    """Return ``lines`` without the conditions that were not chosen, except those that a reader would miss."""
    kept = {"Model", *chosen}
    for head in [head for head in lines[0] if head in FIXED and head not in kept]:
        texts: dict[str, set[str]] = {}
        for line in lines:
            texts.setdefault(line["Model"].text, set()).add(line[head].text)
        marked = any("(" in text or (head in FAULTS and text not in ("", "0")) for of in texts.values() for text in of)
        if marked or any(len(of) > 1 for of in texts.values()):
            kept.add(head)
    return [{head: entry for head, entry in line.items() if head not in FIXED or head in kept} for line in lines]


def _entries(row: Row, here: Sequence[Row], numbers: dict[str, int]) -> dict[str, Entry]:
    """Return the entries of ``row`` by heading, without columns that say the same in all rows ``here``."""
    ours = [result for each in here for result in each.results]
    texts = _our_texts(row) if row.results else _published_texts(row, numbers)
    if not any(result.subset for result in ours):
        del texts["Subset"]
    if len({result.crops for result in ours if result.crops}) <= 1:  # 0: a model that uses no features
        del texts["Crops"]
    if not any(each.partial for each in here):
        del texts["Not asked"]
    heads = headings(row.metrics, FIXED)
    entries = {head: Entry(text) for head, text in texts.items()} | {
        heads[metric.name]: _score(row, metric) for metric in row.metrics
    }
    if any(each.judged for each in here):
        entries["Published"] = Entry("; ".join(_verdicts(row, numbers)))
    return entries


def _our_texts(row: Row) -> dict[str, str]:
    first = row.results[0]
    return {
        "Model": row.model + (" ¶" if row.seen else "") + (" ‡" if row.recorded_only else ""),
        "Subset": first.subset or "all",
        "Gallery": (first.gallery or NONE) + (" (oracle)" if row.oracle else " (outdated)" if row.outdated else ""),
        "Crops": str(first.crops or NONE),
        "Seed": _seeds(row),
        "n": f"{first.n:,}",
        "Failed": f"{max(result.failed for result in row.results):,}",
        "Not asked": f"{max(result.n - result.asked for result in row.results):,}",
    }


def _published_texts(row: Row, numbers: dict[str, int]) -> dict[str, str]:
    cited = ", ".join(str(numbers[source]) for source in (row.source, *row.also))
    return {
        "Model": f"{row.model} {MARKS[row.how]} [{cited}]",
        "Subset": "",
        "Gallery": row.gallery.replace("|", " or "),
        "Crops": row.crops,
        "Seed": "",
        "n": "" if row.n is None else f"{row.n:,}",
        "Failed": "",
        "Not asked": "",
    }


def _verdicts(row: Row, numbers: dict[str, int]) -> Iterator[str]:
    """Yield each verdict on published rows once, with the numbers of their sources."""
    for word in dict.fromkeys(judged.verdict.word for judged in row.judged):
        cited = {numbers[source] for judged in row.judged if judged.verdict.word == word for source in judged.sources}
        yield f"{word} [{', '.join(map(str, sorted(cited)))}]"


def _seeds(row: Row) -> str:
    if len(row.results) < 2:
        return str(row.results[0].seed) if row.results and row.results[0].gallery else NONE if row.results else ""
    training = {result.training_seed for result in row.results}
    drawn = {result.seed for result in row.results if result.gallery}
    several = [(seeds, what) for seeds, what in ((training, "training"), (drawn, "gallery")) if len(seeds) > 1]
    crossed = math.prod(len(seeds) for seeds, _ in several)
    text = " × ".join(f"{len(seeds)} {what}" for seeds, what in several)
    return text if crossed == len(row.results) else f"{len(row.results)} of {text}"


def _score(row: Row, metric: Metric) -> Entry:
    """Return the entry of a score, empty if the row does not have it."""
    value = row.scores[metric.name]
    if math.isnan(value):
        return Entry("")
    if not row.results:
        return Entry(as_published(value), value=value)
    digits = metric.decimals(value)
    spread = f" ± {shown(row.spread[metric.name], digits)}" if row.spread else ""
    interval = row.intervals.get(metric.name, ())
    below = f"[{', '.join(shown(end, digits) for end in interval)}]" if interval else ""
    answered = f" ({shown(row.answered[metric.name], digits)})" if metric.name in row.answered else ""
    parts = dict(zip(("low", "high"), interval, strict=False))
    parts |= {"sd": row.spread[metric.name]} if row.spread else {}
    parts |= {"answered": row.answered[metric.name]} if metric.name in row.answered else {}
    parts = {name: part for name, part in parts.items() if math.isfinite(part)}
    return Entry(f"{shown(value, digits)}{spread}{answered}", below, metric.name in row.best, value, parts)


def conditions(entries: Mapping[str, Entry], heads: Sequence[str] = CONDITIONS) -> str:
    """Return the conditions ``heads`` among the ``entries`` of a row as one line, without those that do not apply."""
    stated = {head: entries[head].text for head in heads if head in entries}
    return " · ".join(
        text
        if head in TEXTUAL
        else f"{text} seeds"
        if head == "Seed" and not text.isdigit()
        else f"{head if head == 'n' else head.lower()}\N{NO-BREAK SPACE}{text}"
        for head, text in stated.items()
        if text not in ("", NONE) and (head, text) not in (("Failed", "0"), ("Not asked", "0"))
    )


def as_published(value: float) -> str:
    """Return a published score as papers print it: one decimal, two if it has them."""
    return f"{value:.1f}" if math.isclose(value, round(value, 1)) else f"{value:.2f}"
