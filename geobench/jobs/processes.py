"""Running tasks in several processes. A process that dies costs only its current task; the others continue."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from geobench.errors import GeobenchError
from geobench.progress import ConsoleProgress, ForwardedMessages, Progress

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, Progress], R]
"""What a worker process does with a task; both are pickled, and it is imported by the name of its module."""
GRACE_S = 60.0  # for a process that is being stopped to save its state
WARNINGS = {signal.SIGUSR1, signal.SIGUSR2}  # a scheduler sends them to all; they are for the process that started it
STOPPED = 130  # exit code of a worker that was told to stop in the middle of a task


@dataclass(frozen=True)
class CrashedTask:
    """The result of a task that ended with an error, or whose process ``died``; ``reason`` is one line."""

    reason: str
    died: bool = False


def run_in_processes(
    work: Work[T, R], tasks: Sequence[T], processes: int, threads: int, progress: Progress, gpus: Sequence[str] = ()
) -> Generator[tuple[T, R | CrashedTask]]:
    """Yield each of ``tasks`` with the result of ``work``, as they finish.

    Args:
        work: called in a worker process with a task and a ``Progress`` whose messages arrive at ``progress``.
        tasks: started in this order.
        processes: number of worker processes.
        threads: of each process.
        progress: shows the messages of ``work``; there are no bars.
        gpus: as in ``CUDA_VISIBLE_DEVICES``; each process sees one of them, in turn. Without any, all see all.
    """
    waiting, workers = deque(tasks), list[Worker[T]]()
    slots = deque(gpus[number % len(gpus)] if gpus else "" for number in range(processes))
    try:
        while waiting or any(worker.task for worker in workers):
            while waiting and slots:
                workers.append(Worker.start(work, threads, gpu=slots.popleft()))
            for worker in workers:
                if not worker.task and waiting:
                    worker.assign(waiting.popleft())
            for worker in _ready(workers):
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    slots.append(worker.gpu)
                    yield worker.task[0], CrashedTask(worker.cause_of_death(), died=True)
                    continue
                if kind == "line":
                    progress.say(value)
                else:
                    yield worker.task.pop(), value
    finally:
        for worker in workers:
            worker.stop()


@dataclass
class Worker(Generic[T]):
    """A worker process, its current task, in a list of at most one, and the GPU that it sees, if it is one of many."""

    process: SpawnProcess
    connection: Connection
    task: list[T]
    gpu: str = ""

    @classmethod
    def start(cls, work: Work[T, Any], threads: int, *, gpu: str = "", prints: bool = False) -> Worker[T]:
        """Start a process; if it ``prints``, it shows its progress itself, otherwise it sends its messages."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, threads, gpu, prints))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)  # inherited
        process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return cls(process, ours, [], gpu)

    def assign(self, task: T) -> None:
        """Give it a task; its connection then brings pairs ``("line", message)`` and ``("result", result)``."""
        self.task.append(task)
        try:
            self.connection.send(task)
        except OSError:
            return  # it has died, which reading from it will show

    def result(self) -> Any:
        """Wait for the result of its task; a :class:`CrashedTask` if it dies."""
        try:
            _, value = self.connection.recv()
        except (EOFError, OSError):
            return CrashedTask(self.cause_of_death(), died=True)
        self.task.pop()
        return value

    def cause_of_death(self) -> str:
        """Return how the process ended, as one line."""
        self.process.join()
        code = self.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"its process ended with exit code {code}"

    def was_stopped(self) -> bool:
        """Return whether the process ended because it was told to, with what it had done so far saved."""
        self.process.join()
        return self.process.exitcode == STOPPED

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End the process: at once if it is idle, otherwise when it has saved its state, or after ``grace_s``."""
        self.connection.close()
        if self.task:
            self.process.terminate()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _ready(workers: Sequence[Worker[Any]]) -> list[Worker[Any]]:
    """Wait until a busy worker sends something or dies; return all that did."""
    busy = {worker.connection: worker for worker in workers if worker.task}
    return [busy[connection] for connection in wait(list(busy)) if isinstance(connection, Connection)]


def _serve(connection: Connection, work: Work[Any, Any], threads: int, gpu: str, prints: bool) -> None:
    """Perform tasks until the connection is closed."""
    signal.signal(signal.SIGTERM, _stop)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    progress = ConsoleProgress() if prints else ForwardedMessages(lambda line: connection.send(("line", line)))
    stopped = False
    try:
        import torch

        torch.set_num_threads(threads)
        while True:
            task = connection.recv()
            connection.send(("result", _performed(work, task, progress)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the main process has ended, or needs this one no longer
    except KeyboardInterrupt:
        stopped = True
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # already ending: a second signal must not cause a traceback
    if stopped:
        sys.exit(STOPPED)


def _performed(work: Work[T, R], task: T, progress: Progress) -> R | CrashedTask:
    """Return the result of a task, also if it ends with an error of geobench, which need not be fit to be pickled."""
    try:
        return work(task, progress)
    except (GeobenchError, MemoryError) as error:
        return CrashedTask(" ".join(str(error).split()) or type(error).__name__)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt
