"""The catalogue of a store: the location of every image, listed once and kept in SQLite in ``GEOBENCH_HOME/index``."""

from __future__ import annotations

import csv
import errno
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from geobench import files, holding
from geobench.data.stores.names import OTHER, fit, folded, is_image_name, key_of, plain
from geobench.errors import StorageError
from geobench.images.reading import retried

IMAGES, TABLE, METADATA = "images.sqlite", "table.csv", ".metadata.sqlite"
SOURCE = "source.json"  # what the catalogue lists
ROWS_AT_ONCE = 10_000
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
"""SQLite's names of errors that reading again does not mend."""
BROKEN = "cannot be read"
"""The column of the table for metadata of an image that cannot be read."""


class Closable(Protocol):
    """A file or a connection."""

    def close(self) -> None:
        """Close it."""


Handle = TypeVar("Handle", bound=Closable)


class StoredImage(NamedTuple):
    """An image in a store.

    Attributes:
        name: in the store.
        part: number of the file that contains it.
        offset, size: its bytes in that file, or its row.
        detail: whatever else is needed to read it.
        problem: why it cannot be read; empty if it can.
    """

    name: str
    part: int = 0
    offset: int = 0
    size: int = 0
    detail: str = ""
    problem: str = ""


HIDDEN = "it is hidden"
"""The problem of a file that a listing leaves out: it is counted, and never found."""
ListedImage = tuple[StoredImage, Mapping[str, Any] | None]
"""An image and the metadata stored with it: its position and anything else."""


class PerThread(threading.local, Generic[Handle]):
    """A file or connection that every thread and every forked process opens for itself."""

    current: tuple[int, Any, Handle] | None = None

    def get(self, key: Any, opened: Callable[[], Handle]) -> Handle:
        """Return the handle of ``key``; only the last one is kept open."""
        if self.current is None or self.current[:2] != (os.getpid(), key):
            if self.current is not None:
                self.current[2].close()
            self.current = (os.getpid(), key, opened())
        return self.current[2]

    def drop(self) -> None:
        """Forget the handle: after an error of the disk it may be of no use."""
        self.current = None


def _hash(key: str) -> int:
    """Return the number that keys share which differ in spelling and case alone."""
    return zlib.crc32(folded(key).encode("utf-8", "replace"))


def first_broken(table: Path) -> str:
    """Return the first message about unreadable metadata in the table of a store; empty if there is none."""
    with table.open(encoding="utf-8", newline="") as file:
        return next((row[BROKEN] for row in csv.DictReader(file) if row.get(BROKEN)), "")


