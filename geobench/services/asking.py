"""Asks a service for the photos of a test set: several at a time, again where that helps, never for an answer twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from geobench.errors import GeobenchError, ImageError, ServiceError, is_of_the_disk
from geobench.predictions import UNREADABLE
from geobench.progress import SILENT, Progress
from geobench.services.budget import Budget
from geobench.services.contract import Asking, Photo, Reply, Service
from geobench.services.faults import Busy, Fault, Refused, Rejected
from geobench.services.log import ANSWERED, ERROR, INVALID, REFUSED, REJECTED, SETTLED, AnswerLog, Entry
from geobench.services.outcomes import read, retried

BACKOFF_S = 1.0
"""Wait before the second attempt, doubled from one to the next, where a service does not say how long."""
LONGEST_BACKOFF_S = 60.0
LONGEST_WAIT_S = 600.0
"""A service that asks to wait longer ends the run: the same command goes on later."""
GIVE_UP_AFTER = 20
"""Requests in a row that fail in every attempt: the service is away, and nothing is counted against it."""
AHEAD = 4
"""Photos that are read and prepared while as many requests as allowed are under way."""
GRACE_S = 30.0
"""How long requests under way may take to end when a run is stopped: they will be paid for."""


@dataclass
class Questions:
    """What is asked of a service: ``photos`` are read when their turn comes.

    Attributes:
        model: the service.
        names: of the n images.
        photo: returns an image; raises ``ImageError`` for one that cannot be read.
        asking: what is asked again, and what may be spent.
        progress: reports the work.
        entries: (n,) for each image the entries of its samples, or why it cannot be read.
    """

    model: Service
    names: Sequence[str]
    photo: Callable[[str], Photo]
    asking: Asking = field(default_factory=Asking)
    progress: Progress = SILENT
    what: str = ""

    def __post_init__(self) -> None:
        """Prepare an empty answer for each image."""
        self.entries: list[list[Entry]] = [[] for _ in self.names]
        self.digests: list[str] = [""] * len(self.names)
        self.log = AnswerLog(self.model)
        self.budget = Budget(self.asking, self.model)
        self._not_before = 0.0
        self._failed_in_a_row = self._rejected = 0
        self._stopping = False
        self._about = self.log.about()
        self._asked: dict[tuple[str, int], asyncio.Task[Entry]] = {}
        self._next: asyncio.Queue[tuple[int, asyncio.Task[Photo]] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(AHEAD)

    def ask(self) -> list[list[Entry]]:
        """Return the entries of each image, in order of samples, when all are answered.

        Raises:
            GeobenchError: no request can succeed, the service is away or a budget is spent; what was answered is kept.
        """
        counted = self.progress.track(self.what, len(self.names), "images")
        with self.log.opened(self.progress.say), counted as advance:
            _run(lambda: self._all(advance))
        return self.entries

    async def _all(self, advance: Callable[..., None]) -> None:
        async with self.model.connected():
            there = f"{len(self.log.entries):,} are there"
            self.progress.say(f"{self.model.name}: answers are kept in {self.log.path}; {there}.")
            workers = min(self.model.config.concurrency, max(len(self.names), 1))
            reading = asyncio.create_task(self._read_ahead(workers))
            tasks = [asyncio.create_task(self._work(advance)) for _ in range(workers)]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            finally:  # of an error or Ctrl-C: what is under way will be paid for, and is kept if it ends soon
                self._stopping = True
                reading.cancel()
                if under_way := [task for task in tasks if not task.done()]:
                    self.progress.say(f"{self.model.name}: waiting for requests under way: {len(under_way)}.")
                    await asyncio.wait(under_way, timeout=GRACE_S)
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, reading, return_exceptions=True)
            for error in ended:
                if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                    raise error

    async def _work(self, advance: Callable[..., None]) -> None:
        """Take one image after the other; those of other workers are asked meanwhile."""
        while not self._stopping and (following := await self._next.get()) is not None:
            self._room.release()
            row, reading = following
            try:
                if not await self._ask_of(row, await reading):
                    return
            except ImageError as error:  # there is no file, or the service's code cannot decode it
                self.entries[row] = [Entry("", self.names[row], 0, UNREADABLE, str(error))]
            advance(1, **self.budget.figures())

    async def _read_ahead(self, workers: int) -> None:
        """Read and prepare the photos in their order, a few more than are asked for; None ends a worker."""
        ahead: list[asyncio.Task[Photo]] = []
        try:
            for row, name in enumerate(self.names):
                await self._room.acquire()
                ahead = [*(task for task in ahead if not task.done()), asyncio.create_task(self._prepared(name))]
                self._next.put_nowait((row, ahead[-1]))
        finally:
            for _ in range(workers):
                self._next.put_nowait(None)
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _prepared(self, name: str) -> Photo:
        """Return a photo, prepared if any of its samples is to be asked for."""
        photo = await asyncio.to_thread(self.photo, name)
        known = [self.log.entries.get((photo.digest, sample)) for sample in range(self.model.config.samples)]
        if any(entry is None or self._asks_again(entry) for entry in known):
            await asyncio.to_thread(self.model.prepare, photo)
        return photo

    async def _ask_of(self, row: int, photo: Photo) -> bool:
        """Append the entries of an image's samples; return False if the run is being stopped."""
        self.digests[row] = photo.digest
        for sample in range(self.model.config.samples):
            entry = await self._entry(photo, sample)
            if entry is None:
                return False
            self.entries[row].append(replace(entry, image=self.names[row]))
        return True

    async def _entry(self, photo: Photo, sample: int) -> Entry | None:
        """Return what became of a request, now or before; None if the run is being stopped.

        Copies of a photo, which other workers may have at the same time, are one request.
        """
        request = (photo.digest, sample)
        if request not in self._asked:
            known = self.log.entries.get(request)
            if known is not None and not self._asks_again(known):
                return known
            if self._stopping:
                return None
            self._asked[request] = asyncio.create_task(self._answer(photo, sample))
        return await self._asked[request]

    def _asks_again(self, entry: Entry) -> bool:
        """Return whether a request is sent again: its answer was lost, or is of a kind that ``retry`` names."""
        if entry.state not in SETTLED:
            return True
        return read(self.model, entry).status in retried(self.asking)

    async def _answer(self, photo: Photo, sample: int) -> Entry:
        """Return the entry of one request, which is then on disk."""
        state, reason, reply, tries, started = ERROR, "", Reply(), 0, 0.0
        for tries in range(1, self.model.config.tries + 1):
            await self._turn()
            reserved = self.budget.reserve(photo)
            started, billed, fault = time.monotonic(), False, None
            try:
                reply = await self._attempt(photo, sample)
                state, reason = (INVALID, reply.invalid) if reply.invalid else (ANSWERED, "")
                billed = True
            except Refused as refused:
                state, reason, billed = REFUSED, str(refused), True
            except Rejected as rejected:
                state, reason = REJECTED, str(rejected)
            except Busy as busy:
                fault, state, reason, billed = busy, ERROR, str(busy), busy.late
            finally:
                self.budget.settle(reserved, reply if state in (ANSWERED, INVALID) else None, billed=billed)
            if fault is None or not fault.again or self._stopping or tries == self.model.config.tries:
                break
            self._postpone(fault, tries)
        return await self._kept(photo, sample, state, reason, reply, time.monotonic() - started, tries)

    async def _attempt(self, photo: Photo, sample: int) -> Reply:
        """Return the reply; a failure of the connection, and one that the plugin did not foresee, is a fault too."""
        limit = self.model.config.timeout_s
        try:
            async with asyncio.timeout(limit):
                return await self.model.ask(photo, sample)
        except TimeoutError:
            raise Busy(f"no answer within {limit:g} s", late=True) from None
        except OSError as error:
            if is_of_the_disk(error):
                raise
            raise Busy(f"{type(error).__name__}: {error}") from error
        except (Fault, GeobenchError, MemoryError):
            raise
        except Exception as error:
            # what cannot be read may be half an answer; anything else is a mistake in the plugin
            reason = f"{self.model.name} failed with {type(error).__name__}: {error}"
            raise Busy(reason, late=True, again=isinstance(error, ValueError)) from error

    async def _turn(self) -> None:
        """Wait until the service wants to be asked again."""
        while (wait := self._not_before - time.monotonic()) > 0 and not self._stopping:
            await asyncio.sleep(min(wait, 0.2))

    def _postpone(self, fault: Busy, tries: int) -> None:
        """Let every worker wait as long as the service asks to, or longer from one attempt to the next.

        Raises:
            ServiceError: it asks to wait longer than a run should.
        """
        if fault.retry_after is not None and fault.retry_after > LONGEST_WAIT_S:
            raise ServiceError(
                f"{self.model.name} asks to wait {fault.retry_after:,.0f} s ({fault}). What was answered is kept; the "
                "same command goes on then."
            )
        backoff = min(LONGEST_BACKOFF_S, BACKOFF_S * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
        wait = backoff if fault.retry_after is None else max(fault.retry_after, 0.0)
        self._not_before = max(self._not_before, time.monotonic() + wait)

    async def _kept(
        self, photo: Photo, sample: int, state: str, reason: str, reply: Reply, seconds: float, tries: int
    ) -> Entry:
        """Return the entry of what became of a request, when it is on disk.

        Raises:
            ServiceError: the service is away, or another model answers than before.
        """
        self._failed_in_a_row = self._failed_in_a_row + 1 if state == ERROR else 0
        self._rejected = self._rejected + 1 if state == REJECTED and not self._about else 0
        if self._rejected >= GIVE_UP_AFTER:
            raise ServiceError(f"{self.model.name} took none of the first {GIVE_UP_AFTER} requests: {reason}.")
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            last = f"the last in {tries} attempts: {reason}"
            raise ServiceError(
                f"the last {GIVE_UP_AFTER} requests to {self.model.name} failed, {last}. What was answered is kept; "
                "the same command goes on."
            )
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        if state in (ANSWERED, INVALID):
            self._check_served(reply.served, at[:10])
        entry = Entry(photo.digest, photo.id, sample, state, reason, reply, round(seconds, 3), tries, at)
        await asyncio.to_thread(self.log.append, entry)
        return entry

    def _check_served(self, served: str, day: str) -> None:
        """State with the first answer what gave it; raise ``ServiceError`` if another model gives a later one."""
        before, since = self._about.get("served", ""), self._about.get("since", day)
        if not self._about or (served and not before):
            self._about = self.log.begin(served, since)
        elif served and served != before:
            raise ServiceError(
                f"{self.model.name} has answered as {before} since {since}, and now answers as {served}; a row of both "
                f"would be of neither. To ask the new one for every photo: --set run={self.model.config.run + 1}"
            )


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine to its end, in a thread of its own where an event loop already runs, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(main())
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(main())).result()
