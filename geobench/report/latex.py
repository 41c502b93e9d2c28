"""Tables with notes as LaTeX: booktabs and nothing else, special characters escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from geobench.report.tables import TEXTUAL, Entry, Table

DOCUMENT = r"""\documentclass[10pt]{{article}}
\usepackage[utf8]{{inputenc}}
\usepackage[a4paper,landscape,margin=10mm]{{geometry}}
\usepackage{{booktabs}}
\begin{{document}}
{tables}
\end{{document}}"""
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
    "[": "{[}",  # at the start of a line it would open an optional argument
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"$\mathsection$",
    "¶": r"$\mathparagraph$",
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
"""Some are set in math mode, where LaTeX's default fonts have them, so that no further package or font is needed."""
LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ")


def escape(text: str) -> str:
    """Return ``text`` so that pdfLaTeX prints it; a letter that its fonts do not have becomes its code point.

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
    """Return a complete document that compiles as it is."""
    return DOCUMENT.format(tables=latex_tables(tables))


def _environment(table: Table) -> str:
    heads = list(table.rows[0])
    columns = "".join("l" if head in TEXTUAL else "r" for head in heads)
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
    """Return the headings in two lines, the first word above the rest."""
    parts = [head.partition(" ") for head in heads]
    return [" & ".join(escape(part[side]) for part in parts) + r" \\" for side in (0, 2)]


def _body(rows: Sequence[dict[str, Entry]]) -> Iterator[str]:
    """Yield the lines of ``rows``; with intervals, a gap before each row but a published one below its own."""
    spaced = any(_has_interval(row) for row in rows)
    previous = ""
    for number, row in enumerate(rows):
        name = next(iter(row.values())).text
        if spaced and number and (_has_interval(row) or name != previous):
            yield r"\addlinespace[2pt]"
        yield from _lines(row)
        previous = name


def _has_interval(row: dict[str, Entry]) -> bool:
    return any(entry.below for entry in row.values())


def _lines(row: dict[str, Entry]) -> list[str]:
    """Return the line of the scores, and that of the intervals if there are any."""
    texts = [rf"\textbf{{{escape(entry.text)}}}" if entry.best else escape(entry.text) for entry in row.values()]
    lines = [" & ".join(texts) + r" \\"]
    if _has_interval(row):
        below = " & ".join(rf"{{\tiny {escape(entry.below)}}}" if entry.below else "" for entry in row.values())
        lines.append(below + r" \\")
    return lines
