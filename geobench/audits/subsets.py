"""Subsets of a test set, such as the ``clean`` one that an audit leaves, scored from the same predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import DatasetError, ResultError, unknown_name
from geobench.metrics import scores_of
from geobench.plugins import get_metrics
from geobench.results import Result

if TYPE_CHECKING:
    from geobench.gallery import Gallery

SUBSETS = ("clean",)


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
    """

    name: str
    dataset: str
    against: str
    kinds: tuple[str, ...]
    distance: int
    created: str
    kept: tuple[str, ...]
    left_out: tuple[str, ...]

    def save(self) -> Path:
        """Save it, replacing an earlier one of this name against the same training set; return its file."""
        path = _folder(self.dataset) / f"{self.name}-against-{self.against}.json"
        files.write_json(path, asdict(self))
        return path

    def describe(self) -> str:
        """Return a line on what it is, for the record of a run."""
        n = len(self.kept) + len(self.left_out)
        return f"{len(self.kept):,} of {n:,} images that share no {', '.join(self.kinds)} with {self.against}"

    def rows(self, images: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        """Return (n,) which of ``images`` are in it; raise ``DatasetError`` if one has been added since the audit."""
        kept, known = set(self.kept), {*self.kept, *self.left_out}
        unknown = [image for image in images if image not in known]
        if unknown:
            raise DatasetError(
                f"{len(unknown):,} images of {self.dataset}, such as {unknown[0]!r}, were not part of it when it was "
                f"audited; audit it again: {_command(self.dataset, self.against)}"
            )
        return np.array([image in kept for image in images], dtype=np.bool_)


def get_subsets(dataset: str, name: str) -> list[Subset]:
    """Return the subsets called ``name`` of the test set ``dataset``, one for each training set, the newest last.

    Raises:
        UnknownNameError: no such kind of subset.
        DatasetError: there is none yet (says which command makes it), or its file is damaged.
    """
    if name not in SUBSETS:
        raise unknown_name("subset", name, SUBSETS)
    found = [_load(path) for path in sorted(_folder(dataset).glob(f"{name}-against-*.json"))]
    if not found:
        raise DatasetError(f"{dataset} has no {name} subset yet; to make it: {_command(dataset, 'TRAINING')}")
    return sorted(found, key=lambda subset: subset.created)


def choose_subset(dataset: str, name: str, trained_on: str, say: Callable[[str], None]) -> Subset:
    """Return the subset audited against ``trained_on``; if there is none, the newest, and ``say`` so."""
    found = get_subsets(dataset, name)
    fitting = [subset for subset in found if subset.against == trained_on]
    if not fitting and trained_on:
        say(
            f"the {name} subset of {dataset} was audited against {found[-1].against}, the model was trained on "
            f"{trained_on}: the scores may include leaks. Audit it: {_command(dataset, trained_on)}"
        )
    return (fitting or found)[-1]


def score_subset(result: Result, subset: Subset, gallery: Gallery | None) -> Result:
    """Return the result of the images of ``result`` that are in ``subset``, from the same predictions.

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
        failed=int(predictions.failed[rows].sum()),
        scores=scores_of(part, get_metrics(result.dataset)),
        in_gallery=gallery.count_of(truth[rows]) if gallery is not None else 0,
        images=f"{result.images}; {subset.name}: {subset.describe()}",
        predictions=part.predictions,
        names=names[rows],
        truth=part.truth,
        extra=part.extra,
    )


def _folder(dataset: str) -> Path:
    return files.home() / "subsets" / dataset


def _command(dataset: str, against: str) -> str:
    return f"geobench datasets audit {dataset} --against {against}"


def _load(path: Path) -> Subset:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        read = {f.name: values[f.name] for f in fields(Subset)}
        return Subset(**(read | {name: tuple(read[name]) for name in ("kinds", "kept", "left_out")}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a readable subset ({type(error).__name__}: {error}); delete it.") from error
