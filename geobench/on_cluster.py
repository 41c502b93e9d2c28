"""Commands as jobs of a cluster: a training; an extraction or a run in shards, merged when all have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from geobench import files
from geobench.devices import default_workers, pick_device
from geobench.errors import MergeError, SettingError, TrainingError
from geobench.features.parts import extract_shard
from geobench.jobs import CrashedTask
from geobench.jobs.profile import Profile
from geobench.jobs.slurm import Named, run_on_slurm
from geobench.merge import merge
from geobench.models import hash_table
from geobench.plugins import get_dataset, get_encoder
from geobench.progress import Progress
from geobench.results import load_result
from geobench.run import RunSummary, run
from geobench.sharding import Shard
from geobench.source import code_key
from geobench.train import check_options, train

Made = list[Path]
"""Records of parts, or the folder of one."""


@dataclass(frozen=True)
class Extraction:
    """What ``geobench features`` is asked for, by names."""

    dataset: str
    split: str = "test"
    limit: int | None = None
    encoder: str | None = None
    crops: int = 1
    device: str = "auto"
    batch_size: int = 64
    workers: int | None = None


def extract_one(extraction: Extraction, shard: Shard, progress: Progress) -> Path:
    """Extract one shard; return the folder that holds it."""
    dataset, device = get_dataset(extraction.dataset), pick_device(extraction.device)
    table = dataset.table(extraction.split, extraction.limit)
    return extract_shard(
        dataset,
        table,
        get_encoder(extraction.encoder or dataset.default_encoder),
        shard,
        table_hash=hash_table(table),
        purpose=extraction.split,
        crops=extraction.crops,
        device=device,
        batch_size=extraction.batch_size,
        workers=default_workers(device) if extraction.workers is None else extraction.workers,
        progress=progress,
    )


def train_in_job(options: Mapping[str, Any], profile: Profile, progress: Progress) -> str:
    """Train as one job, in all of its processes together; return the spec of the checkpoint.

    Args:
        options: arguments of :func:`geobench.train`, all of them.
        profile: what the job asks for.
        progress: reports the job.

    Raises:
        GeobenchError: what is known beforehand of names and settings.
        TrainingError: the job failed.
    """
    check_options(options)
    if options["force"]:
        raise SettingError("--force in a job would begin again when it is queued again; leave it out.")
    task = Named(options, files.digest("train", options, profile.processes, code_key()), options["model"])
    ((_, spec),) = run_on_slurm(_train, [task], profile, f"train {options['model']}", progress)
    if isinstance(spec, CrashedTask):
        raise TrainingError(f"{options['model']}: {spec.reason}")
    return spec


def extract_in_jobs(extraction: Extraction, shards: int, profile: Profile, progress: Progress) -> Path:
    """Extract features in ``shards`` jobs and merge them; return their folder.

    Raises:
        MergeError: a job failed.
    """
    get_encoder(extraction.encoder or get_dataset(extraction.dataset).default_encoder)
    what, key = f"features {extraction.dataset}", files.digest("features", asdict(extraction))
    made, failures = _in_jobs(partial(_extract, extraction), shards, profile, what, key, progress)
    if failures:
        raise MergeError(f"{failures[0]}; the same command makes what is missing.")
    whole = [path for path in made if not path.name.endswith(".partial")]  # it was there
    return whole[0] if whole else merge(made, progress=progress)[0]


def run_in_jobs(
    models: Sequence[str], datasets: Sequence[str], shards: int, profile: Profile, progress: Progress, **how: Any
) -> RunSummary:
    """Predict each test set in ``shards`` jobs, and merge; ``how`` are arguments of :func:`geobench.run`.

    A shard trains nothing. If one fails nothing is merged, and the failure is in the summary.
    """
    if how.get("force"):
        raise SettingError("--force in jobs would begin again when one is queued again; leave it out.")
    folder = Path(how["folder"]).absolute()
    task = {"models": list(models), "datasets": list(datasets), **how, "folder": folder}
    key = files.digest("run", {name: str(value) for name, value in task.items()}, str(Path.cwd()))
    made, failures = _in_jobs(partial(_predict, task), shards, profile, f"run {','.join(models)}", key, progress)
    if failures:
        return RunSummary(failures=list(dict.fromkeys(failures)))
    kept = [path for path in made if path.parent == folder]
    merged = merge([path for path in made if path not in kept], folder, progress) if len(made) > len(kept) else []
    return RunSummary([load_result(path, predictions=True) for path in [*kept, *merged]])


def _in_jobs(
    work: Callable[[Shard, Progress], tuple[Made, list[str]]],
    shards: int,
    profile: Profile,
    what: str,
    key: str,
    progress: Progress,
) -> tuple[Made, list[str]]:
    """Return what the jobs of all shards made, and the failures."""
    profile.check_single("a shard")
    each = [Shard(number, shards) for number in range(1, shards + 1)]
    tasks = [Named(shard, files.digest(key, str(shard), code_key()), f"shard {shard}") for shard in each]
    made: dict[Path, None] = {}
    failures: list[str] = []
    for shard, done in run_on_slurm(work, tasks, profile, what, progress):
        if isinstance(done, CrashedTask):
            failures.append(f"shard {shard}: {done.reason}")
            continue
        progress.say(f"shard {shard} is done.")
        made |= dict.fromkeys(done[0])
        failures += done[1]
    return list(made), failures


def _train(options: Mapping[str, Any], progress: Progress) -> str:
    return train(progress=progress, **options).spec


def _extract(extraction: Extraction, shard: Shard, progress: Progress) -> tuple[Made, list[str]]:
    return [extract_one(extraction, shard, progress)], []


def _predict(task: Mapping[str, Any], shard: Shard, progress: Progress) -> tuple[Made, list[str]]:
    done = run(**task, shard=shard, progress=progress)
    kept = [result.path for result in done.results if result.path is not None]
    return [*done.parts, *kept], done.failures
