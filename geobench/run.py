"""Every model × test set × gallery × seed: existing results are kept, missing ones computed, failures reported.

Whatever can be known beforehand is checked before anything is trained or extracted: names, the test sets' images and
tables, checkpoints, encoders' weights, galleries, the device and the results folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench import files
from geobench.audits.fitting import FittingSubsets
from geobench.audits.subsets import Subset, get_subsets, score_subset
from geobench.choices import choose, model_class_of
from geobench.devices import pick_device
from geobench.errors import GeobenchError, ResultError, SettingError
from geobench.evaluate import DEFAULTS, Options, evaluate, identity_of, overlap_warning, rows_in_training
from geobench.forecast import forecast
from geobench.gallery import gallery_for
from geobench.models import Model, TestSet
from geobench.parts import check_shard, predict_shard
from geobench.plugins import get_dataset, get_metrics
from geobench.predictions import SERVICE
from geobench.preflight import Combination, Job, Plan, check_jobs, check_settings
from geobench.progress import SILENT, Progress, WithoutRepeats
from geobench.results import FOLDER, Result, find_kept, load_result
from geobench.services import Service
from geobench.sharding import Shard
from geobench.train import train

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset

PURPOSE = "a run"
"""What the trainings are made for that a run begins by itself."""
NOTICED = 1e-6
"""Degrees, a tenth of a metre: predictions that are further apart are not the same."""


@dataclass
class RunSummary:
    """What a run did: results in the order asked for, and a line for each combination that failed.

    With a shard, results are those of the whole that were there already.

    ``planned`` are the rows of :func:`geobench.forecast.forecast` of a run that was only planned; ``parts`` the records
    of what was predicted of one shard.
    """

    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    planned: list[dict[str, Any]] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per result: what was run, its scores, and everything else that is recorded."""
        import pandas as pd

        return pd.DataFrame([result.row() for result in self.results])


def run(
    models: Sequence[str] | str,
    datasets: Sequence[str] | str,
    *,
    galleries: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    options: Options = DEFAULTS,
    limit: int | None = None,
    subset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    train_missing: bool = True,
    trained_on: str | None = None,
    allow_mixed: bool = False,
    force: bool = False,
    dry_run: bool = False,
    shard: Shard | str | None = None,
    folder: Path | str = FOLDER,
    progress: Progress = SILENT,
) -> RunSummary:
    """Evaluate every model on every test set; results are saved one by one, and those that exist are kept.

    Args:
        models: a list, or names separated by commas; ``NAME`` is its newest full training that was asked for,
            ``NAME@DATA`` the newest on that set, and there is ``NAME@CHECKPOINT``. For a ``NAME`` without one a
            training is made first, on the training set and encoder of the other models of this run, otherwise the
            default ones; it serves this run, and ``NAME`` does not stand for it elsewhere.
        datasets: names of test sets.
        galleries: specs; each set's default if None. A model that uses none runs once.
        seeds: of the galleries' draws; a gallery that is the same with every seed is evaluated once.
        options: crops, top k, batch size, workers.
        limit: number of images of each test set.
        subset: ``clean`` also scores the images that an audit kept, from the same predictions.
        settings: of models that need no training, such as a prompt; a trained model has those of its checkpoint.
        device: ``auto``, ``cpu``, ``cuda``, ….
        train_missing: False refuses a model without a checkpoint.
        trained_on: training set of all models; those without a full training on it are trained first.
        allow_mixed: compare models that were trained on different data or with different encoders.
        force: evaluate again what is there, on features extracted again.
        dry_run: only say what would be done, trained and asked.
        shard: ``3/16`` predicts the third of sixteen parts of each test set, without scores; :func:`geobench.merge`
            makes results of them.
        folder: results folder.
        progress: reports the work.

    Raises:
        UnknownNameError: a model, data set or setting that does not exist; nothing is run.
        SettingError: the device or the results folder cannot be used, no model takes ``settings``, or nothing is named;
            models were trained on different data or with different encoders; ``shard`` is none, or cannot go with
            ``subset`` or ``dry_run``.
        CheckpointError: there is no such checkpoint. Nothing is run.
        DatasetError: a test set has no such ``subset``; says which command makes it. Nothing is run.
    """
    models, datasets = _listed(models), _listed(datasets)
    for what, given in (("models", models), ("datasets", datasets), ("galleries", galleries), ("seeds", seeds)):
        if given is not None and not len(given):
            raise SettingError(f"{what} is empty, so there is nothing to run; name at least one.")
    chosen = [get_dataset(name) for name in dict.fromkeys(datasets)]
    names = list(dict.fromkeys(models))
    for dataset in chosen if subset else []:
        get_subsets(dataset.name, subset or "")
    check_settings(names, settings or {})
    files.check_folder(Path(folder))
    where = pick_device(device), Path(folder)
    plan = Plan(galleries, seeds, options, subset or "", settings or {}, *where, force, _shard(shard, subset, dry_run))
    summary = RunSummary()
    train_missing = train_missing and shard is None  # otherwise each shard would have a model of its own
    choices = choose(names, train_missing=train_missing, trained_on=trained_on, allow_mixed=allow_mixed)
    test_sets = _readable(chosen, limit, force, summary, progress)
    check_shard(plan.shard, choices, test_sets)
    jobs, failures = check_jobs(choices, test_sets, plan)
    for failure in failures:
        _report(failure, summary, progress)
    progress = WithoutRepeats(progress)
    subsets = _Subsets(plan.subset, summary, progress)
    for job in jobs if subset else []:
        if job.choice.training is None:
            subsets.check(plan.configured(job.choice.spec), job)
    if dry_run:
        summary.planned = forecast(jobs, plan, progress)
        return summary
    refreshed: list[Mapping[str, Any]] = []
    for job in jobs:
        _run_job(job, plan, subsets, refreshed, summary, progress)
    return summary


