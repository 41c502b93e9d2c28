"""One address into one part of a file, beside its place: resumed after a cut, tried again with patience."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from geobench import files
from geobench.data.download import web
from geobench.data.download.web import AddressError, CutError, Patience
from geobench.errors import DownloadError
from geobench.progress import Progress

if TYPE_CHECKING:
    from requests import Response, Session

MB = 1_000_000
RESERVE = 256 * MB
"""Of a disk that is filled by a file of unstated length so much is left free."""


@dataclass(frozen=True)
class Wanted:
    """The file that is wanted.

    Attributes:
        place: where it is to lie; :func:`fetch` writes beside it, never there.
        size, sha256: where they are known. The caller compares the hash.
        token: sent to the host that is asked, and to no other.
    """

    place: Path
    size: int | None = None
    sha256: str = ""
    token: str = ""

    @property
    def part(self) -> Part:
        """Return what has come of it."""
        return Part(self.place)


@dataclass(frozen=True)
class Fetched:
    """What a server gave: it lies in the part, whole by the server's account; ``sha256`` is what the server states."""

    url: str
    validator: str
    sha256: str
    resumed: bool


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a part come from: the address, what tells that version from others, and its length."""

    url: str = ""
    validator: str = ""
    total: int | None = None


class Part:
    """What has come of a file: a hidden ``.NAME.part`` beside its place, and ``.NAME.part.json`` with its origin."""

    def __init__(self, place: Path) -> None:
        self.path = place.with_name(f".{place.name}.part")
        self.note = place.with_name(f".{place.name}.part.json")

    @property
    def size(self) -> int:
        """Return how many bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def origin(self) -> Origin:
        """Return where they come from; an empty one where that is not known."""
        try:
            return Origin(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Origin()

    def discard(self) -> None:
        """Forget all of it."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @contextmanager
    def writing(self, origin: Origin, offset: int) -> Iterator[IO[bytes]]:
        """Yield the file, cut off at ``offset``; its origin is noted first. A disk that refuses is one line."""
        try:
            files.write_json(self.note, asdict(origin))
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.truncate(offset)
                file.seek(offset)
                yield file
        except OSError as error:
            reason = error.strerror or error
            raise DownloadError(f"cannot write {self.path}: {reason}; what has come of it is kept.") from error


def fetch(url: str, wanted: Wanted, patience: Patience, progress: Progress) -> Fetched:
    """Fetch ``url`` into the part of ``wanted``, going on where an earlier try ended.

    Raises:
        AddressError: this address does not give the file.
        DownloadError: no address can: the disk is full or cannot be written.
    """
    import requests

    part, tries = wanted.part, 0
    reached = part.size
    with requests.Session() as session:
        while True:
            try:
                return _attempt(session, url, wanted, patience, progress)
            except CutError as cut:
                if part.size >= reached + patience.progress_bytes:
                    tries, reached = 0, part.size
                tries += 1
                if tries >= patience.attempts:
                    raise AddressError(f"{cut} ({tries} tries)") from cut
                wait_s = min(patience.backoff_s * 2 ** (tries - 1), patience.longest_wait_s)
                wait_s = max(wait_s, cut.wait_s or 0.0)
                progress.say(f"{wanted.place.name}: {web.host(url)} {cut}; trying again in {wait_s:,.0f} s.")
                time.sleep(wait_s)


def _attempt(session: Session, url: str, wanted: Wanted, patience: Patience, progress: Progress) -> Fetched:
    """Ask once, and write what comes until it is all there."""
    part = wanted.part
    origin = part.origin
    headers = _headers(part, origin, url, wanted)
    with web.ask(session, url, headers, wanted.token, patience) as (response, sha256):
        web.judge(response, wanted.place.name, patience)
        if response.status_code == 416 and web.content_range(response)[1] == part.size:  # all of it had come
            return Fetched(url, origin.validator, sha256, resumed=True)
        offset = _offset(response, part, origin, url)
        whole = response.status_code == 200
        total = web.content_length(response) if whole else web.content_range(response)[1]
        _expect(response, total, wanted)
        validator = web.validator(response) or (origin.validator if offset else "")
        check_room(wanted.place.name, wanted.place.parent, (total or 0) - offset)
        with part.writing(Origin(url, validator, total), offset) as file:
            _copy(response, file, wanted, offset, total or wanted.size, patience, progress)
    return Fetched(url, validator, sha256, resumed=offset > 0)


def _headers(part: Part, origin: Origin, url: str, wanted: Wanted) -> dict[str, str]:
    """Return the headers that ask for the rest of a part, none where it cannot be trusted to fit.

    The rest fits the same version at the same address. Where the hash is known it may also come from another address,
    or from a server that does not tell versions apart: a mixture would be found out.
    """
    if not part.size:
        return {}
    if origin.url == url and origin.validator:
        return {"Range": f"bytes={part.size}-", "If-Range": origin.validator}
    return {"Range": f"bytes={part.size}-"} if wanted.sha256 else {}


def _offset(response: Response, part: Part, origin: Origin, url: str) -> int:
    """Return where in the file the body begins; discard a part that it does not go on with, and raise ``CutError``."""
    if response.status_code == 200:
        return 0
    start, total = web.content_range(response)
    validator = web.validator(response)
    changed = origin.url == url and validator and origin.validator and validator != origin.validator
    if start != part.size or total is None or (origin.total or total) != total or changed:
        part.discard()
        raise CutError("does not go on with the file that it began with")
    return part.size


def _expect(response: Response, total: int | None, wanted: Wanted) -> None:
    """Raise where the length announced is not that of the file, or none is and a cut could not be told from the end."""
    if total is not None and wanted.size is not None and total != wanted.size:
        raise AddressError(f"announces {total:,} bytes where the file has {wanted.size:,}")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if total is None and wanted.size is None and not wanted.sha256 and not chunked:
        raise AddressError("does not say how long the file is, so that a cut could not be seen")


def check_room(what: str, folder: Path, needed: int) -> None:
    """Raise ``DownloadError`` where the disk of ``folder`` has less than ``needed`` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{what} needs {needed / 1e9:,.1f} GB more and {folder} has {free / 1e9:,.1f} GB free; make room, point "
            "GEOBENCH_HOME to a larger disk, or ask for one split with --split."
        )


def _copy(
    response: Response,
    file: IO[bytes],
    wanted: Wanted,
    offset: int,
    total: int | None,
    patience: Patience,
    progress: Progress,
) -> None:
    """Write the body at ``offset``; raise ``CutError`` where it stalls or ends before ``total`` bytes are there."""
    done = offset
    with progress.track(f"download {wanted.place.name}", -(-(total or 0) // MB), "MB", offset // MB) as advance:
        for data in web.body(response, patience):
            if total is not None and done + len(data) > total:
                raise AddressError(f"sends more than the {total:,} bytes of the file")
            file.write(data)
            advance((done + len(data)) // MB - done // MB)
            done += len(data)
            if total is None and done % (64 * MB) < len(data):
                check_room(wanted.place.name, wanted.place.parent, RESERVE)
    if total is not None and done < total:
        raise CutError(f"hung up after {done:,} of {total:,} bytes")
