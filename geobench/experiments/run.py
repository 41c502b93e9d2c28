"""Running an experiment: each training and evaluation once, finished ones reused, failures reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from geobench import files
from geobench.devices import cores, pick_device, visible_gpus
from geobench.errors import DatasetNotFoundError, GeobenchError, SettingError
from geobench.evaluate import Options, overlap_warning
from geobench.experiments.planning import configuration
from geobench.experiments.plans import Evaluation, Plan, Task, trains, with_galleries_that_exist
from geobench.experiments.progress import (
    BarsOnly,
    EvaluationProgress,
    EvaluationRecord,
    TrainingMessages,
    label,
)
from geobench.jobs import CrashedTask, run_in_processes
from geobench.jobs.profile import Profile
from geobench.jobs.slurm import Named, run_on_slurm
from geobench.plugins import get_dataset, get_metrics
from geobench.progress import SILENT, Progress, WithoutRepeats
from geobench.results import FOLDER
from geobench.run import run
from geobench.source import code_key
from geobench.train import train

Perform = partial[list[EvaluationRecord]]
"""Called with a task and a ``Progress``."""
Done = Generator[tuple[Task, list[EvaluationRecord] | CrashedTask]]
GALLERY_SEED = 0
"""Seed of every gallery, so that all rows and training seeds share the same candidates."""


@dataclass
class Finished:
    """A finished experiment: the plan as it was run, its evaluations in the order of the table, and remarks."""

    plan: Plan
    records: list[EvaluationRecord] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Return a line for each distinct failure, naming the first evaluation that it concerns."""
        failed: dict[str, list[Evaluation]] = {}
        for record in self.records:
            if record.failure:
                failed.setdefault(record.failure, []).append(record.evaluation)
        more = {
            failure: f" and {len(evaluations) - 1} more evaluations" if evaluations[1:] else ""
            for failure, evaluations in failed.items()
        }
        return [
            f"{label(self.plan, evaluations[0])}{more[failure]}: {failure}" for failure, evaluations in failed.items()
        ]


