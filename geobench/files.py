"""Files on disk: atomic writes, so that a half-written file is never read, locks, arrays and digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench import disk, holding
from geobench.disk import UMASK, share, writing
from geobench.errors import SettingError, StorageError

home = disk.home


def check_writable(path: Path) -> None:
    """Raise ``SettingError`` if no file can be written to ``path``; to be called before the work, not after it."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())  # the others are created
    if path.is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise SettingError(f"{path} cannot be written; choose a file in a folder that you have write access to.")


def check_folder(folder: Path) -> None:
    """Raise ``SettingError`` if no file can be written into ``folder``, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise SettingError(f"the folder {folder} cannot be written to ({existing}); give one where you may write.")


def may_write(folder: Path) -> bool:
    """Return whether files can be written into ``folder``, which need not exist yet."""
    return os.access(next(path for path in (folder, *folder.absolute().parents) if path.exists()), os.W_OK)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` if the block succeeds, else remove it.

    Raises:
        StorageError: the disk is full or can only be read, or there is no permission.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _errors_naming(path):
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            with holding.held(temporary):
                yield temporary
                _sync(temporary)
                share(temporary)
                with _errors_naming(path):
                    temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk: network folders say only then that they are full."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing_folder(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary folder next to ``path``; it replaces ``path`` if the block succeeds, else is removed.

    Args:
        path: of the folder.
        sync: wait until its files are on the disk.

    Raises:
        StorageError: as for :func:`replacing`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _errors_naming(path):
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            with holding.held(temporary):
                yield temporary
                for each in temporary.rglob("*") if sync else ():
                    if each.is_file():
                        _sync(each)
                share(temporary)
                move_into_place(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def move_into_place(folder: Path, path: Path) -> None:
    """Rename ``folder`` to ``path``, replacing what is there; files of it that a process has open remain readable."""
    if path.exists():
        path.rename(folder / ".replaced")
    folder.rename(path)
    shutil.rmtree(path / ".replaced", ignore_errors=True)


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Make an ``OSError`` name ``path``, which the user knows, rather than the temporary path."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of ``path`` (the file ``path.lock``); call ``say`` if another process must be waited for.

    Where nothing can be written there is no lock, and nothing to protect.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock", mode=0o666 & ~UMASK)
    held = True
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is working on {path.name}; waiting for it.")
        lock.acquire()
    except StorageError:
        if os.access(path.parent, os.W_OK):  # a full disk
            raise
        held = False
    try:
        yield
    finally:
        if held:
            lock.release()


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock file ``lock``, as :func:`locked` makes it; True if that is unknown."""
    with holding.alone(lock) as alone:
        return alone is not True and lock.exists()


BLOCK = 1 << 20


def new_array(path: Path, dtype: type[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return a new ``.npy`` file as a memory map, with its space reserved: writing to it cannot meet a full disk.

    Without that, the system ends the process by a signal when it cannot write a page.

    Raises:
        OSError: there is not enough space.
    """
    mapped: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS
            file.seek(start := size - mapped.nbytes)
            for done in range(start, size, BLOCK):
                file.write(bytes(min(BLOCK, size - done)))
    return mapped


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write ``array`` to ``path`` as ``.npy``, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(
    path: Path, dtype: type[Any] | tuple[type[Any], ...], shape: tuple[int | None, ...], mapped: bool = False
) -> npt.NDArray[Any]:
    """Return the array in the ``.npy`` file ``path``, in memory or memory-mapped; None in ``shape`` matches any length.

    It may have any ``dtype`` of several.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or its type or shape differs.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # numpy parses the header as Python; a damaged one can raise anything
        raise ValueError(f"{type(error).__name__}: {error}") from error
    fits = len(shape) == array.ndim and all(n in (None, there) for n, there in zip(shape, array.shape, strict=True))
    types = [np.dtype(one) for one in (dtype if isinstance(dtype, tuple) else (dtype,))]
    if array.dtype not in types or not fits:
        raise ValueError(f"{array.dtype}{array.shape} instead of {' or '.join(map(str, types))}{shape}")
    return array


def digest(*parts: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of ``parts``: JSON values, bytes or arrays."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(repr((part.dtype.str, part.shape)).encode())
            sha.update(np.ascontiguousarray(part).data)
        elif isinstance(part, bytes):
            sha.update(part)
        else:
            sha.update(json.dumps(part, sort_keys=True, default=str).encode())
        sha.update(b"\0")
    return sha.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits; it is read once as long as it does not change.

    Those of large files are kept in ``GEOBENCH_HOME/digests``: weights of 1.7 GB take a second for every command.
    """
    return _sha256(path.resolve(), stamp(path))


def stamp(path: Path) -> tuple[int, ...]:
    """Return size, times of modification and of change, and inode of a file; −1 if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1, -1, -1
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


KEPT_BYTES = 1 << 24
"""Digests of smaller files are not kept: reading these takes no time."""
SETTLED_NS = 2 * 10**9
"""A file that changed less than this ago may change again without another time, as coarse as some systems keep it."""


@lru_cache(maxsize=64)
def _sha256(path: Path, stamp: tuple[int, ...]) -> str:
    kept = home() / "digests" / f"{digest(str(path))}.json"
    state = {"path": str(path), "stamp": list(stamp)}
    if stamp[0] >= KEPT_BYTES and (known := _read_object(kept)).items() >= state.items() and "sha256" in known:
        return str(known["sha256"])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    settled = time.time_ns() - max(stamp[1:3]) > SETTLED_NS
    if stamp[0] >= KEPT_BYTES and settled and may_write(kept.parent):
        with suppress(StorageError):  # a full disk: it is read again next time
            write_json(kept, state | {"sha256": found})
    return found


def _read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
