"""What a store holds: the place of every image, listed once and kept as SQLite under ``GEOBENCH_HOME/index``."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from geobench import files
from geobench.data.stores.names import OTHER, fit, key_of

IMAGES, TABLE, ABOUT = "images.sqlite", "table.csv", ".about.sqlite"
ROWS_AT_ONCE = 10_000
BROKEN = "cannot be read"
"""The column of the table that tells what a store says about an image and cannot be read."""


class Closable(Protocol):
    """A file, a connection."""

    def close(self) -> None:
        """Let go of it."""


Handle = TypeVar("Handle", bound=Closable)


class Entry(NamedTuple):
    """An image in a store.

    Attributes:
        name: what the store calls it.
        part: number of the file it lies in.
        offset, size: bytes in that file, or the row.
        detail: what reading it takes besides.
        problem: why it cannot be read; empty where it can.
    """

    name: str
    part: int = 0
    offset: int = 0
    size: int = 0
    detail: str = ""
    problem: str = ""


Listed = tuple[Entry, Mapping[str, Any] | None]
"""An image, and what the store says about it: its position and anything else."""


class PerThread(threading.local, Generic[Handle]):
    """A file or connection that every thread, and every process that a worker forks into, opens for itself."""

    held: tuple[int, Any, Handle] | None = None

    def get(self, key: Any, opened: Callable[[], Handle]) -> Handle:
        """Return the handle of ``key``; only the last one is kept."""
        if self.held is None or self.held[:2] != (os.getpid(), key):
            if self.held is not None:
                self.held[2].close()
            self.held = (os.getpid(), key, opened())
        return self.held[2]


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "replace"))


def first_broken(table: Path) -> str:
    """Return the first text of a store that could not be read, from its table; empty where all could."""
    with table.open(encoding="utf-8", newline="") as file:
        return next((row[BROKEN] for row in csv.DictReader(file) if row.get(BROKEN)), "")


class Catalogue:
    """The images of one store, found by name; safe to use in several threads and in forked workers."""

    def __init__(self, folder: Path) -> None:
        """Open the catalogue in ``folder``; raise ``sqlite3.Error`` or ``OSError`` where there is none."""
        self.folder = folder
        # Immutable: nobody writes to it once it is there, so no locks, which would not survive a fork.
        self._address = f"{(folder / IMAGES).absolute().as_uri()}?mode=ro&immutable=1"
        self._connections: PerThread[sqlite3.Connection] = PerThread()
        (self.stamp,) = self._rows("SELECT stamp FROM about")[0]
        self.prefixes: dict[int, str] = dict(self._rows("SELECT part, prefix FROM parts"))
        self._shared = {key_of(prefix) for prefix in self.prefixes.values() if prefix}

    def __len__(self) -> int:
        return int(self._rows("SELECT max(id) FROM entries")[0][0] or 0)

    @property
    def table(self) -> Path | None:
        """Return the CSV file of what the store says about its images, None where it says nothing."""
        path = self.folder / TABLE
        return path if path.is_file() else None

    def entries(self) -> Iterator[Entry]:
        """Yield every image in the order of the store."""
        yield from map(Entry._make, self._connection().execute(f"SELECT {_COLUMNS} FROM entries ORDER BY id"))

    def find(self, image: str) -> list[Entry]:
        """Return the image called ``image``, or the one that it must mean; two or more where that is not clear.

        The same name goes first; then the same path with ``_`` for ``/``, without its suffix, or below the folder that
        all images of the file share; then the end of a path, such as ``1234`` of ``00/1234.jpg``.
        """
        key = key_of(image)
        alike = self._entries("key", {key, *(key[len(p) :] for p in self._shared if key.startswith(p))})
        exact = [entry for entry in alike if entry.name == image]
        if exact:
            return exact
        alike += self._entries("base", {key, key_of(image.rpartition("/")[2])})
        ranked = [(fit(image, entry.name, self.prefixes[entry.part]), entry) for entry in dict.fromkeys(alike)]
        best = min((rank for rank, _ in ranked), default=OTHER)
        return [entry for rank, entry in ranked if rank == best < OTHER]

    def _entries(self, column: str, keys: set[str]) -> list[Entry]:
        """Return the entries of any of ``keys``; another image may be among them."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE {column} IN ({','.join('?' * len(keys))})"
        return [Entry._make(row) for row in self._rows(query, [_hash(key) for key in keys])]

    def _rows(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        return self._connection().execute(query, list(values)).fetchall()

    def _connection(self) -> sqlite3.Connection:
        return self._connections.get(0, lambda: sqlite3.connect(self._address, uri=True, check_same_thread=False))


_COLUMNS = ", ".join(Entry._fields)


def write_catalogue(
    folder: Path, listed: Iterable[Listed], stamp: Callable[[], str], in_table: Callable[[str], bool]
) -> None:
    """Write the catalogue of ``listed`` to ``folder``, whole or not at all, in bounded memory.

    Args:
        folder: its place.
        listed: every image of the store.
        stamp: called when all are listed; a catalogue is out of date when the store's stamp is another.
        in_table: whether an image of this name has a row in the table of what the store says about its images.
    """
    with files.replacing_folder(folder) as made, closing(sqlite3.connect(made / IMAGES)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"  # a folder that is not finished is thrown away
            "CREATE TABLE entries (id INTEGER PRIMARY KEY, name TEXT, part INTEGER, offset INTEGER, size INTEGER,"
            " detail TEXT, problem TEXT, key INTEGER, base INTEGER);"
            "CREATE TABLE parts (part INTEGER PRIMARY KEY, prefix TEXT); CREATE TABLE about (stamp TEXT);"
            f"ATTACH '{str(made / ABOUT).replace(chr(39), chr(39) * 2)}' AS more; PRAGMA more.journal_mode = OFF;"
            "CREATE TABLE more.fields (id INTEGER PRIMARY KEY, fields TEXT);"
        )
        prefixes, columns = _fill(connection, listed)
        if any(prefixes.values()):
            connection.create_function("below", 2, lambda name, part: _hash(key_of(name[len(prefixes[part]) :])))
            connection.execute("UPDATE entries SET key = below(name, part)")
        connection.executemany("INSERT INTO parts VALUES (?, ?)", prefixes.items())
        connection.execute("INSERT INTO about VALUES (?)", [stamp()])
        if columns:
            _write_table(connection, made / TABLE, columns, in_table)
        connection.commit()
        connection.executescript(
            "DETACH more; CREATE INDEX by_key ON entries (key); CREATE INDEX by_base ON entries (base) "
            "WHERE base IS NOT NULL;"
        )
        (made / ABOUT).unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, listed: Iterable[Listed]) -> tuple[dict[int, str], list[str]]:
    """Insert ``listed``; return the folder that the images of each part share, and the names of what is said."""
    prefixes: dict[int, str] = {}
    columns: dict[str, None] = {}
    numbered = enumerate(listed, start=1)
    while batch := list(islice(numbered, ROWS_AT_ONCE)):
        rows, more = [], []
        for number, (entry, about) in batch:
            name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            folder, slash, base = name.rpartition("/")
            prefixes[entry.part] = _shared(prefixes.get(entry.part, folder + slash), folder + slash)
            rows.append((number, name, *entry[1:], _hash(key_of(name)), _hash(key_of(base)) if slash else None))
            if about is not None:
                columns |= dict.fromkeys(about)
                more.append((number, json.dumps(about)))
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO more.fields VALUES (?, ?)", more)
    return prefixes, list(columns)


def _shared(folder: str, other: str) -> str:
    """Return the folder, with its last slash, that both lie in."""
    while not other.startswith(folder):
        folder = folder[: folder.rstrip("/").rfind("/") + 1]
    return folder


def _write_table(
    connection: sqlite3.Connection, path: Path, columns: list[str], in_table: Callable[[str], bool]
) -> None:
    """Write a row for each image; one of which nothing is said has empty cells, which whoever reads it calls out."""
    columns = [column for column in columns if column != "image"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *columns])
        for name, text in connection.execute(
            "SELECT name, fields FROM entries LEFT JOIN more.fields USING (id) ORDER BY id"
        ):
            if in_table(name):
                fields = json.loads(text) if text else {}
                writer.writerow([name, *(fields.get(column, "") for column in columns)])
