"""Running tasks in several processes. A process that dies costs only its current task; the others continue."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from geobench.experiments.progress import Say

T = TypeVar("T")
R = TypeVar("R")
GRACE_S = 60.0  # for a process that is being stopped to save its state


@dataclass(frozen=True)
class CrashedTask:
    """The result of a task whose process died; ``reason`` is one line."""

    reason: str


def run_in_processes(
    work: Callable[[T, Say], R], tasks: Sequence[T], processes: int, threads: int, say: Say
) -> Generator[tuple[T, R | CrashedTask]]:
    """Yield each of ``tasks`` with the result of ``work``, as they finish.

    Args:
        work: called in a worker process with a task and a function that reports a line; everything is pickled.
        tasks: started in this order.
        processes: number of worker processes.
        threads: of each process.
        say: called with the lines that ``work`` reports.
    """
    waiting, workers = deque(tasks), list[_Worker[T]]()
    try:
        while waiting or any(worker.task for worker in workers):
            while waiting and len(workers) < processes:
                workers.append(_Worker.start(work, threads))
            for worker in workers:
                if not worker.task and waiting:
                    worker.assign(waiting.popleft())
            for worker in _ready(workers):
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    yield worker.task[0], CrashedTask(worker.cause_of_death())
                    continue
                if kind == "line":
                    say(value)
                else:
                    yield worker.task.pop(), value
    finally:
        for worker in workers:
            worker.stop()


@dataclass
class _Worker(Generic[T]):
    """A worker process and its current task, in a list of at most one."""

    process: SpawnProcess
    connection: Connection
    task: list[T]

    @classmethod
    def start(cls, work: Callable[[T, Say], Any], threads: int) -> _Worker[T]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, threads))
        process.start()
        theirs.close()
        return cls(process, ours, [])

    def assign(self, task: T) -> None:
        self.task.append(task)
        try:
            self.connection.send(task)
        except OSError:
            return  # it has died, which reading from it will show

    def cause_of_death(self) -> str:
        """Return how the process ended, as one line."""
        self.process.join()
        code = self.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"its process ended with exit code {code}"

    def stop(self) -> None:
        self.connection.close()
        if self.task:
            self.process.terminate()
        self.process.join(GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _ready(workers: Sequence[_Worker[T]]) -> list[_Worker[T]]:
    """Wait until a busy worker sends something or dies; return all that did."""
    busy = {worker.connection: worker for worker in workers if worker.task}
    return [busy[connection] for connection in wait(list(busy)) if isinstance(connection, Connection)]


def _serve(connection: Connection, work: Callable[[Any, Say], Any], threads: int) -> None:
    """Perform tasks until the connection is closed."""
    signal.signal(signal.SIGTERM, _stop)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        import torch

        torch.set_num_threads(threads)
        while True:
            task = connection.recv()
            connection.send(("result", work(task, lambda line: connection.send(("line", line)))))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # the main process has ended, or stops this one
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # already ending: a second signal must not cause a traceback


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def independent_processes() -> Iterator[tuple[int, int]]:
    """Yield rank and number of the processes that ``torchrun`` started; within the block each one trains alone."""
    rank, size = int(os.environ.get("RANK", "0")), os.environ.get("WORLD_SIZE")
    if size is None:
        yield 0, 1
        return
    os.environ["WORLD_SIZE"] = "1"  # read by geobench.distributed
    try:
        yield rank, int(size)
    finally:
        os.environ["WORLD_SIZE"] = size


def order_for(rank: int, size: int, tasks: Sequence[T]) -> list[T]:
    """Return all ``tasks`` in the order for process ``rank`` of ``size``: its own share, then the others' in reverse.

    Tasks that another process has finished are skipped, so a process that finishes early takes the others' last tasks.

    >>> order_for(0, 2, [1, 2, 3, 4]), order_for(1, 2, [1, 2, 3, 4])
    ([1, 3, 4, 2], [2, 4, 3, 1])
    """
    others = [task for number, task in enumerate(tasks) if number % size != rank]
    return [*tasks[rank::size], *reversed(others)]
