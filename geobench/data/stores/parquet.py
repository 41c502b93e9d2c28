"""Parquet files with a column of photos, as on the Hugging Face hub; positions in numbers, structs or geometries."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.data.stores.catalogue import ListedImage, PerThread, StoredImage
from geobench.data.stores.geometries import Geometries, other_system
from geobench.data.stores.shards import IMAGE, Sample, Shards
from geobench.data.stores.store import Advance, head, unreadable
from geobench.data.stores.tars import scalars
from geobench.data.tables.choice import SAMPLED
from geobench.data.tables.columns import AXES, recognised
from geobench.errors import DatasetError, ImageError
from geobench.images.formats import is_photo
from geobench.images.reading import is_passing
from geobench.images.signatures import HEAD

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 64  # in memory with their images
ROWS_LISTED = 10_000  # in memory without them
ROWS_LOOKED_AT = 256  # to tell which column holds photos; more are looked at while all are empty
BUFFER = 1 << 20  # bytes of a column read at a time
PARQUET = b"PAR1"  # its first bytes
HUB_SPLIT = re.compile(r"(.+?)-\d{5}-of-\d{5}(-[0-9a-f]{16})?\.parquet")


class ParquetStore(Shards, kind="parquet", what="parquet files with a column of images, as on the Hugging Face hub"):
    """Rows with an image, as bytes or ``{bytes, path}``, and any metadata."""

    suffixes = (".parquet",)

    def __init__(
        self, path: Path, parts: Sequence[Path], id_column: str | None = None, photo_column: str | None = None
    ) -> None:
        super().__init__(path, parts, id_column, photo_column)
        self._rows: PerThread[_Rows] = PerThread()

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether all files have the suffix, or the content: a blob in the hub's cache has no suffix."""
        if super().claims(parts):
            return True
        return all(part.is_file() and not part.suffix and head(part, len(PARQUET)) == PARQUET for part in parts)

    @classmethod
    def in_order(cls, parts: Sequence[Path]) -> list[Path]:
        """Return ``parts``; raise ``DatasetError`` if they are several splits, which nobody wants to mix unawares."""
        splits = {match[1]: part for part in parts if (match := HUB_SPLIT.fullmatch(part.name))}
        if len(splits) > 1:
            first = min(splits)
            raise DatasetError(
                f"{parts[0].parent} holds several splits ({', '.join(sorted(splits))}), which would be mixed; give the "
                f"files of one: '{splits[first].parent / first}-*.parquet'"
            )
        return list(parts)

    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
        """Yield the rows of one file; the images themselves are not read."""
        import pyarrow as pa

        path, row = self.parts[number], 0
        try:
            with _Rows(path, self.photo_column) as rows:
                id_column = self.id_among(rows.plain, path, lambda: rows.sample(rows.plain))
                if id_column is None and not rows.has_path:
                    raise self.missing_id(path, rows.plain)
                for record in rows.records(rows.listed):
                    own = rows.path_of(record.pop(rows.photo, None))
                    name = record.pop(id_column) if id_column else own or f"{path.stem}/{row + 1}"
                    if name is None:
                        raise DatasetError(f"{path}: row {row + 1:,} has no image name.")
                    yield StoredImage(str(name), number, row), rows.metadata(record) or None
                    row += 1
                advance(path.stat().st_size)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, "parquet file", error) from None

    def read(self, image: StoredImage) -> bytes:
        """Return the image of a row; consecutive rows are read together, a few at a time."""
        import pyarrow as pa

        path = self.parts[image.part]
        try:
            content = self._rows.get(image.part, lambda: _Rows(path, self.photo_column)).image_in(image.offset)
        except (pa.ArrowException, OSError) as error:
            self._rows.drop()  # its position in the row group is lost
            if is_passing(error) or isinstance(error, FileNotFoundError):
                raise
            raise ImageError(f"{image.name}: row {image.offset + 1:,} of {path.name} is damaged ({error})") from None
        if not content:
            raise ImageError(f"{image.name}: row {image.offset + 1:,} of {path.name} has no image")
        return content


