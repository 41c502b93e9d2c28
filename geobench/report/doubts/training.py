"""Doubts about what models were trained on: a part of a set, or a set that has changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from geobench.checkpoints import Checkpoint, find_checkpoint
from geobench.data.dataset import limited
from geobench.errors import GeobenchError
from geobench.models import hash_table
from geobench.plugins import get_dataset
from geobench.report.doubts.doubt import Doubt, named, rows_by
from geobench.report.rows import Row
from geobench.results import Result

if TYPE_CHECKING:
    import pandas as pd

MOST_IMAGES = 200_000
"""Larger training sets are not read for a report: MP-16's table alone takes several seconds."""


def part_of_training_set(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose model was trained on a part of its training set, such as a smoke test with ``--limit``."""
    checkpoints = {id(row): _checkpoint(row.results[0]) for row in ours}
    parts: dict[str, list[Row]] = {}
    for row in ours:
        checkpoint = checkpoints[id(row)]
        if checkpoint is not None and checkpoint.available is not None and checkpoint.images < checkpoint.available:
            parts.setdefault(checkpoint.learnt_from, []).append(row)
    each = "; ".join(f"{named(rows, ours)} on {learnt_from}" for learnt_from, rows in parts.items())
    rows = tuple(row for several in parts.values() for row in several)
    yield Doubt("part of the training set", rows, f"Trained on a part of the training set: {each}.")


def changed_training_set(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose model was trained on other names or positions than its training set has now."""
    stated = [row for row in ours if row.results[0].training.get("table_hash")]
    for dataset, rows in rows_by(stated, lambda result: result.trained_on).items():
        table = _table(dataset, max(row.results[0].training_images for row in rows))
        changed = tuple(row for row in rows if table is not None and not _is_of(row.results[0], table))
        text = f"{dataset} on this machine has changed since {named(changed, ours)} was trained"
        yield Doubt("changed training set", changed, f"{text}: names or positions differ; train it again.")


def _checkpoint(result: Result) -> Checkpoint | None:
    """Return the checkpoint of ``result`` if it is on this machine."""
    try:
        return find_checkpoint(result.spec) if result.checkpoint else None
    except GeobenchError:
        return None


def _table(dataset: str, images: int) -> pd.DataFrame | None:
    """Return the training table of ``dataset`` now; None if it is not here, is large, or follows from a definition."""
    try:
        found = get_dataset(dataset)
        return found.positions("train") if found.stored and images <= MOST_IMAGES else None
    except (GeobenchError, OSError):
        return None


def _is_of(result: Result, table: pd.DataFrame) -> bool:
    """Return whether the model of ``result`` was trained on ``table``, or a part of it that a limit draws."""
    learnt, checkpoint = result.training["table_hash"], _checkpoint(result)
    whole = limited(table, checkpoint.drawn_from) if checkpoint is not None else table
    return learnt in (hash_table(table), hash_table(limited(whole, result.training_images)))


KINDS: tuple[Callable[[Sequence[Row]], Iterator[Doubt]], ...] = (part_of_training_set, changed_training_set)
