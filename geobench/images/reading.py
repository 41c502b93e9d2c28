"""Reading image files: what the system says of a disk is kept apart from what the bytes say of an image.

An image that cannot be decoded has failed, for ever. A disk that does not answer, a permission that is missing or too
many open files say nothing about the image: it is read again after a pause, and then the work stops.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from geobench.errors import ImageError, StorageError

T = TypeVar("T")
MAX_BYTES = 1 << 30
"""Maximum size of an image file: anything that claims more is damaged or malicious."""
PAUSES_S = (0.1, 0.5, 2.0)
"""Before a file is read again. Network disks wait for themselves, for longer, before they report an error."""
PERMANENT = frozenset({errno.EACCES, errno.EPERM})  # waiting does not help
OF_THE_FILE = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
        *(errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ),  # no file can have such a name
    }
)
"""Errors of the system that tell something about the file itself: it does not exist, or is not a file."""


def is_passing(error: BaseException) -> bool:
    """Return whether the system and not the file is at fault, such as for EIO, ESTALE, ETIMEDOUT, EMFILE and EACCES.

    The errors of decoders are an ``OSError`` without a number.
    """
    return isinstance(error, OSError) and error.errno is not None and error.errno not in OF_THE_FILE


def retried(read: Callable[[], T], what: str) -> T:
    """Return ``read()``; after an error of the system it is called again, a few times.

    Raises:
        StorageError: the error persists; names ``what``.
        OSError: it tells something about the file itself.
    """
    for pause in (*PAUSES_S, None):
        try:
            return read()
        except OSError as error:
            if not is_passing(error):
                raise
            if pause is None or error.errno in PERMANENT:
                raise not_read(what, error) from error
        time.sleep(pause)
    raise AssertionError


def not_read(what: str, error: OSError) -> StorageError:
    """Return the error for ``what``, which the system could not read."""
    return StorageError(
        f"{what} cannot be read: {error.strerror or error}. This says nothing about the image, which does not count as "
        "failed; once the cause is mended, the same command resumes."
    )


def file_bytes(file: Path | bytes, name: str = "") -> bytes:
    """Return the encoded bytes of an image, read at once; never block on a pipe.

    Args:
        file: an image file, or its bytes.
        name: of the image, for error messages; that of the file if empty.

    Raises:
        ImageError: it does not exist, is not a regular file, or is larger than :data:`MAX_BYTES`.
        StorageError: the system cannot read it just now.
    """
    if isinstance(file, bytes):
        return file
    try:
        return retried(lambda: _read(file), str(file))
    except FileNotFoundError:
        reason = "there is no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    except (ImageError, ValueError) as error:  # ValueError: NUL in a name
        reason = str(error)
    raise ImageError(f"{name or file.name}: {reason}")


def _read(path: Path) -> bytes:
    check_regular(status := os.stat(path))  # noqa: PTH116  an image per call, millions of them
    if status.st_size > MAX_BYTES:
        raise ImageError(f"{status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
    return path.read_bytes()


def check_regular(status: os.stat_result) -> None:
    """Raise ``ImageError`` if ``status`` is not that of a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("is not a regular file but a pipe, a socket or a device")
