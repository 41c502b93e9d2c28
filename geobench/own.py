"""A user's own photos as a data set: a definition in ``GEOBENCH_HOME/data/NAME``, the photos stay where they are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geobench import files
from geobench.datasets import Dataset, missing_images
from geobench.errors import DatasetError
from geobench.images import SUFFIXES, exif_position
from geobench.plugins import get_datasets
from geobench.tables import read_table


@dataclass(frozen=True)
class Added:
    """What was registered.

    Attributes:
        dataset: the new data set.
        images: number of rows, of which the files named in ``missing`` are not on disk.
        without_position: photos whose EXIF holds none; they are not part of the set.
    """

    dataset: Dataset
    images: int
    missing: list[str]
    without_position: list[str]


def add_dataset(
    name: str,
    images: Path,
    metadata: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    title: str = "",
    encoder: str = "ViT-L-14/openai",
    replace: bool = False,
) -> Added:
    """Register the photos in the folder ``images`` as the data set ``name``, to train and to test on.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``.
        images: a folder.
        metadata: a CSV file with image, latitude and longitude; None reads the positions from EXIF.
        columns: the file's names for ``image``, ``latitude``, ``longitude`` where they are not recognised.
        title: for humans; the name where it is empty.
        encoder: used where none is named.
        replace: register anew under a name of the user's own that is taken; photos are never touched.

    Raises:
        DatasetError: the name is taken or malformed, the folder or the table cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise DatasetError(f"{name!r} is no data set name; use letters, digits, '.', '_' and '-'.")
    taken = get_datasets().get(name)
    if taken is not None and (taken.status != "own" or not replace):
        advice = "register it anew with --replace" if taken.status == "own" else "choose another name"
        raise DatasetError(f"the name {name!r} is taken by {taken.title!r} ({taken.status}); {advice}.")
    if not images.is_dir():
        raise DatasetError(f"{images}: there is no such folder; --images takes the folder the photos are in.")
    folder = files.home() / "data" / name
    if folder.exists() and taken is None:
        raise DatasetError(f"{folder} exists and was not made by geobench; move it away or choose another name.")
    if folder.exists():
        _refuse_to_delete_photos(folder)
    columns = {role: column for role, column in (columns or {}).items() if column}
    with files.replacing_folder(folder) as made:
        without: list[str] = []
        if metadata is None:
            metadata, without = folder / "metadata.csv", _write_exif_table(images, made / "metadata.csv")
            table = read_table(made / "metadata.csv")
        else:
            table = read_table(metadata, columns)
        definition = _definition(name, images, metadata, columns, title, encoder, len(table))
        (made / "dataset.toml").write_text(definition, encoding="utf-8")
        dataset = Dataset.from_toml(made / "dataset.toml")
        missing = missing_images(dataset, table, "test")
        if len(missing) == len(table):
            raise DatasetError(
                f"none of the {len(table)} images of {metadata} is in {images}, such as {missing[0]!r}; is it "
                f"the right folder, and the right --image-column?"
            )
    return Added(dataset, len(table), missing, without)


def remove_dataset(name: str) -> Path:
    """Forget the user's own data set ``name``; photos and tables elsewhere stay. Return the folder that is gone."""
    dataset = get_datasets().get(name)
    if dataset is None or dataset.status != "own":
        raise DatasetError(f"{name!r} is no data set of your own; see them with geobench datasets list.")
    _refuse_to_delete_photos(dataset.folder)
    shutil.rmtree(dataset.folder)
    return dataset.folder


def _refuse_to_delete_photos(folder: Path) -> None:
    """Raise ``DatasetError`` where ``folder`` holds more than :func:`add_dataset` writes."""
    others = sorted({path.name for path in folder.glob("*")} - {"dataset.toml", "metadata.csv"})
    if others or not (folder / "dataset.toml").is_file():
        shown = ", ".join(others[:3]) or "it has no dataset.toml"
        raise DatasetError(f"{folder} was not made by geobench alone ({shown}); move your own files out of it first.")


def _write_exif_table(images: Path, path: Path) -> list[str]:
    """Write image, latitude and longitude of the photos below ``images``; return those that carry no position."""
    import pandas as pd

    rows, without = [], []
    for photo in sorted(p for p in images.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        name = photo.relative_to(images).as_posix()
        position = exif_position(photo)
        if position is None:
            without.append(name)
        else:
            rows.append((name, *position))
    if not rows:
        raise DatasetError(
            f"none of the {len(without)} photos in {images} carries a position in its EXIF; "
            "give them with --metadata CSV."
        )
    pd.DataFrame(rows, columns=["image", "latitude", "longitude"]).to_csv(path, index=False)
    return without


def _definition(
    name: str, images: Path, metadata: Path, columns: Mapping[str, str], title: str, encoder: str, count: int
) -> str:
    """Return the TOML; JSON strings are TOML strings."""
    lines = {"name": name, "title": title or name, "status": "own", "default_encoder": encoder}
    text = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in lines.items()]
    text += [f"count = {count}", "", "[splits.all]"]
    paths = {"images": str(images.resolve()), "metadata": str(metadata.absolute())}
    text += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in paths.items()]
    if columns:
        text += ["", "[columns]"]
        text += [f"{role} = {json.dumps(column, ensure_ascii=False)}" for role, column in columns.items()]
    return "\n".join(text) + "\n"