def _shard(shard: Shard | str | None, subset: str | None, dry_run: bool) -> Shard | None:
    """Return the shard that is predicted, if it is not the whole that is run."""
    if shard is not None and (subset or dry_run):
        what = "a subset" if subset else "a dry run"
        raise SettingError(f"{what} is of whole test sets; leave it out with a shard, or with predictions only.")
    return Shard.parse(shard) if isinstance(shard, str) else shard


def _listed(names: Sequence[str] | str) -> Sequence[str]:
    """Return the names, which may be given as on the command line: ``"geoclip,knn"``."""
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names


def _readable(
    datasets: Sequence[Dataset], limit: int | None, refresh: bool, summary: RunSummary, progress: Progress
) -> list[TestSet]:
    """Return the test sets that are on this machine, each read once; the others are reported."""
    found = []
    for dataset in datasets:
        try:
            get_metrics(dataset)
            found.append(TestSet.of(dataset, limit, progress, refresh=refresh))
        except GeobenchError as error:
            said = str(error)
            _report(said if dataset.name in said else f"{dataset.name}: {said}", summary, progress)
            continue
        if dataset.count is not None and len(found[-1]) != dataset.count:
            progress.say(
                f"{dataset.name}: {len(found[-1]):,} images here, {dataset.count:,} in the set its authors describe; "
                f"results are not comparable with published rows."
            )
    return found


def _report(failure: str, summary: RunSummary, progress: Progress) -> None:
    """Report at the start what cannot run; it is listed again at the end."""
    summary.failures.append(failure)
    progress.say(f"cannot run: {failure}")


class _Subsets:
    """The subset of each model and test set of a run; one that no audit fits is reported once, and left out."""

    def __init__(self, name: str, summary: RunSummary, progress: Progress) -> None:
        self._fitting, self._summary, self._progress = FittingSubsets(name), summary, progress
        self._chosen: dict[tuple[str, str], tuple[Subset, str] | None] = {}

    def check(self, model: Model, job: Job) -> None:
        """Choose the subsets for ``model``, before anything is computed."""
        for test_set, _, _ in job.combinations:
            self.of(model, test_set)

    def of(self, model: Model, test_set: TestSet) -> tuple[Subset, str] | None:
        """Return the subset and a remark for the record; None if no audit fits."""
        spec = model.checkpoint.spec if model.checkpoint is not None else model.name
        if (spec, test_set.name) not in self._chosen:
            self._chosen[spec, test_set.name] = None
            try:
                chosen, remark = self._fitting.choose(test_set.dataset, model.checkpoint)
            except GeobenchError as error:
                what = f"{spec} × the {self._fitting.name} subset of {test_set.name}"
                _report(f"{what}: {error}", self._summary, self._progress)
            else:
                self._chosen[spec, test_set.name] = chosen, remark
                if remark:
                    self._progress.say(f"{spec} on the {chosen.name} subset of {test_set.name}: {remark}.")
        return self._chosen[spec, test_set.name]


def _run_job(
    job: Job,
    plan: Plan,
    subsets: _Subsets,
    refreshed: list[Mapping[str, Any]],
    summary: RunSummary,
    progress: Progress,
) -> None:
    """Train the model if it has to be, and evaluate it on everything."""
    spec = job.choice.asked
    try:
        named = _trained(job, plan, refreshed, progress)
        model = plan.configured(named)
    except GeobenchError as error:
        summary.failures.append(f"{spec}: {error}")
        return
    load = cache(partial(plan.load, named))  # only if a result is missing
    done: set[str] = set()
    for test_set, gallery, seed in job.combinations:
        try:
            drawn = gallery_for(model, test_set.dataset, gallery, seed, progress)
            identity = identity_of(model, test_set, drawn, plan.options)
            if identity.key in done:  # seeds that draw nothing, or two names of one gallery
                progress.say(
                    f"{model.name} on {test_set.name} × {identity.gallery}: the same gallery again, "
                    f"whatever its seed ({seed}); evaluated once."
                )
                continue
            done.add(identity.key)
            combination = Combination(model, load, test_set, drawn, identity)
            if plan.shard is not None:
                parts, kept = predict_shard(combination, plan, progress)
                summary.parts += parts
                summary.results += kept
                continue
            for result in _results(combination, plan, subsets, progress):
                summary.results.append(result)
                if result.n and result.failed == result.n:
                    summary.failures.append(f"{spec} × {result.dataset}: {_all_failed(result)}")
        except GeobenchError as error:
            where = f" × {gallery}" if gallery else ""
            summary.failures.append(f"{spec} × {test_set.name}{where}: {error}")


