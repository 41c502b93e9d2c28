"""The table of the probe: every location feature, alone and joined with visual features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from geobench.checkpoints import find_checkpoint
from geobench.errors import SettingError
from geobench.geo import FloatArray, nearest_km
from geobench.probe.classifier import ProbeConfig, predict
from geobench.probe.locations import KINDS, location_features, unit_length
from geobench.probe.measure import NO_INTERVAL, average_precisions, interval, resampled
from geobench.probe.tasks import APART_KM, Task
from geobench.progress import SILENT, Progress
from geobench.settings import configure

VISUAL, LOCATION, JOINED = "visual", "location", "joined"


@dataclass(frozen=True)
class ProbeRow:
    """One row of the table.

    Attributes:
        features: what is classified, such as ``geoclip@official + visual``.
        what: ``location``, ``visual`` or ``joined``.
        width: of the features.
        values: mean average precision for each seed.
        by_kind: mean over seeds for the labels of each kind, if there are kinds.
        low, high: 95 % interval of the mean over seeds, over test images; NaN for too few.
        leads: whether the row is the best of its sort, or the paired interval of its distance to that contains 0.
        gain: of a joined row, its distance to visual features alone with the paired interval.
    """

    features: str
    what: str
    width: int
    values: tuple[float, ...]
    by_kind: Mapping[str, float]
    low: float
    high: float
    leads: bool = True
    gain: tuple[float, float, float] | None = None
    samples: FloatArray | None = field(default=None, repr=False, compare=False)

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Return the standard deviation over seeds, NaN of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")

    def minus(self, other: ProbeRow) -> tuple[float, float, float]:
        """Return the difference to ``other`` with its interval, paired by test images."""
        if self.samples is None or other.samples is None:
            return (self.mean - other.mean, *NO_INTERVAL)
        return (self.mean - other.mean, *interval(self.samples - other.samples))


def probe(
    task: Task,
    features: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    config: ProbeConfig | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> list[ProbeRow]:
    """Return a row for each of ``features`` alone, then for visual features, and for each joined with these.

    Args:
        task: with visual features or without.
        features: names, as in :func:`geobench.probe.locations.location_features`.
        seeds: of the classifier's training.
        config: of the classifier.
        device: torch device.
        progress: reports the work.

    Raises:
        SettingError: no features or seeds, a seed that is negative or there twice, a task with no image on one side,
            or a training that diverged.
    """
    _check(task, features, seeds)
    config = config or configure(ProbeConfig, {}, "probe")
    inputs = _inputs(task, features, device)
    rows = []
    with progress.track(f"probe on {task.name}", len(inputs) * len(seeds), "trainings") as advance:
        for (name, what), given in inputs.items():
            scores = []
            for seed in seeds:
                scores.append(predict(given, task.labels, task.training, task.testing, config, seed, device))
                advance(1)
            rows.append(_row(task, name, what, given.shape[1], scores))
    return [_compared(row, rows) for row in rows]


def measured(task: Task) -> int:
    """Return how many concepts have a test image, and so are in the mean."""
    return int(task.labels[task.testing].any(axis=0).sum())


def learnt_nearby(task: Task, features: Sequence[str]) -> list[str]:
    """Return a sentence for each model of ``features`` that was trained on places of the test images.

    The split keeps the classifier from them, not what a model learnt before.
    """
    found = []
    for name in dict.fromkeys(features):
        checkpoint = None if name in KINDS else find_checkpoint(name)
        if checkpoint is None:
            continue
        if checkpoint.own_gallery:
            found.append(f"{name}: what it was trained on is not on this machine, and may hold places of the test.")
            continue
        near = nearest_km(task.coordinates[task.testing], checkpoint.coordinates) <= APART_KM
        if near.any():
            found.append(
                f"{name} learnt from {checkpoint.learnt_from}: {near.mean():.0%} of the test images have a place it "
                f"learnt within {APART_KM:g} km, so it is not comparable to features that learnt nothing."
            )
    return found


def _check(task: Task, features: Sequence[str], seeds: Sequence[int]) -> None:
    if not features or not seeds:
        raise SettingError("name at least one location feature and one seed.")
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise SettingError(f"seeds are different whole numbers from 0 on, not {', '.join(map(str, seeds))}.")
    if not task.training.any() or not task.testing.any():
        raise SettingError(f"{task.name} has no images to train or none to test on; give more images.")
    if not measured(task):
        raise SettingError(f"no test image of {task.name} shows any of its concepts, so there is nothing to measure.")


def _inputs(task: Task, features: Sequence[str], device: str) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
    """Return the features (n, d) of each row, by its name and sort."""
    parts = {name: location_features(name, task.coordinates, device=device) for name in dict.fromkeys(features)}
    inputs = {(name, LOCATION): part for name, part in parts.items()}
    if task.visual is not None:
        visual = unit_length(task.visual)
        inputs[VISUAL, VISUAL] = visual
        for name, part in parts.items():
            inputs[f"{name} + {VISUAL}", JOINED] = np.concatenate([part, visual], axis=1)
    return inputs


def _row(task: Task, name: str, what: str, width: int, scores: list[npt.NDArray[np.float32]]) -> ProbeRow:
    labels = task.labels[task.testing]
    precisions = np.stack([average_precisions(each, labels) for each in scores])
    known = ~np.isnan(precisions[0])
    kinds = np.array(task.kinds)
    by_kind = {
        kind: float(precisions[:, known & (kinds == kind)].mean())
        for kind in dict.fromkeys(task.kinds)
        if kind and (known & (kinds == kind)).any()
    }
    values = tuple(map(float, precisions[:, known].mean(axis=1)))
    samples = resampled(scores, labels, task.groups[task.testing])
    return ProbeRow(name, what, width, values, by_kind, *interval(samples), samples=samples)


def _compared(row: ProbeRow, rows: Sequence[ProbeRow]) -> ProbeRow:
    """Return ``row`` with what the others say about it."""
    best = max((each for each in rows if each.what == row.what), key=lambda each: each.mean)
    _, low, _ = best.minus(row)
    visual = next((each for each in rows if each.what == VISUAL), None)
    gain = row.minus(visual) if row.what == JOINED and visual is not None else None
    return replace(row, leads=row is best or low <= 0, gain=gain)
