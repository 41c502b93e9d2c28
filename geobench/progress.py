"""Progress of long work. The library reports to a ``Progress``; only the command line makes one that writes."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

LOG_EVERY_S = 10.0
"""Without a terminal a line is written this often."""

Advance = Callable[..., None]


class Progress:
    """Says nothing: the default of every library function."""

    def say(self, message: str) -> None:
        """Tell the user ``message``, one line."""

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield ``advance(n, **figures)``, to be called when ``n`` more of ``total`` are done.

        Args:
            what: what is being done, such as ``train geoclip``.
            total: number of ``unit`` in all, 0 where it is not known.
            unit: such as ``images``.
            done: how many of them an earlier run has done.
        """
        yield lambda n, **figures: None


SILENT = Progress()


def is_first_process() -> bool:
    """Return whether this process is the first or only one, by what torchrun tells it."""
    return os.environ.get("RANK", "0") == "0"


class ConsoleProgress(Progress):
    """A bar with rate and time left on a terminal; elsewhere a line now and then.

    Of the processes that torchrun started only the first one speaks.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = (stream or sys.stderr) if is_first_process() else io.StringIO()

    def say(self, message: str) -> None:
        """Write ``message`` as a line."""
        print(message, file=self.stream, flush=True)

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        """Yield ``advance`` of a bar, or of a log."""
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
            self.say(f"{what}: {done:,}{of} {unit}, {rate:,.0f}/s{left}{more}")

        return advance
