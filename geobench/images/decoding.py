"""From an image file to pixels: decoding, orientation, crops."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from geobench.errors import ImageError
from geobench.images.formats import can_read_heif, describe_unread
from geobench.images.reading import check_regular, file_bytes
from geobench.images.signatures import HEAD, is_heif

if TYPE_CHECKING:
    from PIL import Image, ImageFile

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp")
CROPS = (1, 5, 10)
CROP_SHARE = 0.875
"""Side of a corner crop over the image's shorter side: 224 of 256, as in the ten crops of ImageNet evaluation."""
DRAFT_FACTOR = 2
"""A JPEG decoded at a reduced scale keeps at least this many pixels per pixel that is asked for."""
HELD = 1.5
"""A JPEG of several scans, such as a progressive one, is held whole at any scale, in 6 bytes per pixel: reduced, it may
have so many times Pillow's maximum of pixels, and takes no more memory than the largest one that is decoded in full."""
MAX_ASPECT = 100
"""Only the middle of a longer image is returned: resized for an encoder, 1 × 20,000 pixels would take gigabytes."""
WHITE_IS_ZERO = 0  # of the tag PhotometricInterpretation
SIGNED = 2  # of the tag SampleFormat
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What turns an image upright, by EXIF orientation (1 needs nothing): names in ``PIL.Image.Transpose``."""


def open_image(file: Path | bytes, name: str = "", side: int | None = None) -> Image.Image:
    """Return an image as upright RGB.

    Args:
        file: an image file, or its bytes.
        name: for error messages; that of the file if empty.
        side: pixels needed along the shorter side, for thumbnails and fingerprints: a JPEG whose shorter side is at
            least four times as long is decoded at 1/2, 1/4 or 1/8, to no less than twice ``side``. None decodes it in
            full, as features need it; only a JPEG of more pixels than Pillow decodes (179 million) is reduced.

    Raises:
        ImageError: it is missing or cannot be decoded; says why.
        StorageError: the system cannot read the file just now.
    """
    from PIL import Image

    name = name or (file.name if isinstance(file, Path) else "image")
    content = file_bytes(file, name)
    try:
        with opened(content) as image:
            if image.format == "EPS":
                raise ImageError("PostScript is a program, which is not run")
            _reduce(image, content, side)
            image.load()
            transposition = _UPRIGHT.get(_orientation(image))  # after loading: Pillow turns a TIFF by itself
            upright = _middle(_rgb(image))
            return upright if transposition is None else upright.transpose(Image.Transpose[transposition])
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on hostile files, and one image must not end a run
        raise ImageError(f"{name}: {reason_for(content[:HEAD], error)}") from error


@contextmanager
def opened(file: Path | bytes) -> Iterator[ImageFile.ImageFile]:
    """Yield the image, undecoded and of any size; never block on a pipe. Of a path no more is read than is asked for.

    Pillow's warnings are suppressed: an image is either read or counted as failed, and there may be millions.
    """
    if isinstance(file, Path):
        check_regular(file.stat())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with file.open("rb") if isinstance(file, Path) else BytesIO(file) as stream, _identified(stream) as image:
            yield image


def _identified(stream: BinaryIO) -> ImageFile.ImageFile:
    """Return the undecoded image in ``stream``, also if it is of more pixels than Pillow lets through."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(stream)
    except Image.DecompressionBombError:
        stream.seek(0)
        return _of_any_size(stream)
    except UnidentifiedImageError:
        stream.seek(0)
        if not is_heif(stream.read(HEAD)) or not can_read_heif():
            raise
        return Image.open(stream)


def _of_any_size(stream: BinaryIO) -> ImageFile.ImageFile:
    """Return what ``Image.open`` does, without its check of the size, which only decoding needs."""
    from PIL import Image

    head = stream.read(16)
    for factory, accepts in (Image.OPEN[kind] for kind in Image.ID):
        if accepts is None or accepts(head) is True:
            stream.seek(0)
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # how plugins refuse a file
                return factory(stream, "")
    raise ImageError("is of an unknown format")


