"""Data sets: what they are (TOML), where they lie, and their tables. One TOML per set, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from geobench import files
from geobench.data.contents import Contents
from geobench.data.contents import Rows as ImageRows
from geobench.data.definitions import OtherTable, Split, Status, Variant, read_definition
from geobench.data.remote_files import RemoteFile
from geobench.data.stores.catalogue import first_broken
from geobench.data.stores.layouts import is_there, open_store, recognise
from geobench.data.tables.choice import Match
from geobench.data.tables.columns import has_choice
from geobench.data.tables.rows import Rows, read_rows
from geobench.errors import DatasetError, DatasetNotFoundError, SettingError
from geobench.images.decoding import open_image
from geobench.images.digests import Digests, read_digests
from geobench.images.reading import file_bytes
from geobench.progress import SILENT, Progress
from geobench.settings.declarations import validate, validated
from geobench.source import class_code

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from geobench.data.stores.store import Store

NO_PHOTOS = ""
"""Stands for the images of a split that has positions alone, to score the predictions of others on."""
LIMIT_SEED = 0
"""``limit`` draws the same images whatever the model's seed, so that two seeds differ in training alone."""


@validated(DatasetError)
@dataclass(frozen=True)
class Dataset:
    """A data set whose images lie in a folder, an archive or shards, with a table of their positions.

    Attributes:
        name: what it is called on the command line.
        count: the number of images its authors state, of the test split where there is one.
        status: one of ``embedded``, ``available``, ``gated``, ``withdrawn``, ``never-released``, ``own``.
        obtain: how to get it, one sentence.
        columns: the table's names for ``image``, ``latitude``, ``longitude`` where they are not recognised, or their
            numbers, counted from 1; and for ``photo``, of shards in which several columns hold photos.
        header: False for a table whose first line is a row.
        tables: other tables that serve in place of the split's, by file name: for each its ``columns`` and ``header``.
        splits: for each split where its ``images`` are and the table ``metadata``, relative to :attr:`folder`, the
            ``layout`` of the images if it is not recognised, and whether the names in the table are ``exact``.
        thresholds: distances in km of the accuracies in its tables, where they are not the field's five.
        metrics: names of the other metrics in its tables, such as ``median_km``, ``geoscore@2000`` or ``country``.
        settings: for each model the hyper-parameters that fit this training set; they give way to the user's own.
        variants: versions of the test set that go around, by their numbers of images and of distinct places.
        sources: its files and where to get them.
    """

    name: str
    title: str
    status: Status = "own"
    count: Annotated[int, Ge(0)] | None = None
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    obtain: str = ""
    note: str = ""
    default_gallery: str = "100k"
    default_encoder: str = "ViT-L-14/openai"
    columns: Mapping[str, str | int] = field(default_factory=dict)
    header: bool = True
    tables: Mapping[str, OtherTable] = field(default_factory=dict)
    splits: Mapping[str, Split] = field(default_factory=lambda: {"all": {}})
    thresholds: Sequence[Annotated[float, Gt(0)]] = ()
    metrics: Sequence[str] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variants: Sequence[Variant] = ()
    sources: Sequence[RemoteFile] = ()

    kinds: ClassVar[dict[str, type[Dataset]]] = {}
    stored: ClassVar[bool] = True  # its images are files, which may be missing or more than are listed

    def __init_subclass__(cls, kind: str) -> None:
        """Let a TOML choose this class with ``kind = "..."``; if its splits have other keys, it declares ``splits``."""
        if "read_image" in cls.__dict__:  # features would be of other images than it returns
            raise TypeError(f"{cls.__name__} must override image_bytes and decode_image instead of read_image.")
        Dataset.kinds[kind] = cls

    @classmethod
    def from_toml(cls, path: Path) -> Dataset:
        """Return the data set that ``path`` defines; raise ``DatasetError`` naming the key that does not fit."""
        import geobench.data.raster  # noqa: F401  registers kind = "raster"

        values = read_definition(path)
        kind = values.pop("kind", "folder")
        if kind not in cls.kinds:
            raise DatasetError(f"{path}: unknown kind {kind!r}; there are {', '.join(cls.kinds)}.")
        return validate(cls.kinds[kind], values, str(path), DatasetError)

    @property
    def folder(self) -> Path:
        """Return where its files are looked for: ``GEOBENCH_HOME/data/NAME``."""
        return files.home() / "data" / self.name

    @property
    def present(self) -> bool:
        """Return whether its files are on this machine."""
        try:
            return not any(self._absent(split) for split in self.splits)
        except DatasetError:  # what is there is no layout; using it says so
            return False

    @property
    def uses(self) -> str:
        """Return what it can be used for as far as it is here: ``train, run, score``, ``score``, or nothing."""
        found = []
        for purpose, use in (("train", "train"), ("test", "run, score")):
            try:
                split = self.split_for(purpose)
                whole = not self.stored or (self.has_photos(split) and not self._absent(split))
                table = purpose == "test" and self._metadata(split).is_file()
            except DatasetError:  # there is no such split, or what is there is no layout
                continue
            found += [use] if whole else ["score"] if table else []
        return ", ".join(found)

    def has_photos(self, split: str) -> bool:
        """Return whether a split has photos, wherever they are; if not, it is a table of positions."""
        return self.splits[split].get("images", "images") != NO_PHOTOS

    def variant(self, n: int, distinct: int | None = None) -> str:
        """Return what is known of a version with ``n`` images at ``distinct`` places; empty if nothing is."""
        alike = [known for known in self.variants if known["n"] == n and known.get("distinct") in (None, distinct)]
        return alike[0]["what"] if alike else ""

    def split_for(self, purpose: str) -> str:
        """Return the split used to ``train`` or ``test``: the one of that name, else the only one."""
        if purpose in self.splits:
            return purpose
        if len(self.splits) > 1 or "all" not in self.splits:
            raise DatasetError(f"{self.name} has no {purpose} split; it has {', '.join(self.splits)}.")
        return "all"

    def prepare(self, purpose: str, progress: Progress = SILENT) -> None:
        """List the images of an archive, if there is one, and report how the table is read, if that needs to be known.

        Whatever needs the list makes it too, without progress.

        Raises:
            DatasetError: what is there is no layout that geobench reads, or an archive is damaged or truncated.
        """
        split = self.split_for(purpose)
        if self.has_photos(split) and is_there(self._images(split)) and (store := self.store(purpose)).kind != "folder":
            store.prepare(progress)
        for note in self.notes(purpose):
            progress.say(f"{self.name}: {note}.")

    def table(self, purpose: str, limit: int | None = None) -> pd.DataFrame:
        """Return the table to ``train`` or ``test`` on: ``image``, ``latitude``, ``longitude`` and extra columns.

        Args:
            purpose: ``train`` or ``test``.
            limit: at most so many images, drawn with a fixed seed.

        Raises:
            DatasetNotFoundError: the files are not on this machine; says where they were looked for.
            DatasetError: the table cannot be used.
        """
        self._refuse_absent(self.split_for(purpose))
        return limited(self.positions(purpose), limit)

    def positions(self, purpose: str) -> pd.DataFrame:
        """Return the whole :meth:`table`; its images need not be on this machine if the table is a file."""
        return self.rows(purpose).usable()

    def rows(self, purpose: str) -> Rows:
        """Return the rows of :meth:`positions` that can be used, and what is wrong with the others."""
        path, columns, header = self._table_file(purpose)
        if not path.is_relative_to(files.home() / "index"):
            exact = path.name not in self.tables and self.splits[self.split_for(purpose)].get("exact", False)
            return read_rows(path, columns, header, resolve=partial(self._matches, purpose), exact=exact)
        where = f"{self._images(self.split_for(purpose))}: what is told of its images"
        try:
            return read_rows(path, columns, header, exact=True)._replace(where=where, more=first_broken(path))
        except DatasetError as error:
            raise DatasetError(f"{str(error).replace(str(path), where)} {first_broken(path)}".rstrip()) from None

    def notes(self, purpose: str) -> Sequence[str]:
        """Return what is to be said of the table: which column names the images, if several could."""
        if not self.stored or not self._metadata(self.split_for(purpose)).is_file():
            return ()
        path, columns, header = self._table_file(purpose)
        return self.rows(purpose).notes if has_choice(path, columns, header) else ()

    def _matches(self, purpose: str, names: Sequence[str]) -> list[Match | None] | None:
        """Return the image that each of ``names`` refers to, None for none; None if the images are not here."""
        try:
            store = self.store(purpose)
        except DatasetError:
            return None
        return [_match(store, name) for name in names]

    def _table_file(self, purpose: str) -> tuple[Path, Mapping[str, str | int], bool]:
        """Return the file of a split's table, which of its columns are which, and whether it has a header."""
        split = self.split_for(purpose)
        metadata = self._metadata(split)
        if metadata.exists():  # a folder or a pipe is refused by its reader
            table = self.tables.get(metadata.name, {"columns": self.columns, "header": self.header})
            return metadata, table.get("columns", {}), table.get("header", True)
        store = self.store(purpose)
        store.prepare()
        inside = store.table()
        if inside is None:
            raise DatasetNotFoundError(
                f"{self.name}: there is no table: {metadata} is not there, and {store.path} tells no positions; give "
                "them as a CSV file (geobench datasets add --metadata), or read them from the photos (--exif)."
            )
        return inside, {**self.columns, "image": "image"}, True

    def store(self, purpose: str, *, fresh: bool = True) -> Store:
        """Return where the images to ``train`` or ``test`` on lie.

        Args:
            purpose: ``train`` or ``test``.
            fresh: False is content with what this process found there before.

        Raises:
            DatasetNotFoundError: they are not on this machine.
            DatasetError: what is there is no layout that geobench reads.
        """
        split = self.split_for(purpose)
        if not self.has_photos(split) or (fresh and not is_there(self._images(split))):
            self._refuse_absent(split)
        return open_store(
            self._images(split), self._layout(split), self._id_column(), self._photo_column(), fresh=fresh
        )

    def read_image(self, image: str, purpose: str, side: int | None = None) -> Image.Image:
        """Return the image called ``image`` as upright RGB.

        Args:
            image: its name in the table.
            purpose: ``train`` or ``test``.
            side: the shorter side in pixels that is needed: :func:`geobench.images.decoding.open_image`.

        Raises:
            ImageError: it is missing or cannot be decoded, and counts as failed.
            StorageError: the system cannot read it just now, which says nothing about the image.
        """
        return self.decode_image(self.image_bytes(image, purpose), image, side)

    def image_bytes(self, image: str, purpose: str) -> bytes:
        """Return the content of an image: the bytes of its file, or, if it has none, bytes that identify it.

        Raises:
            ImageError: it is missing.
            StorageError: the system cannot read it just now.
        """
        return file_bytes(self.store(purpose, fresh=False).image_file(image), image)

    def decode_image(self, content: bytes, image: str, side: int | None = None) -> Image.Image:
        """Return the image with the given ``content`` as :meth:`read_image` does."""
        return open_image(content, image, side)

    def content_key(self, table: pd.DataFrame, purpose: str, progress: Progress = SILENT) -> str:
        """Return 16 digits for the images of ``table``: names, and what changes when a file does: sizes and times.

        Where these are the same as once before, but the files may be others, their content is compared
        (:mod:`geobench.data.contents`).
        """
        images, contents = table["image"].to_numpy(object), self.contents(table, purpose)
        if contents is None:
            return files.digest(list(images), *self._own_pixels())
        renamed = contents.stamps.renamed
        if 0 < renamed < (contents.stamps.changed >= 0).sum():  # one folder and its table agree for all, or for none
            progress.say(
                f"{self.name}: {renamed:,} images are found under another name than the table gives them, as others "
                f"are not, such as {contents.stamps.example}; is each the right one?"
            )
        return contents.identify(lambda rows: read_digests(self, images[rows], purpose, progress))

    def _own_pixels(self) -> list[Any]:
        """Return what stands for the code and the fields of a plugin's kind that reads or decodes images otherwise."""
        kind = type(self)
        if kind.image_bytes is Dataset.image_bytes and kind.decode_image is Dataset.decode_image:
            return []
        common = {f.name for f in fields(Dataset)}
        return [
            class_code(kind, Dataset),
            {f.name: getattr(self, f.name) for f in fields(self) if f.name not in common},
        ]

    def contents(self, table: pd.DataFrame, purpose: str, *, fresh: bool = True) -> Contents | None:
        """Return what is known of the content of the images of ``table``; None for a set whose images are no files.

        ``fresh`` is that of :meth:`store`.
        """
        if not self.stored:
            return None
        images = list(table["image"])
        stamps = self.store(purpose, fresh=fresh).stamps(images)
        return Contents(files.digest(images, stamps.values, *self._own_pixels()), len(images), stamps)

    @contextmanager
    def unchanged(self, table: pd.DataFrame, purpose: str, content: str) -> Iterator[Digests]:
        """Yield an array (n, 2) to fill with the digests of the images of ``table``, which are read in the block.

        Afterwards they are kept as those of the key ``content``, what :meth:`content_key` returned.

        Raises:
            DatasetError: images have changed since the block began.
        """
        digests = np.zeros((len(table), 2), dtype=np.uint64)
        before = self.contents(table, purpose)
        yield digests
        now = self.contents(table, purpose, fresh=False)
        if before is None or now is None:
            return
        images = table["image"].to_numpy(object)

        def read(rows: ImageRows) -> Digests:
            self.store(purpose)  # lists an archive anew, if it is another one
            return read_digests(self, images[rows], purpose)

        altered = now.altered(before.stamps.changed, digests, read)
        if len(altered) or before.identify(read) != content:
            raise changed_while_read(self.name, list(images[altered]))
        now.remember(content, digests)

    def describe(self) -> str:
        """Return a line on what the images are, for the record of a run."""
        return self.title

    def _absent(self, split: str) -> list[Path]:
        """Return what of a split is not on this machine; a table that is not named may lie with the images."""
        images, metadata = self._images(split), self._metadata(split)
        if not self.has_photos(split):
            return [] if metadata.is_file() else [metadata]
        absent = [] if is_there(images) else [images]
        if metadata.is_file():
            return absent
        within = not absent and "metadata" not in self.splits[split]
        return absent if within and recognise(images, self._layout(split))[0].carries_table else [metadata, *absent]

    def _refuse_absent(self, split: str) -> None:
        """Raise ``DatasetNotFoundError`` where something of a split is not on this machine, or it has no photos."""
        if not self.has_photos(split):
            raise DatasetNotFoundError(
                f"{self.name} is a table of positions, without photos: predictions of others can be scored on it "
                f"(geobench score FILE --dataset {self.name}); to train and run models, add its photos: geobench "
                f"datasets add {self.name} --images DIR --metadata {self._metadata(split)} --replace"
            )
        absent = self._absent(split)
        if absent:
            raise DatasetNotFoundError(
                f"{self.name} is not on this machine: looked for {' and '.join(map(str, absent))}. "
                f"Status: {self.status}. {self.obtain or self._advice()}"
            )

    def _advice(self) -> str:
        """Return what to do where the files are missing and the definition does not say."""
        if self.sources:
            return f"Fetch it: geobench datasets download {self.name}"
        if self.status != "own":
            return "Put the files there."
        return (
            f"Bring the files back; if they have moved, register them anew: geobench datasets add {self.name} --replace"
        )

    def _images(self, split: str) -> Path:
        return self.folder / str(self.splits[split].get("images", "images"))

    def _metadata(self, split: str) -> Path:
        """Return the table of a split, or the first of the others that is there in its place."""
        named = self.folder / str(self.splits[split].get("metadata", "metadata.csv"))
        others = [self.folder / name for name in self.tables]
        return next((path for path in (named, *others) if path.is_file()), named)

    def _layout(self, split: str) -> str:
        return str(self.splits[split].get("layout", ""))

    def _id_column(self) -> str | None:
        """Return the field that names an image in shards, where it was told by name."""
        column = self.columns.get("image")
        return column if isinstance(column, str) else None

    def _photo_column(self) -> str | None:
        """Return the column of shards that holds the photos, where it was told."""
        column = self.columns.get("photo")
        return column if isinstance(column, str) else None


Dataset.kinds["folder"] = Dataset


def changed_while_read(name: str, images: Sequence[str]) -> DatasetError:
    """Return the error for ``images`` of the data set ``name`` that changed while they were being read."""
    which = f"{len(images):,} images of {name}" if images else f"images of {name}"
    example = f", such as {images[0]}" if images else " or just before"
    return DatasetError(
        f"{which} changed while they were read{example}; once they are as they shall be, run the same command again: "
        "it resumes."
    )


def _match(store: Store, name: str) -> Match | None:
    """Return the image in ``store`` that ``name`` refers to, None if it is none or not a single one."""
    try:
        found = store.find(name)
    except DatasetError:
        return None
    return Match(found.name, store.is_exact(name, found)) if found is not None else None


def limited(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Return ``limit`` rows of ``table`` drawn with a fixed seed, in their order; all of them where it is None."""
    if limit is not None and limit < 1:
        raise SettingError(f"limit must be at least 1, not {limit}.")
    if limit is None or limit >= len(table):
        return table
    rows = np.sort(np.random.default_rng(LIMIT_SEED).permutation(len(table))[:limit])
    return table.iloc[rows].reset_index(drop=True)
