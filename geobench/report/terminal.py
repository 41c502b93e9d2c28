"""A table in a terminal: as wide as that is, and a table at 80 columns too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from geobench.report.tables import FIXED, NONE, TEXTUAL, Entry, Table, conditions

LEAST = 14
"""Columns that a model's name needs at least; scores that do not fit beside it go into a further part of the table."""
INDENT = "  "
BREAKS = r"\s@\-_/:,=+"
"""Signs that a name may be broken behind."""
INTERVALS = "[low, high]"
"""How the note on confidence intervals begins."""

Grid = list[dict[str, str]]


@dataclass(frozen=True)
class _Layout:
    """How the entries of a table are laid out.

    Attributes:
        folded: the conditions of a row stand under its name, and those of all rows under the table.
        intervals: they stand under the scores.
        tight: columns are one space apart, and names are broken where needed.
    """

    folded: bool = False
    intervals: bool = True
    tight: bool = False


LAYOUTS = (_Layout(), _Layout(True), _Layout(True, intervals=False), _Layout(True, intervals=False, tight=True))
"""From the widest to the narrowest."""


def terminal_text(tables: Sequence[Table], width: int | None = None) -> str:
    """Return ``tables`` for a terminal of ``width`` columns: intervals below their scores, * after the best.

    Where a table is wider, conditions go below the models' names, then intervals are left out, then names are broken;
    what is left out is said. Without ``width`` everything is shown in one line.
    """
    return "\n\n".join(_text(table, width) for table in tables)


def _text(table: Table, width: int | None) -> str:
    text = _written(_grid(table, LAYOUTS[0]), LAYOUTS[0])
    if width is None or _widest(text) <= width:
        return "\n".join([table.title, "", text, "", *_notes(table.notes, width)])
    common = _common(table)
    narrow = replace(table, rows=[_without(row, common) for row in table.rows])
    for layout in LAYOUTS[1:]:
        text = _written(_grid(narrow, layout), layout)
        if _widest(text) <= width:
            break
    else:
        text = _in_parts(_grid(narrow, layout), layout, width)
    notes = list(table.notes)
    if common:
        stated = ", ".join(f"{head} {text}" for head, text in common.items())
        notes.insert(0, f"In all rows measured here: {stated}.")
    if not layout.intervals and any(entry.below for row in table.rows for entry in row.values()):
        notes = [note for note in notes if not note.startswith(INTERVALS)]
        notes.insert(0, f"Confidence intervals do not fit into {width} columns; --output FILE or --columns shows them.")
    return "\n".join([table.title, "", text, "", *_notes(notes, width)])


def _notes(notes: Sequence[str], width: int | None) -> list[str]:
    lines = [" ".join(note.split()) for note in notes]
    return lines if width is None else [line for note in lines for line in wrap(note, width, break_on_hyphens=False)]


def _common(table: Table) -> dict[str, str]:
    """Return the conditions that are the same for all rows measured here, by heading, if there are several rows."""
    ours = table.rows[: table.ours]
    heads = [head for head in ours[0] if head in FIXED and head not in TEXTUAL] if len(ours) > 1 else []
    texts = {head: {row[head].text for row in ours} for head in heads}
    return {head: found.pop() for head, found in texts.items() if len(found) == 1 and not found & {NONE, ""}}


def _without(row: dict[str, Entry], common: dict[str, str]) -> dict[str, Entry]:
    """Return ``row`` without the conditions that it shares with all rows; those of a published row stay."""
    return {head: entry for head, entry in row.items() if common.get(head) != entry.text}


def _grid(table: Table, layout: _Layout) -> Grid:
    """Return the texts of the entries by heading; the first column is that of the names."""
    heads = dict.fromkeys(head for row in table.rows for head in row)
    shown = [head for head in heads if not layout.folded or head not in FIXED or head == "Model"]
    return [{head: _entry(head, row, layout) for head in shown} for row in table.rows]


def _entry(head: str, row: dict[str, Entry], layout: _Layout) -> str:
    entry = row.get(head, Entry(""))
    if head == "Model" and layout.folded:
        under = conditions(row, [each for each in row if each in FIXED and each != "Model"]).replace(
            "\N{NO-BREAK SPACE}", " "
        )
        return f"{entry.text}\n{INDENT}{under}".rstrip()
    mark = "*" if entry.best else ""
    if layout.intervals or head in FIXED:
        return f"{entry.text}{mark}\n{entry.below}".rstrip("\n")
    score, *spread = re.split(r" (?=± |\()", entry.text)
    return "\n".join([score + mark, *spread])


def _written(grid: Grid, layout: _Layout) -> str:
    """Return the text of ``grid``; headings, and the texts of entries, may have several lines."""
    heads = {head: head.replace(" ", "\n", 1) for head in grid[0]}
    widths = {head: max(_widest(text) for text in (heads[head], *(row[head] for row in grid))) for head in heads}
    gap = " " if layout.tight else "  "
    rule = gap.join("-" * width for width in widths.values())
    lines = [*_lines(heads, widths, gap), rule, *(line for row in grid for line in _lines(row, widths, gap))]
    return "\n".join(line.rstrip() for line in lines)


def _lines(texts: dict[str, str], widths: dict[str, int], gap: str) -> Iterator[str]:
    """Yield the lines of a row; texts are aligned left, numbers right."""
    columns = [
        [line.ljust(widths[head]) if head in TEXTUAL else line.rjust(widths[head]) for line in text.split("\n")]
        for head, text in texts.items()
    ]
    blank = [" " * width for width in widths.values()]
    for number in range(max(map(len, columns))):
        yield gap.join(of[number] if number < len(of) else none for of, none in zip(columns, blank, strict=True))


def _widest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _in_parts(grid: Grid, layout: _Layout, width: int) -> str:
    """Return the tight table with broken names; scores that do not fit stand in further parts below."""
    name, *scores = grid[0]
    parts: list[list[str]] = [[]]
    for head in scores:
        if parts[-1] and _room(grid, [*parts[-1], head], width) < LEAST:
            parts.append([])
        parts[-1].append(head)
    found = []
    for part in parts:
        room = max(LEAST, _room(grid, part, width))
        rows = [{name: _broken(row[name], room)} | {head: row[head] for head in part} for row in grid]
        found.append(_written(rows, layout))
    return "\n\n".join(found)


def _room(grid: Grid, heads: Sequence[str], width: int) -> int:
    """Return the columns that are left beside the columns ``heads``."""
    texts = {head: [*head.replace(" ", "\n", 1).split("\n"), *(row[head] for row in grid)] for head in heads}
    return width - sum(1 + max(len(line) for text in of for line in text.split("\n")) for of in texts.values())


def _broken(text: str, room: int) -> str:
    """Return lines of at most ``room`` columns, broken behind a space, @ or another sign; those that go on indented."""
    return "\n".join(part for line in text.split("\n") for part in _broken_line(line, room))


def _broken_line(line: str, room: int) -> list[str]:
    indent = INDENT if line.startswith(INDENT) else ""
    found = [indent]
    for word in re.findall(rf"[^{BREAKS}]+[{BREAKS}]*|[{BREAKS}]+", line.strip()):
        if len(found[-1] + word.rstrip()) > room and found[-1].strip():
            found.append(INDENT)
        found[-1] += word
        while len(found[-1].rstrip()) > room:  # a word that is longer than a line
            found[-1:] = [found[-1][:room], INDENT + found[-1][room:]]
    return [each.rstrip() for each in found]
