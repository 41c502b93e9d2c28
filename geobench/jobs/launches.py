"""What was submitted to a cluster: ``GEOBENCH_HOME/jobs/LAUNCH`` holds the jobs of one command, their logs and results.

Slurm counts its jobs from 1 again after it was set up anew, and a home may be used on two clusters: a job is known by
its number and its launch, which Slurm keeps as its comment.
"""

from __future__ import annotations

import json
import os
import pickle
import secrets
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from geobench import files
from geobench.errors import GeobenchError, unknown_name

FILE = "launch.json"


@dataclass(frozen=True)
class JobRecord:
    """A job: its number in Slurm, such as ``12`` or ``12_3``, the key of its task, and what people call it."""

    id: str
    task: str
    label: str


@dataclass
class Launch:
    """The jobs of one command.

    Attributes:
        name: of its folder.
        what: what the command does, such as ``experiment table-2a``.
        created: when, in local time.
        profile: digest of what its jobs ask for.
        jobs: in the order of their submission; a task that was submitted again has two.
    """

    name: str
    what: str
    created: str
    profile: str = ""
    jobs: list[JobRecord] = field(default_factory=list)

    @classmethod
    def new(cls, what: str, profile: str) -> Launch:
        """Return a launch with a folder of its own: results of other jobs with the same numbers are never taken."""
        now = datetime.now().astimezone()
        return cls(f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}", what, now.isoformat(timespec="seconds"), profile)

    @property
    def folder(self) -> Path:
        """Return where its logs and results are."""
        return _root() / self.name

    def add(self, jobs: Iterable[JobRecord]) -> None:
        """Note that ``jobs`` were submitted."""
        self.jobs += jobs
        files.write_json(self.folder / FILE, asdict(self))

    def log(self, job: JobRecord, rank: int = 0) -> Path:
        """Return the file with what a process of ``job`` printed."""
        return self.folder / f"{job.id}_{rank}_log.out"

    def result(self, job: JobRecord) -> Path:
        """Return the file with the result of ``job``, once it has one."""
        return self.folder / f"{job.id}_0_result.pkl"

    def outcome(self, job: JobRecord) -> tuple[str, Any]:
        """Return ``success`` and what ``job`` returned, or ``error`` and the last line of its traceback."""
        try:
            with self.result(job).open("rb") as file:
                kind, value = pickle.load(file)
        except Exception as error:
            return "error", f"its result cannot be read ({type(error).__name__}: {error})"
        return kind, value if kind == "success" else value.strip().splitlines()[-1]

    def cancelled(self, job: JobRecord) -> Path:
        """Return the mark of a job that was cancelled by ``geobench jobs cancel``."""
        return self.folder / f"{job.id}.cancelled"

    def was_cancelled(self, job: JobRecord) -> bool:
        """Return whether the job was cancelled by ``geobench jobs cancel``; Slurm need not keep account of it."""
        return self.cancelled(job).exists()


@dataclass(frozen=True)
class State:
    """The state of a job as Slurm names it, its nodes, how long it has run, and why it waits."""

    word: str
    nodes: str = ""
    time: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        """Return the state as people read it."""
        return self.word.lower().replace("_", " ") + (f" ({self.reason})" if self.reason else "")


def launches() -> list[Launch]:
    """Return the launches of this home, the newest first; a folder without a readable record is left out."""
    found = []
    for path in sorted(_root().glob(f"*/{FILE}"), reverse=True):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            jobs = [JobRecord(job["id"], job["task"], job["label"]) for job in values["jobs"]]
            stated = {name: values[name] for name in ("name", "what", "created", "profile") if name in values}
            found.append(Launch(**stated, jobs=jobs))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def queued() -> dict[tuple[str, str], State]:
    """Return the state of each job of this user that waits or runs, by its launch and number.

    Raises:
        GeobenchError: Slurm does not answer.
    """
    found = {}
    for row in _rows("squeue", "--me", "--all", "--noheader", "--array", "--format=%i|%T|%N|%M|%r|%k"):
        number, word, nodes, time, reason, launch = row  # a comment may hold anything
        found[launch, number] = State(word, nodes, time, "" if reason == "None" else reason)
    return found


