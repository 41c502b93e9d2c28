"""A tar that was split into parts, as large data sets are distributed, read in place as a single file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import SEEK_CUR, SEEK_END, BufferedReader, RawIOBase
from itertools import pairwise
from pathlib import Path
from typing import Any

from geobench.data.stores.catalogue import ListedImage, StoredImage
from geobench.data.stores.store import Advance
from geobench.data.stores.tars import TarStore, is_tar, list_tar
from geobench.errors import DatasetError, ImageError

MAX_STEMS = 10  # a folder with more series of numbered names is treated as a folder of images
BUFFER = 1 << 16
_LETTERS = re.compile(r"(.*\.tar[._-]?(?:part[._-]?)?|.*part[._-]?)([a-z]{1,4})")
_DIGITS = re.compile(r"(.*?)([0-9]+)")


def _counted(path: Path) -> tuple[str, str]:
    """Return the common beginning of the parts and the count, ``X.tar.`` and ``aa``; empty strings if not a part."""
    match = _LETTERS.fullmatch(path.name) or _DIGITS.fullmatch(path.name)
    return (match[1], match[2]) if match else ("", "")


def _order(path: Path) -> tuple[int, int]:
    """Return the position of a part: the length of its count, which ``split`` extends if needed, and the count."""
    _, count = _counted(path)
    position = 0
    for character in count:
        position = position * 10 + int(character) if character.isdigit() else position * 26 + ord(character) - ord("a")
    return len(count), position


def _series(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the series of numbered files among ``paths`` whose first file begins like a tar."""
    by_stem: dict[str, list[Path]] = {}
    for path in paths:
        stem, _ = _counted(path)
        if stem:
            by_stem.setdefault(stem, []).append(path)
    if len(by_stem) > MAX_STEMS:
        return []
    return [sorted(parts, key=_order) for parts in by_stem.values() if is_tar(min(parts, key=_order))]


def _are_pieces(paths: Sequence[Path]) -> bool:
    """Return whether files are numbered and all but the last have the same size, as photos never have."""
    if len(paths) < 3 or len({_counted(path)[0] for path in paths}) > 1 or not _counted(paths[0])[0]:
        return False
    return len({path.stat().st_size for path in paths[:-1]}) == 1


class SplitTarStore(TarStore, kind="split-tar", what="a tar that was split, X.tar.00 … or X.tar.partaa …"):
    """One tar whose bytes are spread over several files."""

    suffixes = ()

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether the names are numbered and the first file begins like a tar."""
        return [sorted(parts, key=_order)] == _series(parts)

    @classmethod
    def in_order(cls, parts: Sequence[Path]) -> list[Path]:
        """Return the parts in order; raise ``DatasetError`` if one is missing."""
        ordered = sorted(parts, key=_order)
        for before, part in pairwise(ordered):
            width, position = _order(part)
            if _order(before)[0] == width and _order(before)[1] != position - 1:
                raise DatasetError(f"{part}: the part before it, after {before.name}, is missing; get it first.")
        return ordered

    @classmethod
    def parts_among(cls, paths: Sequence[Path]) -> list[Path]:
        """Return those of ``paths`` that are parts of a split tar.

        Raises:
            DatasetError: they look like parts, but the first one is missing.
        """
        found = [part for parts in _series(paths) for part in parts]
        if not found and _are_pieces(sorted(paths, key=_order)):
            first = min(paths, key=_order).name
            raise DatasetError(
                f"{paths[0].parent}: {first}, … are numbered and of the same size, like the parts of a split tar, but "
                "no tar begins in the first of them; get the parts before it."
            )
        return found

    @classmethod
    def parts_with(cls, path: Path) -> list[Path]:
        """Return all parts of the split tar that ``path`` belongs to; none if it is not such a part."""
        stem, _ = _counted(path)
        siblings = [other for other in path.parent.iterdir() if stem and _counted(other)[0] == stem]
        return cls.parts_among(siblings)

    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
        """Yield the images of the tar, once."""
        if number == 0:
            with BufferedReader(_Joined(self.parts), BUFFER) as file:
                yield from list_tar(0, file, self.parts[0], advance)

    def read(self, image: StoredImage) -> bytes:
        """Return the bytes of a member, which may span several parts."""
        found, position = b"", image.offset
        for number, (start, end) in enumerate(self._bounds):
            if start <= position < end and len(found) < image.size:
                size = min(image.size - len(found), end - position)
                found += self.bytes_at(number, position - start, size)
                position += size
        if len(found) < image.size:
            raise ImageError(f"{image.name}: the parts end before its {image.size:,} bytes do")
        return found

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        return bounds(self.parts)


def bounds(parts: Sequence[Path]) -> list[tuple[int, int]]:
    """Return where each part begins and ends in the whole file."""
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + part.stat().st_size)
    return list(pairwise(ends))


class _Joined(RawIOBase):
    """The whole file, one part open at a time."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self.parts, self.bounds, self.position = parts, bounds(parts), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + {SEEK_CUR: self.position, SEEK_END: self.bounds[-1][1]}.get(whence, 0)
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        for number, (start, end) in enumerate(self.bounds):
            if start <= self.position < end:
                return self._read_part(number, self.position - start, memoryview(buffer)[: end - self.position])
        return 0

    def _read_part(self, number: int, offset: int, buffer: memoryview) -> int:
        with self.parts[number].open("rb", buffering=0) as file:
            file.seek(offset)
            count = file.readinto(buffer) or 0
        self.position += count
        return count
