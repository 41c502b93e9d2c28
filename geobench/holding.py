"""What living processes use: shared locks (flock) on files and folders, which the system lets go of with the process.

A file or folder that is being written is held while it has a temporary name, so that one that nobody holds is a
leftover of a killed process. A cache that was opened is held until the process ends, or has opened many others, so that
it is not removed meanwhile. Several machines see each other's locks if their file system shares them, as NFS does.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

KEPT_OPEN = 64
"""Caches that a process holds at a time, the last that it used: each is an open file."""
BUSY = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)


class _Handle:
    """An open file or folder with a shared lock; None where there are no locks."""

    def __init__(self, path: Path) -> None:
        self.number: int | None = None
        if fcntl is not None:
            with suppress(OSError):
                self.number = os.open(path, os.O_RDONLY)
                fcntl.flock(self.number, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def close(self) -> None:
        """Let go of it."""
        if self.number is not None:
            os.close(self.number)
            self.number = None

    __del__ = close


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold ``path``, a file or a folder, during the block, whatever it is renamed to."""
    handle = _Handle(path)
    try:
        yield
    finally:
        handle.close()


def use(path: Path, note: Path | None = None) -> None:
    """Hold the file ``path`` of a cache until the process ends, and note that it is used now.

    Args:
        path: of the file, which is not replaced while it is used.
        note: file whose time of modification is set: a small one, since a backup copies again what has another time.
            None is ``path`` itself. Where the home can only be read, nothing is noted.
    """
    with suppress(OSError):
        _used(path, path.stat().st_ino, note or path)


@lru_cache(maxsize=KEPT_OPEN)
def _used(path: Path, inode: int, note: Path) -> _Handle:
    with suppress(OSError):
        os.utime(note)
    return _Handle(path)


def let_go() -> None:
    """Let go of all caches that this process uses."""
    _used.cache_clear()


@contextmanager
def alone(path: Path) -> Iterator[bool | None]:
    """Yield whether no process holds ``path``, and keep others from holding it during the block; None if unknown."""
    handle = _opened(path) if fcntl is not None else None
    free = _locked(handle) if handle is not None else None
    try:
        yield free
    finally:
        if handle is not None:
            os.close(handle)


def _opened(path: Path) -> int | None:
    """Open ``path``, to write if that is possible: network file systems lock nothing else for one process alone."""
    for flags in (os.O_RDWR, os.O_RDONLY):
        with suppress(OSError):
            return os.open(path, flags)
    return None


def _locked(handle: int) -> bool | None:
    """Lock an open file for this process alone; return whether that worked, None if the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in BUSY else None
    return True
