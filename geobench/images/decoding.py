"""From a file to pixels: decoding, orientation, crops."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench.errors import ImageError
from geobench.images.signatures import HEAD, describe_content

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
CROPS = (1, 5, 10)
CROP_SHARE = 0.875
"""Side of a corner crop over the image's shorter side: 224 of 256, as in the ten crops of ImageNet evaluation."""

ENOUGH = 2
"""A JPEG decoded at a reduced scale keeps at least so many pixels for each one that the encoder looks at."""

LONGEST = 100
"""Of an image longer than so many times its width only the middle is returned: scaled to the side of an encoder, one
of 1 × 20,000 pixels would fill gigabytes."""
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What puts an image upright, for each value of EXIF's orientation but 1: names in ``PIL.Image.Transpose``."""


def open_image(source: Path | bytes, name: str = "", side: int | None = None) -> Image.Image:
    """Return an image as upright RGB.

    Args:
        source: a file, or the bytes of one.
        name: what an error calls it; the file's own name where it is empty.
        side: pixels that are looked at along the shorter side: a JPEG whose shorter side is four or more times as long
            is decoded at 1/2, 1/4 or 1/8, to no less than twice ``side``. None decodes it in full.

    Raises:
        ImageError: it cannot be read; says why.
    """
    from PIL import Image

    name = name or (source.name if isinstance(source, Path) else "image")
    try:
        with opened(source) as image:
            if image.format == "EPS":
                raise ImageError("PostScript is a program, and is not run")
            if side is not None:
                image.draft(None, (ENOUGH * side, ENOUGH * side))
            turn = _TURNS.get(_orientation(image))
            upright = _middle(_rgb(image))
            return upright if turn is None else upright.transpose(Image.Transpose[turn])
    except MemoryError:
        raise
    except Exception as error:  # decoders raise all there is on hostile files, and one image must not end a run
        raise ImageError(f"{name}: {_reason(source, error)}") from error


@contextmanager
def opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Yield the image, undecoded; a pipe is not waited for.

    What Pillow warns of is hidden: an image is read or it is counted as failed, and there may be millions.
    """
    from PIL import Image

    if isinstance(source, Path) and source.is_dir():
        raise ImageError("is a folder")
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise ImageError("is no regular file but a pipe, a socket or a device")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image


def _reason(source: Path | bytes, error: Exception) -> str:
    """Return in a line why ``source`` cannot be read."""
    from PIL import UnidentifiedImageError

    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        head = source[:HEAD] if isinstance(source, bytes) else _head(source)
        content = describe_content(head)
        if content.endswith("image"):
            return f"is {content} that is damaged at its beginning"
        return f"is {content or 'of no known format'}, which cannot be read here" if head else "is empty"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as RGB of 8 bits; transparency is left out, 16 bits are scaled, not clipped."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        scaled = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError("values of 32 bits have no white; save it with 8 or 16 bits")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where the EXIF is broken, which spoils no pixel."""
    from PIL import ExifTags

    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _middle(image: Image.Image) -> Image.Image:
    """Return ``image``, or the middle of one that is longer than :data:`LONGEST` times its width."""
    longest = LONGEST * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = (min(length, longest) for length in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def views(image: Image.Image, crops: int) -> list[Image.Image]:
    """Return the views of ``image`` that are encoded: itself (1), centre and corners (5), and their mirrors (10)."""
    from PIL import ImageOps

    if crops == 1:
        return [image]
    width, height = image.size
    side = max(1, round(CROP_SHARE * min(width, height)))
    right, bottom = width - side, height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    cut = [image.crop((x, y, x + side, y + side)) for x, y in corners]
    return cut if crops == 5 else cut + [ImageOps.mirror(view) for view in cut]
