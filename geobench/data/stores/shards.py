"""Shards of records: msgpack as the authors of ISN hand out MP-16, and parquet as on the Hugging Face hub."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.data.stores.catalogue import Entry, Listed, PerThread
from geobench.data.stores.store import MAX_BYTES, Advance, Store, unreadable
from geobench.data.stores.tars import scalars
from geobench.data.tables.columns import RECOGNISED
from geobench.errors import DatasetError, ImageError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE = "image"
IDS = tuple(name for name in RECOGNISED["image"] if name != IMAGE)
ROWS_AT_ONCE = 64  # of a parquet file, in memory with their images
ROWS_LISTED = 10_000  # without
BUFFER = 1 << 20  # bytes of a column read at a time
DAMAGED = (ValueError, TypeError, RecursionError, OverflowError)
"""What decoding a msgpack record raises, besides errors of the package."""


class _Shards(Store):
    """Files of records that hold an image each, and its name."""

    carries_table = True

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether all files are named as such shards are."""
        return all(part.suffix.lower() in cls.suffixes for part in parts)

    def in_table(self, name: str) -> bool:
        """Return True: a record is an image, whatever its name."""
        return True

    def id_among(self, names: Sequence[str]) -> str | None:
        """Return which of ``names`` holds the name of an image, None where none is recognised."""
        by_lower = {name.lower(): name for name in names}
        candidates = (self.id_column.lower(),) if self.id_column else IDS
        return next((by_lower[name] for name in candidates if name in by_lower), None)

    def without_id(self, where: object, names: Sequence[str]) -> DatasetError:
        """Return the error for records of which none of the fields ``names`` is the name of the image."""
        looked_for = self.id_column or ", ".join(IDS)
        return DatasetError(
            f"{where}: no field names the image (looked for {looked_for}); there are {', '.join(names)}. "
            "Name it with --image-column: geobench datasets add NAME …, with --replace where NAME is there already."
        )


class MsgpackStore(_Shards, kind="msgpack", what="msgpack shards, shard_0.msg …"):
    """Records ``{"image": bytes, "id": text}``, one after the other, as TIBHannover/GeoEstimation writes them."""

    suffixes = (".msg", ".msgpack")

    def list_part(self, number: int, advance: Advance) -> Iterator[Listed]:
        """Yield the records of one shard."""
        import msgpack

        path, start = self.parts[number], 0
        with path.open("rb") as file:
            records = msgpack.Unpacker(file, raw=True, strict_map_key=False, max_buffer_size=MAX_BYTES)
            try:
                for record in records:
                    end = records.tell()
                    advance(end - start)
                    if record is not None:
                        yield self._listed_record(record, Entry("", number, start, end - start))
                    start = end
            except (*DAMAGED, msgpack.UnpackException) as error:
                raise unreadable(path, "msgpack shard", f"byte {start:,}: {error or type(error).__name__}") from None
        if start < path.stat().st_size:
            raise unreadable(path, "msgpack shard", f"the record at byte {start:,} is cut off")

    def _listed_record(self, record: object, place: Entry) -> Listed:
        where = f"{self.parts[place.part]}, record at byte {place.offset:,}"
        if not isinstance(record, dict):
            raise DatasetError(f"{where}: it is no map of an image and its id, but {type(record).__name__}.")
        fields = {_text(key): value for key, value in record.items()}
        image = fields.pop(IMAGE, None)
        id_field = self.id_among(list(fields))
        if id_field is None:
            raise self.without_id(where, list(fields))
        name = _text(fields.pop(id_field))
        about = scalars({key: _text(value) for key, value in fields.items()})
        return place._replace(name=name, problem="" if image else "its record holds no image"), about or None

    def read_entry(self, entry: Entry) -> bytes:
        """Return the image of a record."""
        import msgpack

        packed = self.bytes_at(entry.part, entry.offset, entry.size)
        try:
            record = msgpack.unpackb(packed, raw=True, strict_map_key=False)
            image = next(value for key, value in record.items() if _text(key) == IMAGE)
            return bytes(memoryview(image))
        except (*DAMAGED, msgpack.UnpackException, AttributeError, StopIteration) as error:
            raise ImageError(f"{entry.name}: its record holds no image ({type(error).__name__})") from None


