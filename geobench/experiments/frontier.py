"""The gallery's frontier: accuracy, time and memory against its size, and the smallest gallery that is as good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.checkpoints import get_model
from geobench.devices import default_workers
from geobench.errors import GeobenchError
from geobench.evaluate import Options, encoder_for
from geobench.experiments.gallery_cost import QUERIES, Workload, measure
from geobench.features.cache import extract
from geobench.metrics import Metric, accuracies
from geobench.plugins import get_dataset, get_metrics
from geobench.progress import SILENT, Progress
from geobench.report.rows import rows
from geobench.results import FOLDER, Result, load_result
from geobench.run import run
from geobench.statistics.intervals import Interval


@dataclass(frozen=True)
class Point:
    """One gallery.

    Attributes:
        dataset, model, checkpoint, gallery, gallery_size, n: of the result.
        scores: of it, with ``intervals``; both by the name of the metric.
        oracle: whether the gallery holds the true positions: :func:`geobench.gallery.is_oracle`.
        latency_ms: of one query alone, the median, given features of the photo and embeddings of the gallery;
            None for a model that predicts from images.
        batch_ms: of one query among many.
        gallery_mb: of the gallery's embeddings; None for a model that has none.
        peak_memory_mb: of a process that only predicts; on a GPU, of the GPU's memory.
    """

    dataset: str
    model: str
    checkpoint: str
    gallery: str
    gallery_size: int
    n: int
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    latency_ms: float | None
    batch_ms: float | None
    gallery_mb: float | None
    peak_memory_mb: float
    oracle: bool = False

    def flat(self) -> dict[str, Any]:
        """Return a row for a table: every field, each interval as two."""
        values = {key: value for key, value in asdict(self).items() if key not in ("scores", "intervals")}
        ends = {
            f"{name}_{end}": pair[i] for name, pair in self.intervals.items() for i, end in enumerate(("low", "high"))
        }
        return values | dict(self.scores) | ends


@dataclass
class Frontier:
    """The points, model by model and test set by test set, the smallest gallery first; a line for each that failed.

    ``results`` are those that the points are of.
    """

    points: list[Point] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def smallest(self) -> Iterator[tuple[str, str, dict[str, Point]]]:
        """Yield model, test set and, by accuracy, the smallest gallery within the interval of the best.

        An accuracy that is 0 with every gallery is left out, since it says nothing about galleries. So is a gallery
        that holds the true positions: it is the best by no merit of the model.
        """
        compared = [point for point in self.points if not point.oracle]
        for key in dict.fromkeys((point.model, point.dataset) for point in compared):
            points = [point for point in compared if (point.model, point.dataset) == key]
            names = [metric.name for metric in accuracies(get_metrics(key[1]))]
            yield *key, {name: points[_smallest(points, name)] for name in names if _any(points, name)}


def smallest_line(where: str, galleries: Mapping[str, str], metrics: Sequence[Metric]) -> str:
    """Return a sentence on the smallest gallery that is as good as the best, for each accuracy, or why there is none.

    Args:
        where: the test set, or model and test set.
        galleries: by the name of the accuracy; without those that are 0 with every gallery.
        metrics: those of the test set.
    """
    distances = {metric.name: f"{metric.threshold_km:g} km" for metric in accuracies(metrics)}
    parts = [f"{gallery} at {distances[name]}" for name, gallery in galleries.items()]
    none = [distance for name, distance in distances.items() if name not in galleries]
    text = f"Smallest gallery within the 95 % confidence interval of the best, {where}: {', '.join(parts) or 'none'}."
    return text + (f" Not at {', '.join(none)}: no gallery has a single hit there." if none else "")


def smallest_within(sizes: Sequence[int], values: Sequence[float], lows: Sequence[float]) -> int:
    """Return the index of the smallest gallery whose accuracy lies within the interval of the best one.

    Args:
        sizes: of the galleries.
        values: accuracies.
        lows: lower ends of their intervals.

    >>> smallest_within([1000, 5000, 21000], [4.0, 9.0, 9.5], [3.0, 7.7, 8.2])
    1
    """
    best = max(range(len(values)), key=lambda i: (values[i], -sizes[i]))
    within = [i for i, value in enumerate(values) if value >= min(lows[best], values[best])]
    return min(within, key=lambda i: sizes[i])


def _any(points: Sequence[Point], name: str) -> bool:
    return any(point.scores[name] > 0 for point in points)


def _smallest(points: Sequence[Point], name: str) -> int:
    return smallest_within(
        [point.gallery_size for point in points],
        [point.scores[name] for point in points],
        [point.intervals[name][0] for point in points],
    )


def frontier(
    models: Sequence[str],
    datasets: Sequence[str],
    galleries: Sequence[str],
    *,
    seed: int = 0,
    crops: int = 1,
    limit: int | None = None,
    device: str = "auto",
    train_missing: bool = True,
    trained_on: str | None = None,
    allow_mixed: bool = False,
    folder: Path = FOLDER,
    progress: Progress = SILENT,
) -> Frontier:
    """Evaluate each of ``models`` against each of ``galleries``, and measure what the galleries cost.

    Results are those of :func:`geobench.run`, saved in ``folder``; time and memory are always measured.

    Args:
        models, datasets, galleries, crops, limit, device, train_missing, trained_on, allow_mixed, folder, progress: as
            in :func:`geobench.run`.
        seed: of the galleries' draws.

    Raises:
        UnknownNameError: a model or data set that does not exist.
        GeobenchError: a model that chooses from no gallery.
    """
    found = Frontier()
    outcome = run(
        models,
        datasets,
        galleries=galleries,
        seeds=(seed,),
        options=Options(crops=crops),
        limit=limit,
        device=device,
        train_missing=train_missing,
        trained_on=trained_on,
        allow_mixed=allow_mixed,
        folder=folder,
        progress=progress,
    )
    found.failures += outcome.failures
    results = [result for result in outcome.results if result.gallery]
    if outcome.results and not results:
        raise GeobenchError(f"{', '.join(models)}: no gallery is used, so there is no frontier to show.")
    with progress.track("time and memory of galleries", len(results), "galleries") as advance:
        queries: dict[tuple[str, str], npt.NDArray[np.float32] | None] = {}
        for result in _by_size(results):
            asked = (result.spec, result.dataset)
            if asked not in queries:
                queries[asked] = _queries(result, crops, limit, device)
            try:
                found.points.append(_point(result, queries[asked], device, folder))
                found.results.append(result)
            except GeobenchError as error:
                found.failures.append(str(error))
            advance(1)
    return found


def _by_size(results: Sequence[Result]) -> list[Result]:
    """Return ``results`` with those of a model and test set together, the smallest gallery first."""
    groups = list(dict.fromkeys((result.spec, result.dataset) for result in results))
    return sorted(results, key=lambda result: (groups.index((result.spec, result.dataset)), result.gallery_size))


def _point(result: Result, queries: npt.NDArray[np.float32] | None, device: str, folder: Path) -> Point:
    """Return the point of ``result``; raise ``GeobenchError`` if it cannot be measured."""
    path = result.path or folder / f"{result.stem}.json"
    (row,) = rows([load_result(path, predictions=True)], "none")
    cost = measure(Workload(result.spec, result.dataset, result.gallery, result.seed, queries, device))
    return Point(
        dataset=result.dataset,
        model=result.model,
        checkpoint=result.checkpoint,
        gallery=result.gallery,
        gallery_size=result.gallery_size,
        n=result.n,
        scores=row.scores,
        intervals=row.intervals,
        oracle=row.oracle,
        **asdict(cost),
    )


def _queries(result: Result, crops: int, limit: int | None, device: str) -> npt.NDArray[np.float32] | None:
    """Return the features (at most ``QUERIES``, views, d) of readable test images; None, or of width 0, if the model
    uses none."""
    model = get_model(result.spec, device)
    if model.input == "none":
        return np.empty((min(QUERIES, result.n), 1, 0), dtype=np.float32)
    dataset = get_dataset(result.dataset)
    encoder = encoder_for(model, dataset.default_encoder)
    if encoder is None:
        return None
    features = extract(
        dataset,
        dataset.table("test", limit),
        encoder,
        crops=crops,
        device=model.device,
        workers=default_workers(model.device),
    )
    return np.asarray(features.array[features.ok][:QUERIES])
