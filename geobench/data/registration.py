"""Register a user's photos as a data set: a definition in ``GEOBENCH_HOME/data/NAME``; the photos are not moved."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geobench import files
from geobench.data.dataset import NO_PHOTOS, Dataset
from geobench.data.own import broken_definitions
from geobench.data.photo_positions import NOTES, PhotoPositions, write_positions
from geobench.data.plausibility import evidence
from geobench.data.stores.layouts import is_there, open_store
from geobench.data.stores.store import Store
from geobench.data.tables.columns import AXES
from geobench.errors import DatasetError
from geobench.metrics import thresholds_of
from geobench.plugins import get_datasets, get_encoder, get_metrics
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Registered:
    """A newly registered data set.

    Attributes:
        dataset: the data set.
        images: number of rows; the files listed in ``missing`` do not exist.
        renamed: the file of each image that the table calls differently, by its name in the table.
        without_position: photos whose position is not recorded; they are not part of the data set.
        unread: photos in formats that are not read, and not listed; they are not part of the data set.
        notes: lines on how the table is read, such as which of two columns names the images.
        photos: where the positions come from, if they were read from photos, and why some have none.
    """

    dataset: Dataset
    images: int
    missing: list[str]
    renamed: dict[str, str]
    without_position: list[str]
    unread: list[str]
    notes: tuple[str, ...] = ()
    photos: PhotoPositions | None = None


def add_dataset(
    name: str,
    images: Path | None,
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
) -> Registered:
    """Register the photos at ``images`` as the data set ``name``, to train and to test on.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``.
        images: a folder, an archive, a folder of archives or shards, or a pattern such as ``shards/*.tar``; None for a
            test set of positions alone, to score the predictions of others on.
        metadata: a CSV file with image, latitude and longitude; None if the shards contain the positions.
        exif: read the positions from the photos instead, and from files beside them: EXIF, XMP, Takeout's JSON.
        columns: the table's names for ``image``, ``latitude``, ``longitude`` if they are not recognised, or their
            numbers, counted from 1; for ``photo``, the column of parquet files that holds the photos.
        header: False for a table without a header.
        layout: of the images, a name from ``Store.kinds``; recognised if empty.
        title: for humans; the name if empty.
        encoder: the default encoder of the data set.
        replace: replace a data set that the user registered under this name; photos are never touched.
        progress: reports progress.

    Raises:
        DatasetError: the name is taken or malformed; the images or the table cannot be used; several columns may name
            the images, or two rows are the same image.
        StorageError: a photo cannot be read just now.
    """
    folder = _new_folder(name, replace)
    get_encoder(encoder)  # refuse an unknown one at once
    columns = {role: column for role, column in (columns or {}).items() if column}
    values: dict[str, Any] = {"name": name, "title": title or name, "status": "own", "default_encoder": encoder}
    values |= {"columns": columns, "header": header} if header is False or columns else {}
    if images is None:
        return _add_table(folder, values, metadata)
    if not is_there(images):
        raise DatasetError(
            f"{images}: there is no such folder, file or pattern; images must be a folder or an archive of photos, or "
            "a pattern such as 'shards/*.tar'."
        )
    store = open_store(images.absolute(), layout, _field(columns.get("image")), _field(columns.get("photo")))
    if metadata is None and not exif and not store.carries_table:
        raise DatasetError(
            f"{images} contains no positions: give a CSV file as metadata, or exif to read them from the photos."
        )
    store.prepare(progress)
    split: dict[str, Any] = {"images": str(_absolute(images)), **({"layout": layout} if layout else {})}
    if metadata is not None or exif:
        split["metadata"] = str(folder / "metadata.csv" if metadata is None else metadata.absolute())
    split |= {"exact": True} if exif else {}
    values["splits"] = {"all": split}
    with files.replacing_folder(folder) as temporary:
        photos = write_positions(store, temporary, progress) if exif else None
        local = split | ({"metadata": str(temporary / "metadata.csv")} if exif else {})
        rows = Dataset(**{**values, "splits": {"all": local}}).rows("test")
        table = rows.usable()
        if "image" in rows.chosen and not store.has_fields:
            values["columns"] = columns | {"image": rows.chosen["image"]}
        (temporary / "dataset.toml").write_text(_as_toml(values | {"count": len(table)}), encoding="utf-8")
        dataset = Dataset.from_toml(temporary / "dataset.toml")
        located = locate_images(dataset, table)
        if len(located.missing) == len(table):
            raise _none_found(located.missing, metadata, images, store)
    listed = {*table["image"], *located.renamed.values()}
    unread = [name for name in store.unread() if name not in listed] if photos is None else photos.unread
    without = [] if photos is None else list(photos.without)
    wrong = evidence(table[list(AXES)].to_numpy(np.float64), thresholds_of(get_metrics())).values()
    notes = (*rows.notes, *(f"{text.rstrip('?')}; look at them: geobench datasets check {name}" for text in wrong))
    return Registered(dataset, len(table), located.missing, located.renamed, without, unread, notes, photos)


def add_positions(name: str, table: pd.DataFrame, title: str) -> Dataset:
    """Register a test set of positions alone; return it.

    Args:
        name: as for :func:`add_dataset`.
        table: ``image``, ``latitude``, ``longitude`` and any other columns; it is copied into the set's folder.
        title: for humans.

    Raises:
        DatasetError: the name is taken or malformed; a row cannot be used.
    """
    folder = _new_folder(name, replace=False)
    values = {"name": name, "title": title, "status": "own"}
    return _add_table(folder, values, None, table).dataset


def _add_table(
    folder: Path, values: Mapping[str, Any], metadata: Path | None, table: pd.DataFrame | None = None
) -> Registered:
    """Define a test set without photos in ``folder``: of the table in the file ``metadata``, or a copy of ``table``."""
    if metadata is None and table is None:
        raise DatasetError("a data set needs photos, or a table of positions (metadata) to score predictions on.")
    with files.replacing_folder(folder) as temporary:
        if table is not None:
            table.to_csv(temporary / "metadata.csv", index=False)
        path = temporary / "metadata.csv" if metadata is None else metadata.absolute()
        split = {"images": NO_PHOTOS, "metadata": str(path)}
        rows = Dataset(**{**values, "splits": {"all": split}}).rows("test")
        count = len(rows.usable())
        split["metadata"] = str(folder / "metadata.csv") if metadata is None else str(path)
        text = _as_toml({**values, "splits": {"all": split}, "count": count})
        (temporary / "dataset.toml").write_text(text, encoding="utf-8")
    return Registered(Dataset.from_toml(folder / "dataset.toml"), count, [], {}, [], [], tuple(rows.notes))


class Located(NamedTuple):
    """Where the images of a table are.

    Attributes:
        missing: names of those that are not there.
        renamed: the file of each image that the table calls differently, by its name in the table.
    """

    missing: list[str]
    renamed: dict[str, str]


def locate_images(dataset: Dataset, table: pd.DataFrame, purpose: str = "test") -> Located:
    """Return where the images of ``table`` are.

    Raises:
        DatasetError: two rows are the same image, or a name may be two images.
    """
    store = dataset.store(purpose)
    found = Located([], {})
    row_of: dict[tuple[int, str], str] = {}
    for image in table["image"]:
        stored = store.find(image)
        if stored is None:
            found.missing.append(image)
            continue
        if (other := row_of.setdefault((stored.part, stored.name), image)) != image:
            raise DatasetError(
                f"{dataset.name}: the rows of {other!r} and {image!r} are both the image {stored.name!r} in "
                f"{store.path}; list it once, by its own name."
            )
        if not store.is_exact(image, stored):
            found.renamed[image] = stored.name
    return found


def _none_found(missing: Sequence[str], metadata: Path | None, images: Path, store: Store) -> DatasetError:
    """Return the error for a table of which no image is in the store."""
    present = ", ".join(repr(name) for name in islice(store.names(), 2)) or "no file with the name of an image"
    return DatasetError(
        f"none of the {len(missing)} images of {metadata}, such as {missing[0]!r}, is in {images}, which contains "
        f"{present}. Is it the right folder, and the right image column?"
    )


def _new_folder(name: str, replace: bool) -> Path:
    """Return the folder for a new definition; raise ``DatasetError`` if the name or the folder is taken."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise DatasetError(f"{name!r} is not a valid data set name; use letters, digits, '.', '_' and '-'.")
    taken = get_datasets().get(name)
    if taken is not None and (taken.status != "own" or not replace):
        advice = _replace_advice(name) if taken.status == "own" else "choose another name"
        raise DatasetError(f"the name {name!r} is taken by {taken.title!r} ({taken.status}); {advice}.")
    folder = files.home() / "data" / name
    if folder.exists() and taken is None and not (replace and name in broken_definitions()):
        advice = "move it away or choose another name"
        if name in broken_definitions():
            advice = f"its definition is broken: {_replace_advice(name)}"
        raise DatasetError(f"{folder} exists and is not a data set of yours; {advice}.")
    if folder.exists():
        _refuse_to_delete_photos(folder)
    return folder


def _replace_advice(name: str) -> str:
    return f"replace it: geobench datasets add {name} … --replace"


def _absolute(images: Path) -> Path:
    """Return a path that is valid in every working folder, a pattern too.

    Links are kept: in the hub's cache the name is the link's, and what it points to is called by its digest.
    """
    return Path(os.path.abspath(images))  # noqa: PTH100  resolve() would follow links


def _field(column: str | int | None) -> str | None:
    """Return the field that names an image in shards, None for the number of a table's column."""
    return column if isinstance(column, str) else None


def remove_dataset(name: str) -> Path:
    """Remove the definition of the user's data set ``name``, not its photos and tables; return the deleted folder."""
    dataset = get_datasets().get(name)
    if name not in broken_definitions() and (dataset is None or dataset.status != "own"):
        raise DatasetError(f"{name!r} is not a data set that you registered; list them with geobench datasets list.")
    folder = files.home() / "data" / name
    _refuse_to_delete_photos(folder)
    shutil.rmtree(folder)
    return folder


def _refuse_to_delete_photos(folder: Path) -> None:
    """Raise ``DatasetError`` if ``folder`` contains more than :func:`add_dataset` writes."""
    others = sorted({path.name for path in folder.glob("*")} - {"dataset.toml", "metadata.csv", NOTES})
    if others or not (folder / "dataset.toml").is_file():
        shown = ", ".join(others[:3]) or "it has no dataset.toml"
        raise DatasetError(
            f"{folder} was not created by geobench alone ({shown}); move your own files out of it first."
        )


def _as_toml(values: Mapping[str, Any], above: str = "") -> str:
    """Return ``values`` as TOML: strings, numbers and booleans are written as in JSON, followed by the tables."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items())
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            inner = any(not isinstance(item, Mapping) for item in value.values())
            text += (f"\n[{above}{key}]\n" if inner else "") + _as_toml(value, f"{above}{key}.")
    return text