def _text(value: Any) -> Any:
    """Return a text for bytes, which is what texts are where they are read raw; anything else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class ParquetStore(_Shards, kind="parquet", what="parquet files with a column of images, as on the Hugging Face hub"):
    """Rows with an image, as bytes or ``{bytes, path}``, and whatever else is known of it."""

    suffixes = (".parquet",)

    def __init__(self, path: Path, parts: Sequence[Path], id_column: str | None = None) -> None:
        super().__init__(path, parts, id_column)
        self._rows: PerThread[_Rows] = PerThread()

    def list_part(self, number: int, advance: Advance) -> Iterator[Listed]:
        """Yield the rows of one file; the images themselves are not read."""
        import pyarrow as pa

        path, row = self.parts[number], 0
        try:
            with _Rows(path) as rows:
                others = [name for name in rows.names if name != rows.image]
                id_column = self.id_among(others)
                if id_column is None and rows.path is None:
                    raise self.without_id(path, others)
                for record in rows.records(others if id_column else [*others, str(rows.path)]):
                    name = record.pop(id_column) if id_column else record.pop(rows.image)["path"]
                    if name is None:
                        raise DatasetError(f"{path}: row {row + 1:,} does not name its image.")
                    yield Entry(str(name), number, row), scalars(record) or None
                    row += 1
                advance(path.stat().st_size)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, "parquet file", error) from None

    def read_entry(self, entry: Entry) -> bytes:
        """Return the image of a row; rows that follow each other are read together, a few at a time."""
        import pyarrow as pa

        path = self.parts[entry.part]
        try:
            image = self._rows.get(entry.part, lambda: _Rows(path)).image_in(entry.offset)
        except (pa.ArrowException, OSError) as error:
            raise ImageError(f"{entry.name}: row {entry.offset + 1:,} of {path.name} is damaged ({error})") from None
        if not image:
            raise ImageError(f"{entry.name}: row {entry.offset + 1:,} of {path.name} holds no image")
        return image


class _Rows:
    """The rows of one parquet file.

    Attributes:
        names: of the columns that are texts or numbers, and of the one of images.
        image: the column of images.
        path: where in it the path of the image's file is told, None where it is not.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.file = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)
        schema = self.file.schema_arrow
        inside = {f.name: [g.name for g in f.type] for f in schema if pa.types.is_struct(f.type)}
        binary = [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
        images = [name for name, parts in inside.items() if "bytes" in parts] + binary
        if not images:
            raise DatasetError(f"{path} has no column of images (bytes); it has {', '.join(schema.names)}.")
        self.image = IMAGE if IMAGE in images else images[0]
        self.names = [f.name for f in schema if f.name == self.image or not pa.types.is_nested(f.type)]
        self.path = f"{self.image}.path" if "path" in inside.get(self.image, []) else None
        self._bytes = f"{self.image}.bytes" if self.image in inside else self.image
        groups = (self.file.metadata.row_group(n).num_rows for n in range(self.file.metadata.num_row_groups))
        self._starts = [0, *accumulate(groups)]
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch: list[Any] = []
        self._first = self._group = -1

    def records(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield every row as a dictionary of these columns."""
        for batch in self.file.iter_batches(ROWS_LISTED, columns=list(columns), use_threads=False):
            yield from batch.to_pylist()

    def image_in(self, row: int) -> bytes | None:
        """Return the image of a row, counted from 0; a row group is begun anew only for a row before the last one."""
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._first:
            self._group, self._first, self._batch = group, self._starts[group], []
            # No threads: the process may be the fork of one that had some.
            self._batches = self.file.iter_batches(
                ROWS_AT_ONCE, row_groups=[group], columns=[self._bytes], use_threads=False
            )
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches).column(0).to_pylist()
        image = self._batch[row - self._first]
        found: bytes | None = image["bytes"] if isinstance(image, dict) else image
        return found

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
