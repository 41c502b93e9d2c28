"""The base class of stores, which contain the images of a split: one subclass for folders, archives, shards, …"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from geobench import files
from geobench.data.contents import Stamps
from geobench.data.stores.catalogue import (
    HIDDEN,
    SOURCE,
    Catalogue,
    ListedImage,
    PerThread,
    StoredImage,
    write_catalogue,
)
from geobench.data.stores.names import OTHER_PHOTOS, RAW, Kind, is_image_name, kind_of, plain, suffix_of
from geobench.errors import DatasetError, ImageError, StorageError
from geobench.images.reading import MAX_BYTES, is_passing, not_read, retried
from geobench.images.signatures import HEAD
from geobench.progress import SILENT, Progress

ZIP = b"PK\3\4"  # its first bytes
FORMAT = 4  # of the catalogues; one of another format is rebuilt
MB = 1_000_000

Advance = Callable[[int], None]


class Store(ABC):
    """The files that contain the images of a split.

    Attributes:
        kind: its name in definitions: ``layout = "zip"``.
        what: its name in error messages.
        suffixes: of its files.
        carries_table: whether it can contain the positions of its images.
        has_fields: whether its images are records, one of whose fields is the name: ``id_column``.
        path: as given in the definition.
        parts: the files that it consists of.
        notes: lines for the user on how its images were listed.
        id_column: the column or field with the name of an image, if it is not recognised.
        photo_column: the column with the photo itself, if several may hold it.
    """

    kinds: ClassVar[dict[str, type[Store]]] = {}
    kind: ClassVar[str]
    what: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    carries_table: ClassVar[bool] = False
    has_fields: ClassVar[bool] = False

    def __init_subclass__(cls, kind: str = "", what: str = "") -> None:
        """Register this class as ``kind``; a common base class of several kinds has none."""
        if kind:
            cls.kind, cls.what = kind, what
            Store.kinds[kind] = cls

    def __init__(
        self, path: Path, parts: Sequence[Path], id_column: str | None = None, photo_column: str | None = None
    ) -> None:
        self.path = path
        self.parts = list(parts)
        self.id_column, self.photo_column = id_column, photo_column
        self.notes: list[str] = []
        self._catalogue: Catalogue | None = None
        self._opened: PerThread[BinaryIO] = PerThread()

    @classmethod
    @abstractmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether ``parts`` are a store of this kind, judging by their names and first bytes."""

    @classmethod
    def in_order(cls, parts: Sequence[Path]) -> list[Path]:
        """Return ``parts`` in their proper order; raise ``DatasetError`` if one is missing."""
        return list(parts)

    @abstractmethod
    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
        """Yield the images of the file ``parts[number]``, and call ``advance`` with the number of bytes processed."""

    @abstractmethod
    def read(self, image: StoredImage) -> bytes:
        """Return the bytes of an image; raise ``ImageError`` if they are damaged, ``OSError`` if they are not read."""

    def read_head(self, image: StoredImage, size: int) -> bytes:
        """Return the first ``size`` bytes of an image, or what there is of them; errors as for :meth:`read`."""
        return self.read(image)[:size]

    def is_image(self, name: str) -> bool:
        """Return whether the file called ``name`` is an image by its name; archives also contain other files."""
        return is_image_name(name)

    def kind_of(self, image: StoredImage) -> Kind:
        """Return what a file is to a set of photos, by its name, or by its content if the name does not tell."""
        return Kind.HIDDEN if image.problem == HIDDEN else kind_of(image.name, lambda: self.head(image))

    # -- the catalogue

    def prepare(self, progress: Progress = SILENT) -> Catalogue:
        """Return the catalogue of its images, built first if it is missing or out of date.

        Raises:
            DatasetError: a file cannot be read, or is truncated.
        """
        key = files.digest(FORMAT, self.kind, str(self.path.absolute()), self.id_column, self.photo_column)
        folder = files.home() / "index" / f"{self.path.name.strip('*.') or self.kind}-{key}"
        self._catalogue = self._current(folder)
        if self._catalogue is None:
            with files.locked(folder, progress.say):
                self._catalogue = self._current(folder) or self._written(folder, progress)
        return self._catalogue

    def _written(self, folder: Path, progress: Progress) -> Catalogue:
        stamp = self.stamp()
        write_catalogue(folder, self._list_all(progress), lambda: self.written_stamp(stamp), self.is_image)
        files.write_json(folder / SOURCE, {"path": str(self.path.absolute()), "kind": self.kind})
        for note in self.notes:
            progress.say(note)
        return Catalogue(folder)

    def _current(self, folder: Path) -> Catalogue | None:
        import sqlite3

        try:
            catalogue = Catalogue(folder)
        except (sqlite3.Error, OSError, LookupError):
            return None
        return catalogue if self.is_current(catalogue.stamp) else None

    def _list_all(self, progress: Progress) -> Iterator[ListedImage]:
        total = sum(part.stat().st_size for part in self.parts) // MB
        done = 0
        with progress.track(f"index of {self.path.name}", total, "MB") as report:

            def advance(n: int) -> None:
                nonlocal done
                before, done = done, done + n
                if done // MB > before // MB:
                    report(done // MB - before // MB)

            for number in range(len(self.parts)):
                yield from self.list_part(number, advance)

    def stamp(self) -> str:
        """Return a digest that changes with the files: names, sizes, and times of modification and of change."""
        stamps = self.stamps(())
        return files.digest(stamps.values, stamps.changed)

    def written_stamp(self, before: str) -> str:
        """Return the stamp to store with the catalogue, given the one from before the files were read."""
        return before

    def is_current(self, written: str) -> bool:
        """Return whether a catalogue with this stamp is still valid."""
        return written == self.stamp()

    @property
    def catalogue(self) -> Catalogue:
        """Return the catalogue of its images, without checking again whether it is up to date."""
        return self.prepare() if self._catalogue is None else self._catalogue

    def __len__(self) -> int:
        return len(self.catalogue)

    def names(self) -> Iterator[str]:
        """Yield the names of all its images, in its order."""
        return (image.name for image in self.catalogue.images() if self.kind_of(image) is Kind.IMAGE)

    def unread(self) -> Iterator[str]:
        """Yield the names of its photos in formats that are not read, such as raw formats, going by their suffixes."""
        photos = (image for image in self.catalogue.images() if suffix_of(image.name) in (*RAW, *OTHER_PHOTOS))
        return (image.name for image in photos if self.kind_of(image) is Kind.UNREAD)

    def table(self) -> Path | None:
        """Return the CSV file of the metadata stored with its images, None if there is none."""
        return self.catalogue.table

    # -- one image

    def find(self, image: str) -> StoredImage | None:
        """Return the image called ``image``, or the only one that can be meant, None if there is none.

        Raises:
            DatasetError: the name is ambiguous.
        """
        found = self.catalogue.find(image)
        if len(found) > 1:
            either = " or ".join(f"{match.name!r} in {self.parts[match.part].name}" for match in found[:2])
            raise DatasetError(f"{self.path}: the image {image!r} may be {either}; list each by its full name, once.")
        return found[0] if found else None

    def is_exact(self, image: str, stored: StoredImage) -> bool:
        """Return whether ``image`` is the name of ``stored``, or its name below the folder that all images share.

        The spelling of Unicode and backslashes do not count: they differ among systems, not among images.
        """
        name = plain(stored.name)
        return name in (plain(image), plain(self.catalogue.prefixes.get(stored.part, "") + plain(image)))

    def image_file(self, image: str) -> Path | bytes:
        """Return the file of an image, or its bytes.

        Raises:
            ImageError: it does not exist, or its archive holds nothing that can be read.
            StorageError: the system cannot read the archive just now, or it is no longer what was listed.
            DatasetError: the name is ambiguous.
        """
        found = self.find(image)
        if found is None:
            raise ImageError(f"{image}: there is no such image in {self.path}")
        return self.content(found._replace(name=image))

    def content(self, image: StoredImage) -> Path | bytes:
        """Return the file of an image that was found, or its bytes; errors as for :meth:`image_file`."""
        if image.problem:
            raise ImageError(f"{image.name}: {image.problem}")
        if image.size > MAX_BYTES:
            raise ImageError(f"{image.name}: {image.size:,} bytes; at most {MAX_BYTES:,} are read")
        return self._retried(image, lambda: self.read(image))

    def head(self, image: StoredImage, size: int = HEAD) -> bytes:
        """Return the first ``size`` bytes of a file, none if it cannot be unpacked; ``StorageError`` as for images."""
        try:
            return b"" if image.problem else self._retried(image, lambda: self.read_head(image, size))
        except ImageError:
            return b""

    def _retried(self, image: StoredImage, read: Callable[[], bytes]) -> bytes:
        what = f"{image.name} in {self.parts[image.part]}"
        try:
            return retried(read, what)
        except OSError as error:  # of the archive, and not of the image
            raise not_read(what, error) from error

    def stamps(self, images: Sequence[str]) -> Stamps:
        """Return what the system tells of ``images``; of an archive, of its files."""
        try:
            status = [part.stat() for part in self.parts]
        except OSError as error:
            raise not_read(str(error.filename), error) from error
        values = [[part.name, s.st_size, s.st_mtime_ns] for part, s in zip(self.parts, status, strict=True)]
        changed = np.array([s.st_ctime_ns for s in status], dtype=np.int64)
        return Stamps(str(self.path.absolute()), files.digest(values), changed, of_each=False)

    def bytes_at(self, part: int, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a part; raise ``StorageError`` if it is shorter than when it was listed."""
        try:
            file = self._opened.get(part, lambda: self.parts[part].open("rb", buffering=0))
            found = os.pread(file.fileno(), size, offset)
            while 0 < len(found) < size and (more := os.pread(file.fileno(), size - len(found), offset + len(found))):
                found += more
        except OSError:
            self._opened.drop()
            raise
        if len(found) < size:
            raise StorageError(
                f"{self.parts[part]} ends at byte {offset + len(found):,}, before an image that was listed in it: it "
                "has changed since. Run the same command again once it is complete."
            )
        return found


def head(path: Path, size: int = 512) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(size)


def unreadable(path: Path, what: str, error: object) -> DatasetError:
    """Return the error for a file that is damaged, a zip under another name, or cannot be read just now."""
    if isinstance(error, OSError) and is_passing(error):
        return DatasetError(f"{path} cannot be read: {error.strerror}; run the same command again.")
    if what != "zip archive" and head(path, len(ZIP)) == ZIP:
        return DatasetError(f"{path} is not a {what} but a zip archive; rename it to .zip, or set layout to 'zip'.")
    reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return DatasetError(
        f"{path} is not an intact {what} ({reason}); get it again, or compare its size with the original."
    )
