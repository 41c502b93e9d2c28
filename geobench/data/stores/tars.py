"""Tar archives read in place; the shards of a webdataset are tars with texts beside the images."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from geobench.data.stores.catalogue import BROKEN, Entry, Listed
from geobench.data.stores.store import Advance, Store, head, unreadable

BLOCK = tarfile.BLOCKSIZE
MAX_SIDECAR = 1 << 20  # bytes of a text beside an image
MAX_SAMPLE = 100  # images under one key
TAR_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, RecursionError, OverflowError)
_TWO_NUMBERS = re.compile(r"\s*([+-]?[0-9.]+)[\s,;]+([+-]?[0-9.]+)\s*")
OUTSIDE = re.compile(r"/|(.*/)?\.\.(/|$)")
"""Names that lead out of the archive. Nothing is written, but a member of such a name means harm."""


def plain(name: str) -> str:
    """Return a name of a member without ``./`` before it, ``/`` between its folders."""
    name = name if "/" in name else name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def hidden(name: str) -> bool:
    """Return whether a member is none of the set: what macOS and others hide in archives."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def numbers(text: str) -> dict[str, str]:
    """Return latitude and longitude where the text is two numbers."""
    match = _TWO_NUMBERS.fullmatch(text)
    return {"latitude": match[1], "longitude": match[2]} if match else {}


def from_json(text: str) -> dict[str, Any]:
    """Return the plain values of a JSON object; raise ``ValueError`` where the text is none."""
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("it is no object {…}")
    return scalars(values)


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the texts and numbers of ``values``, which can stand in a table."""
    return {str(key): value for key, value in values.items() if isinstance(value, (str, int, float))}


SIDECARS: dict[str, Callable[[str], dict[str, Any]]] = {
    "json": from_json,
    "txt": numbers,
    "cls": numbers,
    "latitude": lambda text: {"latitude": text.strip()},
    "longitude": lambda text: {"longitude": text.strip()},
}
"""What may lie beside an image of a webdataset shard under the same key: how its position is read from it."""


class TarStore(Store, kind="tar", what="tar archives, also the shards of a webdataset"):
    """Members of one or more tar archives; what lies beside an image under its key is said about it."""

    suffixes: ClassVar[tuple[str, ...]] = (".tar",)
    carries_table = True

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether all are called .tar, or the first begins as one does."""
        named = all(part.suffix.lower() in cls.suffixes for part in parts)
        return named or (len(parts) == 1 and is_tar(parts[0]))

    def list_part(self, number: int, advance: Advance) -> Iterator[Listed]:
        """Yield the images of one archive."""
        with self.parts[number].open("rb") as file:
            yield from list_tar(number, file, self.parts[number], advance)

    def read_entry(self, entry: Entry) -> bytes:
        """Return the bytes of a member."""
        return self.bytes_at(entry.part, entry.offset, entry.size)


def list_tar(number: int, file: BinaryIO, path: Path, advance: Advance) -> Iterator[Listed]:
    """Yield the images of the tar ``file`` with what lies beside each; members of one key follow each other."""
    members = _members(file, path, advance)
    for _, group in groupby(members, key=lambda member: _key_and_suffix(plain(member.name))[0]):
        entries: list[Entry] = []
        about: dict[str, Any] | None = None
        for member in group:
            name = plain(member.name)
            _, suffix = _key_and_suffix(name)
            if suffix not in SIDECARS:
                entries.append(_tar_entry(name, number, member))
            elif member.isreg() and member.size <= MAX_SIDECAR:
                file.seek(member.offset_data)
                text = file.read(member.size).decode("utf-8", "replace")
                about = (about or {}) | _said(suffix, text, f"{name} in {path.name}")
            if len(entries) == MAX_SAMPLE:  # no sample, but names such as img.0001.jpg
                yield from ((entry, about) for entry in entries)
                entries.clear()
        yield from ((entry, about) for entry in entries)


def _said(suffix: str, text: str, where: str) -> dict[str, Any]:
    """Return what a text beside an image says; where it cannot be read, why."""
    try:
        return SIDECARS[suffix](text)
    except ValueError as error:
        return {BROKEN: f"{where} cannot be read: {error}"}


def is_tar(path: Path) -> bool:
    """Return whether a file begins as a tar does."""
    return path.is_file() and head(path)[257:262] == b"ustar"


def _members(file: BinaryIO, path: Path, advance: Advance) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar but folders and hidden ones; raise ``DatasetError`` where it is damaged or cut off."""
    done = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else it holds every member of millions
                if member.size < 0 or archive.offset <= done:
                    raise tarfile.ReadError(f"the size of {member.name!r} is none")
                advance(archive.offset - done)
                done = archive.offset
                if not member.isdir() and not hidden(plain(member.name)):
                    yield member
            _check_end(file, archive.offset)
    except TAR_ERRORS as error:
        raise unreadable(path, "tar archive", error) from None


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise ``ReadError`` where a tar does not end at ``offset`` as it must: tarfile takes any damage for the end."""
    file.seek(offset)
    end = file.read(BLOCK)
    if len(end) < BLOCK:
        raise tarfile.ReadError(
            f"it ends at byte {offset + len(end):,} without the mark that closes a tar; "
            "where nothing is missing, add the mark: head -c 1024 /dev/zero >> FILE"
        )
    if end.strip(b"\0"):
        raise tarfile.ReadError(f"there is no header at byte {offset:,}")


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Return what a webdataset takes for the key of a sample, and the rest: up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    key, _, suffix = base.partition(".")
    return folder + slash + key, suffix.lower()


def _tar_entry(name: str, number: int, member: tarfile.TarInfo) -> Entry:
    problem = ""
    if OUTSIDE.match(name):
        problem = "its path leads out of the archive"
    elif not member.isreg():
        problem = f"it is a link to {member.linkname!r}" if member.linkname else "it is no file"
    elif member.issparse():
        problem = "it is stored with holes; pack the archive without --sparse"
    return Entry(name, number, member.offset_data, member.size, "", problem)
