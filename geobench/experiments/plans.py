"""What one run of an experiment does: training runs, each with the evaluations that need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from geobench import files
from geobench.experiments.definitions import Experiment
from geobench.gallery import needs_training, parse_size
from geobench.plugins import get_model_class

TRAIN_OPTIONS = ("data", "encoder", "variant", "settings", "views", "augmentation", "live", "fraction", "limit")
"""Choices that are passed to :func:`geobench.train`."""


@dataclass(frozen=True)
class PlannedRow:
    """A row of the table, with everything resolved.

    Attributes:
        title: of the row as it is run.
        published, source, run, note: those of :class:`ExperimentRow`, resolved.
        choices: all choices; ``settings`` are those given explicitly, without defaults.
        changed: for each setting that differs from the experiment's own, the value here and the value there.
        seeds: of its training runs; a single one for a model that is not trained.
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
        """Return ``NAME``, or ``NAME@CHECKPOINT`` if it is not trained."""
        return str(self.choices["model"])

    @property
    def gallery(self) -> str | None:
        """Return the spec of its gallery, None for the default of the test set or for none."""
        return self.choices.get("gallery")


@dataclass(frozen=True)
class Evaluation:
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
        model: to train; ``NAME@CHECKPOINT`` and models that are not trainable are used as they are.
        training: arguments of :func:`geobench.train`, None if nothing is trained.
        evaluations: of the trained model.
        settings: of a model that needs no training.
    """

    model: str
    training: Mapping[str, Any] | None
    evaluations: tuple[Evaluation, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Return 16 hexadecimal digits, a hash of the model that is evaluated."""
        return files.digest(self.model, self.training, *([self.settings] if self.settings else []))


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
        """Return whether data other than the experiment's own is used."""
        return self.data != self.experiment.choices["data"] or self.tests_elsewhere

    @property
    def tests_elsewhere(self) -> bool:
        """Return whether a test set is not one of the experiment's own."""
        return not set(self.datasets) <= set(self.experiment.datasets)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks, the first seed of all rows first; rows that need the same training share it."""
        found: dict[str, Task] = {}
        for place in range(max((len(row.seeds) for row in self.rows), default=0)):
            for number, row in enumerate(self.rows):
                if row.run and place < len(row.seeds):
                    task = self._task(number, row, row.seeds[place])
                    known = found.get(task.key)
                    earlier = known.evaluations if known is not None else ()
                    found[task.key] = replace(task, evaluations=earlier + task.evaluations)
        return tuple(found.values())

    @property
    def evaluations(self) -> int:
        """Return the number of evaluations."""
        return sum(len(task.evaluations) for task in self.tasks)

    @property
    def trainings(self) -> int:
        """Return the number of trainings."""
        return sum(task.training is not None for task in self.tasks)

    @cached_property
    def key(self) -> str:
        """Return 16 hexadecimal digits, a hash of everything that is run."""
        done = [
            [task.model, task.training, [list(vars(each).values()) for each in task.evaluations]]
            + ([task.settings] if task.settings else [])
            for task in self.tasks
        ]
        return files.digest(self.experiment.name, self.experiment.title, done, self.test_limit)

    def _task(self, number: int, row: PlannedRow, seed: int) -> Task:
        evaluations = tuple(
            Evaluation(number, seed, dataset, row.gallery, row.choices.get("crops", 1)) for dataset in self.datasets
        )
        if not trains(row.model):
            return Task(row.model, None, evaluations, row.choices["settings"])
        options = {name: row.choices[name] for name in TRAIN_OPTIONS if row.choices.get(name) is not None}
        return Task(row.model, options | {"seed": seed}, evaluations)


def trains(model: str) -> bool:
    """Return whether ``model``, a name or ``NAME@CHECKPOINT``, is trained before it is evaluated."""
    return "@" not in model and get_model_class(model).trainable


def with_galleries_that_exist(plan: Plan, images: Callable[[str, int | None], int]) -> tuple[Plan, list[str]]:
    """Return ``plan`` without galleries larger than the training set, and a remark on each row changed or dropped.

    Args:
        plan: its galleries may be drawn from the training coordinates.
        images: maps a training set and a limit (None for all) to a number of images; called for every row that runs.
    """
    rows: list[PlannedRow] = []
    remarks: list[str] = []
    for row in plan.rows:
        n, spec = 0, row.gallery
        if row.run and trains(row.model):
            n = round(images(row.choices["data"], row.choices.get("limit")) * row.choices.get("fraction", 1.0))
        if spec is None or not n or not needs_training(spec) or parse_size(spec.rpartition(":")[2]) <= n:
            rows.append(row)
            continue
        whole = replace(row, title=row.title.replace(spec, str(n)), choices={**row.choices, "gallery": str(n)})
        reason = f"{row.title}: there are only {n:,} training images"
        if any(other.choices == whole.choices for other in rows):
            remarks.append(f"{reason}; a gallery of that size is in another row, so this row is left out.")
        else:
            rows.append(whole)
            remarks.append(f"{reason}; all of them form the gallery.")
    return replace(plan, rows=tuple(rows)), remarks
