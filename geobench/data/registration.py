"""A user's own photos as a data set: a definition in ``GEOBENCH_HOME/data/NAME``, the photos stay where they are."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from geobench import files
from geobench.data.dataset import Dataset, broken_definitions, missing_images
from geobench.data.stores.layouts import is_there, open_store
from geobench.data.stores.store import Store
from geobench.errors import DatasetError, ImageError
from geobench.images.exif import exif_position
from geobench.plugins import get_datasets, get_encoder
from geobench.progress import SILENT, Progress


@dataclass(frozen=True)
class Added:
    """What was registered.

    Attributes:
        dataset: the new data set.
        images: number of rows, of which the files named in ``missing`` are not on disk.
        without_position: photos whose EXIF holds none; they are not part of the set.
        unread: photos in formats that are not read, such as HEIC, and not listed; they are not part of the set.
    """

    dataset: Dataset
    images: int
    missing: list[str]
    without_position: list[str]
    unread: list[str]


def add_dataset(
    name: str,
    images: Path,
    metadata: Path | None = None,
    *,
    exif: bool = False,
    columns: Mapping[str, str | int] | None = None,
    header: bool = True,
    layout: str = "",
    title: str = "",
    encoder: str = "ViT-L-14/openai",
    replace: bool = False,
    progress: Progress = SILENT,
) -> Added:
    """Register the photos at ``images`` as the data set ``name``, to train and to test on.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``.
        images: a folder, an archive, a folder of archives or shards, or a pattern such as ``shards/*.tar``.
        metadata: a CSV file with image, latitude and longitude; None where the shards hold the positions themselves.
        exif: read the positions from the photos instead.
        columns: the table's names for ``image``, ``latitude``, ``longitude`` where they are not recognised, or their
            numbers, counted from 1.
        header: False for a table whose first line is a row.
        layout: of the images, where it is not to be recognised: a name from ``Store.kinds``.
        title: for humans; the name where it is empty.
        encoder: used where none is named.
        replace: register anew under a name of the user's own that is taken; photos are never touched.
        progress: told of the work.

    Raises:
        DatasetError: the name is taken or malformed, the images or the table cannot be used.
    """
    folder = _place_for(name, replace)
    get_encoder(encoder)  # an unknown one is refused at once
    if not is_there(images):
        raise DatasetError(
            f"{images}: there is no such folder, file or pattern; --images takes what the photos are in, a folder, an "
            f"archive or '*.tar' in quotes."
        )
    columns = {role: column for role, column in (columns or {}).items() if column}
    store = open_store(images.absolute(), layout, _field(columns.get("image")))
    if metadata is None and not exif and not store.carries_table:
        raise DatasetError(f"{images} tells no positions: give them with --metadata CSV, or read them with --exif.")
    store.prepare(progress)
    values: dict[str, Any] = {"name": name, "title": title or name, "status": "own", "default_encoder": encoder}
    values |= {"columns": columns, "header": header} if header is False or columns else {}
    split = {"images": str(_whole(images)), **({"layout": layout} if layout else {})}
    if metadata is not None or exif:
        split["metadata"] = str(folder / "metadata.csv" if metadata is None else metadata.absolute())
    values["splits"] = {"all": split}
    with files.replacing_folder(folder) as made:
        without = _write_exif_table(store, made / "metadata.csv", progress) if exif else []
        here = split | ({"metadata": str(made / "metadata.csv")} if exif else {})
        table = Dataset(**{**values, "splits": {"all": here}}).positions("test")
        (made / "dataset.toml").write_text(_as_toml(values | {"count": len(table)}), encoding="utf-8")
        dataset = Dataset.from_toml(made / "dataset.toml")
        missing = missing_images(dataset, table, "test")
        if len(missing) == len(table):
            there = ", ".join(repr(name) for name in islice(store.names(), 2)) or "nothing that is called an image"
            raise DatasetError(
                f"none of the {len(table)} images of {metadata} is in {images}, such as {missing[0]!r}; there is "
                f"{there}. Is it the right place, and the right --image-column?"
            )
    listed = set(table["image"])
    unread = [name for name in store.unread() if name not in listed]
    return Added(dataset, len(table), missing, without, unread)


def _place_for(name: str, replace: bool) -> Path:
    """Return the folder of a new definition; raise ``DatasetError`` where the name or the folder is taken."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise DatasetError(f"{name!r} is no data set name; use letters, digits, '.', '_' and '-'.")
    taken = get_datasets().get(name)
    if taken is not None and (taken.status != "own" or not replace):
        advice = "register it anew with --replace" if taken.status == "own" else "choose another name"
        raise DatasetError(f"the name {name!r} is taken by {taken.title!r} ({taken.status}); {advice}.")
    folder = files.home() / "data" / name
    if folder.exists() and taken is None and not (replace and name in broken_definitions()):
        advice = "move it away or choose another name"
        if name in broken_definitions():
            advice = "its definition is broken: register it anew with --replace"
        raise DatasetError(f"{folder} exists and is no data set of yours; {advice}.")
    if folder.exists():
        _refuse_to_delete_photos(folder)
    return folder


def _whole(images: Path) -> Path:
    """Return a path that holds wherever a command is given; links are followed, a pattern stays one."""
    return images.resolve() if images.exists() else images.absolute()


def _field(column: str | int | None) -> str | None:
    """Return the field that names an image in shards; a number is a column of a table."""
    return column if isinstance(column, str) else None


def remove_dataset(name: str) -> Path:
    """Forget the user's own data set ``name``; photos and tables elsewhere stay. Return the folder that is gone."""
    dataset = get_datasets().get(name)
    if name not in broken_definitions() and (dataset is None or dataset.status != "own"):
        raise DatasetError(f"{name!r} is no data set of your own; see them with geobench datasets list.")
    folder = files.home() / "data" / name
    _refuse_to_delete_photos(folder)
    shutil.rmtree(folder)
    return folder


def _refuse_to_delete_photos(folder: Path) -> None:
    """Raise ``DatasetError`` where ``folder`` holds more than :func:`add_dataset` writes."""
    others = sorted({path.name for path in folder.glob("*")} - {"dataset.toml", "metadata.csv"})
    if others or not (folder / "dataset.toml").is_file():
        shown = ", ".join(others[:3]) or "it has no dataset.toml"
        raise DatasetError(f"{folder} was not made by geobench alone ({shown}); move your own files out of it first.")


def _write_exif_table(store: Store, path: Path, progress: Progress) -> list[str]:
    """Write image, latitude and longitude of the photos in ``store``; return those that carry no position."""
    without: list[str] = []
    found = 0
    with (
        path.open("w", encoding="utf-8", newline="") as file,
        progress.track(f"positions in {store.path.name}", 0, "images") as advance,
    ):
        table = csv.writer(file)
        table.writerow(["image", "latitude", "longitude"])
        for name in store.names():
            try:
                position = exif_position(store.source(name))
            except ImageError:
                position = None
            if position is None:
                without.append(name)
            else:
                table.writerow([name, *position])
                found += 1
            advance(1)
    if not found and not without:
        raise DatasetError(f"{store.path} holds no photos that can be read; are they elsewhere, or HEIC, not JPEG?")
    if not found:
        unread = sum(1 for _ in store.unread())
        more = f" (and {unread:,} are in a format that is not read, such as HEIC: save them as JPEG)" if unread else ""
        raise DatasetError(
            f"none of the {len(without)} photos in {store.path} carries a position in its EXIF{more}; "
            "give them with --metadata CSV."
        )
    return without


def _as_toml(values: Mapping[str, Any], above: str = "") -> str:
    """Return ``values`` as TOML: texts, numbers, true and false are written alike in JSON, tables follow them."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items())
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            inner = any(not isinstance(item, Mapping) for item in value.values())
            text += (f"\n[{above}{key}]\n" if inner else "") + _as_toml(value, f"{above}{key}.")
    return text
