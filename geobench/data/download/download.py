"""The files of a data set, fetched from where its definition says they are: verified, recorded, never a wrong one."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geobench import files
from geobench.data.dataset import Dataset
from geobench.data.download import web
from geobench.data.download.fetch import MB, Fetched, Wanted, check_room, fetch
from geobench.data.download.unpack import unpack
from geobench.data.download.web import AddressError, Patience
from geobench.data.remote_files import RemoteFile, remote_files
from geobench.errors import DownloadError
from geobench.progress import SILENT, Progress

RECORD = "downloads.json"
"""Beside the data: of each file the address, size, SHA-256, version and date."""


@dataclass(frozen=True)
class Item:
    """A source and what of it is on this machine: ``there``, or the ``bytes_here`` of an earlier try."""

    source: RemoteFile
    place: Path
    there: bool
    bytes_here: int

    @property
    def bytes_left(self) -> int:
        """Return how many bytes are to come, as far as that is known."""
        return 0 if self.there else max(0, (self.source.size or self.source.about) - self.bytes_here)


@dataclass
class Outcome:
    """What a download brought: a record for each file that is there now, a line for each that is not."""

    files: list[dict[str, Any]]
    failures: list[str]


def plan(dataset: Dataset, split: str = "") -> list[Item]:
    """Return the files of ``dataset`` and what of them is here. Asks no server."""
    record = _read_record(dataset.folder)
    items = []
    for source in remote_files(dataset, split):
        place = dataset.folder / source.file
        unpacked = bool(source.unpack) and (dataset.folder / source.unpack).is_dir() and source.file in record
        items.append(Item(source, place, place.is_file() or unpacked, Wanted(place).part.size))
    return items


def download(
    dataset: Dataset,
    split: str = "",
    *,
    take_changed: bool = False,
    patience: Patience | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Fetch the files of ``dataset`` that are not here yet into its folder; go on with those begun.

    A file that cannot be had is told in the outcome, the others are fetched all the same. A second process waits.

    Args:
        split: only what this split needs.
        take_changed: take a file that is not what was downloaded before under this name, where no hash is known.

    Raises:
        DownloadError: there is nothing to download, or the disk is too small.
        DatasetError: the definition does not fit.
    """
    if not remote_files(dataset, split):
        raise DownloadError(f"{dataset.name} ({dataset.status}) has nothing to download. {dataset.obtain}".rstrip())
    outcome = Outcome([], [])
    with files.locked(dataset.folder / RECORD, progress.say):
        items = plan(dataset, split)
        check_room(dataset.name, dataset.folder, sum(item.bytes_left for item in items))
        for item in items:
            try:
                entry = _obtain(dataset, item, take_changed, patience or Patience(), progress)
            except DownloadError as error:
                outcome.failures.append(f"{dataset.name}: {error}")
            else:
                outcome.files.append({"file": item.source.file, "what": item.source.what, **entry})
    return outcome


def _obtain(dataset: Dataset, item: Item, take_changed: bool, patience: Patience, progress: Progress) -> dict[str, Any]:
    """Return the record of a file that is in place, fetched and unpacked where it was not."""
    source, record = item.source, _read_record(dataset.folder)
    before = record.get(source.file, {})
    entry = _present(item, before, progress) if item.there else _fetched(item, before, take_changed, patience, progress)
    target = dataset.folder / source.unpack
    if source.unpack and not target.exists():
        entry = {**entry, "unpacked": unpack(item.place, target, progress=progress)}
    if entry and entry != before:
        files.write_json(dataset.folder / RECORD, {**record, source.file: entry})
    return entry


