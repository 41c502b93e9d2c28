"""Zip archives, read in place. Their directory is read entry by entry, so that millions do not fill the memory."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from stat import S_ISLNK
from typing import BinaryIO, NamedTuple

from geobench.data.stores.catalogue import HIDDEN, ListedImage, StoredImage
from geobench.data.stores.store import ZIP, Advance, Store, head, unreadable
from geobench.data.stores.tars import OUTSIDE, is_hidden, plain
from geobench.errors import ImageError
from geobench.images.reading import MAX_BYTES

# Structures of PKWARE's APPNOTE.TXT, with section numbers.
LOCAL = struct.Struct("<4s22xHH")  # 4.3.7: lengths of name and extra field
CENTRAL = struct.Struct("<4s4xHH4xIIIHHH4xII")  # 4.3.12
END = struct.Struct("<4s6xHIIH")  # 4.3.16
LOCATOR_SIZE = 20  # 4.3.15
END64 = struct.Struct("<4s28xQQQ")  # 4.3.14
ENCRYPTED, UTF8 = 1, 1 << 11  # 4.4.4
FULL = 0xFFFFFFFF  # placeholder for a 64-bit number in the extra field
MAX_COMMENT = 1 << 16
BUFFER = 1 << 18
SLACK = 4096  # bytes that the tables of deflate take before anything unpacks


class Member(NamedTuple):
    """A member of a zip, as listed in its directory."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int


class ZipStore(Store, kind="zip", what="zip archives"):
    """Members of one or more zip archives."""

    suffixes = (".zip",)

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether all are called .zip, or a single file begins like one."""
        named = all(part.suffix.lower() in cls.suffixes for part in parts)
        return named or (len(parts) == 1 and head(parts[0], len(ZIP)) == ZIP)

    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
        """Yield the images of one archive."""
        path = self.parts[number]
        try:
            with path.open("rb", buffering=BUFFER) as file:
                for member in members(file):
                    name = plain(member.name)
                    if not name.endswith("/"):
                        detail = f"{member.method} {member.crc} {member.size}"
                        yield StoredImage(name, number, member.offset, member.packed, detail, _problem(member)), None
                    advance(member.packed)
        except (zipfile.BadZipFile, OSError, struct.error) as error:
            raise unreadable(path, "zip archive", error) from None

    def read(self, image: StoredImage) -> bytes:
        """Return the bytes of a member, unpacked and checked."""
        packed = self._packed(image, image.size)
        member = zipfile.ZipInfo(image.name)
        member.compress_type, member.CRC, member.file_size = map(int, image.detail.split())
        member.compress_size = image.size
        try:
            with zipfile.ZipExtFile(BytesIO(packed), "r", member) as file:
                found: bytes = file.read(MAX_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError) as error:
            raise ImageError(f"{image.name}: damaged in {self.parts[image.part].name} ({error})") from None
        if len(found) < member.file_size:
            raise ImageError(f"{image.name}: only {len(found):,} of {member.file_size:,} bytes could be unpacked")
        return found

    def read_head(self, image: StoredImage, size: int) -> bytes:
        """Return the first bytes of a member, as far as they unpack; their checksum is not known."""
        method = int(image.detail.split()[0])
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return super().read_head(image, size)
        packed = self._packed(image, min(image.size, 2 * size + SLACK))
        if method == zipfile.ZIP_STORED:
            return packed[:size]
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size)
        except zlib.error as error:
            raise ImageError(f"{image.name}: damaged in {self.parts[image.part].name} ({error})") from None

    def _packed(self, image: StoredImage, size: int) -> bytes:
        """Return the first ``size`` bytes of a member as they are stored."""
        signature, name_length, extra_length = LOCAL.unpack(self.bytes_at(image.part, image.offset, LOCAL.size))
        if signature != ZIP:
            raise ImageError(f"{image.name}: its header in {self.parts[image.part].name} is damaged")
        return self.bytes_at(image.part, image.offset + LOCAL.size + name_length + extra_length, size)


def members(file: BinaryIO) -> Iterator[Member]:
    """Yield the members in the directory of a zip; raise ``BadZipFile`` if it is damaged or truncated."""
    start, size, count, before = _directory(file)
    file.seek(start)
    done = found = 0
    while done < size:
        signature, flags, method, crc, packed, unpacked, *lengths, mode, offset = CENTRAL.unpack(
            file.read(CENTRAL.size)
        )
        if signature != b"PK\1\2":
            raise zipfile.BadZipFile(f"there is no entry at byte {start + done:,} of its directory")
        name, extra, _ = (file.read(length) for length in lengths)
        unpacked, packed, offset = _in_64_bits(extra, [unpacked, packed, offset])
        text = name.decode("utf-8" if flags & UTF8 else "cp437", "replace")
        yield Member(text, flags, method, crc, packed, unpacked, mode >> 16, offset + before)
        done, found = done + CENTRAL.size + sum(lengths), found + 1
    if found & 0xFFFF != count & 0xFFFF:
        raise zipfile.BadZipFile(f"it lists {found:,} of {count:,} entries")


def _directory(file: BinaryIO) -> tuple[int, int, int, int]:
    """Return the start of the directory, its size, the number of members, and the bytes before the archive."""
    total = file.seek(0, os.SEEK_END)
    tail_start = max(0, total - END.size - MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < END.size:
        raise zipfile.BadZipFile("there is no directory at its end: it is truncated, or not a zip")
    _, count, size, offset, _ = END.unpack_from(tail, at)
    end = tail_start + at
    wide = end - LOCATOR_SIZE - END64.size
    if wide >= 0:
        file.seek(wide)
        record = file.read(END64.size)
        if record[:4] == b"PK\6\6":
            end, (_, count, size, offset) = wide, END64.unpack(record)
    if end - size - offset < 0:
        raise zipfile.BadZipFile("its directory claims to be outside the file")
    return end - size, size, count, end - size - offset


def _in_64_bits(extra: bytes, numbers: list[int]) -> list[int]:
    """Return ``numbers``, with those that did not fit into 32 bits read from the extra field (4.5.3)."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{numbers.count(FULL)}Q", extra, 4))
            return [next(values) if number == FULL else number for number in numbers]
        extra = extra[4 + length :]
    return numbers


def _problem(member: Member) -> str:
    if is_hidden(plain(member.name)):
        return HIDDEN
    if OUTSIDE.match(plain(member.name)):
        return "its path leads outside the archive"
    if S_ISLNK(member.mode):
        return "it is a link"
    if member.flags & ENCRYPTED:
        return "it is encrypted; create the archive without a password"
    if member.size > MAX_BYTES:
        return f"it unpacks to {member.size:,} bytes; at most {MAX_BYTES:,} are read"
    return ""
