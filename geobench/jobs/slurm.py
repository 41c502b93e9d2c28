"""Tasks as jobs of Slurm, through submitit. Results on the disk are the truth; the launcher only launches.

A job performs its task in a process of its own, as ``--workers`` does on one machine: told that its time is over or
that it is preempted, it lets that process save, and has itself queued again. A job that ends without a result is
submitted once more. If the command that launched them is interrupted its jobs go on, and the same command finds them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from geobench import files
from geobench.errors import GeobenchError, SettingError
from geobench.jobs.job import Job
from geobench.jobs.launches import JobRecord, Launch, State, ended, launches, queued
from geobench.jobs.processes import CrashedTask, Work
from geobench.jobs.profile import Profile
from geobench.progress import Progress

if TYPE_CHECKING:
    pass

T = TypeVar("T")
R = TypeVar("R")
MARGIN_S = 10  # of the warning, for Slurm to queue the job again
POLLS_S = (1.0, 30.0)  # between two looks at the queue: at first, and at most
UNSEEN = 3  # looks at the queue after which a job that is not in it, and has no result, has ended
REPORT_EVERY_S = 60.0
SILENCE_S = 1800.0  # of Slurm, after which the launcher gives up
ARRAY = 1000  # jobs of an array: Slurm's MaxArraySize is 1001 unless a site sets it
ALIVE = frozenset({"RUNNING", "PENDING", "REQUEUED", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING"})
OF_THE_CLUSTER = frozenset({"PREEMPTED", "NODE_FAIL", "BOOT_FAIL"})
"""Ends of a job that are not counted as its own."""


@dataclass(frozen=True)
class Named(Generic[T]):
    """A task, the key that tells it from all others, and what people call it."""

    task: T
    key: str
    label: str


def run_on_slurm(
    work: Work[T, R],
    tasks: Sequence[Named[T]],
    profile: Profile,
    what: str,
    progress: Progress,
    *,
    first_alone: bool = False,
) -> Generator[tuple[T, R | CrashedTask]]:
    """Yield each of ``tasks`` with the result of ``work``, as they finish.

    Args:
        work: called in a job; of a job with several processes in each, and the result of the first counts.
        tasks: those that an earlier launch has submitted and that wait or run are waited for; the others are submitted.
        profile: what each job asks for.
        what: the command, such as ``experiment table-2a``.
        progress: reports how many jobs wait, run and have ended.
        first_alone: the others begin when the first task has ended.

    Raises:
        SettingError: submitit is not installed, Slurm refuses the job, or torchrun started this process.
        GeobenchError: there is no Slurm here, or it has not answered for half an hour.
        KeyboardInterrupt: jobs that were submitted go on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("torchrun would submit the jobs once for each of its processes; give --on without torchrun.")
    watch = _Watch(work, profile, what, progress)
    try:
        yield from watch.results(tasks, first_alone)
    except BaseException:
        if watch.running:
            names = " ".join(dict.fromkeys(one.launch.name for one in watch.running))
            progress.say(
                f"{len(watch.running):,} jobs go on; the same command waits for them again. To see them: geobench jobs;"
                f" to end them: geobench jobs cancel {names}"
            )
        raise


@dataclass(frozen=True)
class _Running(Generic[T]):
    """A job that has no result yet, and its task."""

    launch: Launch
    job: JobRecord
    named: Named[T]

    @property
    def key(self) -> tuple[str, str]:
        """Return what :func:`queued` knows it by."""
        return self.launch.name, self.job.id

    def result(self) -> Any:
        """Return what the job returned."""
        kind, value = self.launch.outcome(self.job)
        if kind == "success" and not isinstance(value, CrashedTask):
            return value
        reason = value if kind == "error" else value.reason
        died = value.died if kind == "success" else "requeue" in value  # what it has done is saved
        return self.crashed(f"failed: {reason}", died)

    def crashed(self, reason: str, died: bool) -> CrashedTask:
        """Return what is reported of a job that failed."""
        return CrashedTask(f"its job {self.job.id} {reason.rstrip('.')}; see {self.launch.log(self.job)}", died)


