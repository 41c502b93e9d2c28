"""What would make a reader doubt a table, as far as it is known: a line per kind, naming the rows that it concerns."""

from __future__ import annotations

from collections.abc import Sequence

from geobench.report.doubts import data, protocol
from geobench.report.doubts.doubt import Doubt
from geobench.report.rows import Row

KINDS = (*data.KINDS, *protocol.KINDS)
"""Functions that take the measured rows of a table and yield doubts, the most serious kind first."""


def doubts(ours: Sequence[Row]) -> list[Doubt]:
    """Return the reasons to doubt the measured rows ``ours`` of one table."""
    return [doubt for kind in KINDS for doubt in kind(ours) if doubt.rows]
