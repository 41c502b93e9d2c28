"""The files of a data set, fetched from the addresses in its definition: verified, recorded, unpacked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from geobench import files
from geobench.data.dataset import Dataset
from geobench.data.download import hub, web
from geobench.data.download.fetch import Target, check_room, fetch, retry
from geobench.data.download.hub import HubFile
from geobench.data.download.record import (
    RECORD,
    check_stated,
    new_entry,
    read_record,
    sha256_of,
    short,
    verify,
    write_record,
)
from geobench.data.download.unpack import unpack
from geobench.data.download.web import AddressError, Patience
from geobench.data.remote_files import RemoteFile, remote_files
from geobench.errors import DownloadError
from geobench.progress import SILENT, Progress


@dataclass(frozen=True)
class PlannedFile:
    """A file of a data set and how much of it is on this machine.

    Attributes:
        remote: what the definition states.
        path: its destination.
        present: nothing is missing.
        in_hub_cache: the cache of the Hugging Face hub has it on the same disk, so that a link is enough.
        bytes_here: size of the partial file of an earlier try.
    """

    remote: RemoteFile
    path: Path
    present: bool
    in_hub_cache: bool
    bytes_here: int

    @property
    def bytes_left(self) -> int:
        """Return how many bytes are still to come, as far as the size is known."""
        if self.present or self.in_hub_cache:
            return 0
        return max(0, (self.remote.size or self.remote.about) - self.bytes_here)


@dataclass
class DownloadSummary:
    """The result of a download: a record of each file that is now present, a line for each that is not."""

    files: list[dict[str, Any]]
    failures: list[str]


def plan(dataset: Dataset, split: str = "") -> list[PlannedFile]:
    """Return the files of ``dataset`` and how much of each is on this machine. Asks no server."""
    record = read_record(dataset.folder)
    planned = []
    for remote in remote_files(dataset, split):
        path = dataset.folder / remote.file
        unpacked = bool(remote.unpack) and (dataset.folder / remote.unpack).is_dir() and remote.file in record
        present = path.is_file() or unpacked
        cached = not present and _in_hub_cache(remote, path)
        planned.append(PlannedFile(remote, path, present, cached, 0 if present else Target(path).part.size))
    return planned


def _in_hub_cache(remote: RemoteFile, path: Path) -> bool:
    """Return whether the hub's cache has a file of ``remote`` on the disk of ``path``."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    files_on_hub = [file for file in map(hub.parse_address, remote.urls) if file]
    cached = [file.cached() for file in files_on_hub]
    return any(file and file.stat().st_dev == folder.stat().st_dev for file in cached)


def download(
    dataset: Dataset,
    split: str = "",
    *,
    accept_changed: bool = False,
    patience: Patience | None = None,
    progress: Progress = SILENT,
) -> DownloadSummary:
    """Download the missing files of ``dataset`` into its folder, resuming partial ones.

    A file that cannot be downloaded is reported in the summary, and the others are downloaded all the same. A second
    process waits for the first.

    Args:
        split: only what this split needs.
        accept_changed: accept a file that differs from the one downloaded before under this name, if the definition
            states no hash.

    Raises:
        DownloadError: there is nothing to download, or too little disk space.
        DatasetError: the definition is invalid.
    """
    if not remote_files(dataset, split):
        raise DownloadError(f"{dataset.name} ({dataset.status}) has nothing to download. {dataset.obtain}".rstrip())
    summary = DownloadSummary([], [])
    with files.locked(dataset.folder / RECORD, progress.say):
        planned = plan(dataset, split)
        check_room(dataset.name, dataset.folder, sum(file.bytes_left for file in planned))
        for file in planned:
            try:
                entry = _obtain(dataset, file, accept_changed, patience or Patience(), progress)
            except DownloadError as error:
                summary.failures.append(f"{dataset.name}: {error}")
            else:
                summary.files.append({"file": file.remote.file, "what": file.remote.what, **entry})
    return summary


def _obtain(
    dataset: Dataset, file: PlannedFile, accept_changed: bool, patience: Patience, progress: Progress
) -> dict[str, Any]:
    """Return the record of a file, fetching and unpacking it if necessary."""
    remote = file.remote
    before = read_record(dataset.folder).get(remote.file, {})
    if file.present:
        entry = _check_present(file, before, progress)
    else:
        entry = _fetch_any(file, {} if accept_changed else before, patience, progress)
    folder = dataset.folder / remote.unpack
    if remote.unpack and not folder.exists():
        entry = {**entry, "unpacked": unpack(file.path, folder, progress=progress)}
    if entry and entry != before:
        write_record(dataset.folder, remote.file, entry)
    return entry


