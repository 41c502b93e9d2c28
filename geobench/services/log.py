"""The log of answers: one line a request, on disk before it counts, and never asked for again.

A log is a folder of ``GEOBENCH_HOME/answers``: ``about.json`` says what was asked of whom since when, ``answers.jsonl``
has the replies. Lines are only ever added; of two for one photo and sample the later counts.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from geobench import files
from geobench.disk import writing
from geobench.errors import StorageError
from geobench.services.contract import Reply

if TYPE_CHECKING:
    from geobench.services.contract import Service

ANSWERED, REFUSED, REJECTED, ERROR, INVALID = "answered", "refused", "rejected", "error", "invalid"
"""What became of a request: an answer to be read; declined; not taken by the service; lost; an empty or cut answer."""
SETTLED = (ANSWERED, REFUSED, REJECTED, INVALID)
"""States that asking again would not change, as far as is known: an error is asked again whenever a run needs it."""


@dataclass(frozen=True)
class Entry:
    """A line of the log.

    Attributes:
        photo: digest of the image's content; ``image`` is what it was called, for people.
        sample: number of the answer, from 0.
        state: what became of the request; ``reason`` says why it is no answer.
        reply: what the service answered.
        seconds: that the answer took; ``tries`` are the attempts, ``at`` is when it came, UTC.
    """

    photo: str
    image: str
    sample: int
    state: str
    reason: str = ""
    reply: Reply = field(default_factory=Reply)
    seconds: float = 0.0
    tries: int = 1
    at: str = ""

    def line(self) -> bytes:
        """Return it as a line of JSON, without what is empty."""
        stated = {name: value for name, value in asdict(self).items() if value not in ("", None)}
        stated["reply"] = {name: value for name, value in stated["reply"].items() if value not in ("", None)}
        return json.dumps(stated, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"

    @classmethod
    def of(cls, line: bytes) -> Entry:
        """Return the entry of a line.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        values = json.loads(line.decode("utf-8", "surrogatepass"))
        reply = {name: values["reply"][name] for name in (f.name for f in fields(Reply)) if name in values["reply"]}
        if "coordinates" in reply:
            reply["coordinates"] = tuple(reply["coordinates"])
        known = {name: values[name] for name in (f.name for f in fields(cls)) if name in values}
        return cls(**known | {"reply": Reply(**reply)})


class AnswerLog:
    """The answers to requests that are equal but for the photo; open it with :meth:`opened`."""

    def __init__(self, model: Service) -> None:
        request = model.request()
        self.request = request
        self.model = model.name
        self.folder = files.home() / "answers" / f"{model.name}-{files.digest(model.name, request)}"
        self.path = self.folder / "answers.jsonl"
        self.entries: dict[tuple[str, int], Entry] = {}
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """Return what ``about.json`` states; without ``served`` and ``since`` before the first answer."""
        try:
            stated = json.loads((self.folder / "about.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{self.folder / 'about.json'} cannot be read ({error}); restore it from a copy."
            ) from error
        return dict(stated)

    def begin(self, served: str, day: str) -> dict[str, Any]:
        """State what answers, and since which day, with the first answer; return what :meth:`about` then does."""
        about = {"model": self.model, "request": self.request, "served": served, "since": day}
        files.write_json(self.folder / "about.json", about)
        return about

    def read(self) -> None:
        """Read the answers that are there. A line that was being written when the process died is no answer.

        Raises:
            StorageError: a line in the middle is damaged.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        self._whole = content.rfind(b"\n") + 1
        self.entries, lines = {}, content[: self._whole].split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                entry = Entry.of(line)
            except (ValueError, TypeError, KeyError) as error:
                raise StorageError(
                    f"line {number} of {self.path} is damaged ({error}); restore the file from a copy, or delete that "
                    "line to ask for its photo again."
                ) from error
            self.entries[entry.photo, entry.sample] = entry

    @contextmanager
    def opened(self, say: Callable[[str], None]) -> Iterator[None]:
        """Read the log and keep it open for new answers; another process that asks the same waits.

        Raises:
            StorageError: it is damaged or cannot be written.
        """
        with files.locked(self.path, say):
            self.read()
            with writing(self.path):
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                os.ftruncate(self._file, self._whole)
            try:
                yield
            finally:
                os.close(self._file)

    def append(self, entry: Entry) -> None:
        """Write ``entry`` and wait until it is on disk; from then on it counts.

        Raises:
            StorageError: the disk is full or fails; nothing of the entry counts.
        """
        with self._lock:
            line = entry.line()
            end = os.lseek(self._file, 0, os.SEEK_END)
            with writing(self.path):
                try:
                    while line:
                        line = line[os.write(self._file, line) :]
                    os.fsync(self._file)
                except OSError:
                    os.ftruncate(self._file, end)
                    raise
            self.entries[entry.photo, entry.sample] = entry
