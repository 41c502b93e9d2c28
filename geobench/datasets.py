"""Data sets: what they are (TOML), where they lie, and their tables. One TOML per set, nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from geobench import files
from geobench.errors import DatasetError, DatasetNotFoundError
from geobench.images import SUFFIXES, open_image
from geobench.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

STATUSES = ("embedded", "available", "gated", "withdrawn", "never-released", "own")
LIMIT_SEED = 0
"""``limit`` draws the same images whatever the model's seed, so that two seeds differ in training alone."""


@dataclass(frozen=True)
class Dataset:
    """A data set whose images are files in a folder, with a metadata CSV.

    Attributes:
        name: what it is called on the command line.
        count: the number of images its authors state, of the test split where there is one.
        status: one of ``embedded``, ``available``, ``gated``, ``withdrawn``, ``never-released``, ``own``.
        obtain: how to get it, one sentence.
        columns: the file's names for ``image``, ``latitude``, ``longitude`` where they are not recognised.
        splits: for each split its ``images`` folder and ``metadata`` file, relative to :attr:`folder`.
        settings: for each model the hyper-parameters that fit this training set; they give way to the user's own.
        sources: its files and where they are, the tables that :class:`geobench.addresses.Source` reads.
    """

    name: str
    title: str
    status: str = "own"
    count: int | None = None
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    obtain: str = ""
    note: str = ""
    default_gallery: str = "100k"
    default_encoder: str = "ViT-L-14/openai"
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"all": {}})
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Sequence[Mapping[str, Any]] = ()

    kinds: ClassVar[dict[str, type[Dataset]]] = {}

    def __init_subclass__(cls, kind: str) -> None:
        """Let a TOML choose this class with ``kind = "..."``."""
        Dataset.kinds[kind] = cls

    @classmethod
    def from_toml(cls, path: Path) -> Dataset:
        """Return the data set that ``path`` defines; raise ``DatasetError`` naming the key that does not fit."""
        import geobench.raster  # noqa: F401  registers kind = "raster"

        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path} is no data set definition: {error}.") from error
        kind = values.pop("kind", "folder")
        if kind not in cls.kinds:
            raise DatasetError(f"{path}: unknown kind {kind!r}; there are {', '.join(cls.kinds)}.")
        chosen = cls.kinds[kind]
        valid = {f.name for f in fields(chosen)}
        unknown, missing = sorted(set(values) - valid), sorted({"name", "title"} - set(values))
        if unknown or missing or values.get("status", "own") not in STATUSES:
            raise DatasetError(
                f"{path}: unknown keys {unknown}, missing keys {missing}, status {values.get('status')!r}; valid keys "
                f"are {', '.join(sorted(valid))}, valid states {', '.join(STATUSES)}."
            )
        return chosen(**values)

    @property
    def folder(self) -> Path:
        """Return where its files are looked for: ``GEOBENCH_HOME/data/NAME``."""
        return files.home() / "data" / self.name

    @property
    def present(self) -> bool:
        """Return whether its files are on this machine."""
        return all(self._metadata(split).is_file() and self._images(split).is_dir() for split in self.splits)

    def split_for(self, purpose: str) -> str:
        """Return the split used to ``train`` or ``test``: the one of that name, else the only one."""
        if purpose in self.splits:
            return purpose
        if len(self.splits) > 1 or "all" not in self.splits:
            raise DatasetError(f"{self.name} has no {purpose} split; it has {', '.join(self.splits)}.")
        return "all"

    def table(self, purpose: str, limit: int | None = None) -> pd.DataFrame:
        """Return the table to ``train`` or ``test`` on: ``image``, ``latitude``, ``longitude`` and extra columns.

        Args:
            purpose: ``train`` or ``test``.
            limit: at most so many images, drawn with a fixed seed.

        Raises:
            DatasetNotFoundError: the files are not on this machine; says where they were looked for.
            DatasetError: the table cannot be used.
        """
        split = self.split_for(purpose)
        metadata, images = self._metadata(split), self._images(split)
        if not metadata.is_file() or not images.is_dir():
            missing = [str(path) for path in (metadata, images) if not path.exists()]
            raise DatasetNotFoundError(
                f"{self.name} is not on this machine: looked for {' and '.join(missing)}. "
                f"Status: {self.status}. {self.obtain}".rstrip()
            )
        return limited(read_table(metadata, self.columns), limit)

    def positions(self, purpose: str) -> pd.DataFrame:
        """Return the whole :meth:`table`; its images need not be on this machine."""
        metadata = self._metadata(self.split_for(purpose))
        return read_table(metadata, self.columns) if metadata.is_file() else self.table(purpose)

    def read_image(self, image: str, purpose: str, side: int | None = None) -> Image.Image:
        """Return the image called ``image`` as upright RGB; raise ``ImageError`` where it cannot be read.

        ``side`` is the shorter side in pixels that is needed: :func:`geobench.images.open_image`.
        """
        return open_image(self._find(image, self._images(self.split_for(purpose))), side=side)

    def content_key(self, table: pd.DataFrame, purpose: str) -> str:
        """Return 16 digits for the images of ``table``: names, sizes and times of change of their files."""
        images = self._images(self.split_for(purpose))
        return files.digest([[image, *stamp(self._find(image, images))] for image in table["image"]])

    def describe(self) -> str:
        """Return a line on what the images are, for the record of a run."""
        return self.title

    def _images(self, split: str) -> Path:
        return self.folder / str(self.splits[split].get("images", "images"))

    def _metadata(self, split: str) -> Path:
        return self.folder / str(self.splits[split].get("metadata", "metadata.csv"))

    @staticmethod
    def _find(image: str, folder: Path) -> Path:
        """Return the file of ``image``; an id without a suffix is tried with the usual ones."""
        path = folder / image
        if path.suffix.lower() not in SUFFIXES:
            return next((p for p in (folder / f"{image}{suffix}" for suffix in SUFFIXES) if p.is_file()), path)
        return path


Dataset.kinds["folder"] = Dataset


def limited(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Return ``limit`` rows of ``table`` drawn with a fixed seed, in their order; all of them where it is None."""
    if limit is None or limit >= len(table):
        return table
    rows = np.sort(np.random.default_rng(LIMIT_SEED).permutation(len(table))[:limit])
    return table.iloc[rows].reset_index(drop=True)


def own_datasets() -> Iterator[Dataset]:
    """Yield the data sets that the user added: ``GEOBENCH_HOME/data/*/dataset.toml``."""
    for path in sorted((files.home() / "data").glob("[!.]*/dataset.toml")):
        yield Dataset.from_toml(path)


def missing_images(dataset: Dataset, table: pd.DataFrame, purpose: str) -> list[str]:
    """Return the images of ``table`` that are not on disk."""
    folder = dataset._images(dataset.split_for(purpose))
    return [image for image in table["image"] if not dataset._find(image, folder).is_file()]


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file, −1 and −1 where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
