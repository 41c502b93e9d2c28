"""Fetch one address into a partial file next to its destination: resumed after a cut, retried with patience."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from geobench import disk, files
from geobench.data.download import web
from geobench.data.download.web import AddressError, Patience, TransientError
from geobench.errors import DownloadError
from geobench.progress import Progress

if TYPE_CHECKING:
    from requests import Response, Session

T = TypeVar("T")
MB = 1_000_000
RESERVE = 256 * MB
"""Disk space to leave free while a file of unstated length is written."""


@dataclass(frozen=True)
class Target:
    """A file to fetch.

    Attributes:
        path: its destination; :func:`fetch` writes next to it, never to it.
        size, sha256: if known. The caller compares the hash.
        token: sent to the host of the address only.
        version: content hash that the server stated beforehand, such as the ETag of the Hugging Face hub. A partial
            file of another version is not resumed.
    """

    path: Path
    size: int | None = None
    sha256: str = ""
    token: str = ""
    version: str = ""

    @property
    def part(self) -> Part:
        """Return its partial file."""
        return Part(self.path)


@dataclass(frozen=True)
class Fetched:
    """A complete partial file, by the server's account: where it came from, and whether it was ``resumed``."""

    url: str
    version: str
    resumed: bool


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a partial file come from: address, HTTP validator, stated version and full length."""

    url: str = ""
    validator: str = ""
    total: int | None = None
    version: str = ""

    def is_version_of(self, target: Target) -> bool:
        """Return whether the bytes are known to be of the version of ``target``."""
        return bool(target.version) and self.version == target.version


class Part:
    """A partial file: a hidden ``.NAME.part`` next to its destination, with its origin in ``.NAME.part.json``."""

    def __init__(self, destination: Path) -> None:
        self.path = destination.with_name(f".{destination.name}.part")
        self.note = destination.with_name(f".{destination.name}.part.json")

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def origin(self) -> Origin:
        """Return where its bytes come from; an empty origin if unknown."""
        try:
            return Origin(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Origin()

    def discard(self) -> None:
        """Delete it."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @contextmanager
    def writing(self, origin: Origin, offset: int) -> Iterator[IO[bytes]]:
        """Record the origin and yield the file, cut off at ``offset``. A failed write is a ``DownloadError``."""
        try:
            files.write_json(self.note, asdict(origin))
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.truncate(offset)
                file.seek(offset)
                yield file
        except OSError as error:
            found = disk.not_written(error, self.path) or f"{self.path} cannot be written: {error.strerror or error}."
            raise DownloadError(f"{str(found).rstrip('.')}; what was downloaded is kept.") from error


def fetch(url: str, target: Target, patience: Patience, progress: Progress) -> Fetched:
    """Fetch ``url`` into the partial file of ``target``, resuming an earlier try.

    Raises:
        AddressError: this address does not give the file.
        DownloadError: no address can: the disk is full or cannot be written.
    """
    import requests

    with requests.Session() as session:
        return retry(partial(_attempt, session, url, target, patience, progress), url, target, patience, progress)


def retry(attempt: Callable[[], T], url: str, target: Target, patience: Patience, progress: Progress) -> T:
    """Return what ``attempt`` returns, retrying on ``TransientError``; tries that bring new data are not counted.

    Raises:
        AddressError: the last permitted try failed as well.
    """
    part, tries = target.part, 0
    reached = part.size
    while True:
        try:
            return attempt()
        except TransientError as error:
            if part.size >= reached + patience.progress_bytes:
                tries, reached = 0, part.size
            tries += 1
            if tries >= patience.attempts:
                raise AddressError(f"{error} ({tries} tries)") from error
            wait_s = min(patience.backoff_s * 2 ** (tries - 1), patience.longest_wait_s)
            wait_s = max(wait_s, error.wait_s or 0.0)
            progress.say(f"{target.path.name}: {web.host(url)} {error}; trying again in {wait_s:,.0f} s.")
            time.sleep(wait_s)


