"""What the user is told when something is wrong: one line each, saying what, where, what is valid and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class GeobenchError(Exception):
    """Base of every error geobench raises on purpose; the command line prints it as one line."""

    exit_code = 1

    def __str__(self) -> str:
        """Return one line, whatever another library's reason or the name of a file holds."""
        return " ".join(super().__str__().splitlines())


class UnknownNameError(GeobenchError):
    """A model, data set, encoder, gallery or setting that does not exist."""

    exit_code = 2


class SettingError(GeobenchError):
    """A hyper-parameter whose value does not fit its type or its range."""

    exit_code = 2


class DatasetError(GeobenchError):
    """A data set whose table or images cannot be used."""


class DatasetNotFoundError(DatasetError):
    """A registered data set whose files are not on this machine."""


class DownloadError(DatasetError):
    """A file of a data set that could not be fetched or unpacked; what is in place is as it was."""


class ImageError(GeobenchError):
    """One image that cannot be decoded; it is counted as failed, never dropped."""


class EncoderError(GeobenchError):
    """An encoder whose weights are missing or do not fit."""


class FeatureError(GeobenchError):
    """Features on disk that are truncated or do not belong to what was asked for."""


class GalleryError(GeobenchError):
    """A gallery that cannot be made as asked for."""


class CheckpointError(GeobenchError):
    """A checkpoint that is missing, truncated or made for something else."""


class TrainingError(GeobenchError):
    """A training that cannot start or go on."""


class PluginError(GeobenchError):
    """A plugin that raises, returns a wrong shape, or claims a name already taken."""


class ExperimentError(GeobenchError):
    """An experiment whose definition cannot be used."""

    exit_code = 2


class ResultError(GeobenchError):
    """A result file that cannot be read, or results that are not there."""


@contextmanager
def blaming(who: str, doing: str) -> Iterator[None]:
    """Turn whatever the code of a stranger raises into a ``PluginError`` of one line: ``who`` failed ``doing``, why."""
    try:
        yield
    except GeobenchError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else ""
        raise PluginError(f"{who} failed {doing}: {type(error).__name__}: {reason}".rstrip(": ")) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that no memory is left: Python's, or torch's of a GPU, which need not be loaded."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def unknown_name(kind: str, name: str, valid: Iterable[str], hint: str = "") -> UnknownNameError:
    """Return the error for an unknown ``name``: the nearest valid names first, all of them when they are few."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name.lower(), valid, n=3, cutoff=0.5)
    if near:
        message = f"unknown {kind} {name!r}; did you mean {' or '.join(near)}?"
    else:
        message = f"unknown {kind} {name!r}; there are: {', '.join(valid) or 'none'}."
    return UnknownNameError(f"{message} {hint}".rstrip())
