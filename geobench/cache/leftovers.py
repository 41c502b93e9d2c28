"""Leftovers of killed processes: files and folders under temporary names that no living process holds."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from geobench import files, holding
from geobench.cache.kinds import CONTAINERS

FILE = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}(?P<suffix>\.[^.]+)?")
FOLDER = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}")
"""Names that :func:`geobench.files.replacing` and :func:`geobench.files.replacing_folder` give."""
OF_SAFETENSORS = re.compile(r"\.tmp[A-Za-z0-9]{6}")
"""Names that safetensors gives to a file while it writes it."""
REPLACED = ".replaced"
"""Name of an old folder within the new one, until that has taken its place."""
FRESH_S = 5.0
"""What changed less than this ago may have been made just now, and not be held yet."""
HOUR_S = 3600.0
"""Without being asked, only older leftovers are removed: an older version of geobench holds nothing."""
DAY_S = 24 * HOUR_S
"""Where the file system has no locks, only older leftovers are removed."""


@dataclass(frozen=True)
class Leftover:
    """What a killed process left: its path, size, and when it was last written to."""

    path: Path
    bytes: int
    changed: float


def temporary_name(path: Path) -> str:
    """Return the name that ``path`` was to get, if its own is a temporary one of geobench or safetensors; else empty.

    >>> temporary_name(Path(".about.json.x8_kd02p.json")), temporary_name(Path(".mine.partial"))
    ('about.json', '')
    """
    if path.is_symlink():
        return ""
    if path.is_dir():
        match = FOLDER.fullmatch(path.name)
        return match["name"] if match else ""
    if OF_SAFETENSORS.fullmatch(path.name):
        return path.name
    match = FILE.fullmatch(path.name)
    return match["name"] if match and Path(match["name"]).suffix == (match["suffix"] or "") else ""


def find_leftovers(home: Path) -> Iterator[Leftover]:
    """Yield what processes may have left in ``home``; some of it may still be in use."""
    for top in sorted(home.iterdir()) if home.is_dir() else ():
        if top.name == "data":
            yield from _of_data(top)
        elif top.is_dir():
            yield from _below(top)


def _below(folder: Path) -> Iterator[Leftover]:
    with suppress(FileNotFoundError, PermissionError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(entry.path)
            is_folder = entry.is_dir(follow_symlinks=False)
            if temporary_name(path) or (is_folder and entry.name == REPLACED):
                yield Leftover(path, *measured(path))
            elif is_folder:
                yield from _below(path)


def _of_data(data: Path) -> Iterator[Leftover]:
    """Yield those among data sets: only what would have become a file that geobench writes, since others are yours."""
    from geobench.data.registration import WRITTEN

    for path in sorted(data.glob(".*/")):
        if temporary_name(path) and {temporary_name(file) or file.name for file in path.iterdir()} <= WRITTEN:
            yield Leftover(path, *measured(path))
    for target in (target for folder in sorted(data.glob("[!.]*/")) for target in _written(folder)):
        for path in sorted(target.parent.glob(f".{_escaped(target.name)}.*")):
            if temporary_name(path) == target.name or _is_of_no_download(path, target):
                yield Leftover(path, *measured(path))


def _is_of_no_download(path: Path, target: Path) -> bool:
    """Return whether ``path`` belongs to a partial file of ``target`` that no download will go on with."""
    part = target.with_name(f".{target.name}.part")
    note = part.with_name(f"{part.name}.json")
    return path in (part, note) and (target.exists() or not part.exists())


def _escaped(name: str) -> str:
    """Return ``name`` as a pattern that matches nothing else."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _written(folder: Path) -> Iterator[Path]:
    """Yield what a download writes into the folder of a data set: its record, the files, what is unpacked."""
    from geobench.data.download.record import RECORD
    from geobench.data.remote_files import remote_files
    from geobench.errors import GeobenchError
    from geobench.plugins import get_datasets

    yield folder / RECORD
    dataset = get_datasets().get(folder.name)
    with suppress(GeobenchError):
        for remote in remote_files(dataset) if dataset is not None else ():
            yield folder / remote.file
            yield folder / f".{Path(remote.file).name}.part.json"
            if remote.unpack:
                yield folder / remote.unpack


def measured(path: Path) -> tuple[int, float]:
    """Return the bytes of a file or folder, and when it or anything in it last changed; links are not followed."""
    size, changed = 0, 0.0
    with suppress(FileNotFoundError, PermissionError):
        status = path.lstat()
        changed = status.st_mtime
        if not path.is_dir() or path.is_symlink():
            return status.st_size, changed
        for entry in os.scandir(path):
            more, later = measured(Path(entry.path))
            size, changed = size + more, max(changed, later)
    return size, changed


def sweep(at_least_s: float = FRESH_S) -> list[Leftover]:
    """Remove the leftovers of killed processes and return them.

    Args:
        at_least_s: leftovers that changed less than so many seconds ago stay.
    """
    home = files.home()
    return [found for found in find_leftovers(home) if _removed(found, home, at_least_s)]


def _removed(found: Leftover, home: Path, at_least_s: float) -> bool:
    """Remove a leftover unless it is in use; return whether that was done."""
    age_s = time.time() - found.changed
    if not found.path.exists():  # another process sweeps
        return False
    if age_s < max(at_least_s, FRESH_S) or _is_all_there_is(found.path):
        return False
    with holding.alone(found.path) as alone:
        if alone is False or (alone is None and age_s < DAY_S) or _is_worked_on(found.path, home):
            return False
        if found.path.is_dir():
            shutil.rmtree(found.path, ignore_errors=True)
        else:
            with suppress(OSError):
                found.path.unlink()
    return not found.path.exists()


def _is_all_there_is(path: Path) -> bool:
    """Return whether a folder holds the one that it was to replace: the kill came between two renames."""
    return (path / REPLACED).is_dir() and not path.with_name(temporary_name(path)).exists()


def _is_worked_on(path: Path, home: Path) -> bool:
    """Return whether a process has the lock of what ``path`` is, or is a part of."""
    parts = [part for part in (path, *path.parents) if home in part.parents]
    entries = [part for part in parts if not CONTAINERS.fullmatch(f"{part.relative_to(home).as_posix()}/")]
    return any(map(files.is_locked, (lock for entry in entries for lock in locks_of(entry))))


def locks_of(path: Path) -> Iterator[Path]:
    """Yield the lock files that are taken to write ``path``, which may have a temporary name or be interrupted."""
    name = temporary_name(path) or path.name.removesuffix(".partial")
    yield from (path.with_name(f"{each}.lock") for each in (name, f".{name}"))  # the latter of a checkpoint
    if path.is_dir():  # those of what is written in it
        yield from sorted(path.glob("*.lock"))
