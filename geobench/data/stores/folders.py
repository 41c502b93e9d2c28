"""A folder of image files, with or without subfolders."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from geobench.data.contents import Stamps
from geobench.data.stores.catalogue import HIDDEN, ListedImage, StoredImage, printable
from geobench.data.stores.store import Advance, Store, head
from geobench.errors import ImageError, StorageError
from geobench.images.reading import check_regular, is_passing, not_read, retried
from geobench.progress import Progress

CLOCK_S = 2.0  # a folder last changed this long ago cannot change again without a new modification time


class FolderStore(Store, kind="folder", what="a folder of images"):
    """Image files by their path relative to a folder.

    A file of exactly the requested name is found without the catalogue, which is built for names that are written
    differently and is valid until a folder of the tree changes.
    """

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether ``parts`` is a single folder."""
        return len(parts) == 1 and parts[0].is_dir()

    def image_file(self, image: str) -> Path | bytes:
        """Return the file of an image.

        Raises:
            ImageError: there is none.
            StorageError: the folder is gone or empty, as if a disk were not mounted.
        """
        found = self.find(image)
        if found is None:
            self._refuse_if_gone()
            raise ImageError(f"{image}: there is no such file in {self.path}")
        return self.content(found)

    def content(self, image: StoredImage) -> Path:
        """Return the file of an image."""
        return self.parts[0] / _on_disk(image)

    def _refuse_if_gone(self) -> None:
        try:
            with os.scandir(self.parts[0]) as entries:
                if next(entries, None) is not None:
                    return
        except OSError as error:
            raise not_read(str(self.path), error) from error
        raise StorageError(f"{self.path} is empty; is its disk mounted? The same command resumes once it is.")

    def find(self, image: str) -> StoredImage | None:
        """Return the file called ``image``, else the only one that can be meant."""
        return StoredImage(image) if self._status(image) is not None else super().find(image)

    def read(self, image: StoredImage) -> bytes:
        """Return the bytes of a file."""
        return (self.parts[0] / _on_disk(image)).read_bytes()

    def read_head(self, image: StoredImage, size: int) -> bytes:
        """Return the first bytes of a file; never block on a pipe. One that may not be read is none that counts."""
        path = self.parts[0] / _on_disk(image)
        try:
            check_regular(path.stat())
            return head(path, size)
        except (OSError, ValueError) as error:
            if is_passing(error) and not isinstance(error, PermissionError):
                raise
            raise ImageError(f"{image.name}: {error}") from error

    def stamps(self, images: Sequence[str]) -> Stamps:
        """Return size and times of each file, −1 if it does not exist."""
        stamps = np.full((len(images), 3), -1, dtype=np.int64)
        renamed, example = 0, ""
        for row, image in enumerate(images):
            status = self._status(image)
            if status is None and (found := super().find(image)) is not None:
                status = self._status(_on_disk(found))
                renamed, example = renamed + 1, example or f"{image} = {found.name}"
            if status is not None:
                stamps[row] = status.st_size, status.st_mtime_ns, status.st_ctime_ns
        return Stamps(str(self.path.absolute()), stamps[:, :2], stamps[:, 2], True, renamed, example)

    def _status(self, image: str) -> os.stat_result | None:
        """Return the status of a file in the folder, None if there is none; ``StorageError`` if that is unknown."""
        if image.startswith("/") or ".." in image.split("/"):
            return None
        path = f"{self.parts[0]}/{image}"
        try:
            status = retried(lambda: os.stat(path), path)  # noqa: PTH116  a Path for each of millions costs more
        except (OSError, ValueError):
            return None
        return None if stat.S_ISDIR(status.st_mode) else status

    # -- the catalogue

    def _list_all(self, progress: Progress) -> Iterator[ListedImage]:
        self._folders: dict[str, tuple[int, int]] = {}
        with progress.track(f"index of {self.path}", 0, "images") as advance:
            try:
                for image in self._below(""):
                    advance(1)
                    yield image
            except OSError as error:
                raise not_read(error.filename or str(self.path), error) from error

    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
        """Yield the images of the whole tree."""
        return self._below("")

    def _below(self, folder: str) -> Iterator[ListedImage]:
        """Yield the files in ``folder`` and its subfolders; circular links are not followed."""
        status = (self.parts[0] / folder).stat()
        if (status.st_dev, status.st_ino) in self._parents(folder):
            return
        self._folders[folder] = _times(status)
        subfolders = []
        for entry in self._entries(folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                yield StoredImage(name, problem=HIDDEN), None
            elif _is_folder(entry):
                subfolders.append(name)
            else:
                yield _stored(name), None
        for name in subfolders:
            yield from self._below(name)

    def _parents(self, folder: str) -> set[tuple[int, int]]:
        """Return the device and inode of each folder that contains ``folder``."""
        parents = [(self.parts[0] / parent).stat() for parent in Path(folder).parents] if folder else []
        return {(status.st_dev, status.st_ino) for status in parents}

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        with os.scandir(self.parts[0] / folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)

    def stamp(self) -> str:
        """Return the time, in nanoseconds."""
        return str(time.time_ns())

    def written_stamp(self, before: str) -> str:
        """Return when the listing began, and the times of modification and of change of each folder."""
        return json.dumps([int(before), self._folders])

    def is_current(self, written: str) -> bool:
        """Return whether no folder has changed since, or too shortly before for its time to be conclusive."""
        begun, folders = json.loads(written)
        latest = begun - CLOCK_S * 1e9
        try:
            return all(
                times[0] < latest and list(_times((self.parts[0] / name).stat())) == times
                for name, times in folders.items()
            )
        except (OSError, TypeError):  # TypeError: an earlier version noted one time
            return False


def _times(status: os.stat_result) -> tuple[int, int]:
    """Return the times of modification, which programs can put back, and of change."""
    return status.st_mtime_ns, status.st_ctime_ns


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def _stored(name: str) -> StoredImage:
    """Return the entry of a file; one whose name is not UTF-8 keeps the bytes of it, in hexadecimal digits."""
    return StoredImage(name, detail="" if printable(name) == name else os.fsencode(name).hex())


def _on_disk(image: StoredImage) -> str:
    """Return the name of a file as the system takes it."""
    return os.fsdecode(bytes.fromhex(image.detail)) if image.detail else image.name
