"""A table with notes as LaTeX: booktabs, nothing else, special characters escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

DOCUMENT = r"""\documentclass[10pt]{{article}}
\usepackage[utf8]{{inputenc}}
\usepackage[a4paper,landscape,margin=10mm]{{geometry}}
\usepackage{{booktabs}}
\begin{{document}}
{tables}
\end{{document}}"""
WORDS = frozenset({"Model", "Subset", "Gallery", "Published", "Of", "Test set"})
"""Heads of columns of words, which begin at the left."""
NEEDS = "% Needs \\usepackage{booktabs}; table* spans both columns of a page."
SIGNS = {
    "\\": r"$\backslash$",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"$\{$",
    "}": r"$\}$",
    "~": r"$\sim$",
    "^": r"\^{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "[": "{[}",  # after the end of a line it would begin an optional argument
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"$\mathsection$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "·": r"$\cdot$",
    "σ": r"$\sigma$",
    "°": r"$^\circ$",
}
"""Signs in math where the fonts that LaTeX starts with have them there only; no further package or font is needed."""
LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ")


@dataclass(frozen=True)
class Cell:
    """What stands in a place of a table: the text, small below it an interval, and whether it is a best one."""

    text: str
    below: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Title, rows of cells by head, of which the first ``ours`` are measured and the rest published, and notes."""

    title: str
    rows: list[dict[str, Cell]]
    ours: int
    notes: list[str] = field(default_factory=list)


def escape(text: str) -> str:
    """Return ``text`` so that pdfLaTeX prints it; a letter that its fonts lack becomes its code point.

    >>> escape("50 % of a_b & 東")
    '50 \\\\% of a\\\\_b \\\\& U+6771'
    """
    return "".join(_sign(sign) for sign in re.sub(r"\s+", " ", text))


def _sign(sign: str) -> str:
    printed = sign in LETTERS or (sign.isascii() and sign.isprintable())
    return SIGNS.get(sign) or (sign if printed else f"U+{ord(sign):04X}")


def latex_tables(tables: Sequence[Table]) -> str:
    """Return the tables as LaTeX environments, to input into a paper."""
    return "\n\n".join([NEEDS, *map(_environment, tables)])


def latex_document(tables: Sequence[Table]) -> str:
    """Return a whole document that compiles as it is."""
    return DOCUMENT.format(tables=latex_tables(tables))


def _environment(table: Table) -> str:
    heads = list(table.rows[0])
    columns = "".join("l" if head in WORDS else "r" for head in heads)
    lines = [
        r"\begin{table*}[p]",
        r"\centering\scriptsize\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{escape(table.title)}}}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        *_heads(heads),
        r"\midrule",
        *_body(table.rows[: table.ours]),
        *([r"\midrule"] if 0 < table.ours < len(table.rows) else []),
        *_body(table.rows[table.ours :]),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip\raggedright {escape(note)}" for note in table.notes),
        r"\end{table*}",
    ]
    return "\n".join(lines)


def _heads(heads: Sequence[str]) -> list[str]:
    """Return the heads in two lines, the word above the number of kilometres."""
    parts = [head.partition(" ") for head in heads]
    return [" & ".join(escape(part[side]) for part in parts) + r" \\" for side in (0, 2)]


def _body(rows: Sequence[dict[str, Cell]]) -> Iterator[str]:
    """Yield the lines of ``rows``; where there are intervals, a gap between two that are not a row and its paper's."""
    spaced = any(_sure(row) for row in rows)
    previous = ""
    for number, row in enumerate(rows):
        name = next(iter(row.values())).text
        if spaced and number and (_sure(row) or name != previous):
            yield r"\addlinespace[2pt]"
        yield from _lines(row)
        previous = name


def _sure(row: dict[str, Cell]) -> bool:
    return any(cell.below for cell in row.values())


def _lines(row: dict[str, Cell]) -> list[str]:
    """Return the line of the scores, and that of the intervals where there are any."""
    texts = [rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text) for cell in row.values()]
    lines = [" & ".join(texts) + r" \\"]
    if _sure(row):
        below = " & ".join(rf"{{\tiny {escape(cell.below)}}}" if cell.below else "" for cell in row.values())
        lines.append(below + r" \\")
    return lines
