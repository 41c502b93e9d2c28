"""What is known of the content of image files: equal names, sizes and times do not yet make equal images.

A file that was edited in place may have its time of modification put back (``cp -p``, ``rsync -t``), and two folders
may be unpacked from archives with fixed dates. But no program can put back the time of change that the system keeps
(ctime). So ``GEOBENCH_HOME/contents/KEY`` holds, for the key of names, sizes and times,

- ``CONTENT.npy``: the digests (n, 2) of images that have been read under that key. The first of them have the key
  itself for a name, and others that of their digests;
- ``PLACE-TIMES.CONTENT.npy``: the times of change of the images in a folder or archive when they had that content; of
  one place the last few, since several machines may share a home and have folders of their own at the same path.

As long as the times of change are the same, no file is read. Otherwise those with another one are, and their digests
tell whether the images are still the same, as after a copy, or others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.images.digests import Digests

KEPT = 8
"""Times of change that are kept of a place."""
Rows = npt.NDArray[np.intp]
Times = npt.NDArray[np.int64]


class Stamps(NamedTuple):
    """What the system tells of images without reading them.

    Attributes:
        place: the folder or archive that they are in.
        values: sizes and times of modification, as a value for :func:`geobench.files.digest`.
        changed: (n,) times of change in nanoseconds, −1 for an image that is not there; or those of an archive's files.
        of_each: whether ``changed`` is of each image.
        renamed: how many files have another name than the image, which may be another one; ``example`` is one.
    """

    place: str
    values: Any
    changed: Times
    of_each: bool
    renamed: int = 0
    example: str = ""

    def differing(self, n: int, before: Times | None) -> Rows:
        """Return the rows of the n images whose content may no longer be that of ``before``; all if it is unknown."""
        if before is None or before.shape != self.changed.shape:
            return np.arange(n)
        differs = self.changed != before
        return np.flatnonzero(differs) if self.of_each else np.arange(n if differs.any() else 0)


@dataclass(frozen=True)
class Contents:
    """What is known of n images.

    Attributes:
        key: of their names, sizes and times of modification.
        n: their number.
        stamps: as they are now.
    """

    key: str
    n: int
    stamps: Stamps

    def identify(self, read: Callable[[Rows], Digests]) -> str:
        """Return the key of their content: ``key`` unless other images had the same names, sizes and times before.

        Args:
            read: returns the digests of rows; called only if a time of change differs.
        """
        content, before = self._here()
        if content and not len(self.stamps.differing(self.n, before)):
            return content
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK):  # a home that is only read, as it was made elsewhere
            return content or self.key
        with files.locked(self._folder / "here", _say_nothing):
            content, before = self._here()
            rows = self.stamps.differing(self.n, before if content else None)
            if not content and not self._is_claimed():
                content = self.key
            elif len(rows) and (not content or self._digests(content) is not None):
                content = self._compared(content, rows, read)
            self._note(content)
        return content

    def remember(self, content: str, digests: Digests) -> None:
        """Keep the ``digests`` of all images, which have just been read, as those of the key ``content``.

        A home that can only be read is left as it is.
        """
        if not files.may_write(self._folder):
            return
        with files.locked(self._folder / "here", _say_nothing):
            if self._digests(content) is None:
                files.write_array(self._folder / f"{content}.npy", digests)
            self._note(content)

    def altered(self, before: Times, digests: Digests, read: Callable[[Rows], Digests]) -> Rows:
        """Return the rows of images that no longer are what was read of them.

        Args:
            before: times of change from before they were read.
            digests: (n, 2) of what was read; zeros where nothing could be.
            read: returns the digests of rows as they are now.
        """
        suspect: npt.NDArray[np.bool_] = np.asarray(~digests.any(axis=1))
        suspect[self.stamps.differing(self.n, before)] = True
        rows = np.flatnonzero(suspect)
        altered: Rows = rows[(read(rows) != digests[rows]).any(axis=1)]
        return altered

    @property
    def _folder(self) -> Path:
        return files.home() / "contents" / self.key

    @property
    def _place(self) -> str:
        return files.digest(self.stamps.place)

    def _states(self) -> list[Path]:
        """Return the times of change that are known of this place, the latest last."""
        return sorted(self._folder.glob(f"{self._place}-*.npy"), key=lambda path: files.stamp(path)[1])

    def _is_claimed(self) -> bool:
        """Return whether the images of any place have been asked for under this key."""
        return any(self._folder.glob("[!.]*.npy"))

    def _here(self) -> tuple[str, Times | None]:
        """Return the content that the images in this place had, empty if it is unknown, and the times of change.

        Of several those are returned from which the fewest times differ.
        """
        known: list[tuple[int, str, Times | None]] = []
        for path in reversed(self._states()):
            content, times = path.name.split(".")[1], _read(path, np.int64, (None,))
            known.append((len(self.stamps.differing(self.n, times)), content, times))
            if not known[-1][0]:
                break
        _, content, times = min(known, key=lambda state: state[0], default=(0, "", None))
        return content, times

    def _compared(self, content: str, rows: Rows, read: Callable[[Rows], Digests]) -> str:
        """Return which content the images have now; only ``rows`` may have changed since they had ``content``."""
        before = self._digests(content) if content else None
        now = np.zeros((self.n, 2), dtype=np.uint64) if before is None else np.array(before)
        now[rows] = read(rows)
        for path in self._folder.glob("*.npy"):
            name = path.name.removesuffix(".npy")
            if "." not in name and (known := self._digests(name)) is not None and np.array_equal(known, now):
                return name
        found = files.digest(self.key, now)
        files.write_array(self._folder / f"{found}.npy", now)
        return found

    def _digests(self, content: str) -> Digests | None:
        found: Digests | None = _read(self._folder / f"{content}.npy", np.uint64, (self.n, 2))
        return found

    def _note(self, content: str) -> None:
        """Note that the images in this place have ``content`` now."""
        times = files.digest(self.stamps.changed)
        for other in self._folder.glob(f"{self._place}-{times}.*.npy"):
            other.unlink()
        files.write_array(self._folder / f"{self._place}-{times}.{content}.npy", self.stamps.changed)
        for path in self._states()[:-KEPT]:
            path.unlink()


def _read(path: Path, dtype: type[Any], shape: tuple[int | None, ...]) -> Any:
    """Return an array; None if it is not there or damaged, which is as if nothing were known."""
    try:
        return files.read_array(path, dtype, shape)
    except (OSError, ValueError):
        return None


def _say_nothing(message: str) -> None:
    """Wait without a word for another process that compares the same images."""
