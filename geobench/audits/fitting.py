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

    Of several audits of the same two tables only the newest counts: if it is out of date, an older one of fewer kinds
    must not take its place.

    Attributes:
        name: of the subset: ``clean``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tables: dict[tuple[str, str], pd.DataFrame] = {}
        self._contents: dict[tuple[str, str, tuple[str, ...]], Content] = {}

    def choose(self, dataset: Dataset, checkpoint: Checkpoint | None) -> tuple[Subset, str]:
        """Return the subset that fits, and a remark for the record if that could not be verified.

        Args:
            dataset: the test set.
            checkpoint: of the model; None if it was not trained.

        Raises:
            UnknownNameError: no such kind of subset.
            DatasetError: no audit fits; says what has changed and which command makes one that fits.
        """
        found = get_subsets(dataset.name, self.name)
        rows = self._content(dataset, "test", ()).table
        current = [subset for subset in found if subset.test is not None and subset.test.table == rows]
        if not current:
            raise self._stale(dataset, found[-1])
        if checkpoint is None:
            return self._verified(dataset, current[-1]), ""
        if not checkpoint.table_hash:
            return self._by_name(dataset, current, checkpoint)
        fitting = [s for s in current if s.training is not None and s.training.table == checkpoint.table_hash]
        if fitting:
            subset = self._verified(dataset, fitting[-1])
            if not self._is_audited(subset, checkpoint):
                raise self._unfit(dataset, [subset], checkpoint)
            return subset, ""
        return self._verified(dataset, self._of_the_whole(dataset, current, checkpoint)), ""

    def _content(self, dataset: Dataset, purpose: str, kinds: tuple[str, ...]) -> Content:
        """Return what an audit of ``kinds`` would read now of a whole split."""
        at = (dataset.name, purpose)
        if at not in self._tables:
            self._tables[at] = dataset.positions(purpose)
        if (*at, kinds) not in self._contents:
            self._contents[*at, kinds] = Content.of(dataset, purpose, self._tables[at], kinds)
        return self._contents[*at, kinds]

    def _verified(self, dataset: Dataset, subset: Subset) -> Subset:
        """Return ``subset`` if the test set is still what was audited."""
        if subset.test != self._content(dataset, "test", subset.kinds):
            raise self._stale(dataset, subset)
        return subset

    def _is_audited(self, subset: Subset, checkpoint: Checkpoint) -> bool:
        """Return whether images and photographers are those of the training, given that names and positions are."""
        audited = subset.training
        assert audited is not None
        if audited.images not in ("", checkpoint.images_key):
            return False
        if "photographer" not in subset.kinds:
            return True
        # A checkpoint does not record photographers; they may have been corrected in the table since.
        now = _available(lambda: self._content(get_dataset(subset.against), "train", ("photographer",)))
        return now is None or now.table != audited.table or now.photographers == audited.photographers

    def _of_the_whole(self, dataset: Dataset, current: list[Subset], checkpoint: Checkpoint) -> Subset:
        """Return the subset against the whole set of which ``checkpoint`` was trained on a part."""
        same = [subset for subset in current if subset.against == checkpoint.dataset]
        newest = same[-1] if same and checkpoint.limit is not None else None
        part = _unchanged(checkpoint) if newest is not None else None
        if newest is None or part is None:
            raise self._unfit(dataset, current, checkpoint)
        now = self._content(get_dataset(newest.against), "train", newest.kinds)
        if now != newest.training:
            raise self._unfit(dataset, current, checkpoint)
        if not part["image"].isin(self._tables[newest.against, "train"]["image"]).all():
            raise DatasetError(
                f"{checkpoint.spec} was trained on more images than {newest.against} lists, with a limit above their "
                f"number; no audit covers them, and there is no {self.name} subset of {dataset.name} for it"
            )
        return newest

    def _by_name(self, dataset: Dataset, current: list[Subset], checkpoint: Checkpoint) -> tuple[Subset, str]:
        """Return the subset against a set of the same name: nothing tells what ``checkpoint`` was trained on."""
        named = [subset for subset in current if subset.against == checkpoint.dataset]
        if not named:
            raise self._unfit(dataset, current, checkpoint)
        remark = f"nothing tells whether {checkpoint.spec} was trained on just these"
        return self._verified(dataset, named[-1]), remark

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


def _unchanged(checkpoint: Checkpoint) -> pd.DataFrame | None:
    """Return the table that ``checkpoint`` was trained on; None if its data set has changed since, or is not here."""
    table = _available(checkpoint.current_table)
    if table is None or hash_table(table) != checkpoint.table_hash:
        return None
    key = _available(lambda: get_dataset(checkpoint.dataset).content_key(table, "train"))
    return table if key == checkpoint.images_key else None


def _date(subset: Subset) -> str:
    return subset.created.partition("T")[0]


def _available(read: Callable[[], T]) -> T | None:
    """Return what ``read`` returns; None if the data set is not on this machine, or can no longer be read."""
    try:
        return read()
    except GeobenchError:
        return None