def _attempt(session: Session, url: str, target: Target, patience: Patience, progress: Progress) -> Fetched:
    """Send one request and write its body until the file is complete."""
    part = target.part
    origin = part.origin
    headers = _range_headers(part, origin, url, target)
    with web.get(session, url, headers, target.token, patience) as response:
        web.check_response(response, target.path.name, patience)
        if response.status_code == 416 and web.content_range(response)[1] == part.size:  # already complete
            return Fetched(url, target.version or origin.validator, resumed=True)
        offset = _offset(response, part, origin, url, target)
        whole = response.status_code == 200
        total = web.content_length(response) if whole else web.content_range(response)[1]
        _check_length(response, total, target)
        validator = web.validator(response) or (origin.validator if offset else "")
        check_room(target.path.name, target.path.parent, (total or 0) - offset)
        with part.writing(Origin(url, validator, total, target.version), offset) as file:
            _copy(response, file, target, offset, total or target.size, patience, progress)
    return Fetched(url, target.version or validator, resumed=offset > 0)


def _range_headers(part: Part, origin: Origin, url: str, target: Target) -> dict[str, str]:
    """Return the headers that ask for the rest of a partial file, none if the rest might not fit.

    The rest fits if it is of the version that the server stated beforehand, or of the same version at the same address.
    If the hash is known it may also come from another address, or from a server that does not state a version: a
    mixture would not pass verification.
    """
    if not part.size or (origin.version and target.version and not origin.is_version_of(target)):
        return {}
    rest = {"Range": f"bytes={part.size}-"}
    if origin.is_version_of(target):
        return rest
    if origin.url == url and origin.validator:
        return rest | {"If-Range": origin.validator}
    return rest if target.sha256 else {}


def _offset(response: Response, part: Part, origin: Origin, url: str, target: Target) -> int:
    """Return where in the file the body begins; discard the partial file and raise if the body does not continue it."""
    if response.status_code == 200:
        return 0
    start, total = web.content_range(response)
    validator = web.validator(response)
    changed = origin.url == url and validator and origin.validator and validator != origin.validator
    changed = changed and not origin.is_version_of(target)
    if start != part.size or total is None or (origin.total or total) != total or changed:
        part.discard()
        raise TransientError("does not continue the file that it began")
    return part.size


def _check_length(response: Response, total: int | None, target: Target) -> None:
    """Raise ``AddressError`` if the announced length is wrong, or missing so that a cut would go unnoticed."""
    if total is not None and target.size is not None and total != target.size:
        raise AddressError(f"announces {total:,} bytes instead of {target.size:,}")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if total is None and target.size is None and not target.sha256 and not chunked:
        raise AddressError("does not state the length of the file, so a cut would go unnoticed")


def check_room(what: str, folder: Path, needed: int) -> None:
    """Raise ``DownloadError`` if the disk of ``folder`` has less than ``needed`` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{what} needs another {needed / 1e9:,.1f} GB and {folder} has {free / 1e9:,.1f} GB free; free some space, "
            "point GEOBENCH_HOME to a larger disk, or download a single split."
        )


def _copy(
    response: Response,
    file: IO[bytes],
    target: Target,
    offset: int,
    total: int | None,
    patience: Patience,
    progress: Progress,
) -> None:
    """Write the body at ``offset``; raise ``TransientError`` if it stalls or ends before ``total`` bytes."""
    done = offset
    with progress.track(f"download {target.path.name}", -(-(total or 0) // MB), "MB", offset // MB) as advance:
        for data in web.body(response, patience):
            if total is not None and done + len(data) > total:
                raise AddressError(f"sends more than the {total:,} bytes of the file")
            file.write(data)
            advance((done + len(data)) // MB - done // MB)
            done += len(data)
            if total is None and done % (64 * MB) < len(data):
                check_room(target.path.name, target.path.parent, RESERVE)
    if total is not None and done < total:
        raise TransientError(f"closed the connection after {done:,} of {total:,} bytes")
