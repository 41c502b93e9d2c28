"""The positions that a photo records: in its EXIF and in its XMP."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import SEEK_CUR, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from geobench.errors import ImageError, StorageError
from geobench.images.decoding import opened, reason_for
from geobench.images.gps import LATITUDE, LONGITUDE, Axis, NoPositionError, Position, degrees, position
from geobench.images.reading import check_regular, is_passing, retried
from geobench.images.signatures import HEAD
from geobench.images.xmp import xmp_position

if TYPE_CHECKING:
    from PIL import Image

EXIF, XMP = "EXIF", "XMP in the photo"
_PNG = b"\x89PNG\r\n\x1a\n"
_TOLD = (b"IHDR", b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"IEND")
"""Chunks of a PNG that tell something of it; some programs write them behind the pixels."""

MAX_CHUNK = 1 << 26


class Recorded(NamedTuple):
    """What a photo, or a file beside it, says of its position.

    Attributes:
        source: where it says so.
        position: None if it cannot be used.
        reason: why not.
    """

    source: str
    position: Position | None
    reason: str = ""


def recorded(source: str, read: Callable[[], Position | None]) -> Iterator[Recorded]:
    """Yield what ``read`` returns, or why it is no position; nothing if it returns None."""
    try:
        found = read()
    except NoPositionError as error:
        yield Recorded(source, None, str(error))
    else:
        if found is not None:
            yield Recorded(source, found)


def exif_position(file: Path | bytes) -> Position | None:
    """Return latitude and longitude in degrees from the EXIF of an image, None if it has no usable position.

    Raises:
        StorageError: the system cannot read the file just now.
    """
    try:
        return next((found.position for found in photo_positions(file) if found.source == EXIF), None)
    except ImageError:
        return None


def photo_positions(file: Path | bytes) -> list[Recorded]:
    """Return the positions that an image records itself, EXIF first; those that cannot be used have the reason.

    Raises:
        ImageError: it is no image; says why.
        StorageError: the system cannot read the file just now.
    """
    return retried(lambda: _read(file), str(file) if isinstance(file, Path) else "image")


def _read(file: Path | bytes) -> list[Recorded]:
    try:
        with _opened_without_pixels(file) as image:
            return [
                *recorded(EXIF, lambda: _from_tags(_gps_tags(image))),
                *recorded(XMP, lambda: xmp_position(_xmp(image))),
            ]
    except (StorageError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on hostile files
        if is_passing(error):
            raise
        raise ImageError(reason_for(_head(file), error)) from error


@contextmanager
def _opened_without_pixels(file: Path | bytes) -> Iterator[Image.Image]:
    """Yield the image, undecoded; of a PNG without its pixels, so that what stands behind them is read too."""
    if isinstance(file, Path):
        check_regular(file.stat())
    with file.open("rb") if isinstance(file, Path) else BytesIO(file) as stream:
        told = _told_of_png(stream) if stream.read(len(_PNG)) == _PNG else None
    with opened(file if told is None else told) as image:
        yield image


def _told_of_png(stream: BinaryIO) -> bytes:
    """Return a PNG of the chunks in ``stream``, behind its signature, that are no pixels."""
    told = _PNG
    while len(head := stream.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in _TOLD and length <= MAX_CHUNK:
            told += head + stream.read(length + 4)
        else:
            stream.seek(length + 4, SEEK_CUR)
        if kind == b"IEND":
            break
    return told


def _gps_tags(image: Image.Image) -> dict[int, Any]:
    from PIL import ExifTags
    from PIL import Image as Pillow

    try:
        found: dict[int, Any] = Pillow.Image.getexif(image).get_ifd(ExifTags.IFD.GPSInfo)  # that of a PNG decodes it
    except Exception as error:
        if is_passing(error):
            raise
        raise NoPositionError("it is damaged") from error
    return found


def _xmp(image: Image.Image) -> bytes:
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return found.encode() if isinstance(found, str) else bytes(found)


def _from_tags(tags: dict[int, Any]) -> Position | None:
    """Return the position in the GPS tags of EXIF; None if there are no coordinates among them."""
    from PIL.ExifTags import GPS

    if GPS.GPSLatitude not in tags and GPS.GPSLongitude not in tags:
        return None
    if _text(tags.get(GPS.GPSStatus)).upper().startswith("V"):
        raise NoPositionError("its GPSStatus is void")
    latitude = _degrees(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), LATITUDE)
    return position(latitude, _degrees(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), LONGITUDE))


def _degrees(values: Any, reference: Any, axis: Axis) -> float:
    if values is None:
        raise NoPositionError(f"the {axis.name} is missing")
    try:
        components = [] if isinstance(values, str | bytes) else list(map(_number, values))  # no digits of a text
    except (TypeError, ValueError):
        components = []
    if len(components) != 3:
        raise NoPositionError(f"the {axis.name} is not three numbers")
    return degrees(components, _text(reference), axis)


def _number(value: Any) -> float:
    try:
        return float(value)
    except ArithmeticError:  # a number over 0, in older Pillow
        return math.nan


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _head(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file[:HEAD]
    try:
        with file.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""