class Catalogue:
    """The images of one store, found by name; safe to use in several threads and in forked workers."""

    def __init__(self, folder: Path) -> None:
        """Open the catalogue in ``folder``; raise ``sqlite3.Error`` or ``OSError`` if there is none."""
        self.folder = folder
        # Immutable: it is never written to again, so it needs no locks, which would not survive a fork.
        self._address = f"{(folder / IMAGES).absolute().as_uri()}?mode=ro&immutable=1"
        self._connections: PerThread[sqlite3.Connection] = PerThread()
        holding.use(folder / IMAGES, folder / SOURCE)
        (self.stamp,) = self._query("SELECT stamp FROM about")[0]
        self.prefixes: dict[int, str] = dict(self._query("SELECT part, prefix FROM parts"))
        self._shared = {key_of(prefix) for prefix in self.prefixes.values() if prefix}

    def __len__(self) -> int:
        return int(self._rows("SELECT max(id) FROM entries")[0][0] or 0)

    @property
    def table(self) -> Path | None:
        """Return the CSV file of the metadata stored with the images, None if there is none."""
        path = self.folder / TABLE
        return path if path.is_file() else None

    def images(self) -> Iterator[StoredImage]:
        """Yield every image in the order of the store."""
        query, last = f"SELECT {_COLUMNS} FROM entries WHERE id BETWEEN ? AND ? ORDER BY id", len(self)
        for start in range(1, last + 1, ROWS_AT_ONCE):
            yield from map(StoredImage._make, self._rows(query, [start, start + ROWS_AT_ONCE - 1]))

    def find(self, image: str) -> list[StoredImage]:
        """Return the image called ``image``, or the only one that can be meant; two or more if it is ambiguous.

        An identical name takes precedence; then the same in another spelling of Unicode or with backslashes; then the
        same path with ``_`` for ``/``, without its suffix, or relative to the folder that all images of the file share;
        then the end of a path, such as ``1234`` of ``00/1234.jpg``; then any of these in another case.
        """
        key = key_of(image)
        below = (key[len(p) :] for p in self._shared if folded(key).startswith(folded(p)))
        candidates = self._with_hash("key", {key, *below})
        exact = [stored for stored in candidates if stored.name == image]
        if exact:
            return exact
        candidates += self._with_hash("base", {key, key_of(plain(image).rpartition("/")[2])})
        distinct = dict.fromkeys(candidates)
        ranked = [(fit(image, stored.name, self.prefixes[stored.part]), stored) for stored in distinct]
        best = min((rank for rank, _ in ranked), default=OTHER)
        return [stored for rank, stored in ranked if rank == best < OTHER]

    def _with_hash(self, column: str, keys: set[str]) -> list[StoredImage]:
        """Return the images that have the hash of any of ``keys``, collisions included."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE {column} IN ({','.join('?' * len(keys))})"
        return [StoredImage._make(row) for row in self._rows(query, [_hash(key) for key in keys])]

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query; raise ``StorageError`` if the disk does not give them, or they are damaged."""

        def read() -> list[Any]:
            try:
                return self._query(query, values)
            except sqlite3.Error as error:
                self._connections.drop()
                if getattr(error, "sqlite_errorname", "") in DAMAGED:
                    raise StorageError(
                        f"{self.folder / IMAGES}, the index of images, is damaged ({error}); delete the folder "
                        f"{self.folder}, which the same command makes again."
                    ) from error
                raise OSError(errno.EIO, str(error)) from error

        return retried(read, f"{self.folder / IMAGES}, the index of images,")

    def _query(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._connection().execute(query, values).fetchall()

    def _connection(self) -> sqlite3.Connection:
        return self._connections.get(0, lambda: sqlite3.connect(self._address, uri=True, check_same_thread=False))


_COLUMNS = ", ".join(StoredImage._fields)


def write_catalogue(
    folder: Path, listed: Iterable[ListedImage], stamp: Callable[[], str], is_image: Callable[[str], bool]
) -> None:
    """Write the catalogue of ``listed`` to ``folder``, completely or not at all, in bounded memory.

    Args:
        folder: its destination.
        listed: every image of the store.
        stamp: called when all are listed; a catalogue is out of date if the stamp of the store has changed.
        is_image: whether a file of this name gets a row in the table of metadata.
    """
    with files.replacing_folder(folder) as temporary, closing(sqlite3.connect(temporary / IMAGES)) as connection:
        quoted = str(temporary / METADATA).replace("'", "''")
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"  # an unfinished folder is discarded
            "CREATE TABLE entries (id INTEGER PRIMARY KEY, name TEXT, part INTEGER, offset INTEGER, size INTEGER,"
            " detail TEXT, problem TEXT, key INTEGER, base INTEGER);"
            "CREATE TABLE parts (part INTEGER PRIMARY KEY, prefix TEXT); CREATE TABLE about (stamp TEXT);"
            f"ATTACH '{quoted}' AS more; PRAGMA more.journal_mode = OFF;"
            "CREATE TABLE more.fields (id INTEGER PRIMARY KEY, fields TEXT);"
        )
        prefixes, columns = _fill(connection, listed)
        if any(prefixes.values()):
            connection.create_function("below", 2, lambda name, part: _hash(key_of(name.removeprefix(prefixes[part]))))
            connection.execute("UPDATE entries SET key = below(name, part) WHERE key IS NOT NULL")
        connection.executemany("INSERT INTO parts VALUES (?, ?)", prefixes.items())
        connection.execute("INSERT INTO about VALUES (?)", [stamp()])
        if columns:
            _write_table(connection, temporary / TABLE, columns, is_image)
        connection.commit()
        connection.executescript(
            "DETACH more; CREATE INDEX by_key ON entries (key); CREATE INDEX by_base ON entries (base) "
            "WHERE base IS NOT NULL;"
        )
        (temporary / METADATA).unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, listed: Iterable[ListedImage]) -> tuple[dict[int, str], list[str]]:
    """Insert ``listed``; return the folder that the images of each part share, and the names of the metadata."""
    prefixes: dict[int, dict[bool, str]] = {}
    columns: dict[str, None] = {}
    numbered = enumerate(listed, start=1)
    while batch := list(islice(numbered, ROWS_AT_ONCE)):
        rows, metadata = [], []
        for number, (image, values) in batch:
            name = printable(image.name)
            folder, slash, base = name.rpartition("/")
            if image.problem == HIDDEN:
                keys: tuple[int | None, int | None] = None, None
            else:
                shared = prefixes.setdefault(image.part, {})
                is_image = is_image_name(name)
                shared[is_image] = _shared(shared.get(is_image, folder + slash), folder + slash)
                keys = _hash(key_of(name)), _hash(key_of(base)) if slash else None
            rows.append((number, name, *image[1:], *keys))
            if values is not None:
                columns |= dict.fromkeys(values)
                metadata.append((number, json.dumps(values)))
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO more.fields VALUES (?, ?)", metadata)
    return {part: shared.get(True, shared.get(False, "")) for part, shared in prefixes.items()}, list(columns)


def printable(name: str) -> str:
    r"""Return a name that can be written as text: bytes of another encoding than UTF-8 as ``\xe9``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _shared(folder: str, other: str) -> str:
    """Return the common parent folder of two folders, with its final slash."""
    while not other.startswith(folder):
        folder = folder[: folder.rstrip("/").rfind("/") + 1]
    return folder


def _write_table(
    connection: sqlite3.Connection, path: Path, columns: list[str], is_image: Callable[[str], bool]
) -> None:
    """Write a row for each image; one without metadata has empty fields, which are reported when it is read."""
    columns = [column for column in columns if column != "image"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *columns])
        for name, text in connection.execute(
            "SELECT name, fields FROM entries LEFT JOIN more.fields USING (id) WHERE key IS NOT NULL ORDER BY id"
        ):
            if is_image(name):
                fields = json.loads(text) if text else {}
                writer.writerow([name, *(fields.get(column, "") for column in columns)])
