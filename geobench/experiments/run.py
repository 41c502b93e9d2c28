"""An experiment is run: each training once, each evaluation once, what is finished kept, what fails told."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from geobench import files
from geobench.devices import cores, pick_device
from geobench.distributed import local_device
from geobench.errors import DatasetNotFoundError, GeobenchError
from geobench.evaluate import Options
from geobench.experiments.crew import Lost, dealt, order_for, spread
from geobench.experiments.planning import configuration
from geobench.experiments.plans import Cell, Plan, Task, trains, with_galleries_that_exist
from geobench.experiments.progress import Counted, Done, OfTraining, Once, Quiet, Say, Told, called
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress
from geobench.results import FOLDER
from geobench.run import run
from geobench.train import train

GALLERY_SEED = 0
"""Of every gallery's draw: all rows and seeds choose from the same places."""


@dataclass
class Finished:
    """What a run of an experiment leaves: the plan as it was done, and its cells in the order of the table."""

    plan: Plan
    cells: list[Done] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    rank: int = 0

    @property
    def failures(self) -> list[str]:
        """Return a line for each thing that cells failed of, with the first of them."""
        why: dict[str, list[Cell]] = {}
        for done in self.cells:
            if done.failure:
                why.setdefault(done.failure, []).append(done.cell)
        more = {failure: f" and {len(cells) - 1} more cells" if cells[1:] else "" for failure, cells in why.items()}
        return [f"{called(self.plan, cells[0])}{more[failure]}: {failure}" for failure, cells in why.items()]


def run_plan(
    plan: Plan, *, workers: int = 1, folder: Path = FOLDER, device: str = "auto", progress: Progress = SILENT
) -> Finished:
    """Train and evaluate what ``plan`` asks for and is not there yet.

    Checkpoints and results are kept under the digits of everything they depend on: what is finished is found, whoever
    made it. Started by ``torchrun``, every process takes a share of the trainings.

    Args:
        plan: see :func:`geobench.experiments.planning.make_plan`.
        workers: processes that train and evaluate, each with its share of the cores.
        folder: where results go.
        device: ``auto``, ``cpu``, ``cuda``, ….
        progress: told of every cell.

    Raises:
        DatasetNotFoundError: the training set is not on this machine.
        KeyboardInterrupt: asked to stop; the progress says how much is kept.
    """
    device = local_device(pick_device(device))
    with dealt() as (rank, size):
        progress = Once(progress if rank == 0 else SILENT)
        plan, told = with_galleries_that_exist(plan, cache(_images))
        told = [*_unscaled(plan), *_too_few(plan, cache(_images)), *told]
        for line in told:
            progress.say(line)
        tasks, missing = _possible(plan)
        counted = Counted(plan, size, progress, done=len(missing))
        perform = partial(_perform, test_limit=plan.test_limit, folder=folder, device=device)
        ended = {done.cell: done for done in missing}
        try:
            with closing(_ended(perform, order_for(rank, size, tasks), workers, progress)) as ending:
                for dones in ending:
                    counted.tell(dones)
                    ended |= {done.cell: done for done in dones}
        except KeyboardInterrupt:
            progress.say(f"{sum(bool(done.result) for done in ended.values())} of {plan.cells} cells are kept.")
            raise
    order = [cell for task in plan.tasks for cell in task.cells]
    return Finished(plan, sorted(ended.values(), key=lambda done: order.index(done.cell)), told, rank)


def _unscaled(plan: Plan) -> Iterator[str]:
    """Yield what to expect of a training set that the experiment does not know."""
    experiment = plan.experiment
    if plan.data not in (experiment.choices["data"], *experiment.on):
        scaled = f"; {', '.join(experiment.on)} has some" if experiment.on else ""
        yield f"{experiment.name} has no values scaled to {plan.data}: the experiment's own are used{scaled}."


