"""Which published rows are about the same thing, and whether their figures are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from geobench.metrics import ACCURACIES, LEVELS_KM

Record = Mapping[Any, Any]


def plain(text: str) -> str:
    """Return ``text`` without what spellings differ in: MP-16 and mp16 are one."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def conflicts(rows: Sequence[Record]) -> list[str]:
    """Return for each row the sources that give other figures for the same thing; rounding is no difference.

    Args:
        rows: of the files in ``results/published``, as text.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for row in rows:
        groups.setdefault(_thing(row), []).append(row)
    return [_conflict(row, groups[_thing(row)]) for row in rows]


def first_sources(rows: Sequence[Record]) -> list[str]:
    """Return for each row of a system the source before it that gives it the same figures, up to rounding; else empty.

    The same are a system of one name, whatever its spelling, and a protocol in which nothing that both state differs.
    """
    kept: dict[tuple[str, str], list[Record]] = {}
    found = []
    for row in rows:
        before = kept.setdefault((row["dataset"], plain(row["model"])), [])
        first = next(
            (other for other in before if row["kind"] == other["kind"] == "method" and _same(other, row)), None
        )
        if first is None:
            before.append(row)
        found.append("" if first is None else str(first["source"]))
    return found


def _same(first: Record, row: Record) -> bool:
    """Return whether ``row`` says nothing that ``first`` does not: no figure more, none that differs, no other run."""
    stated = all(first[score] for score in ACCURACIES if row[score]) and any(row[score] for score in ACCURACIES)
    protocol = ("n", "crops", "gallery", "trained_on", "encoder")
    alike = all(first[name] == row[name] for name in protocol if first[name] and row[name])
    other = first["source"] != row["source"] and first["how"] == row["how"]
    return stated and alike and other and not _disagreement(first, row)


def _conflict(row: Record, others: Sequence[Record]) -> str:
    sources: dict[str, list[str]] = {}
    for other in others:
        sources.setdefault(_disagreement(row, other), []).append(other["source"])
    said = [f"{figures} in {' and '.join(where)}" for figures, where in sources.items() if figures]
    return f"conflict: {'; '.join(said)}" if said else ""


def _thing(row: Record) -> tuple[str, ...]:
    """Return what a row is about: two rows of the same thing should have the same figures."""
    system = row["repeats"] or plain(row["model"])
    return row["dataset"], system, row["gallery"], row["crops"]


def _disagreement(row: Record, other: Record) -> str:
    """Return the figures of ``other`` that are not those of ``row``, to the digits that both print."""
    found = []
    for score, km in zip(ACCURACIES, LEVELS_KM.values(), strict=True):
        if row[score] and other[score]:
            digits = min(max(1, len(value.partition(".")[2])) for value in (row[score], other[score]))
            if abs(float(row[score]) - float(other[score])) > 0.5 * 10.0**-digits + 1e-9:
                found.append(f"{other[score]} at {km} km")
    return ", ".join(found)
