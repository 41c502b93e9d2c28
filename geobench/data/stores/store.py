"""Stores: where the images of a split lie, read in place. A folder, an archive, shards: one class for each kind."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from geobench import files
from geobench.data.stores.catalogue import Catalogue, Entry, Listed, PerThread, write_catalogue
from geobench.data.stores.names import is_image_name, is_unread_name
from geobench.errors import DatasetError, ImageError
from geobench.progress import SILENT, Progress

ZIP = b"PK\3\4"  # its first bytes
FORMAT = 2  # of the catalogues; another one is made anew
MB = 1_000_000
MAX_BYTES = 1 << 30
"""An image file is at most so large: what says more is damaged or means harm."""

Advance = Callable[[int], None]


class Store(ABC):
    """Where the images of a split lie.

    Attributes:
        kind: the name that a definition may give: ``layout = "zip"``.
        what: what errors call it.
        suffixes: of the files it is made of.
        carries_table: whether it can hold the positions of its images.
        path: what the definition names.
        parts: the files it is made of.
        id_column: the column or field that holds the name of an image, where it is not recognised.
    """

    kinds: ClassVar[dict[str, type[Store]]] = {}
    kind: ClassVar[str]
    what: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    carries_table: ClassVar[bool] = False

    def __init_subclass__(cls, kind: str = "", what: str = "") -> None:
        """Let ``kind`` stand for this class; what several kinds share has none."""
        if kind:
            cls.kind, cls.what = kind, what
            Store.kinds[kind] = cls

    def __init__(self, path: Path, parts: Sequence[Path], id_column: str | None = None) -> None:
        self.path = path
        self.parts = list(parts)
        self.id_column = id_column
        self._catalogue: Catalogue | None = None
        self._opened: PerThread[BinaryIO] = PerThread()

    @classmethod
    @abstractmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether ``parts`` are a store of this kind, from their names and first bytes."""

    @classmethod
    def in_order(cls, parts: Sequence[Path]) -> list[Path]:
        """Return ``parts`` in the order they belong in; raise ``DatasetError`` where one is missing."""
        return list(parts)

    @abstractmethod
    def list_part(self, number: int, advance: Advance) -> Iterator[Listed]:
        """Yield the images of the file ``parts[number]``, and call ``advance`` with the bytes done with."""

    @abstractmethod
    def read_entry(self, entry: Entry) -> bytes:
        """Return the bytes of an image file; raise ``ImageError``, or what :meth:`reading` turns into one."""

    def in_table(self, name: str) -> bool:
        """Return whether what is called ``name`` is an image of the set; archives hold other things as well."""
        return is_image_name(name)

    # -- what is in it

    def prepare(self, progress: Progress = SILENT) -> Catalogue:
        """Return the list of its images, made anew where it is not there or out of date.

        Raises:
            DatasetError: a file cannot be read, or is cut off.
        """
        key = files.digest(FORMAT, self.kind, str(self.path.absolute()), self.id_column)
        folder = files.home() / "index" / f"{self.path.name.strip('*.') or self.kind}-{key}"
        self._catalogue = self._current(folder)
        if self._catalogue is None:
            with files.locked(folder, progress.say):
                if self._current(folder) is None:
                    stamp = self.stamp()
                    write_catalogue(folder, self._listed(progress), lambda: self.written_stamp(stamp), self.in_table)
                self._catalogue = Catalogue(folder)
        return self._catalogue

    def _current(self, folder: Path) -> Catalogue | None:
        import sqlite3

        try:
            catalogue = Catalogue(folder)
        except (sqlite3.Error, OSError, LookupError):
            return None
        return catalogue if self.is_current(catalogue.stamp) else None

    def _listed(self, progress: Progress) -> Iterator[Listed]:
        total = sum(part.stat().st_size for part in self.parts) // MB
        done = 0
        with progress.track(f"index of {self.path.name}", total, "MB") as tell:

            def advance(n: int) -> None:
                nonlocal done
                before, done = done, done + n
                if done // MB > before // MB:
                    tell(done // MB - before // MB)

            for number in range(len(self.parts)):
                yield from self.list_part(number, advance)

    def stamp(self) -> str:
        """Return what changes when a file does: names, sizes, times of change."""
        return files.digest(
            [[part.name, status.st_size, status.st_mtime_ns] for part in self.parts if (status := part.stat())]
        )

    def written_stamp(self, before: str) -> str:
        """Return the stamp to keep with the catalogue, given that from before the files were read."""
        return before

    def is_current(self, written: str) -> bool:
        """Return whether a catalogue with this stamp still holds."""
        return written == self.stamp()

    @property
    def catalogue(self) -> Catalogue:
        """Return the list of its images, without asking again whether it is up to date."""
        return self.prepare() if self._catalogue is None else self._catalogue

    def __len__(self) -> int:
        return len(self.catalogue)

    def names(self) -> Iterator[str]:
        """Yield the names of all its images, in its order."""
        return (entry.name for entry in self.catalogue.entries() if self.in_table(entry.name))

    def unread(self) -> Iterator[str]:
        """Yield the names of the photos in it whose format is not read, such as HEIC."""
        names = (entry.name for entry in self.catalogue.entries())
        return (name for name in names if is_unread_name(name) and not self.in_table(name))

    def table(self) -> Path | None:
        """Return the CSV file of what it says about its images, None where it says nothing."""
        return self.catalogue.table

    # -- one image

    def find(self, image: str) -> Entry | None:
        """Return the image called ``image``, or the one that it must mean, None where there is none.

        Raises:
            DatasetError: it may mean two images.
        """
        found = self.catalogue.find(image)
        if len(found) > 1:
            either = " or ".join(f"{entry.name!r} in {self.parts[entry.part].name}" for entry in found[:2])
            raise DatasetError(
                f"{self.path}: the image {image!r} may be {either}; list each by its own name, and once."
            )
        return found[0] if found else None

    def source(self, image: str) -> Path | bytes:
        """Return the file of an image, or its bytes.

        Raises:
            ImageError: it is not there, or cannot be read.
            DatasetError: it may mean two images.
        """
        entry = self.find(image)
        if entry is None:
            raise ImageError(f"{image}: there is no such image in {self.path}")
        if entry.problem:
            raise ImageError(f"{image}: {entry.problem}")
        if entry.size > MAX_BYTES:
            raise ImageError(f"{image}: {entry.size:,} bytes; an image file has at most {MAX_BYTES:,}")
        with self.reading(image):
            return self.read_entry(entry)

    @contextmanager
    def reading(self, image: str) -> Iterator[None]:
        """Turn what the reading of one image raises into an ``ImageError``."""
        try:
            yield
        except OSError as error:
            raise ImageError(f"{image}: {self.path}: {error.strerror or error}") from error

    def stamps(self, images: Sequence[str]) -> Any:
        """Return what changes when one of ``images`` does; of an archive, what changes when any of it does."""
        return self.stamp()

    def bytes_at(self, part: int, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a part; raise ``ImageError`` where it ends before."""
        file = self._opened.get(part, lambda: self.parts[part].open("rb", buffering=0))
        found = os.pread(file.fileno(), size, offset)
        while 0 < len(found) < size and (more := os.pread(file.fileno(), size - len(found), offset + len(found))):
            found += more
        if len(found) < size:
            raise ImageError(f"{self.parts[part].name} is cut off at byte {offset + len(found):,}")
        return found


def head(path: Path, size: int = 512) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(size)


def unreadable(path: Path, what: str, error: object) -> DatasetError:
    """Return the error for a file that is damaged, or a zip under another name."""
    if what != "zip archive" and head(path, len(ZIP)) == ZIP:
        return DatasetError(f"{path} is no {what} but a zip archive; end its name in .zip, or give --layout zip.")
    reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return DatasetError(f"{path} is no whole {what} ({reason}); get it again, or compare its size with its source.")
