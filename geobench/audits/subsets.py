"""Subsets of a test set, such as the ``clean`` one that an audit leaves, scored from the same predictions.

A subset belongs to the contents of two sets, not to their names: it is used only for the test set as it was audited,
and for models trained on what it was audited against.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.data.tables.photographers import photographers
from geobench.errors import DatasetError, ResultError, unknown_name
from geobench.metrics import scores_of
from geobench.models import hash_table
from geobench.plugins import get_metrics
from geobench.predictions import status_counts
from geobench.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.gallery import Gallery

SUBSETS = ("clean",)


@dataclass(frozen=True)
class Content:
    """What an audit read of a data set: digests that change with it.

    Attributes:
        table: of names and positions.
        photographers: of who took the images; empty if that was not audited.
        images: of the images; empty if they were not read.
    """

    table: str
    photographers: str
    images: str

    @classmethod
    def of(cls, dataset: Dataset, purpose: str, table: pd.DataFrame, kinds: Sequence[str]) -> Content:
        """Return what an audit of ``kinds`` reads of the ``table`` of ``dataset`` to ``train`` or ``test`` on."""
        names = photographers(table) if "photographer" in kinds else None
        return cls(
            table=hash_table(table),
            photographers=files.digest(list(map(str, names))) if names is not None else "",
            images=dataset.content_key(table, purpose) if "twin" in kinds else "",
        )

    def changes(self, now: Content) -> str:
        """Return what differs from ``now``, as text; empty if nothing does."""
        parts = {"table": "names or positions", "photographers": "photographers", "images": "images"}
        return ", ".join(what for name, what in parts.items() if getattr(self, name) != getattr(now, name))


@dataclass(frozen=True)
class Subset:
    """The images of a test set that an audit kept, and those that it excluded.

    Attributes:
        name: ``clean``.
        dataset: the test set.
        against: the training set that it was audited against.
        kinds: of leaks that count, such as ``photographer``; ``distance`` is the largest of a twin.
        created: date and time.
        kept, left_out: names of images; together the whole test set at that time.
        test, training: what was audited; None if it was not recorded, by an earlier version.
        found: names of the test images that each kind found; None likewise.
        same_photos: names of those that are the same photo as a training image, so that a model has seen them.
        unreadable: names of those that share nothing that is known and could not be read; ``left_out`` has them too.
        unable: kinds that were asked for and could not be checked.
    """

    name: str
    dataset: str
    against: str
    kinds: tuple[str, ...]
    distance: int
    created: str
    kept: tuple[str, ...]
    left_out: tuple[str, ...]
    test: Content | None = None
    training: Content | None = None
    found: Mapping[str, Sequence[str]] | None = None
    same_photos: tuple[str, ...] = ()
    unable: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def save(self) -> Path:
        """Save it, replacing an earlier one for the same names and positions on both sides; return its file."""
        tables = files.digest(*(content and content.table for content in (self.test, self.training)))
        path = _folder(self.dataset) / f"{self.name}-against-{self.against}-{tables[:8]}.json"
        files.write_json(path, asdict(self))
        return path

    def describe(self) -> str:
        """Return a line on what it is, for the record of a run."""
        n = len(self.kept) + len(self.left_out)
        text = f"{len(self.kept):,} of {n:,} images that share no {', '.join(self.kinds)} with {self.against}"
        return f"{text}; {len(self.unreadable):,} unreadable ones are not among them" if self.unreadable else text

    def rows(self, images: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        """Return (n,) which of ``images`` are in it; raise ``DatasetError`` if one has been added since the audit."""
        kept, known = set(self.kept), {*self.kept, *self.left_out}
        unknown = [image for image in images if image not in known]
        if unknown:
            raise DatasetError(
                f"{len(unknown):,} images of {self.dataset}, such as {unknown[0]!r}, were not part of it when it was "
                f"audited; audit it again: {audit_command(self.dataset, self.against)}"
            )
        return np.array([image in kept for image in images], dtype=np.bool_)


def get_subsets(dataset: str, name: str) -> list[Subset]:
    """Return the subsets called ``name`` of the test set ``dataset``, one for each audit, the newest last.

    Raises:
        UnknownNameError: no such kind of subset.
        DatasetError: there is none yet (says which command makes it), or its file is damaged.
    """
    if name not in SUBSETS:
        raise unknown_name("subset", name, SUBSETS)
    found = [_load(path) for path in sorted(_folder(dataset).glob(f"{name}-against-*.json"))]
    if not found:
        raise DatasetError(f"{dataset} has no {name} subset yet; to make it: {audit_command(dataset, 'TRAINING')}")
    return sorted(found, key=lambda subset: subset.created)


def score_subset(
    result: Result,
    subset: Subset,
    gallery: Gallery | None,
    in_training: npt.NDArray[np.bool_] | None = None,
    remark: str = "",
) -> Result:
    """Return the result of the images of ``result`` that are in ``subset``, from the same predictions.

    Args:
        result: of the whole test set.
        subset: of the test set.
        gallery: of the result; None if the model uses none.
        in_training: (n,) which images the model was trained on; None if unknown.
        remark: what a reader must know of the subset, for the record.

    Raises:
        DatasetError: none of them is, or one is unknown to the subset.
        ResultError: ``result`` has no predictions.
    """
    predictions, names, truth = result.predictions, result.names, result.truth
    if predictions is None or names is None or truth is None:
        raise ResultError(f"the predictions of {result.stem} are not next to its record; evaluate it again (force).")
    rows = subset.rows(names)
    if not rows.any():
        raise DatasetError(
            f"no image is left in the {subset.name} subset of {subset.dataset} against {subset.against}."
        )
    part = result.scored.take(rows)
    kept = names[rows].tolist()
    return replace(
        result,
        subset=subset.name,
        table_hash=files.digest(result.table_hash, kept),
        stated_key=files.digest(result.key, subset.name, kept) if result.stated_key else "",
        n=int(rows.sum()),
        failed=predictions[rows].count_failed(),
        statuses=status_counts(predictions[rows]) if result.statuses else {},
        scores=scores_of(part, get_metrics(result.dataset)),
        in_gallery=gallery.count_of(truth[rows]) if gallery is not None else 0,
        in_training=_count(result, rows, in_training),
        distinct_images=None,
        images=f"{result.images}; {subset.name}: {subset.describe()}{f' ({remark})' if remark else ''}",
        predictions=part.predictions,
        names=names[rows],
        truth=part.truth,
        extra=part.extra,
    )


def _count(result: Result, rows: npt.NDArray[np.bool_], in_training: npt.NDArray[np.bool_] | None) -> int | None:
    """Return how many of the images ``rows`` the model was trained on; None if unknown."""
    if in_training is not None:
        return int(in_training[rows].sum())
    return 0 if result.in_training == 0 else None


def audit_command(dataset: str, against: str) -> str:
    """Return the command that audits ``dataset`` against a training set."""
    return f"geobench datasets audit {dataset} --against {against}"


def _folder(dataset: str) -> Path:
    return files.home() / "subsets" / dataset


def _load(path: Path) -> Subset:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        contents: dict[str, Any] = {n: Content(**values[n]) for n in ("test", "training") if values.get(n)}
        stated = [f.name for f in fields(Subset) if f.name in values or f.default is MISSING]
        read: dict[str, Any] = {name: values[name] for name in stated if name not in ("test", "training")}
        lists = [name for name in ("kinds", "kept", "left_out", "same_photos", "unable", "unreadable") if name in read]
        return Subset(**(read | {name: tuple(read[name]) for name in lists}), **contents)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a readable subset ({type(error).__name__}: {error}); delete it.") from error
