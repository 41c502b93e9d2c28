"""Tasks spread over processes. One that dies costs the task it was at; the others go on."""

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
GRACE_S = 60.0  # for a process that is stopped to save what it has


@dataclass(frozen=True)
class Lost:
    """What a task that ended its process leaves: ``reason``, one line."""

    reason: str


def spread(
    work: Callable[[T, Say], R], tasks: Sequence[T], processes: int, threads: int, say: Say
) -> Generator[tuple[T, R | Lost]]:
    """Yield each of ``tasks`` with what ``work`` made of it, as they end.

    Args:
        work: called in a process of its own with a task and a function that tells a line; all of it is pickled.
        tasks: are begun in this order.
        processes: at work at a time.
        threads: of each.
        say: told what ``work`` tells.
    """
    waiting, crew = deque(tasks), list[_Hand[T]]()
    try:
        while waiting or any(hand.task for hand in crew):
            while waiting and len(crew) < processes:
                crew.append(_Hand.start(work, threads))
            for hand in crew:
                if not hand.task and waiting:
                    hand.begin(waiting.popleft())
            for hand in _ready(crew):
                try:
                    kind, said = hand.connection.recv()
                except (EOFError, OSError):
                    crew.remove(hand)
                    yield hand.task[0], Lost(hand.fate())
                    continue
                if kind == "said":
                    say(said)
                else:
                    yield hand.task.pop(), said
    finally:
        for hand in crew:
            hand.stop()


@dataclass
class _Hand(Generic[T]):
    """A process at work, and the task that it is at: one or none."""

    process: SpawnProcess
    connection: Connection
    task: list[T]

    @classmethod
    def start(cls, work: Callable[[T, Say], Any], threads: int) -> _Hand[T]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, threads))
        process.start()
        theirs.close()
        return cls(process, ours, [])

    def begin(self, task: T) -> None:
        self.task.append(task)
        try:
            self.connection.send(task)
        except OSError:
            return  # it is dead: reading from it says so

    def fate(self) -> str:
        """Return how the process ended."""
        self.process.join()
        code = self.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            return f"its process was ended by {name}" + (" (no memory left?)" if name == "SIGKILL" else "")
        return f"its process ended with exit code {code}"

    def stop(self) -> None:
        self.connection.close()
        if self.task:
            self.process.terminate()
        self.process.join(GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _ready(crew: Sequence[_Hand[T]]) -> list[_Hand[T]]:
    """Wait until a hand that has a task says something or dies; return all that have."""
    busy = {hand.connection: hand for hand in crew if hand.task}
    return [busy[connection] for connection in wait(list(busy)) if isinstance(connection, Connection)]


def _serve(connection: Connection, work: Callable[[Any, Say], Any], threads: int) -> None:
    """Do the tasks that come, until no more do."""
    signal.signal(signal.SIGTERM, _stop)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        import torch

        torch.set_num_threads(threads)
        while True:
            task = connection.recv()
            connection.send(("done", work(task, lambda line: connection.send(("said", line)))))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # the other side is gone, or wants this one to go
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # it is going: what is asked twice must not end in a traceback


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def dealt() -> Iterator[tuple[int, int]]:
    """Yield rank and number of the processes that ``torchrun`` started; within, each of them trains alone."""
    rank, size = int(os.environ.get("RANK", "0")), os.environ.get("WORLD_SIZE")
    if size is None:
        yield 0, 1
        return
    os.environ["WORLD_SIZE"] = "1"  # what geobench.distributed goes by
    try:
        yield rank, int(size)
    finally:
        os.environ["WORLD_SIZE"] = size


def order_for(rank: int, size: int, tasks: Sequence[T]) -> list[T]:
    """Return all ``tasks`` in the order of the process ``rank`` of ``size``: its own share, then the others' backwards.

    What another has done is found done; who is early takes the others' last tasks.

    >>> order_for(0, 2, [1, 2, 3, 4]), order_for(1, 2, [1, 2, 3, 4])
    ([1, 3, 4, 2], [2, 4, 3, 1])
    """
    others = [task for number, task in enumerate(tasks) if number % size != rank]
    return [*tasks[rank::size], *reversed(others)]