def _trained(job: Job, plan: Plan, refreshed: list[Mapping[str, Any]], progress: Progress) -> str:
    """Return the spec of the model, trained if it has to be.

    With ``force`` it is trained on features extracted again, unless a model before was, as ``refreshed`` lists.
    """
    named, training = job.choice.spec, job.choice.training
    if job.choice.why:
        progress.say(job.choice.why)
    if training is not None:
        again = plan.force and training not in refreshed
        named = train(named, device=plan.device, purpose=PURPOSE, force=again, progress=progress, **training).spec
        if model_class_of(job.choice.asked).input == "features":
            refreshed.append(training)
    return named


def _all_failed(result: Result) -> str:
    """Return a line on a result without a single prediction: why, or where to look."""
    nothing = f"all {result.n:,} images failed, so its figures say nothing of the model"
    reasons = (result.predictions.answers or {}).get("reason", ()) if result.predictions is not None else ()
    if told := Counter(filter(None, reasons)).most_common(1):
        return f"{nothing}; the reason for {told[0][1]:,} of them: {told[0][0]}"
    return f"{nothing}; look why: geobench datasets check {result.dataset}"


def _results(combination: Combination, plan: Plan, subsets: _Subsets, progress: Progress) -> Iterator[Result]:
    """Yield the result of one combination, the kept one or a new one, saved; then that of the subset."""
    model, test_set, gallery = combination.model, combination.test_set, combination.gallery
    kept = find_kept(plan.folder, combination.identity)
    if kept is not None and not plan.asks_again(model):
        result = _kept(kept, model, test_set, plan, progress)
    else:
        result = evaluate(combination.load(), test_set, gallery, plan.options, progress=progress)
        if kept is not None and not isinstance(model, Service) and (difference := _changed(kept, result)):
            progress.say(f"{model.name} on {test_set.name}: {difference}")
        saved = result.save(plan.folder)
        progress.say(f"{model.name} on {test_set.name}{f' × {gallery.spec}' if gallery else ''}: saved {saved}.")
    if lost := result.statuses.get(SERVICE, 0) if not result.foreign else 0:
        progress.say(
            f"{result.spec} on {test_set.name}: {lost:,} of {result.n:,} images are lost to errors of the service; to "
            "ask for them again: the same command with --retry errors"
        )
    yield result
    chosen = subsets.of(model, test_set) if plan.subset else None
    if chosen is not None:
        learnt = rows_in_training(model, test_set, plan.options)
        part = score_subset(result, chosen[0], gallery, learnt, chosen[1])
        where = f"the {plan.subset} subset of {test_set.name}, {part.n:,} images"
        progress.say(f"{model.name} on {where}: {part.save(plan.folder)}.")
        yield part


def _changed(path: Path, result: Result) -> str:
    """Return a line if the predictions in ``path`` are others than those of ``result``, which has the same key."""
    try:
        before = load_result(path, predictions=True)
    except ResultError:
        return ""
    if before.predictions is None or result.predictions is None:
        return ""
    moved = np.abs(before.predictions.coordinates[:, 0] - result.predictions.coordinates[:, 0]).max(axis=1) > NOTICED
    changed = int((moved | (before.predictions.failed != result.predictions.failed)).sum())
    if not changed:
        return ""
    return (
        f"{changed:,} of {result.n:,} predictions are others than in {path.name}, which is replaced, though nothing "
        "that a result depends on is known to have changed: the model draws at random, or its predictions depend on "
        "the batch size, the device or a library."
    )


def _kept(path: Path, model: Model, test_set: TestSet, plan: Plan, progress: Progress) -> Result:
    """Return the kept result; the number of images that the model was trained on is added if it can be known by now."""
    progress.say(f"{model.name} on {test_set.name}: kept the result {path.name}.")
    result = load_result(path, predictions=True)
    if result.in_training is None and result.predictions is not None:
        learnt = rows_in_training(model, test_set, plan.options)
        if learnt is not None:
            result = replace(result, in_training=int(learnt.sum()))
            result.save(plan.folder)
    if warning := overlap_warning(result):
        progress.say(warning)
    return result