def _reduce(image: ImageFile.ImageFile, content: bytes, side: int | None) -> None:
    """Let a JPEG be decoded at the scale that ``side`` or its size asks for; refuse one that is too large."""
    scale = min(image.size) // (DRAFT_FACTOR * side) if side is not None else 1
    scale = max(scale, _scale_of_size(image, content))
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _scale_of_size(image: ImageFile.ImageFile, content: bytes) -> int:
    """Return 1, or for a JPEG of more pixels than Pillow decodes by how much it is reduced."""
    from PIL import Image

    usual = Image.MAX_IMAGE_PIXELS or math.inf
    pixels, most = image.width * image.height, 2 * usual
    if pixels <= most:
        return 1
    what = f"{image.format} image"
    if image.format in ("JPEG", "MPO") and image.fp is not None:
        several = content.find(b"\xff\xda", image.fp.tell()) >= 0  # a second scan begins
        what, most = ("JPEG of several scans", HELD * most) if several else ("JPEG image", math.inf)
    if pixels > most:
        raise Image.DecompressionBombError(
            f"{image.width:,} × {image.height:,} pixels; of a {what} at most {most:,.0f} are decoded: save it smaller, "
            "or as a JPEG that is not progressive"
        )
    return next((scale for scale in (2, 4) if pixels <= scale**2 * usual), 8)


def checksum_error(content: bytes) -> str:
    """Return which checksum of an image file is wrong; '' if none is, or if its format has none.

    Of the formats that are read only PNG has one for every part of a file, which decoding leaves unread in places.
    """
    try:
        with opened(content) as image:
            if image.format == "PNG":
                image.verify()
    except Exception as error:  # verify() raises SyntaxError, OSError, struct.error, …
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def reason_for(head: bytes, error: Exception) -> str:
    """Return in one line why an image file that begins with ``head`` cannot be read."""
    from PIL import UnidentifiedImageError

    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return describe_unread(head)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as 8-bit RGB; transparency is dropped, 16 bits are scaled, not clipped."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        scaled = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
        if _tiff_tag(image, "PHOTOMETRIC_INTERPRETATION") == WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
            scaled = 255 - scaled
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError("32-bit values have no defined white; save it with 8 or 16 bits")
    if _tiff_tag(image, "SAMPLEFORMAT") == SIGNED:
        raise ImageError("signed values have no defined black; save it with unsigned ones")
    return image.convert("RGB")


def _tiff_tag(image: Image.Image, name: str) -> int | None:
    """Return the first value of a tag that says how to read the numbers of a TIFF; None in other formats."""
    from PIL import TiffImagePlugin

    value = image.tag_v2.get(getattr(TiffImagePlugin, name)) if hasattr(image, "tag_v2") else None
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if the EXIF is broken, which does not affect the pixels."""
    from PIL import ExifTags

    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _middle(image: Image.Image) -> Image.Image:
    """Return ``image``, or only its middle if its aspect ratio exceeds :data:`MAX_ASPECT`."""
    longest = MAX_ASPECT * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = (min(length, longest) for length in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def views(image: Image.Image, crops: int) -> list[Image.Image]:
    """Return the views of ``image`` to encode: itself (1), its corners and centre (5), those of its mirror too (10).

    They are torchvision's ``FiveCrop`` and ``TenCrop`` with a side of :data:`CROP_SHARE` of the shorter side.
    """
    from PIL import ImageOps

    if crops == 1:
        return [image]
    five = _corners_and_centre(image)
    return five if crops == 5 else five + _corners_and_centre(ImageOps.mirror(image))


def _corners_and_centre(image: Image.Image) -> list[Image.Image]:
    side = max(1, round(CROP_SHARE * min(image.size)))
    right, bottom = image.width - side, image.height - side
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    return [image.crop((x, y, x + side, y + side)) for x, y in places]
