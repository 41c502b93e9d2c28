"""Tables as text: for the terminal, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geobench.report.latex import latex_document, latex_tables
from geobench.report.tables import TEXTUAL, Entry, Table
from geobench.report.terminal import terminal_text


def _grid(table: Table, style: str, head: Callable[[str], str], entry: Callable[[Entry], str]) -> str:
    from tabulate import tabulate

    lines = [{head(name): entry(each) for name, each in row.items()} for row in table.rows]
    align = ["left" if name in TEXTUAL else "right" for name in table.rows[0]]
    return str(tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True, colalign=align))


def _markdown(table: Table) -> str:
    def entry(each: Entry) -> str:
        text = _one_line(each.text).replace("|", "\\|")
        return f"{f'**{text}**' if each.best else text} {each.below}".rstrip()

    return f"### {table.title}\n\n{_grid(table, 'github', str, entry)}\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _with_notes(write: Callable[[Table], str], bullet: str) -> Callable[[Sequence[Table]], str]:
    def text(tables: Sequence[Table]) -> str:
        return "\n\n".join(
            "\n".join([write(table), *(bullet + _one_line(note) for note in table.notes)]) for table in tables
        )

    return text


LAYOUTS: dict[str, Callable[..., str]] = {
    "table": terminal_text,
    "markdown": _with_notes(_markdown, "- "),
    "latex": latex_document,
    "latex-fragment": latex_tables,
}
"""How tables are written, whatever they contain; that of ``table`` also takes the ``width`` of a terminal."""
