"""What is told of an experiment while it runs: a line per cell, and nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from geobench.checkpoints import find_checkpoint
from geobench.experiments.plans import Cell, Plan
from geobench.progress import Advance, Progress
from geobench.provenance import now

Say = Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """A cell that is finished, or that failed.

    Attributes:
        cell: what was evaluated.
        spec: ``MODEL@CHECKPOINT``.
        result: the name of its file among the results; empty where it failed.
        created: when that was made.
        failure: why there is none, one line.
    """

    cell: Cell
    spec: str = ""
    result: str = ""
    created: str = ""
    failure: str = ""


def called(plan: Plan, cell: Cell) -> str:
    """Return what a line of progress calls ``cell``."""
    return f"{plan.rows[cell.row].title}, seed {cell.seed}, on {cell.dataset}"


class Once(Progress):
    """Passes a progress on, every line once: twelve trainings need not say twelve times what they have in common."""

    def __init__(self, to: Progress) -> None:
        self.to = to
        self.said: set[str] = set()

    def say(self, message: str) -> None:
        """Tell ``message``, unless it was told before."""
        if message not in self.said:
            self.said.add(message)
            self.to.say(message)

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield ``advance`` of the progress that is passed on to."""
        with self.to.track(what, total, unit, done) as advance:
            yield advance


class OfTraining(Once):
    """Leaves out the line on a training that is kept: that of its cell says so."""

    def say(self, message: str) -> None:
        """Tell ``message``, unless it is that line."""
        if "is trained already" not in message:
            super().say(message)


class Quiet(Once):
    """Passes on how far the work is; its lines are about one result, which the line of its cell tells of."""

    def say(self, message: str) -> None:
        """Say nothing."""


class Told(Progress):
    """Hands lines to another process; bars it has none."""

    def __init__(self, hand_over: Say) -> None:
        self.hand_over = hand_over

    def say(self, message: str) -> None:
        """Tell the other process ``message``."""
        self.hand_over(message)


class Counted:
    """Tells of every cell: which of how many, kept or made, and the time left."""

    def __init__(self, plan: Plan, size: int, progress: Progress, done: int) -> None:
        self.plan, self.size, self.progress, self.done = plan, size, progress, done
        self.begun, self.started, self.made = time.monotonic(), now(), 0

    def tell(self, dones: Sequence[Done]) -> None:
        """Tell of the cells of one task."""
        made_before = self.made
        for done in dones:
            self.done += 1
            self.made += done.created >= self.started
            self.progress.say(
                f"cell {self.done} of {self.plan.cells}: {called(self.plan, done.cell)}: {self._what(done)}"
            )
        if self.made > made_before and self.done < self.plan.cells:
            each = (time.monotonic() - self.begun) / self.made
            seconds = each * (self.plan.cells - self.done) / self.size
            most = "at most " if made_before == 0 else ""  # the first one made the features as well
            self.progress.say(f"{most}about {_span(seconds)} left.")

    def _what(self, done: Done) -> str:
        if done.failure:
            return f"failed: {done.failure}"
        if done.created < self.started:
            return f"kept, {done.result}"
        checkpoint = find_checkpoint(done.spec) if "@" in done.spec else None
        trained = checkpoint is not None and checkpoint.created >= self.started
        took = f"trained in {checkpoint.seconds:.0f} s, " if trained and checkpoint is not None else ""
        return f"{took}{done.spec}, {done.result}"


def _span(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds:.0f} s"
