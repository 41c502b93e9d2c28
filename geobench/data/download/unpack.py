"""Unpack a third-party archive safely: nothing outside the folder, no links or devices, no bombs, all or nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from geobench import files
from geobench.errors import DownloadError
from geobench.progress import SILENT, Progress

BLOCK = 1 << 20
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,  # an unsupported compression
    RuntimeError,  # encrypted
    ValueError,  # a malformed header
)
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


@dataclass(frozen=True)
class Limits:
    """Limits on an archive of photos and tables.

    Attributes:
        ratio: maximum unpacked size over archive size. Photos hardly compress, tables of coordinates up to 20-fold.
        floor_bytes: unpacked size up to which the ratio is not checked.
        members: maximum number of files and folders.
        header_bytes: maximum length of a single header or name list, which is read into memory.
    """

    ratio: float = 50.0
    floor_bytes: int = 100_000_000
    members: int = 20_000_000
    header_bytes: int = 1 << 22

    def total_bytes(self, archive: Path) -> int:
        """Return the maximum unpacked size of ``archive``."""
        return max(self.floor_bytes, int(self.ratio * archive.stat().st_size))


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive; ``open`` reads it."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, limits: Limits | None = None, progress: Progress = SILENT) -> int:
    """Unpack a zip or tar archive (plain, gzip, bzip2, xz) as the new ``folder``; return the number of files.

    Members are written to a hidden folder next to it, which is renamed at the end. Only names and contents are kept: no
    modes, owners or dates.

    Raises:
        StorageError: the disk is full or cannot be written. Nothing of it remains then.
        DownloadError: it is damaged, contains a path outside the folder, a link, a device, a duplicate name, or more
            than ``limits`` or the disk allow. Nothing of it remains then.
    """
    limits = limits or Limits()
    _refuse(folder.exists(), archive, f"{folder} already exists; move it away to unpack again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with files.replacing_folder(folder, sync=False) as temporary, _members(archive, limits) as members:
            return _write(archive, members, temporary, limits, progress)
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise DownloadError(f"{archive} is damaged or not a readable archive: {reason}.") from error
    except OSError as error:  # also raised by bz2 for damage, and by file systems for names that they cannot store
        raise DownloadError(f"{archive} cannot be unpacked: {error.strerror or error}.") from error


def _write(archive: Path, members: Iterator[Member], folder: Path, limits: Limits, progress: Progress) -> int:
    allowed, written, number, names = limits.total_bytes(archive), 0, 0, set[str]()
    with progress.track(f"unpack {archive.name}", 0, "files") as advance:
        for count, member in enumerate(members, start=1):
            name = _safe(archive, member.name)
            _refuse(count > limits.members, archive, f"it contains more than {limits.members:,} files")
            _refuse(written + member.size > allowed, archive, _bomb(allowed))
            _refuse(not member.is_folder and name in names, archive, f"it contains {name!r} twice")
            names.add(name)
            path = folder / name
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            written += _copy(archive, member, path)
            number += 1
            advance(1)
    return number


def _copy(archive: Path, member: Member, path: Path) -> int:
    """Write a member and return its size, which must be as stated: the limits were checked against the stated sizes."""
    done = 0
    with member.open() as source, path.open("xb") as target:
        while block := source.read(BLOCK):
            done += len(block)
            target.write(block)
    _refuse(done != member.size, archive, f"{member.name!r} has {done:,} bytes instead of the stated {member.size:,}")
    return done


def _safe(archive: Path, name: str) -> str:
    """Return the relative path of a member's name; refuse one that leads outside the folder on any operating system."""
    path = name.replace("\\", "/")
    parts = PurePosixPath(path).parts
    outside = path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in parts
    _refuse(bool(outside), archive, f"{name!r} leads outside the folder")
    _refuse("\0" in path or (not parts and path not in (".", "./")), archive, f"{name!r} is not a valid file name")
    return "/".join(parts)


def _bomb(allowed: int) -> str:
    return f"it unpacks to more than {allowed / 1e9:,.1f} GB, the limit for an archive of its size"


def _refuse(wrong: bool, archive: Path, why: str) -> None:
    if wrong:
        raise DownloadError(f"{archive} is not unpacked: {why}.")


@contextmanager
def _members(archive: Path, limits: Limits) -> Iterator[Iterator[Member]]:
    """Yield the members of a zip or tar archive, identified by its first bytes."""
    with archive.open("rb") as raw:
        start = raw.read(6)
        raw.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with zipfile.ZipFile(raw) as opened:
                yield _zip_members(archive, opened, limits)
            return
        opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)
        stream = _Guarded(opener(raw) if opener else raw, archive, limits)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
            yield _tar_members(archive, tar, stream)


def _zip_members(archive: Path, opened: zipfile.ZipFile, limits: Limits) -> Iterator[Member]:
    infos, allowed = opened.infolist(), limits.total_bytes(archive)
    _refuse(sum(info.file_size for info in infos) > allowed, archive, _bomb(allowed))
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        _refuse(kind not in (0, stat.S_IFREG, stat.S_IFDIR), archive, f"{info.filename!r} is a link or a device")
        yield Member(info.filename, info.file_size, info.is_dir(), partial(opened.open, info))


def _tar_members(archive: Path, tar: tarfile.TarFile, stream: _Guarded) -> Iterator[Member]:
    """Yield the files and folders, refusing anything else; tarfile's own filters let through links that stay inside."""
    while (info := tar.next()) is not None:
        plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) and not info.issparse()
        _refuse(not plain, archive, f"{info.name!r} is a link, a device or sparse")
        yield Member(info.name, info.size, info.isdir(), cast(Callable[[], IO[bytes]], partial(tar.extractfile, info)))
        cast(Any, tar).members.clear()  # or the headers of millions of photos stay in memory
    if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile treats a broken header as the end
        raise tarfile.ReadError("it has no end mark, or a broken header")
    while stream.read(BLOCK):  # a compressed stream verifies its checksum at its very end
        pass


class _Guarded(io.RawIOBase):
    """A stream that limits the total unpacked so far and the size of a single read, to stop a bomb in time."""

    def __init__(self, stream: IO[bytes], archive: Path, limits: Limits) -> None:
        self.stream, self.archive = stream, archive
        self.allowed, self.at_once = limits.total_bytes(archive), max(limits.header_bytes, BLOCK)
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes; tarfile reads a long header in one go."""
        _refuse(not 0 <= size <= self.at_once, self.archive, "one of its headers is far too long")
        self.last = self.stream.read(size)
        _refuse(self.stream.tell() > self.allowed, self.archive, _bomb(self.allowed))
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position to ``offset``."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self.stream.tell()
