"""Errors for the user: one line each that says what is wrong, where, what is valid and what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class GeobenchError(Exception):
    """Base class of every error that geobench raises deliberately; the command line prints it as one line."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message as one line, even if it quotes a multi-line reason or file name."""
        return " ".join(super().__str__().splitlines())


class UnknownNameError(GeobenchError):
    """A model, data set, encoder, gallery or setting that does not exist."""

    exit_code = 2


class SettingError(GeobenchError):
    """A hyper-parameter or argument whose value has the wrong type or is out of range."""

    exit_code = 2


class DatasetError(GeobenchError):
    """A data set whose table or images cannot be used."""


class DatasetNotFoundError(DatasetError):
    """A registered data set whose files are not on this machine."""


class DownloadError(DatasetError):
    """A file of a data set that could not be downloaded or unpacked; files already in place are unchanged."""


class ImageError(GeobenchError):
    """An image that cannot be decoded; it counts as failed and is never dropped."""


class StorageError(GeobenchError):
    """A file that the system cannot read just now; it says nothing about its content, and the work stops there."""


class EncoderError(GeobenchError):
    """An encoder whose weights are missing or do not match."""


class FeatureError(GeobenchError):
    """Features on disk that are damaged, or that do not match the request."""


class GalleryError(GeobenchError):
    """A gallery that cannot be built as requested."""


class CheckpointError(GeobenchError):
    """A checkpoint that is missing, damaged or incompatible."""


class TrainingError(GeobenchError):
    """A training run that cannot start or continue."""


class PluginError(GeobenchError):
    """A plugin that raises an exception, returns a wrong shape, or claims a name that is already taken."""


class ServiceError(GeobenchError):
    """A service that cannot be asked: a wrong key, no such model or address, or it is away. Its answers are kept."""


class ExperimentError(GeobenchError):
    """An experiment whose definition cannot be used."""

    exit_code = 2


class MergeError(GeobenchError):
    """Shards that do not make up a whole, or not the one that is here."""


class ResultError(GeobenchError):
    """A result file that cannot be read, or results that are missing."""


@contextmanager
def as_plugin_error(who: str, doing: str) -> Iterator[None]:
    """Turn an exception raised by third-party plugin code into a one-line ``PluginError``: ``who`` failed ``doing``.

    A ``GeobenchError``, and an exception that says that memory or the disk is full, are passed on unchanged.
    """
    try:
        yield
    except GeobenchError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_of_the_disk(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else ""
        raise PluginError(f"{who} failed {doing}: {type(error).__name__}: {reason}".rstrip(": ")) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` is Python's out-of-memory error or torch's, without importing torch."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def is_of_the_disk(error: BaseException) -> bool:
    """Return whether ``error`` says that the disk is full, or that a file may be no larger."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unknown_name(kind: str, name: str, valid: Iterable[str], hint: str = "") -> UnknownNameError:
    """Return the error for an unknown ``name``; it suggests the nearest valid names, or lists all if none is near."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name.lower(), valid, n=3, cutoff=0.5)
    if near:
        message = f"unknown {kind} {name!r}; did you mean {' or '.join(near)}?"
    else:
        message = f"unknown {kind} {name!r}; available: {', '.join(valid) or 'none'}."
    return UnknownNameError(f"{message} {hint}".rstrip())
