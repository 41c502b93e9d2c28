"""Layouts: recognise which kind of store a path is, whether a file, a folder or a pattern of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

import geobench.data.stores.folders
import geobench.data.stores.parquet
import geobench.data.stores.zips  # noqa: F401  importing these three registers their kinds
from geobench.data.stores.names import is_image_name, suffix_of
from geobench.data.stores.split_tars import SplitTarStore
from geobench.data.stores.store import Store, head
from geobench.errors import DatasetError, DatasetNotFoundError, unknown_name
from geobench.images.decoding import SUFFIXES
from geobench.images.formats import HEIC_REMEDY, is_image

COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
MAX_INSPECTED = 10_000  # entries of a folder that are inspected to recognise its layout

_opened: dict[tuple[str, str, str | None, str | None], Store] = {}


def open_store(
    path: Path,
    layout: str = "",
    id_column: str | None = None,
    photo_column: str | None = None,
    *,
    fresh: bool = True,
) -> Store:
    """Return the store at ``path``: a file, a folder, or a pattern such as ``shards/*.tar``.

    Args:
        path: of the images.
        layout: a name from ``Store.kinds``; recognised if empty.
        id_column: the column or field with the name of an image, if it is not recognised.
        photo_column: the column with the photo itself, if several may hold it.
        fresh: False reuses what this process has opened before.

    Raises:
        DatasetNotFoundError: there is no such file or folder.
        DatasetError: its layout is not one that geobench reads; names what was found and what is valid.
    """
    key = (str(path), layout, id_column, photo_column)
    if fresh or key not in _opened:
        kind, parts = recognise(path, layout)
        _opened[key] = kind(path, parts, id_column, photo_column)
    return _opened[key]


def recognise(path: Path, layout: str = "") -> tuple[type[Store], list[Path]]:
    """Return the kind of store at ``path`` and its files; arguments and errors as for :func:`open_store`."""
    if layout and layout not in Store.kinds:
        raise unknown_name("layout", layout, Store.kinds)
    path = _hub_snapshot(path)
    if path.is_dir():
        parts = ([] if layout == "folder" else _archives_in(path)) or [path]
    elif path.is_file():
        parts = SplitTarStore.parts_with(path) or [path]
    else:
        parts = _matching(path)
        if not parts:
            raise DatasetNotFoundError(f"{path}: there is no such file or folder, and no file matches it as a pattern.")
    for kind in [Store.kinds[layout]] if layout else Store.kinds.values():
        if kind.claims(parts):
            return kind, kind.in_order(parts)
    others = [kind.kind for kind in Store.kinds.values() if layout and kind.claims(parts)]
    if others:
        raise DatasetError(
            f"{path} is not of layout {layout} but {others[0]}; set layout to {others[0]!r}, or leave it out."
        )
    raise DatasetError(f"{path}: {_not_read(parts)} {valid_layouts()}")


def _hub_snapshot(path: Path) -> Path:
    """Return where the data of a repository in the hub's cache are, if ``path`` is one; else ``path``.

    Its files are links from ``snapshots/REVISION``, with names, to ``blobs``, without.

    Raises:
        DatasetError: it has several revisions, and none is called main.
    """
    snapshots = path / "snapshots"
    if snapshots.is_dir() and (path / "blobs").is_dir():
        revisions = sorted(entry for entry in snapshots.iterdir() if entry.is_dir())
        main = path / "refs" / "main"
        named = snapshots / main.read_text(encoding="utf-8").strip() if main.is_file() else None
        if named not in revisions and len(revisions) != 1:
            found = _some(revision.name for revision in revisions) or "none"
            raise DatasetError(f"{path} has no revision called main; give one of those in {snapshots}: {found}.")
        path = named if named in revisions and named is not None else revisions[0]
    elif path.parent.name != "snapshots":
        return path
    if not path.is_dir():
        return path
    inner = [entry for entry in path.iterdir() if entry.is_dir()]
    if len(inner) == 1 and not any(is_image_name(entry.name) or _is_archive(entry) for entry in path.iterdir()):
        return inner[0]
    return path


def _is_archive(path: Path) -> bool:
    return path.is_file() and suffix_of(path.name) in {s for kind in Store.kinds.values() for s in kind.suffixes}


def valid_layouts() -> str:
    """Return a sentence on the valid layouts."""
    return f"Valid are {'; '.join(f'{kind.what} ({name})' for name, kind in Store.kinds.items())}."


def is_there(path: Path) -> bool:
    """Return whether ``path`` is a file, a folder, or a pattern that matches a file."""
    return path.exists() or bool(_matching(path))


def _matching(pattern: Path) -> list[Path]:
    """Return the files that match a pattern, none if it is not a pattern."""
    found = glob(str(pattern)) if has_magic(str(pattern)) else []  # noqa: PTH207  it may be absolute
    return sorted(map(Path, found))


def _archives_in(folder: Path) -> list[Path]:
    """Return the archives in ``folder``; none if it is a folder of images.

    Raises:
        DatasetError: it contains both archives and folders, or neither these nor images.
    """
    suffixes = {suffix for kind in Store.kinds.values() for suffix in kind.suffixes} | set(COMPRESSED)
    archives: list[Path] = []
    folders: list[Path] = []
    others: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in (e for e in entries if not e.name.startswith((".", "__MACOSX"))):
            suffix = suffix_of(entry.name)
            if suffix in SUFFIXES or len(folders) + len(others) > MAX_INSPECTED:
                return []
            group = archives if suffix in suffixes else folders if entry.is_dir() else others
            group.append(Path(entry.path))
    archives += SplitTarStore.parts_among(others)
    if archives and folders:
        raise DatasetError(
            f"{folder} contains both archives ({min(archives).name}) and folders ({min(folders).name}); give what "
            f"contains the images: one of the folders, or {folder / ('*' + min(archives).suffix)}"
        )
    unknown = others and not archives and not folders and all(other.suffix for other in others)
    if unknown and not any(other.is_file() and is_image(head(other)) for other in others):
        raise DatasetError(f"{folder}: {_not_read(sorted(others))} {valid_layouts()}")
    return sorted(archives)


def _not_read(parts: Sequence[Path]) -> str:
    """Return what was found that cannot be read, and why if that is known."""
    names = _some(part.name + ("/" if part.is_dir() else "") for part in parts)
    packed = next((part for part in parts if set(part.suffixes) & set(COMPRESSED)), None)
    if packed is not None:
        return (
            f"{packed.name} is compressed as a whole, so that no image in it can be read without all those before it; "
            f"unpack it once (a .tar.gz with gunzip): the .tar is read in place."
        )
    if any(part.suffix.lower() in SUFFIXES for part in parts):
        return f"{names} are images; give the folder that contains them."
    if any(part.suffix.lower() in (".heic", ".heif", ".hif") for part in parts):
        return (
            f"{names} are HEIC photos, which are not read; save them as JPEG, with their EXIF, or install the package "
            f"pillow-heif: {HEIC_REMEDY}."
        )
    kinds = {kind.kind for part in parts for kind in Store.kinds.values() if part.is_file() and kind.claims([part])}
    if len(kinds) > 1:
        return f"{names} are of several layouts ({', '.join(sorted(kinds))}); give the files of one."
    return f"{names}: not a layout that geobench reads."


def _some(names: Iterable[str], n: int = 3) -> str:
    first = list(islice(names, n + 1))
    return ", ".join(first[:n]) + (", …" if len(first) > n else "")
