"""Register a user's photos as a data set: a definition in ``GEOBENCH_HOME/data/NAME``; the photos are not moved."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geobench import files
from geobench.data.bad_rows import Bad, refuse_too_many, write_exact
from geobench.data.dataset import NO_PHOTOS, Dataset
from geobench.data.definitions import as_toml
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


WRITTEN = {"dataset.toml", "metadata.csv", "train.csv", "test.csv", NOTES}
"""What registration writes into the folder of a set."""


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
        bad: rows that were left out, with the reason; empty unless that was asked for.
        splits: number of rows of each split, of a set that has one to train on and one to test on.
    """

    dataset: Dataset
    images: int
    missing: list[str]
    renamed: dict[str, str]
    without_position: list[str]
    unread: list[str]
    notes: tuple[str, ...] = ()
    photos: PhotoPositions | None = None
    bad: Sequence[Bad] = ()
    splits: Mapping[str, int] = field(default_factory=dict)


def add_dataset(
    name: str,
    images: Path | None,
    metadata: Path | None = None,
    *,
    exif: bool = False,
    train: Path | None = None,
    test: Path | None = None,
    skip_bad: bool = False,
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
        train, test: tables of the photos to train on and of those to test on, instead of ``metadata``.
        skip_bad: leave out rows that cannot be used and images that are listed twice, of which the first counts; the
            set then has a copy of the table without them, and lists them in ``notes.csv``.
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
    folder = new_folder(name, replace)
    get_encoder(encoder)  # refuse an unknown one at once
    columns = {role: column for role, column in (columns or {}).items() if column}
    values: dict[str, Any] = {"name": name, "title": title or name, "status": "own", "default_encoder": encoder}
    values |= {"columns": columns, "header": header} if header is False or columns else {}
    tables = _tables_of(images, metadata, exif, train, test)
    if images is None:
        return _add_table(folder, values, metadata, skip_bad=skip_bad)
    if not is_there(images):
        raise DatasetError(
            f"{images}: there is no such folder, file or pattern; images must be a folder or an archive of photos, or "
            "a pattern such as 'shards/*.tar'."
        )
    store = open_store(images.absolute(), layout, _field(columns.get("image")), _field(columns.get("photo")))
    if tables == {"all": None} and not exif and not store.carries_table:
        raise DatasetError(
            f"{images} contains no positions: give a CSV file as metadata, or exif to read them from the photos."
        )
    store.prepare(progress)
    with files.replacing_folder(folder) as temporary:
        photos = write_positions(store, temporary, progress) if exif else None
        common: dict[str, Any] = {"images": str(_absolute(images)), **({"layout": layout} if layout else {})}
        common |= {"exact": True} if exif else {}
        read = [
            _read_split(values, common, split, temporary / "metadata.csv" if exif else path, skip_bad, store)
            for split, path in tables.items()
        ]
        bad = [each for split in read for each in split.bad]
        if len(read) > 1:
            read[0], shared = _without_shared(name, read[0], read[1], skip_bad)
            bad += shared
        if bad:
            values["columns"] = write_exact(temporary, {each.split: each.table for each in read}, columns)
            values.pop("header", None)
            _note_bad(temporary / NOTES, bad)
        for each in read:
            copied = folder / f"{'metadata' if each.split == 'all' else each.split}.csv"
            source = copied if bad or exif else tables[each.split]
            each.keys.update({"metadata": str(source if bad or exif else source.absolute())} if source else {})
            each.keys.update({"exact": True} if bad else {})
        values["splits"] = {each.split: each.keys for each in read}
        last = read[-1]
        (temporary / "dataset.toml").write_text(as_toml(values | {"count": len(last.table)}), encoding="utf-8")
        dataset = Dataset.from_toml(temporary / "dataset.toml")
    listed = {name for each in read for name in (*each.table["image"], *each.located.renamed.values())}
    unread = [name for name in store.unread() if name not in listed] if photos is None else photos.unread
    without = [] if photos is None else list(photos.without)
    everywhere = np.concatenate([each.table[list(AXES)].to_numpy(np.float64) for each in read])
    wrong = evidence(everywhere, thresholds_of(get_metrics())).values()
    notes = [note for each in read for note in each.notes]
    notes += [f"{text.rstrip('?')}; look at them: geobench datasets check {name}" for text in wrong]
    missing = [image for each in read for image in each.located.missing]
    renamed = {image: file for each in read for image, file in each.located.renamed.items()}
    sizes = {each.split: len(each.table) for each in read}
    splits = sizes if len(read) > 1 else {}
    return Registered(
        dataset, sum(sizes.values()), missing, renamed, without, unread, tuple(notes), photos, tuple(bad), splits
    )


def _tables_of(
    images: Path | None, metadata: Path | None, exif: bool, train: Path | None, test: Path | None
) -> dict[str, Path | None]:
    """Return the table of each split; raise ``DatasetError`` if they are given in more than one way, or not wholly."""
    if train is None and test is None:
        return {"all": metadata}
    if train is None or test is None or metadata is not None or exif or images is None:
        raise DatasetError(
            "train and test are two tables of the same images: give both of them, with images, and neither metadata "
            "nor exif."
        )
    return {"train": train, "test": test}


class _Split(NamedTuple):
    """A split of a set that is being registered: its table, where its images are, and the rows that were left out."""

    split: str
    keys: dict[str, Any]
    table: pd.DataFrame
    located: Located
    bad: list[Bad]
    notes: Sequence[str]


def _read_split(
    values: dict[str, Any], common: Mapping[str, Any], split: str, path: Path | None, skip_bad: bool, store: Store
) -> _Split:
    """Return the split ``split`` with the table ``path``, None for that in the store; note a chosen image column."""
    keys = dict(common) | ({} if path is None else {"metadata": str(path.absolute())})
    dataset = Dataset(**{**values, "splits": {split: keys}})
    purpose = "test" if split == "all" else split
    rows = dataset.rows(purpose)
    bad: list[Bad] = []
    if skip_bad:
        refuse_too_many(rows)
        bad += [Bad(f"line {problem.line}", problem.reason) for problem in rows.problems]
        rows = rows._replace(problems=[])
    else:
        rows = rows._replace(more=f"{rows.more} Or leave them out: --skip-bad".strip())
    table = rows.usable()
    if "image" in rows.chosen and not store.has_fields:
        values["columns"] = {**values.get("columns", {}), "image": rows.chosen["image"]}
        dataset = Dataset(**{**values, "splits": {split: keys}})
    located = locate_images(dataset, table, purpose, bad if skip_bad else None)
    if len(located.missing) == len(table):
        raise _none_found(located.missing, path, Path(str(common["images"])), store)
    kept = table[~table["image"].isin(located.left_out)].reset_index(drop=True)
    return _Split(split, dict(common), kept, located, bad, rows.notes)


def _without_shared(name: str, train: _Split, test: _Split, skip_bad: bool) -> tuple[_Split, list[Bad]]:
    """Return the training split without images that are to be tested on too; refuse them unless ``skip_bad``."""
    tested = {test.located.files.get(image, image) for image in test.table["image"]}
    images = train.table["image"].tolist()
    shared = [image for image in images if train.located.files.get(image, image) in tested]
    if not shared:
        return train, []
    if not skip_bad:
        raise DatasetError(
            f"{name}: {len(shared):,} images are in both tables, to train and to test on, such as {shared[0]!r}; take "
            "them out of one, or leave them out of the training set: --skip-bad"
        )
    kept = train.table[~train.table["image"].isin(shared)].reset_index(drop=True)
    if kept.empty:
        raise DatasetError(f"{name}: every image to train on is also one to test on; give two different tables.")
    reason = "is also in the table to test on, so it is not trained on"
    return train._replace(table=kept), [Bad(image, reason) for image in shared]


def _note_bad(path: Path, bad: Sequence[Bad]) -> None:
    """Add the rows that were left out to the notes of a set."""
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        if is_new:
            rows.writerow(("file", "note"))
        rows.writerows((what, f"left out: {reason}") for what, reason in bad)


def add_positions(name: str, table: pd.DataFrame, title: str) -> Dataset:
    """Register a test set of positions alone; return it.

    Args:
        name: as for :func:`add_dataset`.
        table: ``image``, ``latitude``, ``longitude`` and any other columns; it is copied into the set's folder.
        title: for humans.

    Raises:
        DatasetError: the name is taken or malformed; a row cannot be used.
    """
    folder = new_folder(name, replace=False)
    values = {"name": name, "title": title, "status": "own"}
    return _add_table(folder, values, None, table).dataset


def _add_table(
    folder: Path,
    values: Mapping[str, Any],
    metadata: Path | None,
    table: pd.DataFrame | None = None,
    skip_bad: bool = False,
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
        bad: list[Bad] = []
        if skip_bad:
            refuse_too_many(rows)
            bad = [Bad(f"line {problem.line}", problem.reason) for problem in rows.problems]
            rows = rows._replace(problems=[])
        used = rows.usable()
        if bad:
            kept = {**values, "columns": write_exact(temporary, {"all": used}, values.get("columns", {}))}
            values = {key: value for key, value in kept.items() if key != "header"}
            _note_bad(temporary / NOTES, bad)
        split["metadata"] = str(folder / "metadata.csv") if metadata is None or bad else str(path)
        text = as_toml({**values, "splits": {"all": split | ({"exact": True} if bad else {})}, "count": len(used)})
        (temporary / "dataset.toml").write_text(text, encoding="utf-8")
    dataset = Dataset.from_toml(folder / "dataset.toml")
    return Registered(dataset, len(used), [], {}, [], [], tuple(rows.notes), bad=tuple(bad))


class Located(NamedTuple):
    """Where the images of a table are.

    Attributes:
        missing: names of those that are not there.
        renamed: the file of each image that the table calls differently, by its name in the table.
        files: part and name of the file of each image that is there.
        left_out: names of those whose file is another row's, or one of several.
    """

    missing: list[str]
    renamed: dict[str, str]
    files: dict[str, tuple[int, str]]
    left_out: set[str]


def locate_images(
    dataset: Dataset, table: pd.DataFrame, purpose: str = "test", bad: list[Bad] | None = None
) -> Located:
    """Return where the images of ``table`` are.

    Images whose file is another row's, or one of several, are appended to ``bad`` if that is given.

    Raises:
        DatasetError: there are such images, and ``bad`` is None.
    """
    store = dataset.store(purpose)
    found = Located([], {}, {}, set())
    row_of: dict[tuple[int, str], str] = {}
    for image in table["image"]:
        try:
            stored = store.find(image)
            if stored is None:
                found.missing.append(image)
                continue
            if (other := row_of.setdefault((stored.part, stored.name), image)) != image:
                raise DatasetError(
                    f"{dataset.name}: the rows of {other!r} and {image!r} are both the image {stored.name!r} in "
                    f"{store.path}; list it once, by its own name, or leave the second row out: --skip-bad"
                )
        except DatasetError as error:
            if bad is None:
                raise
            bad.append(Bad(image, str(error).removesuffix(", or leave the second row out: --skip-bad")))
            found.left_out.add(image)
            continue
        found.files[image] = (stored.part, stored.name)
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


def new_folder(name: str, replace: bool, again: str = "") -> Path:
    """Return the folder for a new definition; raise ``DatasetError`` if the name or the folder is taken.

    ``again`` is the command that replaces what has the name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise DatasetError(f"{name!r} is not a valid data set name; use letters, digits, '.', '_' and '-'.")
    taken = get_datasets().get(name)
    if taken is not None and (taken.status != "own" or not replace):
        advice = (
            (f"replace it: {again}" if again else _replace_advice(name))
            if taken.status == "own"
            else "choose another name"
        )
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
    others = sorted({path.name for path in folder.glob("*")} - WRITTEN)
    if others or not (folder / "dataset.toml").is_file():
        shown = ", ".join(others[:3]) or "it has no dataset.toml"
        raise DatasetError(
            f"{folder} was not created by geobench alone ({shown}); move your own files out of it first."
        )