class _Watch(Generic[T, R]):
    """The jobs of one command: submits them, and waits for their results."""

    def __init__(self, work: Work[T, R], profile: Profile, what: str, progress: Progress) -> None:
        self.work, self.profile, self.progress = work, profile, progress
        self.launch = Launch.new(what, files.digest(vars(profile)))
        self.running: list[_Running[T]] = []
        self._unseen, self._tried = Counter[tuple[str, str]](), Counter[str]()
        self._told: tuple[str, float] = "", 0.0
        self._silent_since: float | None = None

    def results(self, tasks: Sequence[Named[T]], first_alone: bool) -> Generator[tuple[T, R | CrashedTask]]:
        """Yield what :func:`run_on_slurm` does."""
        with files.locked(files.home() / "jobs" / "submitting", self.progress.say):  # two commands submit no task twice
            new = self._adopt(tasks)
            alone = 1 if first_alone and len(new) > 2 else 0
            self._submit(new[:alone])
            self._submit(new[alone:], after=self.running[-1].job.id if alone else "")
        started = time.monotonic()
        while self.running:
            states = self._queued() or {}
            for one in list(self.running):
                if one.launch.result(one.job).exists():
                    result = one.result()
                elif not self._silent_since and self._has_ended(one, states):
                    result = self._without_result(one)
                else:
                    continue
                self.running.remove(one)
                if not (isinstance(result, CrashedTask) and result.died and self._retries(one, result)):
                    yield one.named.task, result
            self._tell(states)
            if self.running:
                time.sleep(min(POLLS_S[1], max(POLLS_S[0], (time.monotonic() - started) / 20)))

    def _queued(self) -> Mapping[tuple[str, str], State] | None:
        """Return the states of jobs; None if Slurm does not answer, as when it is busy, which is told once.

        Raises:
            GeobenchError: it has not answered for half an hour.
        """
        try:
            states = queued()
        except GeobenchError as error:
            if self._silent_since is None:
                self.progress.say(f"{error} Asking again.")
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since > SILENCE_S:
                raise
            return None
        self._silent_since = None
        return states

    def _adopt(self, tasks: Sequence[Named[T]]) -> list[Named[T]]:
        """Wait for the jobs of earlier launches that wait or run; return the tasks that have none."""
        alive = queued()
        known = {
            job.task: (launch, job) for launch in launches() for job in launch.jobs if (launch.name, job.id) in alive
        }
        self.running = [_Running(*known[named.key], named) for named in tasks if named.key in known]
        if self.running:
            names = " ".join(dict.fromkeys(one.launch.name for one in self.running))
            asked = {one.launch.profile for one in self.running} - {self.launch.profile}
            since = f"if data have changed since{', or to use the new profile' if asked else ''}"
            self.progress.say(
                f"{len(self.running):,} jobs of an earlier command are under way; waiting for them ({since}: geobench "
                f"jobs cancel {names})."
            )
        return [named for named in tasks if named.key not in known]

    def _submit(self, tasks: Sequence[Named[T]], after: str = "") -> None:
        """Submit ``tasks``, several as an array; they begin when the job ``after`` has ended in whatever way."""
        for start in range(0, len(tasks), ARRAY):
            with _uninterrupted():
                self._submit_array(tasks[start : start + ARRAY], after)

    def _submit_array(self, tasks: Sequence[Named[T]], after: str) -> None:
        submitit = _submitit()
        executor = submitit.SlurmExecutor(self.launch.folder, max_num_timeout=self.profile.requeues)
        parameters = _parameters(self.profile) | {"job_name": "geobench", "comment": self.launch.name}
        executor.update_parameters(**parameters | ({"dependency": f"afterany:{after}"} if after else {}))
        job, each = Job(self.work, max(1, self.profile.warning_s - MARGIN_S)), [named.task for named in tasks]
        try:
            jobs = executor.map_array(job, each) if each[1:] else [executor.submit(job, *each)]
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            raise SettingError(f"Slurm refuses the job: {_last_line(error)}") from error
        records = [JobRecord(job.job_id, named.key, named.label) for job, named in zip(jobs, tasks, strict=True)]
        try:
            self.launch.add(records)
        except BaseException:  # a full disk: nobody would know of them
            subprocess.run(["scancel", *(record.id for record in records)], check=False)
            raise
        self.running += [_Running(self.launch, job, named) for job, named in zip(records, tasks, strict=True)]
        which = f"the job {records[0].id}" if len(records) == 1 else f"{len(records):,} jobs from {records[0].id} on"
        self.progress.say(f"submitted {which}; logs are in {self.launch.folder}.")

    def _has_ended(self, one: _Running[T], states: Mapping[tuple[str, str], State]) -> bool:
        """Return whether a job without a result is no longer in the queue: for a while, as files may arrive late."""
        self._unseen[one.key] = 0 if one.key in states else self._unseen[one.key] + 1
        if self._unseen[one.key] < UNSEEN:
            return False
        if one.launch.result(one.job) in one.launch.folder.iterdir():  # a network disk is late until it is listed
            return False
        last = ended([one.job], one.launch).get(one.job.id)
        return last is None or last.word not in ALIVE  # its comment may have been changed

    def _without_result(self, one: _Running[T]) -> CrashedTask:
        """Return what Slurm knows of a job that has ended without a result."""
        last = ended([one.job], one.launch).get(one.job.id, State("", reason="Slurm knows no reason"))
        where = f" on {last.nodes}" if last.nodes else ""
        if last.word in OF_THE_CLUSTER:
            self._tried[one.named.key] -= 1
        cancelled = last.word == "CANCELLED" or one.launch.was_cancelled(one.job)
        words = "cancelled" if cancelled else last.words.strip()
        return one.crashed(f"ended without a result: {words}{where}", died=not cancelled)

    def _retries(self, one: _Running[T], crashed: CrashedTask) -> bool:
        """Submit the task of a job that died again, unless it has died too often; return whether that was done."""
        self._tried[one.named.key] += 1
        if self._tried[one.named.key] > self.profile.retries:
            return False
        self.progress.say(f"{one.named.label}: {crashed.reason}; submitted again.")
        self._submit([one.named])
        return True

    def _tell(self, states: Mapping[tuple[str, str], State]) -> None:
        """Report how many jobs wait and run, if that has changed, and not too often."""
        words = Counter(states[one.key].words for one in self.running if one.key in states)
        text = ", ".join(f"{count:,} {word}" for word, count in words.most_common())
        told, when = self._told
        if text and text != told and (not told or time.monotonic() - when > REPORT_EVERY_S):
            self._told = text, time.monotonic()
            self.progress.say(f"jobs: {text}.")


