"""What runs in a job, on the node that Slurm gives to it: the task, in a process of its own that is told to save."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from geobench.devices import cores
from geobench.errors import GeobenchError
from geobench.jobs.processes import CrashedTask, Work, Worker

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

T = TypeVar("T")
R = TypeVar("R")
LEAVING_S = 900.0  # for Slurm to end a job whose task was stopped


class Job(Generic[T, R]):
    """What submitit calls in each process of a job with the task, and whose ``checkpoint`` it calls to save.

    Attributes:
        work: what is done.
        grace_s: how long the process of the task may take to save what it has done.
    """

    def __init__(self, work: Work[T, R], grace_s: float) -> None:
        self.work, self.grace_s = work, grace_s
        self._worker: Worker[T] | None = None

    def __call__(self, task: T) -> R | CrashedTask:
        """Return the result of the task."""
        _join_the_others()
        self._worker = worker = Worker[T].start(self.work, _threads(), prints=True)
        try:
            worker.assign(task)
            result: R | CrashedTask = worker.result()
            if isinstance(result, CrashedTask) and result.died:
                if worker.was_stopped():
                    _wait_for_the_end()
                if os.environ.get("RANK", "0") != "0":
                    os._exit(1)  # so that Slurm ends the others, which would wait for this one
            return result
        finally:
            worker.stop(self.grace_s)

    def checkpoint(self, task: T) -> DelayedSubmission:
        """Let the task save; return how it goes on when the job is run again."""
        from submitit.core.utils import DelayedSubmission

        if self._worker is not None:
            self._worker.stop(self.grace_s)
        return DelayedSubmission(Job(self.work, self.grace_s), task)


def _threads() -> int:
    """Return the cores that Slurm gives to each process."""
    tasks = max(1, int(os.environ.get("SLURM_NTASKS_PER_NODE", "1")))
    of_node = int(os.environ.get("SLURM_CPUS_ON_NODE", "0")) // tasks
    return int(os.environ.get("SLURM_CPUS_PER_TASK", "0")) or of_node or cores()


def _join_the_others() -> None:
    """Tell torch.distributed of the other processes of the job, if there are any."""
    if int(os.environ.get("SLURM_NTASKS", "1")) == 1:
        return
    from submitit.helpers import TorchDistributedEnvironment

    group = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    os.environ["MASTER_ADDR"] = _address(group.master_addr)


def _address(node: str) -> str:
    """Return the address of a node: its name, or where that means nothing to the system what Slurm knows."""
    try:
        socket.getaddrinfo(node, None)
    except OSError:
        shown = subprocess.run(["scontrol", "show", "node", node], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\bNodeAddr=(\S+)", shown)
        return found[1] if found else node
    return node


def _wait_for_the_end() -> None:
    """Wait until Slurm ends a job that it has told to stop, and perhaps queues it again; it has no result."""
    print("stopped, and saved; waiting for Slurm to end the job.", file=sys.stderr, flush=True)
    time.sleep(LEAVING_S)
    raise GeobenchError("it was told to stop, but not by Slurm, which has not ended it")
