"""What one run of an experiment does: trainings, each with the evaluations that need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from geobench import files
from geobench.experiments.definitions import Experiment
from geobench.gallery import needs_training, parse_size
from geobench.plugins import get_model_class

OF_TRAINING = ("data", "encoder", "variant", "settings", "views", "augmentation", "live", "fraction", "limit")
"""Choices that :func:`geobench.train` takes."""


@dataclass(frozen=True)
class PlannedRow:
    """A row of the table, resolved.

    Attributes:
        title: as it is run.
        published, source, run, note: as of :class:`ExperimentRow`, resolved.
        choices: all of them; ``settings`` are those given, without defaults.
        changed: for each setting that is not the experiment's own: what it is here and what there.
        seeds: of its trainings; one for a model that has nothing to learn.
    """

    title: str
    published: str
    source: str
    run: bool
    note: str
    choices: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    seeds: tuple[int, ...]

    @property
    def model(self) -> str:
        """Return ``NAME``, or ``NAME@CHECKPOINT`` of one that is not trained."""
        return str(self.choices["model"])

    @property
    def gallery(self) -> str | None:
        """Return the spec of its gallery, None for the test set's own or for none."""
        return self.choices.get("gallery")


@dataclass(frozen=True)
class Cell:
    """One evaluation: a row of the table, a seed of its training and a test set."""

    row: int
    seed: int
    dataset: str
    gallery: str | None
    crops: int


@dataclass(frozen=True)
class Task:
    """One training and the evaluations that need it.

    Attributes:
        model: to train; ``NAME@CHECKPOINT``, or one with nothing to learn, is taken as it is.
        training: what :func:`geobench.train` is called with, None where nothing is trained.
        cells: its evaluations.
    """

    model: str
    training: Mapping[str, Any] | None
    cells: tuple[Cell, ...]

    @cached_property
    def key(self) -> str:
        """Return 16 digits that stand for the training."""
        return files.digest(self.model, self.training)


@dataclass(frozen=True)
class Plan:
    """All that one run of an experiment does.

    Attributes:
        experiment: its definition.
        data: the training set.
        datasets: the test sets.
        rows: of the table.
        test_limit: test images.
    """

    experiment: Experiment
    data: str
    datasets: tuple[str, ...]
    rows: tuple[PlannedRow, ...]
    test_limit: int | None = None

    @property
    def stands_in(self) -> bool:
        """Return whether other data than the experiment's own is used."""
        return self.data != self.experiment.choices["data"] or self.tests_elsewhere

    @property
    def tests_elsewhere(self) -> bool:
        """Return whether a test set is not one of the experiment's own."""
        return not set(self.datasets) <= set(self.experiment.datasets)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Return the trainings, the first seed of all rows first; rows that need the same one share it."""
        found: dict[str, Task] = {}
        for place in range(max((len(row.seeds) for row in self.rows), default=0)):
            for number, row in enumerate(self.rows):
                if row.run and place < len(row.seeds):
                    task = self._task(number, row, row.seeds[place])
                    known = found.get(task.key)
                    found[task.key] = task if known is None else replace(known, cells=known.cells + task.cells)
        return tuple(found.values())

    @property
    def cells(self) -> int:
        """Return the number of evaluations."""
        return sum(len(task.cells) for task in self.tasks)

    @property
    def trainings(self) -> int:
        """Return the number of trainings."""
        return sum(task.training is not None for task in self.tasks)

    @cached_property
    def key(self) -> str:
        """Return 16 digits that stand for everything that is done."""
        done = [(task.model, task.training, [list(vars(cell).values()) for cell in task.cells]) for task in self.tasks]
        return files.digest(self.experiment.name, self.experiment.title, done, self.test_limit)

    def _task(self, number: int, row: PlannedRow, seed: int) -> Task:
        cells = tuple(
            Cell(number, seed, dataset, row.gallery, row.choices.get("crops", 1)) for dataset in self.datasets
        )
        if not trains(row.model):
            return Task(row.model, None, cells)
        options = {name: row.choices[name] for name in OF_TRAINING if row.choices.get(name) is not None}
        return Task(row.model, options | {"seed": seed}, cells)


def trains(model: str) -> bool:
    """Return whether ``model``, a name or ``NAME@CHECKPOINT``, is trained before it is evaluated."""
    return "@" not in model and get_model_class(model).trainable


def with_galleries_that_exist(plan: Plan, images: Callable[[str, int | None], int]) -> tuple[Plan, list[str]]:
    """Return ``plan`` with no gallery larger than the training set, and a line on each row that changes or goes.

    Args:
        plan: its galleries may be drawn from the training coordinates.
        images: returns how many a training set has, with a limit or None for all; it is asked for every row that runs.
    """
    rows: list[PlannedRow] = []
    told: list[str] = []
    for row in plan.rows:
        there, spec = 0, row.gallery
        if row.run and trains(row.model):
            there = round(images(row.choices["data"], row.choices.get("limit")) * row.choices.get("fraction", 1.0))
        if spec is None or not there or not needs_training(spec) or parse_size(spec.rpartition(":")[2]) <= there:
            rows.append(row)
            continue
        whole = replace(row, title=row.title.replace(spec, str(there)), choices={**row.choices, "gallery": str(there)})
        said = f"{row.title}: there are {there:,} training images"
        if any(other.choices == whole.choices for other in rows):
            told.append(f"{said}; that gallery is in another row, and this one is left out.")
        else:
            rows.append(whole)
            told.append(f"{said}; all of them are the gallery.")
    return replace(plan, rows=tuple(rows)), told
