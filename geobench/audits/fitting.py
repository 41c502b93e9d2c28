"""Which audit of a test set fits a model: one of the test set as it is, against what the model was trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from geobench.audits.subsets import Content, Subset, audit_command, get_subsets
from geobench.errors import DatasetError, GeobenchError
from geobench.models import hash_table
from geobench.plugins import get_dataset

if TYPE_CHECKING:
    import pandas as pd

    from geobench.checkpoints import Checkpoint
    from geobench.data.dataset import Dataset

T = TypeVar("T")


class FittingSubsets:
    """Chooses the subset for each model of a run; reads no data set more than once.

    Attributes:
        name: of the subset: ``clean``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tables: dict[tuple[str, str], pd.DataFrame] = {}
        self._contents: dict[tuple[str, str, tuple[str, ...]], Content] = {}

    def choose(self, dataset: Dataset, checkpoint: Checkpoint | None) -> tuple[Subset, str]:
        """Return the newest subset that fits, and a remark for the record if that could not be verified.

        Args:
            dataset: the test set.
            checkpoint: of the model; None if it was not trained.

        Raises:
            UnknownNameError: no such kind of subset.
            DatasetError: no audit fits; says what has changed and which command makes one that fits.
        """
        found = get_subsets(dataset.name, self.name)
        current = [subset for subset in found if subset.test == self._content(dataset, "test", subset.kinds)]
        if not current:
            raise self._stale(dataset, found[-1])
        if checkpoint is None:
            return current[-1], ""
        if not checkpoint.table_hash:
            return self._by_name(dataset, current, checkpoint)
        fitting = [subset for subset in current if self._covers(subset, checkpoint)]
        if not fitting:
            raise self._unfit(dataset, current, checkpoint)
        return fitting[-1], ""

    def _content(self, dataset: Dataset, purpose: str, kinds: tuple[str, ...]) -> Content:
        """Return the content of a whole split as it is now."""
        at = (dataset.name, purpose)
        if at not in self._tables:
            self._tables[at] = dataset.positions(purpose)
        if (*at, kinds) not in self._contents:
            self._contents[*at, kinds] = Content.of(dataset, purpose, self._tables[at], kinds)
        return self._contents[*at, kinds]

    def _covers(self, subset: Subset, checkpoint: Checkpoint) -> bool:
        """Return whether ``subset`` was audited against all that ``checkpoint`` was trained on."""
        audited = subset.training
        assert audited is not None  # it has a test content, which was recorded with it
        if checkpoint.table_hash == audited.table:
            return audited.images in ("", checkpoint.images_key) and not self._has_other_photographers(subset, audited)
        if checkpoint.limit is None or checkpoint.dataset != subset.against:
            return False
        now = _available(lambda: self._content(get_dataset(subset.against), "train", subset.kinds))
        return now == audited and self._is_part(checkpoint)

    def _has_other_photographers(self, subset: Subset, audited: Content) -> bool:
        """Return whether the photographers of a training set were corrected since the audit, but no row changed."""
        if "photographer" not in subset.kinds:
            return False
        now = _available(lambda: self._content(get_dataset(subset.against), "train", ("photographer",)))
        return now is not None and now.table == audited.table and now.photographers != audited.photographers

    def _is_part(self, checkpoint: Checkpoint) -> bool:
        """Return whether ``checkpoint`` was trained on a part of its training set as that is now."""
        part = _unchanged(checkpoint)
        whole = self._tables[checkpoint.dataset, "train"]
        return part is not None and bool(part["image"].isin(whole["image"]).all())

    def _by_name(self, dataset: Dataset, current: list[Subset], checkpoint: Checkpoint) -> tuple[Subset, str]:
        """Return the subset against a set of the same name: nothing tells what ``checkpoint`` was trained on."""
        named = [subset for subset in current if subset.against == checkpoint.dataset]
        if not named:
            raise self._unfit(dataset, current, checkpoint)
        return named[-1], f"nothing tells whether {checkpoint.spec} was trained on just these"

    def _stale(self, dataset: Dataset, newest: Subset) -> DatasetError:
        """Return the error for a test set that is no longer what was audited."""
        again = f"audit it again: {audit_command(dataset.name, newest.against)}"
        if newest.test is None:
            return DatasetError(
                f"the {self.name} subset of {dataset.name} was made by an earlier version, which did not record of "
                f"which images; {again}"
            )
        changes = newest.test.changes(self._content(dataset, "test", newest.kinds))
        return DatasetError(
            f"{dataset.name} has changed ({changes}) since its {self.name} subset was made on {_date(newest)}; {again}"
        )

    def _unfit(self, dataset: Dataset, current: list[Subset], checkpoint: Checkpoint) -> DatasetError:
        """Return the error for a model that was trained on something else than what was audited."""
        trained_on, command = checkpoint.dataset, audit_command(dataset.name, checkpoint.dataset)
        same = [subset for subset in current if subset.against == trained_on]
        if not same:
            others = ", ".join(dict.fromkeys(subset.against for subset in current))
            return DatasetError(
                f"the {self.name} subset of {dataset.name} was audited against {others}, {checkpoint.spec} was trained "
                f"on {trained_on}; audit it: {command}"
            )
        audited = f"{dataset.name} was audited against {trained_on} on {_date(same[-1])}"
        if _unchanged(checkpoint) is not None:
            return DatasetError(f"{audited}, which has changed since; audit it again: {command}")
        return DatasetError(
            f"{audited}, but {checkpoint.spec} was trained on other images or positions than {trained_on} has now; "
            f"train it again, then audit it again: {command}"
        )


def _date(subset: Subset) -> str:
    return subset.created.partition("T")[0]


def _unchanged(checkpoint: Checkpoint) -> pd.DataFrame | None:
    """Return the table that ``checkpoint`` was trained on; None if its data set has changed since, or is not here."""
    table = _available(checkpoint.current_table)
    if table is None or hash_table(table) != checkpoint.table_hash:
        return None
    key = _available(lambda: get_dataset(checkpoint.dataset).content_key(table, "train"))
    return table if key == checkpoint.images_key else None


def _available(read: Callable[[], T]) -> T | None:
    """Return what ``read`` returns; None if the data set is not on this machine, or can no longer be read."""
    try:
        return read()
    except GeobenchError:
        return None
