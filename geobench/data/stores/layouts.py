"""Layouts: which kind of store lies at a path. Told by what is there: a file, a folder, the files a pattern names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

import geobench.data.stores.folders
import geobench.data.stores.shards
import geobench.data.stores.zips  # noqa: F401  these three register their kinds
from geobench.data.stores.names import suffix_of
from geobench.data.stores.split_tars import SplitTarStore
from geobench.data.stores.store import Store
from geobench.errors import DatasetError, DatasetNotFoundError, unknown_name
from geobench.images.decoding import SUFFIXES

COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
LOOKED_AT = 10_000  # entries of a folder that tell what it is

_opened: dict[tuple[str, str, str | None], Store] = {}


def open_store(path: Path, layout: str = "", id_column: str | None = None, *, fresh: bool = True) -> Store:
    """Return the store at ``path``: a file, a folder, or a pattern such as ``shards/*.tar``.

    Args:
        path: where the images are.
        layout: a name from ``Store.kinds``; recognised where it is empty.
        id_column: the column or field that holds the name of an image, where it is not recognised.
        fresh: False is content with what this process found there before.

    Raises:
        DatasetNotFoundError: there is nothing.
        DatasetError: what is there is no layout that geobench reads; names what was found and what is valid.
    """
    key = (str(path), layout, id_column)
    if fresh or key not in _opened:
        kind, parts = recognise(path, layout)
        _opened[key] = kind(path, parts, id_column)
    return _opened[key]


def recognise(path: Path, layout: str = "") -> tuple[type[Store], list[Path]]:
    """Return the kind of store at ``path``, and the files it is made of; the rest as :func:`open_store`."""
    if layout and layout not in Store.kinds:
        raise unknown_name("layout", layout, Store.kinds)
    if path.is_dir():
        parts = ([] if layout == "folder" else _archives_in(path)) or [path]
    elif path.is_file():
        parts = SplitTarStore.parts_with(path) or [path]
    else:
        parts = _fitting(path)
        if not parts:
            raise DatasetNotFoundError(f"{path}: there is no such file or folder, and no file of that pattern.")
    for kind in [Store.kinds[layout]] if layout else Store.kinds.values():
        if kind.claims(parts):
            return kind, kind.in_order(parts)
    others = [kind.kind for kind in Store.kinds.values() if layout and kind.claims(parts)]
    if others:
        raise DatasetError(f"{path} is no {layout} but {others[0]}: give that as --layout, or none.")
    raise DatasetError(f"{path}: {_not_read(parts)} {valid_layouts()}")


def valid_layouts() -> str:
    """Return a sentence on what is read."""
    return f"Valid are {'; '.join(f'{kind.what} ({name})' for name, kind in Store.kinds.items())}."


def is_there(path: Path) -> bool:
    """Return whether there is a file, a folder, or a file that fits a pattern."""
    return path.exists() or bool(_fitting(path))


def _fitting(pattern: Path) -> list[Path]:
    """Return the files that a pattern names, none where it is no pattern."""
    found = glob(str(pattern)) if has_magic(str(pattern)) else []  # noqa: PTH207  it may begin anywhere
    return sorted(map(Path, found))


def _archives_in(folder: Path) -> list[Path]:
    """Return the archives that ``folder`` holds; none where it is a folder of images.

    Raises:
        DatasetError: it holds both archives and folders, or neither these nor images.
    """
    suffixes = {suffix for kind in Store.kinds.values() for suffix in kind.suffixes} | set(COMPRESSED)
    archives: list[Path] = []
    folders: list[Path] = []
    others: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in (e for e in entries if not e.name.startswith((".", "__MACOSX"))):
            suffix = suffix_of(entry.name)
            if suffix in SUFFIXES or len(folders) + len(others) > LOOKED_AT:
                return []
            belongs = archives if suffix in suffixes else folders if entry.is_dir() else others
            belongs.append(Path(entry.path))
    archives += SplitTarStore.parts_among(others)
    if archives and folders:
        raise DatasetError(
            f"{folder} holds both archives ({min(archives).name}) and folders ({min(folders).name}); name what the "
            f"images are in: one of the folders, or {folder / ('*' + min(archives).suffix)}"
        )
    if others and not archives and not folders and all(other.suffix for other in others):
        raise DatasetError(f"{folder}: {_not_read(sorted(others))} {valid_layouts()}")
    return sorted(archives)


def _not_read(parts: Sequence[Path]) -> str:
    """Return what was found that cannot be read, and why where that is known."""
    names = _some(part.name + ("/" if part.is_dir() else "") for part in parts)
    packed = next((part for part in parts if set(part.suffixes) & set(COMPRESSED)), None)
    if packed is not None:
        return (
            f"{packed.name} is compressed as a whole, and no image in it can be read without all those before it; "
            f"unpack it once, a .tar.gz with gunzip: the .tar is read in place."
        )
    if any(part.suffix.lower() in SUFFIXES for part in parts):
        return f"{names} are images; name the folder that they are in."
    if any(part.suffix.lower() in (".heic", ".heif") for part in parts):
        return f"{names} are HEIC photos, which are not read; save them as JPEG, with their EXIF."
    kinds = {kind.kind for part in parts for kind in Store.kinds.values() if part.is_file() and kind.claims([part])}
    if len(kinds) > 1:
        return f"{names} are of several layouts ({', '.join(sorted(kinds))}); name those of one."
    return f"{names}: no layout that geobench reads."


def _some(names: Iterable[str], n: int = 3) -> str:
    first = list(islice(names, n + 1))
    return ", ".join(first[:n]) + (", …" if len(first) > n else "")