def _present(item: Item, before: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the record of a file that is here; refuse one that is not what it is taken for."""
    source, place = item.source, item.place
    if not place.is_file():  # unpacked, and the archive removed
        return dict(before)
    size = place.stat().st_size
    expected = before.get("size") or source.size
    if expected and size != expected:
        raise DownloadError(f"{place} has {size:,} bytes and should have {expected:,}; move it away to fetch it anew.")
    if before or not source.sha256:
        return dict(before) or {"size": size}
    if (found := _sha256(place, progress)) != source.sha256:
        raise DownloadError(f"{place} is another file ({_short(found)}, not {_short(source.sha256)}); move it away.")
    return _entry("", size, found, "")


def _fetched(
    item: Item, before: Mapping[str, Any], take_changed: bool, patience: Patience, progress: Progress
) -> dict[str, Any]:
    """Put the file of ``item`` in place from the first of its addresses that has it, and return its record."""
    source, reasons = item.source, []
    if not source.urls:
        raise DownloadError(f"{source.file} has no address that a program can use; {_by_hand(item)}.")
    wanted = Wanted(item.place, source.size, source.sha256, os.environ.get(source.token, ""))
    for url in source.urls:
        try:
            return _from(url, wanted, {} if take_changed else before, patience, progress)
        except AddressError as error:
            reasons.append(f"{web.host(url)} {error}")
            progress.say(f"{source.file}: {reasons[-1]}.")
    advice = "Try again later"
    if source.token and not wanted.token:
        advice = f"Accept the terms at {source.page}, and put your access token into {source.token}"
    elif reasons and all("--take-changed" in reason for reason in reasons):
        advice = "Look at what changed before you take it"
    elif source.page:
        advice += f", or {_by_hand(item)}"
    raise DownloadError(f"{source.file} could not be had: {'; '.join(reasons)}. {advice}.")


def _from(
    url: str, wanted: Wanted, before: Mapping[str, Any], patience: Patience, progress: Progress
) -> dict[str, Any]:
    """Fetch from one address, verify, and put in place; what was resumed and does not fit is fetched once more."""
    part = wanted.part
    for last in (False, True):
        fetched = fetch(url, wanted, patience, progress)
        try:
            entry = _verified(fetched, wanted, before, progress)
            break
        except AddressError:
            part.discard()
            if last or not fetched.resumed:
                raise
            progress.say(f"{wanted.place.name}: its parts do not fit together; fetching it anew.")
    part.path.replace(wanted.place)
    part.discard()
    return entry


def _verified(fetched: Fetched, wanted: Wanted, before: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the record of what has come; raise ``AddressError`` where it is not the file."""
    path, size = wanted.part.path, wanted.part.size
    if wanted.size is not None and size != wanted.size:
        raise AddressError(f"gives {size:,} bytes where the file has {wanted.size:,}")
    sha256 = _sha256(path, progress)
    if wanted.sha256 and sha256 != wanted.sha256:
        raise AddressError(f"gives another file ({_short(sha256)}, not {_short(wanted.sha256)})")
    if fetched.sha256 and sha256 != fetched.sha256:
        raise AddressError(f"gives a file that does not fit its own hash ({_short(sha256)})")
    if before.get("sha256", sha256) != sha256:
        raise AddressError(
            f"gives another file ({_short(sha256)}) than on {before['downloaded'][:10]} ({_short(before['sha256'])}); "
            "--take-changed takes it"
        )
    if wanted.place.suffix.lower() == ".zip" and not zipfile.is_zipfile(path):
        raise AddressError("gives no whole zip archive")
    return _entry(fetched.url, size, sha256, fetched.validator)


def _entry(url: str, size: int, sha256: str, version: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"url": url, "size": size, "sha256": sha256, "version": version, "downloaded": now}


def _read_record(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if all(isinstance(entry, dict) for entry in record.values()):
            return dict(record)
    except (ValueError, AttributeError):
        pass
    raise DownloadError(f"{path} is no record of downloads; move it away.")


def _by_hand(item: Item) -> str:
    page = f"get it at {item.source.page} with a browser" if item.source.page else "get it by hand"
    return f"{page} and put it at {item.place}"


def _sha256(path: Path, progress: Progress) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file, progress.track(f"verify {path.name}", -(-path.stat().st_size // MB), "MB") as advance:
        while block := file.read(MB):
            found.update(block)
            advance(1)
    return found.hexdigest()


def _short(sha256: str) -> str:
    return f"sha256 {sha256[:12]}…"