def ended(jobs: Sequence[JobRecord], launch: Launch) -> dict[str, State]:
    """Return the last state of ``jobs``, by number, as Slurm's accounting has it; nothing where there is none."""
    numbers = ",".join(job.id for job in jobs)
    asked = ["sacct", "--noheader", "--parsable2", "--allocations", f"--starttime={launch.created[:19]}"]
    try:
        rows = _rows(*asked, "--format=JobID,State,NodeList,Elapsed,ExitCode,Comment", f"--jobs={numbers}")
    except GeobenchError:
        return {}
    found = {}
    for number, word, nodes, time, code, comment in rows:
        if comment in ("", launch.name):  # a cluster need not keep comments
            reason = "" if code == "0:0" else f"exit code {code}"
            found[number] = State(word.split()[0], nodes, time, reason)
    return found


def states(launch: Launch) -> dict[JobRecord, State]:
    """Return the state of each job of ``launch``: ``DONE`` and ``FAILED`` by its result, otherwise as Slurm has it."""
    alive = queued()
    found: dict[JobRecord, State] = {}
    for job in launch.jobs:
        if launch.result(job).exists():
            kind, value = launch.outcome(job)
            reason = str(value) if kind == "error" else getattr(value, "reason", "")
            found[job] = State("FAILED" if reason else "DONE", reason=reason)
        elif (launch.name, job.id) in alive:
            found[job] = alive[launch.name, job.id]
    over = ended(launch.jobs, launch)
    for job in launch.jobs:
        last = over.get(job.id, State("GONE", reason="without a result"))
        known = found.setdefault(job, last)
        if known.word in ("DONE", "FAILED"):
            found[job] = replace(known, nodes=last.nodes, time=last.time)
    return {job: found[job] for job in launch.jobs}


def find_job(name: str) -> tuple[Launch, JobRecord]:
    """Return the newest job with the number ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    known = {job.id: (launch, job) for launch in reversed(launches()) for job in launch.jobs}
    if name not in known:
        raise unknown_name("job", name, known, "To list them: geobench jobs --all")
    return known[name]


def cancel(name: str) -> list[str]:
    """Cancel the jobs of the launch ``name``, or the job with that number; return the numbers of those that were alive.

    Raises:
        UnknownNameError: there is no such launch or job.
        GeobenchError: Slurm does not answer.
    """
    whole = {launch.name: launch for launch in launches()}
    if name in whole:
        launch, jobs = whole[name], whole[name].jobs
    else:
        launch, job = find_job(name)
        jobs = [job]
    alive = queued()
    numbers = [job.id for job in jobs if (launch.name, job.id) in alive]
    for job in jobs:
        if job.id in numbers:
            launch.cancelled(job).touch()
    if numbers:
        _rows("scancel", *numbers)
    return numbers


def _root() -> Path:
    return files.home() / "jobs"


def _rows(*command: str) -> list[list[str]]:
    """Return the output of a command of Slurm, split at ``|``."""
    own = ("SQUEUE_", "SACCT_", "SCANCEL_")  # a user's own settings of these commands
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment["SLURM_TIME_FORMAT"] = "standard"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    except FileNotFoundError:
        raise GeobenchError(f"there is no Slurm here: {command[0]} is not on the PATH; use a login node.") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or "no reason given").splitlines()[-1]
        raise GeobenchError(f"{command[0]} failed: {said}") from None
    except subprocess.TimeoutExpired:
        raise GeobenchError(f"{command[0]} does not answer.") from None
    return [line.split("|", 5) for line in done.stdout.splitlines() if line.count("|") >= 5]
