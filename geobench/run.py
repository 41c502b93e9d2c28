"""Every model × test set × gallery × seed: what is done is kept, what is missing is made, what fails is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geobench.audits.subsets import choose_subset, get_subsets, score_subset
from geobench.checkpoints import find_checkpoint, get_model
from geobench.data.dataset import Dataset
from geobench.errors import CheckpointError, GeobenchError
from geobench.evaluate import evaluate, gallery_for, result_key
from geobench.models import Model
from geobench.plugins import get_dataset, get_model_class
from geobench.progress import SILENT, Progress
from geobench.results import FOLDER, Result, load_result
from geobench.train import DEFAULT_DATA, train


@dataclass
class Outcome:
    """What a run did: results in the order asked for, and a line for each cell that failed."""

    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    galleries: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    crops: int = 1,
    top_k: int = 1,
    limit: int | None = None,
    subset: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    train_missing: bool = True,
    force: bool = False,
    folder: Path = FOLDER,
    progress: Progress = SILENT,
) -> Outcome:
    """Evaluate every model on every test set; results are saved one by one, and kept ones are not made again.

    Args:
        models: ``NAME`` (the newest checkpoint) or ``NAME@CHECKPOINT``. One without a checkpoint is trained first, on
            the training set and encoder of the other models of this run, else the default ones.
        datasets: names of test sets.
        galleries: specs; each set's default where it is None. A model that uses none runs once.
        seeds: of the galleries' draws.
        crops, top_k, limit, batch_size, workers: as in :func:`geobench.evaluate`.
        subset: ``clean`` scores the images that an audit kept as well, from the same predictions.
        device: ``auto``, ``cpu``, ``cuda``, ….
        train_missing: False refuses a model without a checkpoint.
        force: evaluate again what is there.
        folder: where results go.
        progress: told of the work.

    Raises:
        UnknownNameError: a model or data set that does not exist; nothing is run then.
        DatasetError: a test set has no such ``subset``; says which command makes it, and nothing is run.
    """
    chosen = [get_dataset(name) for name in dict.fromkeys(datasets)]
    for dataset in chosen if subset else []:
        get_subsets(dataset.name, subset or "")
    specs = _with_checkpoints(list(dict.fromkeys(models)), train_missing)
    outcome = Outcome()
    options = {"crops": crops, "top_k": top_k, "limit": limit, "batch_size": batch_size, "workers": workers}
    for spec, training in specs.items():
        try:
            if training is not None:
                progress.say(f"{spec} has no checkpoint: it is trained first, on {training['data']}.")
                train(spec, device=device, progress=progress, **training)
            model = get_model(spec, device)
        except GeobenchError as error:
            outcome.failures.append(f"{spec}: {error}")
            continue
        if model.checkpoint is not None and "@" not in spec:
            progress.say(f"{spec}: the newest checkpoint is {model.checkpoint.spec}.")
        for dataset in chosen:
            for gallery, seed in _cells(model, galleries, seeds):
                try:
                    for result in _cell(model, dataset, gallery, seed, subset, options, folder, force, progress):
                        outcome.results.append(result)
                except GeobenchError as error:
                    where = f" × {gallery}" if gallery else ""
                    outcome.failures.append(f"{spec} × {dataset.name}{where}: {error}")
    return outcome


def _with_checkpoints(models: Sequence[str], train_missing: bool) -> dict[str, Mapping[str, Any] | None]:
    """Return for each model None, or how to train it first: as the other models of the run were trained."""
    found = {
        spec: find_checkpoint(spec) if get_model_class(spec.partition("@")[0]).trainable else None for spec in models
    }
    donor = next((c for c in found.values() if c is not None and c.encoder), None)
    plan: dict[str, Mapping[str, Any] | None] = {}
    for spec, checkpoint in found.items():
        if checkpoint is not None or not get_model_class(spec.partition("@")[0]).trainable:
            plan[spec] = None
        elif not train_missing:
            raise CheckpointError(f"{spec} has no checkpoint and --no-train was given; make one: geobench train {spec}")
        elif donor is None:
            plan[spec] = {"data": DEFAULT_DATA}
        else:
            copied = ("encoder", "seed", "crops", "limit")
            plan[spec] = {"data": donor.dataset} | {
                name: getattr(donor, name) for name in copied if getattr(donor, name) is not None
            }
    return plan


def _cells(model: Model, galleries: Sequence[str] | None, seeds: Sequence[int]) -> Iterator[tuple[str | None, int]]:
    """Yield gallery spec and seed of every cell; a model that uses no gallery has one."""
    if not model.uses_gallery:
        yield None, seeds[0]
        return
    specs: Sequence[str | None] = galleries or [None]
    for gallery in specs:
        for seed in seeds:
            yield gallery, seed


def _cell(
    model: Model,
    dataset: Dataset,
    spec: str | None,
    seed: int,
    subset: str | None,
    options: Mapping[str, Any],
    folder: Path,
    force: bool,
    progress: Progress,
) -> Iterator[Result]:
    """Yield the result of one cell, the kept one, else a new one, saved; then that of ``subset``."""
    gallery = gallery_for(model, dataset, spec, seed, progress)
    dataset.prepare("test", progress)
    table = dataset.table("test", options["limit"])
    key = result_key(model, dataset, table, gallery, seed, options["crops"], options["top_k"])
    kept = next(iter(folder.glob(f"*_{key[:8]}.json")), None)
    if kept is not None and not force:
        progress.say(f"{model.name} on {dataset.name}: kept the result {kept.name}.")
        result = load_result(kept, predictions=subset is not None)
    else:
        if dataset.count is not None and len(table) != dataset.count:
            progress.say(
                f"{dataset.name}: {len(table):,} images here, {dataset.count:,} in the set its authors describe; "
                f"the result is not comparable with published rows."
            )
        result = evaluate(model, dataset, gallery, seed=seed, progress=progress, **options)
        kept = result.save(folder)
        progress.say(f"{model.name} on {dataset.name}{f' × {gallery.spec}' if gallery else ''}: saved {kept}.")
    yield result
    if subset is not None:
        chosen = choose_subset(dataset.name, subset, result.trained_on, progress.say)
        part = score_subset(result, chosen, gallery)
        progress.say(f"{model.name} on the {subset} subset of {dataset.name}, {part.n:,} images: {part.save(folder)}.")
        yield part
