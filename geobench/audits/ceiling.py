"""The gallery audit: the best that any model could reach, and whether a gallery contains the true positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.checkpoints import find_checkpoint
from geobench.data.dataset import limited
from geobench.errors import GalleryError, GeobenchError
from geobench.gallery import Gallery, default_gallery, get_gallery, is_oracle, needs_training
from geobench.geo import FloatArray, nearest_km
from geobench.metrics import ScoredImages, scores_of
from geobench.plugins import get_dataset, get_metrics
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset


@dataclass(frozen=True)
class Ceiling:
    """The best possible scores on a test set with a gallery: every image placed at the gallery's nearest point.

    Attributes:
        gallery: its spec.
        size, distinct: points of the gallery, and distinct ones.
        n: images of the test set.
        in_gallery: test coordinates that the gallery holds, exactly or rounded: :meth:`geobench.Gallery.count_of`.
        scores: by the test set's metrics that need errors alone; no model that chooses from this gallery can be better.
    """

    dataset: str
    gallery: str
    seed: int
    size: int
    distinct: int
    n: int
    in_gallery: int
    scores: dict[str, float]

    @property
    def oracle(self) -> bool:
        """Return whether the gallery holds many of the true positions: :func:`geobench.gallery.is_oracle`."""
        return is_oracle(self.in_gallery, self.n)

    def row(self) -> dict[str, Any]:
        """Return everything as one flat row."""
        head = {name: value for name, value in vars(self).items() if name != "scores"}
        scores = {name: None if math.isnan(score) else score for name, score in self.scores.items()}
        return head | {"oracle": self.oracle} | scores


@dataclass
class Audit:
    """What a gallery audit found: ceilings in the order requested, and a line for each combination that failed."""

    ceilings: list[Ceiling] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def ceiling(dataset: str, truth: FloatArray, gallery: Gallery) -> Ceiling:
    """Return the ceiling of the test set ``dataset`` with coordinates ``truth`` (n, 2) against ``gallery``."""
    metrics = get_metrics(dataset)
    return Ceiling(
        dataset=dataset,
        gallery=gallery.spec,
        seed=gallery.seed,
        size=len(gallery),
        distinct=gallery.distinct,
        n=len(truth),
        in_gallery=gallery.count_of(truth),
        scores=scores_of(ScoredImages(nearest_km(truth, gallery.coordinates)), metrics),
    )


def ceilings(
    datasets: Sequence[str],
    galleries: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    training: str | None = None,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Audit:
    """Return the ceiling of every test set × gallery × seed; a gallery that no seed changes has one.

    Args:
        datasets: names of test sets.
        galleries: specs, as in :func:`geobench.get_gallery`; by default each set's own.
        seeds: of the galleries' draws.
        training: what a gallery such as ``100k`` is drawn from: a data set, or ``MODEL@CHECKPOINT``.
        limit: at most so many images of each test set.
        progress: reports how many are done.

    Raises:
        UnknownNameError: a data set or checkpoint does not exist; nothing is computed then.
    """
    chosen = [get_dataset(name) for name in dict.fromkeys(datasets)]
    specs: Sequence[str | None] = galleries or [None]
    combinations = list(product(chosen, dict.fromkeys(specs), dict.fromkeys(seeds)))
    source = _training(training) if training is not None else None
    audit = Audit()
    truths: dict[str, FloatArray] = {}
    done: set[tuple[str, str, int]] = set()
    with progress.track("ceilings", len(combinations), "galleries") as advance:
        for dataset, spec, seed in combinations:
            try:
                if dataset.name not in truths:
                    drawn = limit and not dataset.stored  # more crops of a map than it usually has
                    table = dataset.table("test", limit) if drawn else limited(dataset.positions("test"), limit)
                    truths[dataset.name] = table[["latitude", "longitude"]].to_numpy(np.float64)
                gallery = _gallery(dataset, spec, source, seed, progress)
                if (place := (dataset.name, gallery.spec, gallery.seed)) not in done:  # some are the same with any seed
                    done.add(place)
                    audit.ceilings.append(ceiling(dataset.name, truths[dataset.name], gallery))
            except GeobenchError as error:
                audit.failures.append(f"{dataset.name} × {spec or dataset.default_gallery}: {error}")
            advance(1)
    return audit


def _gallery(dataset: Dataset, spec: str | None, source: FloatArray | None, seed: int, progress: Progress) -> Gallery:
    wanted = spec or dataset.default_gallery
    if source is None and needs_training(wanted):
        raise GalleryError(
            "the gallery is drawn from training coordinates; name their data set or MODEL@CHECKPOINT (geobench ceiling "
            "--training mp16), or choose a gallery such as land:100k."
        )
    if spec is not None:
        return get_gallery(spec, source, seed)
    gallery, note = default_gallery(wanted, source, seed)
    if note:
        progress.say(f"{dataset.name}: {note}")
    return gallery


def _training(name: str) -> FloatArray | None:
    """Return the coordinates (n, 2) of the training set ``name``, or those that a checkpoint was trained on."""
    if "@" not in name:
        return get_dataset(name).positions("train")[["latitude", "longitude"]].to_numpy(np.float64)
    checkpoint = find_checkpoint(name)
    if checkpoint is None or checkpoint.own_gallery:
        raise GalleryError(
            f"{name} comes without the coordinates it was trained on; name the data set instead, such as mp16."
        )
    return checkpoint.coordinates