def _too_few(plan: Plan, images: Callable[[str, int | None], int]) -> Iterator[str]:
    """Yield a line where there are fewer training images than a batch, so that rows will fail."""
    found: dict[tuple[int, int], list[str]] = {}
    for row in plan.rows:
        if row.run and trains(row.model):
            settings = configuration(plan.experiment, row.title, row.choices)
            there = round(images(row.choices["data"], row.choices.get("limit")) * row.choices.get("fraction", 1.0))
            there -= round(settings.get("holdout", 0.0) * there)
            if there < settings.get("batch_size", 0):
                found.setdefault((there, settings["batch_size"]), []).append(row.model)
    for (there, batch), models in found.items():
        called = " and ".join(dict.fromkeys(models))
        fits = 1 << max(there.bit_length() - 1, 0)  # a power of two
        yield (
            f"{there:,} images to train on are fewer than the batch of {batch:,} of {called}; "
            f"{len(models)} of {len(plan.rows)} rows will fail: stop, and give --set batch_size={fits}."
        )


def _images(data: str, limit: int | None) -> int:
    """Return the number of training images; raise ``DatasetNotFoundError`` where the set is not on this machine."""
    try:
        return len(get_dataset(data).table("train", limit))
    except DatasetNotFoundError as error:
        raise DatasetNotFoundError(f"{error} On embedded imagery it runs with --data bluemarble.") from error


def _possible(plan: Plan) -> tuple[list[Task], list[Done]]:
    """Return the tasks whose test sets are on this machine, and the cells of the others as failures."""
    absent: dict[str, str] = {}
    for name in plan.datasets:
        try:
            get_dataset(name).table("test", plan.test_limit)
        except GeobenchError as error:
            absent[name] = str(error)
    tasks = [replace(task, cells=tuple(c for c in task.cells if c.dataset not in absent)) for task in plan.tasks]
    lost = [c for task in plan.tasks for c in task.cells if c.dataset in absent]
    return [task for task in tasks if task.cells], [Done(cell, failure=absent[cell.dataset]) for cell in lost]


def _ended(
    perform: Callable[[Task, Progress], list[Done]], tasks: Sequence[Task], workers: int, progress: Progress
) -> Generator[list[Done]]:
    """Yield the cells of each task as it ends; of several workers the first task makes what the others share."""
    alone = len(tasks) if workers == 1 or len(tasks) <= 2 else 1
    for task in tasks[:alone]:
        yield perform(task, progress)
    if tasks[alone:]:
        progress.say(f"{workers} processes take the other {len(tasks) - alone}.")
        share = max(1, cores() // workers)
        with closing(spread(partial(_elsewhere, perform), tasks[alone:], workers, share, progress.say)) as ending:
            for task, ended in ending:
                if isinstance(ended, Lost):
                    yield [Done(cell, failure=ended.reason) for cell in task.cells]
                else:
                    yield ended


def _elsewhere(perform: Callable[[Task, Progress], list[Done]], task: Task, say: Say) -> list[Done]:
    """Perform ``task`` in a process without a terminal of its own."""
    return perform(task, Told(say))


def _perform(task: Task, progress: Progress, *, test_limit: int | None, folder: Path, device: str) -> list[Done]:
    """Train, unless it is there, and evaluate; two processes never do the same task at once."""
    with files.locked(files.home() / "experiments" / task.key, progress.say):
        try:
            spec = task.model
            if task.training is not None:
                spec = train(task.model, device=device, progress=OfTraining(progress), **task.training).spec
        except (GeobenchError, MemoryError, OSError) as error:
            return [Done(cell, failure=_line(error)) for cell in task.cells]
        return [_evaluated(spec, cell, test_limit, folder, device, progress) for cell in task.cells]


def _evaluated(spec: str, cell: Cell, test_limit: int | None, folder: Path, device: str, progress: Progress) -> Done:
    try:
        outcome = run(
            [spec],
            [cell.dataset],
            galleries=[cell.gallery] if cell.gallery else None,
            seeds=(GALLERY_SEED,),
            options=Options(crops=cell.crops),
            limit=test_limit,
            train_missing=False,
            folder=folder,
            device=device,
            progress=Quiet(progress),
        )
    except (GeobenchError, MemoryError, OSError) as error:
        return Done(cell, spec, failure=_line(error))
    if outcome.failures:
        return Done(cell, spec, failure=outcome.failures[0])
    (result,) = outcome.results
    return Done(cell, spec, result.path.name if result.path else f"{result.stem}.json", result.created)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
