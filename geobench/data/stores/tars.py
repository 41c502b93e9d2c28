"""Tar archives, read in place; the shards of a webdataset are tars with sidecar files next to the images."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from geobench.data.stores.catalogue import BROKEN, HIDDEN, ListedImage, StoredImage
from geobench.data.stores.store import Advance, Store, head, unreadable

BLOCK = tarfile.BLOCKSIZE
MAX_SIDECAR = 1 << 20  # bytes of a sidecar file
MAX_SAMPLE = 100  # images under one key
TAR_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, RecursionError, OverflowError)
_TWO_NUMBERS = re.compile(r"\s*([+-]?[0-9.]+)[\s,;]+([+-]?[0-9.]+)\s*")
OUTSIDE = re.compile(r"/|(.*/)?\.\.(/|$)")
"""Names that lead outside the archive. Nothing is written, but a member with such a name is malicious."""


def plain(name: str) -> str:
    """Return the name of a member without a leading ``./``, with ``/`` between its folders."""
    name = name if "/" in name else name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def is_hidden(name: str) -> bool:
    """Return whether a member is a hidden file, such as those that macOS adds to archives."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def numbers(text: str) -> dict[str, str]:
    """Return latitude and longitude if the text is two numbers."""
    match = _TWO_NUMBERS.fullmatch(text)
    return {"latitude": match[1], "longitude": match[2]} if match else {}


def from_json(text: str) -> dict[str, Any]:
    """Return the strings and numbers of a JSON object; raise ``ValueError`` if the text is not one."""
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("it is not an object {…}")
    return scalars(values)


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strings and numbers of ``values``, which fit into a table."""
    return {str(key): value for key, value in values.items() if isinstance(value, (str, int, float))}


SIDECARS: dict[str, Callable[[str], dict[str, Any]]] = {
    "json": from_json,
    "txt": numbers,
    "cls": numbers,
    "latitude": lambda text: {"latitude": text.strip()},
    "longitude": lambda text: {"longitude": text.strip()},
}
"""How to read metadata from a file of a webdataset shard that has the same key as an image, by its suffix."""


class TarStore(Store, kind="tar", what="tar archives, also the shards of a webdataset"):
    """Members of one or more tar archives; files with the key of an image are its metadata."""

    suffixes: ClassVar[tuple[str, ...]] = (".tar",)
    carries_table = True

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether all are called .tar, or a single file begins like one."""
        named = all(part.suffix.lower() in cls.suffixes for part in parts)
        return named or (len(parts) == 1 and is_tar(parts[0]))

    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
        """Yield the images of one archive."""
        with self.parts[number].open("rb") as file:
            yield from list_tar(number, file, self.parts[number], advance)

    def read(self, image: StoredImage) -> bytes:
        """Return the bytes of a member."""
        return self.bytes_at(image.part, image.offset, image.size)

    def read_head(self, image: StoredImage, size: int) -> bytes:
        """Return the first bytes of a member."""
        return self.read(image._replace(size=min(size, image.size)))


def list_tar(number: int, file: BinaryIO, path: Path, advance: Advance) -> Iterator[ListedImage]:
    """Yield the images of the tar ``file`` with their metadata; members with the same key are consecutive."""
    hidden: list[str] = []
    members = _members(file, path, advance, hidden)
    for _, group in groupby(members, key=lambda member: _key_and_suffix(plain(member.name))[0]):
        images: list[StoredImage] = []
        metadata: dict[str, Any] | None = None
        for member in group:
            name = plain(member.name)
            _, suffix = _key_and_suffix(name)
            if suffix not in SIDECARS:
                images.append(_stored_image(name, number, member))
            elif member.isreg() and member.size <= MAX_SIDECAR:
                file.seek(member.offset_data)
                text = file.read(member.size).decode("utf-8", "replace")
                metadata = (metadata or {}) | _read_sidecar(suffix, text, f"{name} in {path.name}")
            if len(images) == MAX_SAMPLE:  # not a sample, but names such as img.0001.jpg
                yield from ((image, metadata) for image in images)
                images.clear()
        yield from ((image, metadata) for image in images)
    yield from ((StoredImage(name, number, problem=HIDDEN), None) for name in hidden)


def _read_sidecar(suffix: str, text: str, where: str) -> dict[str, Any]:
    """Return the metadata in a sidecar file, or why it cannot be read."""
    try:
        return SIDECARS[suffix](text)
    except ValueError as error:
        return {BROKEN: f"{where} cannot be read: {error}"}


def is_tar(path: Path) -> bool:
    """Return whether a file begins like a tar."""
    return path.is_file() and head(path)[257:262] == b"ustar"


def _members(file: BinaryIO, path: Path, advance: Advance, hidden: list[str]) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar except folders; the names of hidden files go to ``hidden``.

    Raises:
        DatasetError: it is damaged.
    """
    done = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or it would keep millions of members
                if member.size < 0 or archive.offset <= done:
                    raise tarfile.ReadError(f"the size of {member.name!r} is invalid")
                advance(archive.offset - done)
                done = archive.offset
                if member.isdir():
                    continue
                if is_hidden(name := plain(member.name)):
                    hidden.append(name)
                else:
                    yield member
            _check_end(file, archive.offset)
    except TAR_ERRORS as error:
        raise unreadable(path, "tar archive", error) from None


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise ``ReadError`` unless a tar ends properly at ``offset``: tarfile treats any damage as the end."""
    file.seek(offset)
    end = file.read(BLOCK)
    if len(end) < BLOCK:
        raise tarfile.ReadError(
            f"it ends at byte {offset + len(end):,} without the end mark of a tar; "
            "if nothing is missing, add the mark: head -c 1024 /dev/zero >> FILE"
        )
    if end.strip(b"\0"):
        raise tarfile.ReadError(f"there is no header at byte {offset:,}")


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Return the key of a sample of a webdataset, up to the first dot of the file name, and the rest."""
    folder, slash, base = name.rpartition("/")
    key, _, suffix = base.partition(".")
    return folder + slash + key, suffix.lower()


def _stored_image(name: str, number: int, member: tarfile.TarInfo) -> StoredImage:
    problem = ""
    if OUTSIDE.match(name):
        problem = "its path leads outside the archive"
    elif not member.isreg():
        problem = f"it is a link to {member.linkname!r}" if member.linkname else "it is not a file"
    elif member.issparse():
        problem = "it is stored as a sparse file; create the archive without --sparse"
    return StoredImage(name, number, member.offset_data, member.size, "", problem)
