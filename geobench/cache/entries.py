"""Entries of ``GEOBENCH_HOME``: what is there, of which data set, how large, and when it was last used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geobench import files
from geobench.cache.kinds import CONTAINERS, DOWNLOADS, LEFTOVERS, Kind, kind_of
from geobench.cache.leftovers import find_leftovers, measured
from geobench.data.stores.catalogue import SOURCE
from geobench.plugins import get_datasets

IDENTIFIER = re.compile(r"\.?(?P<dataset>.+)-s\d+-[0-9a-f]{8}(\.partial)?")
"""Name of the folder of a checkpoint, or of an interrupted training."""


@dataclass(frozen=True)
class Entry:
    """Something in ``GEOBENCH_HOME`` that is kept or removed as a whole.

    Attributes:
        name: its path relative to the home, without a suffix if it has several files.
        kind: what it is.
        paths: its files, or its folder.
        bytes: on disk.
        used: when it was last read or written, in seconds since 1970.
        datasets: what it was made of or trained on; empty if unknown.
        about: what is recorded of it.
    """

    name: str
    kind: Kind
    paths: tuple[Path, ...]
    bytes: int
    used: float
    datasets: tuple[str, ...]
    about: Mapping[str, Any]

    @property
    def in_use(self) -> list[Path]:
        """Return the files that a process which uses it holds; none of kinds that are only written, under a lock."""
        pattern = self.kind.in_use
        return [file for path in self.paths for file in (path, path / pattern) if pattern and file.match(pattern)]

    @property
    def what(self) -> str:
        """Return what it is of, in words, as far as is recorded."""
        about = self.about
        if self.kind.name == "galleries":
            return f"{about['gallery']} of {self.embedded_by}" if about else "of an earlier version"
        words = {"features": ("purpose", "encoder"), "index": ("path",)}.get(self.kind.name, ())
        return ", ".join(str(about[word]) for word in words if about.get(word))

    @property
    def embedded_by(self) -> str:
        """Return the checkpoint that embeddings of a gallery are of, ``MODEL@ID``; empty if that is not recorded."""
        return str(self.about.get("checkpoint", "")).split(" ")[0]


def find_entries() -> list[Entry]:
    """Return everything that is in ``GEOBENCH_HOME``, by path; leftovers of killed processes as well."""
    home = files.home()
    leftovers = {found.path: found for found in find_leftovers(home)}
    groups: dict[str, list[Path]] = {}
    for path in _listed(home, home):
        if path not in leftovers:
            groups.setdefault(_name(path, home), []).append(path)
    inside = [path for part in _downloads(home) for path in part if path not in leftovers]
    for path in inside:
        groups.setdefault(_name(path, home), []).append(path)
    less = [*inside, *leftovers]
    found = [_entry(name, paths, home, less) for name, paths in groups.items()]
    found += [
        Entry(_name(left.path, home), LEFTOVERS, (left.path,), left.bytes, left.changed, (), {})
        for left in leftovers.values()
    ]
    return sorted(found, key=lambda entry: entry.name)


def _listed(folder: Path, home: Path) -> Iterator[Path]:
    """Yield the entries of the home: what lies in the folders that hold entries, and what else there is."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and CONTAINERS.fullmatch(_relative(path, home)):
            yield from _listed(path, home)
        else:
            yield path


def _relative(path: Path, home: Path) -> str:
    relative = path.relative_to(home).as_posix()
    return f"{relative}/" if path.is_dir() else relative


def _name(path: Path, home: Path) -> str:
    """Return the name of an entry: embeddings of a gallery and the record of them are one."""
    relative = path.relative_to(home).as_posix()
    return relative.rpartition(".")[0] if kind_of(_relative(path, home)).name == "galleries" else relative


def _downloads(home: Path) -> Iterator[list[Path]]:
    """Yield the partial file of each interrupted download, with what is noted of it."""
    from geobench.data.download.fetch import Target
    from geobench.data.remote_files import remote_files

    for name, dataset in get_datasets().items():
        if (home / "data" / name).is_dir():
            for remote in remote_files(dataset):
                part = Target(dataset.folder / remote.file).part
                if part.path.is_file():
                    yield [part.path]


def _entry(name: str, paths: list[Path], home: Path, less: Iterable[Path]) -> Entry:
    """Return the entry of ``paths``; what lies within them and is an entry of its own, ``less``, does not count."""
    kind = kind_of(_relative(paths[0], home))
    sizes = [measured(path) for path in paths]
    counted_apart = sum(measured(other)[0] for other in less if other.parent != home and paths[0] in other.parents)
    about = _about(kind, paths[0])
    size, used = sum(size for size, _ in sizes) - counted_apart, max(used for _, used in sizes)
    return Entry(name, kind, tuple(paths), size, used, tuple(_datasets(kind, paths[0], about)), about)


def _about(kind: Kind, path: Path) -> dict[str, Any]:
    """Return what is recorded of an entry; nothing if the record is not there or damaged."""
    records = {
        "features": path / "about.json",
        "galleries": path.with_suffix(".json"),
        "checkpoints": path / "checkpoint.json",
        "index": path / SOURCE,
    }
    try:
        found = json.loads(records[kind.name].read_text(encoding="utf-8")) if kind.name in records else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _datasets(kind: Kind, path: Path, about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the data sets that an entry is of."""
    if kind.name in ("features", "checkpoints") and "dataset" in about:
        yield str(about["dataset"])
    elif kind.name in ("galleries", "checkpoints", "trainings"):
        identifier = str(about.get("checkpoint", "")).split(" ")[0].partition("@")[2] if about else path.name
        if match := IDENTIFIER.fullmatch(identifier):
            yield match["dataset"]
    elif kind.name == "index" and "path" in about:
        for name, dataset in get_datasets().items():
            stored = [dataset.folder / str(split.get("images", "images")) for split in dataset.splits.values()]
            if Path(about["path"]) in stored:
                yield name
    elif kind.name in ("data", "audits") or kind is DOWNLOADS:
        yield path.relative_to(files.home()).parts[1]
