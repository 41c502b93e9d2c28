"""Shards of records, each an image with its name; here msgpack, as the authors of ISN distribute MP-16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from geobench.data.stores.catalogue import ListedImage, StoredImage
from geobench.data.stores.names import Kind, key_of
from geobench.data.stores.store import Advance, Store, unreadable
from geobench.data.stores.tars import scalars
from geobench.data.tables.choice import SAMPLED, Column, Match, choose_image_column, remedy_for
from geobench.data.tables.columns import RECOGNISED
from geobench.errors import DatasetError, ImageError
from geobench.images.reading import MAX_BYTES

IMAGE = "image"
IDS = tuple(name for name in RECOGNISED["image"] if name != IMAGE)
DAMAGED = (ValueError, TypeError, RecursionError, OverflowError)
"""Errors of decoding a msgpack record, in addition to those of the package."""


class Sample(NamedTuple):
    """Some records without their images: their fields, and what the file of each image was called, if that is told."""

    records: list[dict[str, Any]]
    paths: list[str | None]


class Shards(Store):
    """Files of records, each with an image and its name."""

    carries_table = True
    has_fields = True

    @classmethod
    def claims(cls, parts: Sequence[Path]) -> bool:
        """Return whether all files have the suffix of such shards."""
        return all(part.suffix.lower() in cls.suffixes for part in parts)

    def __init__(
        self, path: Path, parts: Sequence[Path], id_column: str | None = None, photo_column: str | None = None
    ) -> None:
        super().__init__(path, parts, id_column, photo_column)
        self._chosen: dict[tuple[str, ...], str] = {}

    def is_image(self, name: str) -> bool:
        """Return True: every record is an image, whatever its name."""
        return True

    def kind_of(self, image: StoredImage) -> Kind:
        """Return that it is an image, likewise."""
        return Kind.IMAGE

    def id_among(self, names: Sequence[str], where: object, sample: Callable[[], Sample]) -> str | None:
        """Return which of ``names`` is the field with the name of an image, None if none is recognised.

        Of several the content decides, as of the columns of a table: what the record's own image is called.

        Args:
            names: of the fields.
            where: the file, for messages.
            sample: returns some records.

        Raises:
            DatasetError: it cannot be told.
        """
        by_lower = {name.lower(): name for name in names}
        wanted = (self.id_column.lower(),) if self.id_column else IDS
        found = tuple(by_lower[name] for name in wanted if name in by_lower)
        if len(found) > 1 and found not in self._chosen:
            self._chosen[found] = self._choice(found, where, sample())
        return self._chosen.get(found, found[0] if found else None)

    def _choice(self, names: Sequence[str], where: object, sample: Sample) -> str:
        import pandas as pd

        columns = [Column(name, pd.Series([str(record.get(name)) for record in sample.records])) for name in names]
        paths = {path: Match(path, exact=True) for path in sample.paths if path}
        nearly = {key_of(path.rpartition("/")[2]): Match(path, exact=False) for path in paths}

        def resolve(values: Sequence[str]) -> list[Match | None] | None:
            return [paths.get(v) or nearly.get(key_of(v.rpartition("/")[2])) for v in values] if paths else None

        chosen = choose_image_column(str(where), columns, resolve, remedy_for("image", is_table=True))
        if chosen.note:
            self.notes.append(f"{where}: {chosen.note}.")
        return names[chosen.number]

    def missing_id(self, where: object, names: Sequence[str]) -> DatasetError:
        """Return the error for records whose fields ``names`` do not include the name of the image."""
        looked_for = self.id_column or ", ".join(IDS)
        found = ", ".join(names) or "none"
        return DatasetError(
            f"{where}: no field with the name of the image (looked for {looked_for}); it has {found}. Give it: "
            " geobench datasets add NAME … --image-column FIELD (with --replace if NAME exists)."
        )


class MsgpackStore(Shards, kind="msgpack", what="msgpack shards, shard_0.msg …"):
    """Consecutive records ``{"image": bytes, "id": text}``, as TIBHannover/GeoEstimation writes them."""

    suffixes = (".msg", ".msgpack")

    def list_part(self, number: int, advance: Advance) -> Iterator[ListedImage]:
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
                        yield self._listed_record(record, StoredImage("", number, start, end - start))
                    start = end
            except (*DAMAGED, msgpack.UnpackException) as error:
                raise unreadable(path, "msgpack shard", f"byte {start:,}: {error or type(error).__name__}") from None
        if start < path.stat().st_size:
            raise unreadable(path, "msgpack shard", f"the record at byte {start:,} is truncated")

    def _listed_record(self, record: object, location: StoredImage) -> ListedImage:
        where = f"{self.parts[location.part]}, record at byte {location.offset:,}"
        if not isinstance(record, dict):
            raise DatasetError(f"{where}: not a map of an image and its id, but {type(record).__name__}.")
        fields = {_text(key): value for key, value in record.items()}
        image = fields.pop(IMAGE, None)
        id_field = self.id_among(list(fields), self.parts[location.part], lambda: self._sample(location.part))
        if id_field is None:
            raise self.missing_id(where, list(fields))
        name = _text(fields.pop(id_field))
        metadata = scalars({key: _text(value) for key, value in fields.items()})
        return location._replace(name=name, problem="" if image else "its record has no image"), metadata or None

    def _sample(self, number: int) -> Sample:
        import msgpack

        with self.parts[number].open("rb") as file:
            records = msgpack.Unpacker(file, raw=True, strict_map_key=False, max_buffer_size=MAX_BYTES)
            first = [record for record in islice(records, SAMPLED) if isinstance(record, dict)]
        fields = [{_text(key): _text(value) for key, value in record.items()} for record in first]
        return Sample(fields, [])

    def read(self, image: StoredImage) -> bytes:
        """Return the image of a record."""
        import msgpack

        packed = self.bytes_at(image.part, image.offset, image.size)
        try:
            record = msgpack.unpackb(packed, raw=True, strict_map_key=False)
            content = next(value for key, value in record.items() if _text(key) == IMAGE)
            return bytes(memoryview(content))
        except (*DAMAGED, msgpack.UnpackException, AttributeError, StopIteration) as error:
            raise ImageError(f"{image.name}: its record has no image ({type(error).__name__})") from None


def _text(value: Any) -> Any:
    """Decode bytes, the form of raw strings; return anything else unchanged."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