def _parameters(profile: Profile) -> dict[str, Any]:
    """Return what is asked of Slurm, by submitit's names; what the profile leaves to the cluster is left out."""
    asked = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gpus_per_node": profile.gpus_per_node,
        "cpus_per_task": profile.cpus_per_task,
        "mem": f"{max(1, round(profile.mem_gb * 1024))}MB" if profile.mem_gb else "",
        "setup": ["set -e", *profile.setup] if profile.setup else [],
    }
    return {name: value for name, value in asked.items() if value} | {
        "time": profile.minutes,
        "nodes": profile.nodes,
        "ntasks_per_node": max(1, profile.gpus_per_node),
        "signal_delay_s": profile.warning_s,
        "array_parallelism": profile.parallel,
        "stderr_to_stdout": True,
        "srun_args": [  # without one process the others would wait for ever; and srun does not inherit the cores
            "--kill-on-bad-exit=1",
            *([f"--cpus-per-task={profile.cpus_per_task}"] if profile.cpus_per_task else []),
        ],
        "additional_parameters": {"requeue": True},
    }


def _submitit() -> Any:
    """Return the package submitit, which the extra ``slurm`` brings."""
    try:
        import submitit
    except ImportError:
        raise SettingError(
            "jobs of a cluster need submitit: pip install 'geobench-geolocalization[slurm]' (or pip install submitit)."
        ) from None
    return submitit


def _last_line(error: BaseException) -> str:
    said = str(getattr(error, "output", None) or error).strip() or "no reason given"
    return said.splitlines()[-1]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait, and SBATCH_* of the environment not override a profile.

    Between the submission of a job and its record nobody would know of it.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SBATCH_")}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        os.environ.update(hidden)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
