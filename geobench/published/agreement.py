"""Which published rows are about the same system, and whether their figures agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from geobench.metrics import Metric, thresholds_of
from geobench.plugins import get_metric

Record = Mapping[Any, Any]
ABOUT = frozenset(
    {"dataset", "model", "source", "kind", "how", "note", "repeats"}
    | {"n", "crops", "gallery", "trained_on", "training_images", "encoder"}
)
"""Columns of the published files that say what a row is about; every other one is called like a metric."""


def metrics_in(columns: Iterable[str]) -> list[Metric]:
    """Return the metrics whose figures are among ``columns`` of a published file."""
    return [get_metric(name) for name in columns if name not in ABOUT]


def in_words(metrics: Iterable[Metric]) -> str:
    """Return ``metrics`` as text: accuracies by their distances, such as ``1, 25 km``, others by their headings."""
    metrics = list(metrics)
    distances = ", ".join(f"{km:g}" for km in thresholds_of(metrics))
    others = [metric.heading for metric in metrics if metric.threshold_km is None]
    return ", ".join(([f"{distances} km"] if distances else []) + others)


OTHER_NAMES = {
    "isns": ("isnsmfstars3", "isnmfs3", "isnmfstars3", "isnsmfs3", "individualscenenetworks"),
    "geodecoder": ("geoguessnet",),
    "lknnsigma4": ("lknn", "lknnsigma4km", "revisitingim2gps"),
}
"""Names that a published system is known by, besides those of its rows, without case and punctuation: those of its
authors' files and repositories for just what they published. Other models of the same authors are other systems."""


def known_name(name: str) -> str:
    """Return the name of the system that goes by ``name``, without case and punctuation.

    >>> known_name("ISNs_M-fstar-S3"), known_name("TransLocator"), known_name("ISNs_base-M")
    ('isns', 'translocator', 'isnsbasem')
    """
    own = plain(name)
    return next((system for system, others in OTHER_NAMES.items() if own in others), own)


def plain(text: str) -> str:
    """Return ``text`` in lower case without punctuation, so that MP-16 and mp16 are the same."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def conflicts(rows: Sequence[Record]) -> list[str]:
    """Return for each row the sources that give other figures for the same thing; rounding does not count.

    Args:
        rows: of the files in ``results/published``, as text.
    """
    metrics = metrics_in(rows[0])
    groups: dict[tuple[str, ...], list[Record]] = {}
    for row in rows:
        groups.setdefault(_thing(row), []).append(row)
    return [_conflict(row, groups[_thing(row)], metrics) for row in rows]


def first_sources(rows: Sequence[Record]) -> list[str]:
    """Return for each row of a system the earlier source with the same figures, up to rounding; empty if there is none.

    Two rows are the same if the system has one name, whatever its spelling, and their protocols agree in everything
    that both state.
    """
    metrics = metrics_in(rows[0])
    kept: dict[tuple[str, str], list[Record]] = {}
    found = []
    for row in rows:
        before = kept.setdefault((row["dataset"], plain(row["model"])), [])
        first = next(
            (other for other in before if row["kind"] == other["kind"] == "method" and _same(other, row, metrics)), None
        )
        if first is None:
            before.append(row)
        found.append("" if first is None else str(first["source"]))
    return found


def _same(first: Record, row: Record, metrics: Sequence[Metric]) -> bool:
    """Return whether ``row`` adds nothing to ``first``: no further figure, none that differs, no other run."""
    figures = [metric.name for metric in metrics if row[metric.name]]
    stated = bool(figures) and all(first[name] for name in figures)
    protocol = ("n", "crops", "gallery", "trained_on", "encoder")
    alike = all(first[name] == row[name] for name in protocol if first[name] and row[name])
    other = first["source"] != row["source"] and first["how"] == row["how"]
    return stated and alike and other and not _disagreement(first, row, metrics)


def _conflict(row: Record, others: Sequence[Record], metrics: Sequence[Metric]) -> str:
    sources: dict[str, list[str]] = {}
    for other in others:
        sources.setdefault(_disagreement(row, other, metrics), []).append(other["source"])
    stated = [f"{figures} in {' and '.join(where)}" for figures, where in sources.items() if figures]
    return f"conflict: {'; '.join(stated)}" if stated else ""


def _thing(row: Record) -> tuple[str, ...]:
    """Return what a row is about: two rows of the same thing should have the same figures."""
    system = row["repeats"] or plain(row["model"])
    return row["dataset"], system, row["gallery"], row["crops"]


def _disagreement(row: Record, other: Record, metrics: Sequence[Metric]) -> str:
    """Return the figures of ``other`` that differ from those of ``row``, to the digits that both print."""
    found = []
    for metric in metrics:
        ours, theirs = row[metric.name], other[metric.name]
        if ours and theirs:
            digits = min(max(1, len(value.partition(".")[2])) for value in (ours, theirs))
            if abs(float(ours) - float(theirs)) > 0.5 * 10.0**-digits + 1e-9:
                found.append(f"{theirs} at {in_words([metric])}")
    return ", ".join(found)
