"""The cost of a gallery: time per query, size of its embeddings, and memory of a process that predicts."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geobench.checkpoints import get_model
from geobench.devices import peak_memory_mb, threads
from geobench.errors import GeobenchError
from geobench.gallery import Gallery, gallery_for
from geobench.jobs import CrashedTask, run_in_processes
from geobench.models import Model
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress

QUERIES = 256
"""Timed as one batch; the first ``SINGLE`` of them also one by one."""
SINGLE = 32
MIB = 2**20


@dataclass(frozen=True)
class Workload:
    """What is measured: a model (``MODEL@ID``) on a device, a gallery and ``queries`` (q, views, d).

    ``queries`` are None for a model that predicts from images; its time is not measured.
    """

    spec: str
    dataset: str
    gallery: str
    seed: int
    queries: npt.NDArray[np.float32] | None
    device: str


@dataclass(frozen=True)
class Cost:
    """The cost of a gallery: the fields of :class:`geobench.experiments.frontier.Point`."""

    latency_ms: float | None
    batch_ms: float | None
    gallery_mb: float | None
    peak_memory_mb: float


def measure(task: Workload) -> Cost:
    """Measure in a separate process, so that other galleries do not count towards the peak memory.

    Raises:
        GeobenchError: the process dies.
    """
    ((_, cost),) = run_in_processes(_measured, [task], 1, threads(), SILENT)
    if isinstance(cost, CrashedTask):
        raise GeobenchError(f"{task.spec} × {task.dataset} × {task.gallery}: {cost.reason}")
    return cost


def _measured(task: Workload, progress: Progress) -> Cost:
    model, queries = get_model(task.spec, task.device), task.queries
    gallery = gallery_for(model, get_dataset(task.dataset), task.gallery, task.seed)
    assert gallery is not None
    size = _embeddings_mb(model, gallery)
    if queries is None or not len(queries):
        return Cost(None, None, size, _peak_mb(model.device))
    model.locate(queries[:1], gallery, 1)  # warm-up: the first call loads everything
    seconds = []
    for index in range(min(SINGLE, len(queries))):
        started = time.perf_counter()
        model.locate(queries[index : index + 1], gallery, 1)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    model.locate(queries, gallery, 1)
    together = (time.perf_counter() - started) / len(queries)
    return Cost(1000 * statistics.median(seconds), 1000 * together, size, _peak_mb(model.device))


def _peak_mb(device: str) -> float:
    if not device.startswith("cuda"):
        return peak_memory_mb()
    import torch

    return round(torch.cuda.max_memory_allocated(device) / MIB, 1)


def _embeddings_mb(model: Model, gallery: Gallery) -> float | None:
    """Return the size of the gallery's embeddings in MiB, None for a model without embeddings."""
    try:
        one = model.embed(gallery.coordinates[:1])
    except GeobenchError:
        return None
    return round(len(gallery) * one.nbytes / MIB, 2)