def _check_present(file: PlannedFile, before: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the record of a file that is present; raise ``DownloadError`` if it is not the expected one."""
    remote, path = file.remote, file.path
    if not path.is_file():  # unpacked, and the archive removed
        return dict(before)
    size = path.stat().st_size
    expected = before.get("size") or remote.size
    if expected and size != expected:
        raise DownloadError(f"{path} has {size:,} bytes instead of {expected:,}; move it away to download it again.")
    if before or not remote.sha256:
        return dict(before) or {"size": size}
    if (found := sha256_of(path, progress)) != remote.sha256:
        raise DownloadError(f"{path} is another file ({short(found)}, not {short(remote.sha256)}); move it away.")
    return new_entry("", size, found, "")


def _fetch_any(file: PlannedFile, before: Mapping[str, Any], patience: Patience, progress: Progress) -> dict[str, Any]:
    """Download ``file`` from the first of its addresses that has it and return its record."""
    remote, failures = file.remote, list[tuple[str, AddressError]]()
    if not remote.urls:
        raise DownloadError(f"{remote.file} has no address that a program can use; {_by_hand(file)}.")
    target = Target(file.path, remote.size, remote.sha256, os.environ.get(remote.token, ""))
    for url in remote.urls:
        hub_file = hub.parse_address(url)
        try:
            if hub_file:
                return _from_hub(hub_file, target, before, patience, progress)
            return _from_address(url, target, before, patience, progress)
        except AddressError as error:
            asked = web.host(hub.address_in_use(url))
            failures.append((f"{asked} {error}", error))
            progress.say(f"{remote.file}: {asked} {error}.")
    reasons = "; ".join(line for line, _ in failures)
    raise DownloadError(f"{remote.file} could not be downloaded: {reasons}. {_advice(file, failures)}.")


def _advice(file: PlannedFile, failures: Sequence[tuple[str, AddressError]]) -> str:
    """Return what to do about a file that no address gave."""
    remote = file.remote
    if found := next((error.advice for _, error in failures if error.advice), ""):
        return found
    if remote.token and not os.environ.get(remote.token) and not any(map(hub.parse_address, remote.urls)):
        return f"Accept the terms at {remote.page} and set {remote.token} to your access token"
    return "Try again later" + (f", or {_by_hand(file)}" if remote.page else "")


def _from_hub(
    hub_file: HubFile, target: Target, before: Mapping[str, Any], patience: Patience, progress: Progress
) -> dict[str, Any]:
    """Download from the Hugging Face hub, or link the copy in its cache, and return the record."""
    look_up = partial(hub.look_up, hub_file, target.token, patience)
    version = retry(look_up, hub_file.url(), target, patience, progress)
    check_stated(version.size, version.sha256, target, before)
    target = replace(
        target,
        size=version.size if target.size is None else target.size,
        sha256=target.sha256 or version.sha256,
        token=version.token,
        version=version.etag,
    )
    cached = hub_file.cached(version.commit)
    if cached:
        try:
            size, sha256 = verify(cached, target, before, progress)
        except AddressError as error:
            progress.say(f"{target.path.name}: the copy in the cache of the hub is not used: it {error}.")
        else:
            hub.link(cached, target.path)
            target.part.discard()
            return new_entry(version.url, size, sha256, version.etag)
    return _from_address(version.url, target, before, patience, progress)


def _from_address(
    url: str, target: Target, before: Mapping[str, Any], patience: Patience, progress: Progress
) -> dict[str, Any]:
    """Fetch from one address, verify and put in place; fetch a resumed file that does not verify once more."""
    part = target.part
    for last_try in (False, True):
        fetched = fetch(url, target, patience, progress)
        try:
            size, sha256 = verify(part.path, target, before, progress)
            break
        except AddressError:
            part.discard()
            if last_try or not fetched.resumed:
                raise
            progress.say(f"{target.path.name}: its parts do not fit together; fetching it again.")
    part.path.replace(target.path)
    part.discard()
    return new_entry(fetched.url, size, sha256, fetched.version)


def _by_hand(file: PlannedFile) -> str:
    page = f"get it at {file.remote.page} with a browser" if file.remote.page else "get it by hand"
    return f"{page} and put it at {file.path}"
