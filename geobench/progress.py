"""Progress of long tasks. The library reports to a ``Progress``; only the command line uses one that prints."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

LOG_EVERY_S = 10.0
"""How often a line is printed without a terminal."""

Advance = Callable[..., None]


class Progress:
    """Reports nothing: the default of every library function."""

    def say(self, message: str) -> None:
        """Show the user ``message``, one line."""

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield ``advance(n, **figures)``, to be called when ``n`` more are done; ``figures`` are shown as well.

        Args:
            what: name of the task, such as ``train geoclip``.
            total: total number of ``unit``, 0 if unknown.
            unit: such as ``images``.
            done: how many an earlier run has completed.
        """
        yield lambda n, **figures: None


SILENT = Progress()


class WithoutRepeats(Progress):
    """Passes every message on once: twelve training runs need not repeat what they have in common."""

    def __init__(self, target: Progress) -> None:
        self.target = target
        self.said: set[str] = set()

    def say(self, message: str) -> None:
        """Show ``message`` unless it was shown before."""
        if message not in self.said:
            self.said.add(message)
            self.target.say(message)

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield the ``advance`` of the target."""
        with self.target.track(what, total, unit, done) as advance:
            yield advance


class ForwardedMessages(Progress):
    """Sends messages to another process; there are no bars."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self.send = send

    def say(self, message: str) -> None:
        """Send ``message`` to the other process."""
        self.send(message)


def is_first_process() -> bool:
    """Return whether this is the only process, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


class ConsoleProgress(Progress):
    """Prints a progress bar with rate and time left on a terminal, and otherwise a line at intervals.

    Of the processes that torchrun started, only the first one prints.

    Attributes:
        quiet: whether progress is left out, of all instances; messages are printed.
    """

    quiet = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = (stream or sys.stderr) if is_first_process() else io.StringIO()

    def say(self, message: str) -> None:
        """Print ``message`` as a line."""
        print(message, file=self.stream, flush=True)

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield the ``advance`` of a progress bar or of a log."""
        if self.quiet:
            yield lambda n, **figures: None
            return
        if not self.stream.isatty():
            yield self._log(what, total, unit, done)
            return
        from tqdm import tqdm

        with tqdm(
            total=total or None,
            initial=done,
            desc=what,
            unit=f" {unit}",
            file=self.stream,
            dynamic_ncols=True,
            leave=False,
        ) as bar:

            def advance(n: int, **figures: str) -> None:
                if figures:
                    bar.set_postfix(figures, refresh=False)
                bar.update(n)

            yield advance

    def _log(self, what: str, total: int, unit: str, done: int) -> Advance:
        start = last = time.monotonic()
        first = done

        def advance(n: int, **figures: str) -> None:
            nonlocal done, last
            done += n
            now = time.monotonic()
            if now - last < LOG_EVERY_S and not (done >= total > 0 and last > start):
                return
            last = now
            rate = (done - first) / max(now - start, 1e-9)
            of, left = (f" of {total:,}", f", {(total - done) / max(rate, 1e-9):,.0f} s left") if total else ("", "")
            more = "".join(f", {name} {value}" for name, value in figures.items())
            self.say(f"{what}: {done:,}{of} {unit}, {pace(rate, unit)}{left}{more}")

        return advance


def pace(rate: float, unit: str) -> str:
    """Return how fast ``rate`` units a second are, or how long one takes if that is more than a second.

    >>> pace(1234.5, "images"), pace(1.0, "steps"), pace(0.4, "steps")
    ('1,234/s', '1/s', '2.5 s/step')
    """
    return f"{rate:,.0f}/s" if rate >= 1 else f"{1 / max(rate, 1e-9):,.1f} s/{unit.removesuffix('s')}"
