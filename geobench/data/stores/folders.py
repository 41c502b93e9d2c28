"""A folder of image files, with folders in it or without."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geobench.data.stores.catalogue import Entry, Listed
from geobench.data.stores.names import is_unread_name
from geobench.data.stores.store import Advance, Store
from geobench.errors import ImageError
from geobench.progress import Progress

CLOCK_S = 2.0  # a folder changed as long ago as this cannot change again without another time of change


class FolderStore(Store, kind="folder", what="a folder of images"):
    """Image files by their path below a folder.

    A file of just the name asked for is found without a list. The list is made for names that are written another way,
    and holds until a folder of the tree changes.
    """

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether it is one folder."""
        return len(parts) == 1 and parts[0].is_dir()

    def source(self, image: str) -> Path | bytes:
        """Return the file of an image; raise ``ImageError`` where there is none."""
        entry = self.find(image)
        if entry is None:
            raise ImageError(f"{image}: there is no such file in {self.path}")
        return self.parts[0] / entry.name

    def find(self, image: str) -> Entry | None:
        """Return the file called ``image``, else the one that it must mean."""
        return Entry(image) if self._status(image) is not None else super().find(image)

    def read_entry(self, entry: Entry) -> bytes:
        """Return the bytes of a file."""
        return (self.parts[0] / entry.name).read_bytes()

    def stamps(self, images: Sequence[str]) -> Any:
        """Return size and time of change (n, 2) of each file, −1 where it is not there."""
        found = np.full((len(images), 2), -1, dtype=np.int64)
        for row, image in enumerate(images):
            status = self._status(image)
            if status is None and (entry := super().find(image)) is not None:
                status = self._status(entry.name)
            if status is not None:
                found[row] = status.st_size, status.st_mtime_ns
        return found

    def _status(self, image: str) -> os.stat_result | None:
        """Return what the system knows of a file below the folder, None where there is none."""
        if image.startswith("/") or ".." in image.split("/"):
            return None
        try:
            status = os.stat(f"{self.parts[0]}/{image}")  # noqa: PTH116  a Path for each of millions costs more than this
        except (OSError, ValueError):
            return None
        return None if stat.S_ISDIR(status.st_mode) else status

    # -- the list

    def _listed(self, progress: Progress) -> Iterator[Listed]:
        self._folders: dict[str, int] = {}
        with progress.track(f"index of {self.path}", 0, "images") as advance:
            for listed in self._below(""):
                advance(1)
                yield listed

    def list_part(self, number: int, advance: Advance) -> Iterator[Listed]:
        """Yield the images of the whole tree."""
        return self._below("")

    def _below(self, folder: str) -> Iterator[Listed]:
        """Yield the images in ``folder`` and in the folders in it; a link in a circle ends."""
        status = (self.parts[0] / folder).stat()
        if (status.st_dev, status.st_ino) in self._above(folder):
            return
        self._folders[folder] = status.st_mtime_ns
        inside = []
        for entry in self._visible(folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if _is_folder(entry):
                inside.append(name)
            elif self.in_table(entry.name) or is_unread_name(entry.name):
                yield Entry(name), None
        for name in inside:
            yield from self._below(name)

    def _above(self, folder: str) -> set[tuple[int, int]]:
        """Return which folders ``folder`` lies in."""
        above = [(self.parts[0] / parent).stat() for parent in Path(folder).parents] if folder else []
        return {(status.st_dev, status.st_ino) for status in above}

    def _visible(self, folder: str) -> list[os.DirEntry[str]]:
        with os.scandir(self.parts[0] / folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)

    def stamp(self) -> str:
        """Return the time, in nanoseconds."""
        return str(time.time_ns())

    def written_stamp(self, before: str) -> str:
        """Return when the list was begun, and the time of change of each folder."""
        return json.dumps([int(before), self._folders])

    def is_current(self, written: str) -> bool:
        """Return whether no folder has changed since, or so shortly before that its time might not tell."""
        begun, folders = json.loads(written)
        latest = begun - CLOCK_S * 1e9
        try:
            return all(
                time_of_change < latest and (self.parts[0] / name).stat().st_mtime_ns == time_of_change
                for name, time_of_change in folders.items()
            )
        except OSError:
            return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