def run_plan(
    plan: Plan,
    *,
    workers: int = 1,
    profile: Profile | None = None,
    folder: Path = FOLDER,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Finished:
    """Train and evaluate what ``plan`` asks for and is not done yet.

    Checkpoints and results are stored under a hash of everything they depend on, so that finished ones are found
    whichever command, process or job produced them.

    Args:
        plan: see :func:`geobench.experiments.planning.make_plan`.
        workers: number of processes that train and evaluate, each with its share of the cores, or a GPU of its own.
        profile: what jobs of a cluster ask for; each training is then a job.
        folder: of the results.
        device: ``auto``, ``cpu``, ``cuda``, ….
        progress: reports every evaluation.

    Raises:
        DatasetNotFoundError: the training set is not on this machine.
        SettingError: torchrun started it, a job would have several processes, or Slurm refuses the jobs.
        KeyboardInterrupt: on SIGINT or SIGTERM, after reporting how many evaluations are finished.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError(
            "torchrun starts one training in several processes, and an experiment is many trainings: use --workers on "
            "one machine, and --on slurm on a cluster."
        )
    if profile is None:
        device = pick_device(device)
    else:
        profile.check_single("an experiment")
    progress = WithoutRepeats(progress)
    plan, remarks = with_galleries_that_exist(plan, cache(_images))
    remarks = [*_unscaled(plan), *_too_few(plan, cache(_images)), *remarks]
    for line in remarks:
        progress.say(line)
    tasks, impossible = _possible(plan)
    evaluation_progress = EvaluationProgress(plan, progress, done=len(impossible))
    purpose = f"the experiment {plan.experiment.name}"
    perform = partial(_perform, purpose=purpose, test_limit=plan.test_limit, folder=folder.absolute(), device=device)
    done = (
        _performed(perform, tasks, workers, progress)
        if profile is None
        else _performed_on_slurm(perform, plan, tasks, profile, progress)
    )
    finished = {record.evaluation: record for record in impossible}
    try:
        with closing(done) as performed:
            for task, records in performed:
                evaluated = _records(task, records)
                evaluation_progress.report(evaluated)
                finished |= {record.evaluation: record for record in evaluated}
    except KeyboardInterrupt:
        saved = sum(bool(record.result) for record in finished.values())
        progress.say(f"{saved} of {plan.evaluations} evaluations are finished and saved.")
        raise
    order = [evaluation for task in plan.tasks for evaluation in task.evaluations]
    return Finished(plan, sorted(finished.values(), key=lambda record: order.index(record.evaluation)), remarks)


def _unscaled(plan: Plan) -> Iterator[str]:
    """Yield a remark if the experiment has no settings for the training set."""
    experiment = plan.experiment
    if plan.data not in (experiment.choices["data"], *experiment.on):
        scaled = f"; it has some for {', '.join(experiment.on)}" if experiment.on else ""
        yield f"{experiment.name} has no settings scaled to {plan.data}; its original settings are used{scaled}."


def _too_few(plan: Plan, images: Callable[[str, int | None], int]) -> Iterator[str]:
    """Yield a remark if there are fewer training images than a batch, so that rows will fail."""
    found: dict[tuple[int, int], list[str]] = {}
    for row in plan.rows:
        if row.run and trains(row.model):
            settings = configuration(plan.experiment, row.title, row.choices)
            available = round(images(row.choices["data"], row.choices.get("limit")) * row.choices.get("fraction", 1.0))
            available -= round(settings.get("holdout", 0.0) * available)
            if available < settings.get("batch_size", 0):
                found.setdefault((available, settings["batch_size"]), []).append(row.model)
    for (available, batch), models in found.items():
        names = " and ".join(dict.fromkeys(models))
        fits = 1 << max(available.bit_length() - 1, 0)  # a power of two
        yield (
            f"{available:,} training images are fewer than one batch of {batch:,} of {names}; "
            f"{len(models)} of {len(plan.rows)} rows will fail: stop and lower it, for example batch_size={fits}."
        )


def _images(data: str, limit: int | None) -> int:
    """Return the number of training images; raise ``DatasetNotFoundError`` if the set is not on this machine."""
    try:
        return len(get_dataset(data).table("train", limit))
    except DatasetNotFoundError as error:
        hint = "Embedded imagery needs no download: geobench experiment run NAME --data bluemarble"
        raise DatasetNotFoundError(f"{error} {hint}") from error


def _possible(plan: Plan) -> tuple[list[Task], list[EvaluationRecord]]:
    """Return the tasks whose test sets are on this machine, and failures for the evaluations on the other sets."""
    absent: dict[str, str] = {}
    for name in plan.datasets:
        try:
            get_metrics(name)
            get_dataset(name).table("test", plan.test_limit)
        except GeobenchError as error:
            absent[name] = str(error)
    tasks = [
        replace(task, evaluations=tuple(each for each in task.evaluations if each.dataset not in absent))
        for task in plan.tasks
    ]
    impossible = [each for task in plan.tasks for each in task.evaluations if each.dataset in absent]
    failures = [EvaluationRecord(each, failure=absent[each.dataset]) for each in impossible]
    return [task for task in tasks if task.evaluations], failures


def _performed(perform: Perform, tasks: Sequence[Task], workers: int, progress: Progress) -> Done:
    """Yield each task with its evaluations as it finishes; with several workers the first task runs alone.

    It extracts the features that the others share.
    """
    alone = len(tasks) if workers == 1 or len(tasks) <= 2 else 1
    for task in tasks[:alone]:
        yield task, perform(task, progress)
    if tasks[alone:]:
        progress.say(f"{workers} processes run the remaining {len(tasks) - alone} tasks.")
        share = max(1, cores() // workers)
        gpus = visible_gpus() if perform.keywords["device"] == "cuda" else []
        yield from run_in_processes(perform, tasks[alone:], workers, share, progress, gpus)


def _performed_on_slurm(
    perform: Perform, plan: Plan, tasks: Sequence[Task], profile: Profile, progress: Progress
) -> Done:
    """Yield each task with its evaluations as its job finishes."""
    where, named = perform.keywords, []
    for task in tasks:
        evaluations = [vars(each) for each in task.evaluations]
        key = files.digest(task.key, evaluations, plan.test_limit, str(where["folder"]), where["device"], code_key())
        named.append(Named(task, key, _called(plan, task)))
    return run_on_slurm(perform, named, profile, f"experiment {plan.experiment.name}", progress, first_alone=True)


def _records(task: Task, done: list[EvaluationRecord] | CrashedTask) -> list[EvaluationRecord]:
    """Return the evaluations of a task, also of one that crashed."""
    if isinstance(done, CrashedTask):
        return [EvaluationRecord(each, failure=done.reason) for each in task.evaluations]
    return done


def _called(plan: Plan, task: Task) -> str:
    """Return what people call a task: its rows, and the seed of its training."""
    rows = dict.fromkeys(plan.rows[each.row].title for each in task.evaluations)
    return f"{', '.join(rows)}, seed {task.evaluations[0].seed}"


def _perform(
    task: Task, progress: Progress, *, purpose: str, test_limit: int | None, folder: Path, device: str
) -> list[EvaluationRecord]:
    """Train, unless that is done, and evaluate; two processes never perform the same task at once."""
    with files.locked(files.home() / "experiments" / task.key, progress.say):
        try:
            spec = task.model
            if task.training is not None:
                telling = TrainingMessages(progress)
                spec = train(task.model, purpose=purpose, device=device, progress=telling, **task.training).spec
        except (GeobenchError, MemoryError, OSError) as error:
            return [EvaluationRecord(each, failure=_line(error)) for each in task.evaluations]
        how = {"limit": test_limit, "folder": folder, "device": device, "settings": task.settings}
        return [_evaluated(spec, each, how, progress) for each in task.evaluations]


def _evaluated(spec: str, evaluation: Evaluation, how: Mapping[str, Any], progress: Progress) -> EvaluationRecord:
    """Return the record of ``evaluation``; ``how`` are arguments of :func:`geobench.run`."""
    try:
        outcome = run(
            [spec],
            [evaluation.dataset],
            galleries=[evaluation.gallery] if evaluation.gallery else None,
            seeds=(GALLERY_SEED,),
            options=Options(crops=evaluation.crops),
            train_missing=False,
            progress=BarsOnly(progress),
            **how,
        )
    except (GeobenchError, MemoryError, OSError) as error:
        return EvaluationRecord(evaluation, spec, failure=_line(error))
    if outcome.failures:
        return EvaluationRecord(evaluation, spec, failure=outcome.failures[0])
    (result,) = outcome.results
    name = result.path.name if result.path else f"{result.stem}.json"
    return EvaluationRecord(evaluation, spec, name, result.created, warning=overlap_warning(result))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
