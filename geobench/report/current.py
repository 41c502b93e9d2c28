"""Results against the test sets as they are on this machine: what has changed since they were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.data.dataset import limited
from geobench.errors import GeobenchError
from geobench.models import hash_table
from geobench.plugins import get_dataset
from geobench.predictions import Predictions, extra_columns
from geobench.results import Result

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

POSITIONS = ["latitude", "longitude"]


class TestSetsHere:
    """The tables of the test sets on this machine, each read once.

    A set that is not here, and one that follows from its definition, such as crops of a map, tells nothing.
    """

    __test__ = False  # the name does not make it a test of pytest

    def __init__(self) -> None:
        self._tables: dict[str, pd.DataFrame | None] = {}

    def changes(self, result: Result) -> tuple[str, ...]:
        """Return what has changed in the test set of ``result``, in words; empty if nothing has, or it is unknown."""
        import pandas as pd

        table = self._table(result.dataset)
        if table is None:
            return ()
        if result.names is None or result.truth is None:
            return _changes_of_record(result, table)
        rows = pd.Index(table["image"]).get_indexer(pd.Index(result.names))
        if (missing := int((rows < 0).sum())) > 0:
            return (f"{missing:,} of {result.n:,} images are not in it",)
        now = table.iloc[rows]
        moved = int((now[POSITIONS].to_numpy(np.float64) != result.truth).any(axis=1).sum())
        changes = [f"{moved:,} of {result.n:,} true positions differ"] if moved else []
        then = result.extra
        return (*changes, *(_changed_columns(then, now) if then is not None else []))

    def _table(self, dataset: str) -> pd.DataFrame | None:
        if dataset not in self._tables:
            try:
                found = get_dataset(dataset)
                self._tables[dataset] = found.positions("test") if found.stored else None
            except (GeobenchError, OSError):
                self._tables[dataset] = None
        return self._tables[dataset]


def _changes_of_record(result: Result, table: pd.DataFrame) -> tuple[str, ...]:
    """Return what can be said without predictions: of the whole set, or of a ``limit``, which draws the same images."""
    if result.subset or not result.table_hash or hash_table(limited(table, result.n)) == result.table_hash:
        return ()
    return ("its images or positions differ",)


def _changed_columns(then: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Return which columns other than names and positions differ, in words."""
    then, now = (_as_saved(table.drop(columns=["image", *POSITIONS], errors="ignore")) for table in (then, now))
    differing = [
        str(name)
        for name in dict.fromkeys([*then.columns, *now.columns])
        if name not in then or name not in now or bool((_text(then[name]) != _text(now[name])).any())
    ]
    return [f"{'columns' if len(differing) > 1 else 'the column'} {', '.join(differing)}"] if differing else []


def _as_saved(columns: pd.DataFrame) -> pd.DataFrame:
    """Return ``columns`` under the names that they have in a file of predictions."""
    first = columns.iloc[:1].reset_index(drop=True)
    names = extra_columns(Predictions.none(len(first)).to_frame(["x"], np.zeros((1, 2)), first)).columns
    return columns.set_axis(names, axis=1)


def _text(column: pd.Series[Any]) -> npt.NDArray[np.object_]:
    return column.astype(str).to_numpy(object)
