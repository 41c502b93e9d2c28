"""What would make a reader doubt a table, as far as it is known: a line per kind, naming the rows that it concerns."""

from __future__ import annotations

from collections.abc import Sequence

from geobench.plugins import get_metrics
from geobench.report.current import TestSetsHere
from geobench.report.doubts import answers, data, protocol, training
from geobench.report.doubts.doubt import Doubt
from geobench.report.groups import Group
from geobench.report.rows import Row, row_of, told_apart
from geobench.results import Result

KINDS = (*data.KINDS, *training.KINDS, *answers.KINDS, *protocol.KINDS)
"""Functions that take the measured rows of a table and yield doubts, the most serious kind first."""


def doubts(ours: Sequence[Row]) -> list[Doubt]:
    """Return the reasons to doubt the measured rows ``ours`` of one table."""
    return [doubt for kind in KINDS for doubt in kind(ours) if doubt.rows]


def doubts_of(results: Sequence[Result]) -> list[str]:
    """Return the reasons to doubt ``results`` that are shown by themselves, not in a table of all: sentences."""
    here, found = TestSetsHere(), []
    for dataset in dict.fromkeys(result.dataset for result in results):
        metrics = tuple(get_metrics(dataset))
        own = [result for result in results if result.dataset == dataset]
        ours = told_apart([row_of(Group((result,)), metrics, changes=here.changes(result)) for result in own])
        found += [doubt.text for doubt in doubts(ours)]
    return found