class _Rows:
    """The rows of one parquet file.

    Attributes:
        photo: the column of the photos.
        plain: the columns of strings and numbers.
        listed: the columns to list: ``plain``, those of positions, and the path of the photo's file.
        has_path: whether there is such a path; where it is null, an image is called by its file and row.
        geometries: the columns of binary geometries and structs that hold positions.
    """

    def __init__(self, path: Path, photo_column: str | None = None) -> None:
        import pyarrow.parquet as pq

        self.where = path
        self.file = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER, page_checksum_verification=True)
        schema = self.file.schema_arrow
        kinds = {field.name: _kind(field.type) for field in schema}
        self.photo = self._photo_column(kinds, photo_column)
        others = [name for name in schema.names if name != self.photo]
        self.plain = [name for name in others if kinds[name] == "plain"]
        binary = [name for name in others if kinds[name] in ("binary", "struct")]
        self.geometries = Geometries.among(binary, self._first(binary), str(path)) if binary else Geometries(())
        if wrong := other_system(schema.metadata, self.geometries.columns):
            raise DatasetError(f"{path}: {wrong}")
        self.listed = [*self.plain, *self.geometries.columns]
        self.has_path = "path" in _fields(schema.field(self.photo).type)
        self.listed += [f"{self.photo}.path"] if self.has_path else []
        self.has_axes = all(recognised([name.lower() for name in self.plain], axis) for axis in AXES)
        groups = (self.file.metadata.row_group(n).num_rows for n in range(self.file.metadata.num_row_groups))
        self._starts = [0, *accumulate(groups)]
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: list[Any] = []
        self._first_row = self._group = -1

    def _photo_column(self, kinds: Mapping[str, str], wanted: str | None) -> str:
        """Return the column of photos: the one ``wanted``, or the only one whose content is photos."""
        candidates = [name for name, kind in kinds.items() if kind in ("photo", "binary")]
        if wanted is not None:
            if wanted not in candidates:
                found = ", ".join(candidates) or "none"
                raise DatasetError(f"{self.where} has no column {wanted!r} of bytes; those it has: {found}.")
            return wanted
        if not candidates:
            raise DatasetError(f"{self.where} has no column of images (bytes); it has {', '.join(kinds)}.")
        seen = self._first(candidates) if len(candidates) > 1 else {}
        holding = [name for name in candidates if any(is_photo(value[:HEAD]) for value in seen.get(name, ()))]
        if len(holding) == 1 or IMAGE in holding:
            return IMAGE if IMAGE in holding else holding[0]
        if len(candidates) == 1:
            return candidates[0]
        what = (
            f"{' and '.join(holding)} each hold photos" if holding else f"none of {', '.join(candidates)} holds photos"
        )
        raise DatasetError(
            f"{self.where}: {what}; name the column: geobench datasets add NAME … --photo-column "
            f"{(holding or candidates)[0]}"
        )

    def _first(self, columns: Sequence[str]) -> dict[str, list[bytes]]:
        """Return the first values of ``columns`` that are not null, as bytes; structs of numbers as they are."""
        found: dict[str, list[Any]] = {name: [] for name in columns}
        for batch in self.file.iter_batches(ROWS_AT_ONCE, columns=list(columns), use_threads=False):
            for name in columns:
                values = (_content(value) for value in batch.column(name).to_pylist())
                found[name] += [value for value in values if value]
            if all(len(values) >= ROWS_LOOKED_AT for values in found.values()) or (
                all(found.values()) and len(next(iter(found.values()))) >= ROWS_AT_ONCE
            ):
                break
        return found

    def records(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield every row as a dictionary of these columns."""
        for batch in self.file.iter_batches(ROWS_LISTED, columns=list(columns), use_threads=False):
            rows = batch.to_pylist()
            yield from rows if batch.num_columns else ({} for _ in range(batch.num_rows))

    def path_of(self, photo: Any) -> str | None:
        """Return the name of a photo's file, as its own record has it; None if that does not tell."""
        inner = photo[0] if isinstance(photo, list) and photo else photo
        return inner.get("path") if isinstance(inner, dict) else None

    def metadata(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the strings and numbers of a row, with the positions in its geometries as further columns."""
        plain = {name: record.get(name) for name in self.plain}
        numbers = {name: float(value) if isinstance(value, Decimal) else value for name, value in plain.items()}
        return scalars(numbers) | self.geometries.columns_of(record, alone=not self.has_axes)

    def sample(self, columns: Sequence[str]) -> Sample:
        """Return the first rows."""
        records = list(islice(self.records(self.listed), SAMPLED))
        paths = [self.path_of(record.get(self.photo)) for record in records]
        return Sample([{name: record.get(name) for name in columns} for record in records], paths)

    def image_in(self, row: int) -> bytes | None:
        """Return the image of a row, counted from 0; a row group is only restarted for an earlier row."""
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._first_row:
            self._group, self._first_row, self._batch = group, self._starts[group], []
            # No threads: the process may have been forked from one with threads.
            self._batches = self.file.iter_batches(
                ROWS_AT_ONCE, row_groups=[group], columns=[self.photo], use_threads=False
            )
        while row >= self._first_row + len(self._batch):
            self._first_row += len(self._batch)
            self._batch = next(self._batches).column(0).to_pylist()
        content: bytes | None = _content(self._batch[row - self._first_row])
        return content

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _content(value: Any) -> Any:
    """Return the bytes of an image as it is stored: as they are, in a struct, or in a list of one."""
    if isinstance(value, list):
        return _content(value[0]) if len(value) == 1 else None
    if isinstance(value, dict) and "bytes" in value:
        return value["bytes"]
    return value


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    checks = ("is_binary", "is_large_binary", "is_fixed_size_binary", "is_binary_view")
    return any(getattr(pa.types, check)(kind) for check in checks if hasattr(pa.types, check))


def _inner(kind: pa.DataType) -> pa.DataType:
    """Return the type of what a list holds, else the type itself."""
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return _inner(kind.value_type) if is_list else kind


def _fields(kind: pa.DataType) -> dict[str, pa.DataType]:
    """Return the fields of a struct by name, none of another type."""
    import pyarrow as pa

    return {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}


def _kind(kind: pa.DataType) -> str:
    """Return what a column may be: ``photo``, ``binary``, ``struct``, ``plain`` or, if it is of no use, nothing."""
    import pyarrow as pa

    inner = _inner(kind)
    if _is_binary(kind):
        return "binary"
    if _is_binary(inner) or any(_is_binary(each) for name, each in _fields(inner).items() if name == "bytes"):
        return "photo"
    if pa.types.is_struct(kind):
        return "struct"
    return "" if pa.types.is_nested(kind) else "plain"
