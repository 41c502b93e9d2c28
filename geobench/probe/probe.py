"""The table of the probe: every location feature, alone and joined with visual features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geobench.errors import SettingError
from geobench.probe.classifier import ProbeConfig, interval, mean_average_precision, predict
from geobench.probe.locations import location_features
from geobench.probe.tasks import Task
from geobench.progress import SILENT, Progress
from geobench.settings import configure

VISUAL = "visual"
PUBLISHED = {
    "Visual (V)": 0.234, "OneHot": 0.066, "HashTag": 0.163, "TagFeature": 0.161, "GPS2Vec onehot": 0.130,
    "GPS2Vec": 0.182, "GPS2Vec+": 0.210, "GeoCLIP": 0.249, "OneHot + V": 0.238, "HashTag + V": 0.261,
    "TagFeature + V": 0.260, "GPS2Vec onehot + V": 0.277, "GPS2Vec + V": 0.300, "Liao et al.": 0.347,
    "GPS2Vec+ + V": 0.348, "GeoCLIP + V": 0.362,
}  # fmt: skip
"""Mean average precision on geotagged NUS-WIDE (GeoCLIP, NeurIPS 2023, table 3)."""


@dataclass(frozen=True)
class ProbeRow:
    """One row of the table.

    Attributes:
        features: what is classified, such as ``geoclip@official + visual``.
        width: of the features.
        values: mean average precision for each seed.
        low, high: 95 % interval over test images, of the scores averaged over seeds.
    """

    features: str
    width: int
    values: tuple[float, ...]
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Return the standard deviation over seeds, NaN of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")


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
        SettingError: no features or seeds, or a task with no image on one side.
    """
    if not features or not seeds:
        raise SettingError("name at least one location feature and one seed.")
    if not task.training.any() or not task.testing.any():
        raise SettingError(f"{task.name} has no images to train or none to test on; give more images.")
    config = config or configure(ProbeConfig, {}, "probe")
    parts = {name: location_features(name, task.coordinates, device=device) for name in dict.fromkeys(features)}
    rows = dict(parts)
    if task.visual is not None:
        visual = task.visual / np.maximum(np.linalg.norm(task.visual, axis=1, keepdims=True), 1e-12)
        rows[VISUAL] = visual.astype(np.float32)
        rows |= {f"{name} + {VISUAL}": np.concatenate([part, rows[VISUAL]], axis=1) for name, part in parts.items()}
    labels = task.labels[task.testing]
    found = []
    with progress.track(f"probe on {task.name}", len(rows) * len(seeds), "trainings") as advance:
        for name, given in rows.items():
            scores = []
            for seed in seeds:
                scores.append(predict(given, task.labels, task.training, task.testing, config, seed, device))
                advance(1)
            values = tuple(mean_average_precision(each, labels) for each in scores)
            found.append(ProbeRow(name, given.shape[1], values, *interval(_averaged(scores), labels)))
    return found


def _averaged(scores: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return the mean over seeds of the probabilities."""
    mean: npt.NDArray[np.float64] = np.mean([1 / (1 + np.exp(-each.astype(np.float64))) for each in scores], axis=0)
    return mean
