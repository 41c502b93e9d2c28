"""Progress messages of an experiment: one line per evaluation, and no repetitions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from geobench.checkpoints import find_checkpoint
from geobench.experiments.plans import Evaluation, Plan
from geobench.progress import Progress, WithoutRepeats
from geobench.provenance import now
from geobench.train import ALREADY_TRAINED


@dataclass(frozen=True)
class EvaluationRecord:
    """An evaluation that has finished or failed.

    Attributes:
        evaluation: what was evaluated.
        spec: ``MODEL@CHECKPOINT``.
        result: the name of the result file; empty if the evaluation failed.
        created: when the result was created.
        failure: why there is none, one line.
        warning: that the model was trained on test images, one line; empty if it was not.
    """

    evaluation: Evaluation
    spec: str = ""
    result: str = ""
    created: str = ""
    failure: str = ""
    warning: str = ""


def label(plan: Plan, evaluation: Evaluation) -> str:
    """Return the name of ``evaluation`` in progress messages."""
    return f"{plan.rows[evaluation.row].title}, seed {evaluation.seed}, on {evaluation.dataset}"


class TrainingMessages(WithoutRepeats):
    """Drops the message that a model is already trained, which the line of its evaluation implies."""

    def say(self, message: str) -> None:
        """Show ``message`` unless it is that one."""
        if ALREADY_TRAINED not in message:
            super().say(message)


class BarsOnly(WithoutRepeats):
    """Passes on progress bars but no messages: they concern a single result, which has a line of its own."""

    def say(self, message: str) -> None:
        """Show nothing."""


class EvaluationProgress:
    """Reports every evaluation: its number, whether it was run or already done, and the time left."""

    def __init__(self, plan: Plan, progress: Progress, done: int) -> None:
        self.plan, self.progress, self.done = plan, progress, done
        self.start, self.started, self.new = time.monotonic(), now(), 0

    def report(self, records: Sequence[EvaluationRecord]) -> None:
        """Report the evaluations of one task."""
        new_before = self.new
        for record in records:
            self.done += 1
            self.new += record.created >= self.started
            name = label(self.plan, record.evaluation)
            self.progress.say(f"evaluation {self.done} of {self.plan.evaluations}: {name}: {self._status(record)}")
        if self.new > new_before and self.done < self.plan.evaluations:
            each = (time.monotonic() - self.start) / self.new
            seconds = each * (self.plan.evaluations - self.done)
            bound = "at most" if new_before == 0 else "about"  # the first one extracted the features as well
            self.progress.say(f"{bound} {_duration(seconds)} left.")

    def _status(self, record: EvaluationRecord) -> str:
        if record.failure:
            return f"failed: {record.failure}"
        warning = f"; {record.warning}" if record.warning else ""
        if record.created < self.started:
            return f"already done, {record.result}{warning}"
        checkpoint = find_checkpoint(record.spec) if "@" in record.spec else None
        trained = checkpoint is not None and checkpoint.created >= self.started
        training = f"trained in {checkpoint.seconds:.0f} s, " if trained and checkpoint is not None else ""
        return f"{training}{record.spec}, {record.result}{warning}"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds:.0f} s"
