"""Coordinates in, location embeddings out: a CSV file to an array that other tasks learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from geobench import files, search
from geobench.data.tables.rows import read_coordinates
from geobench.errors import GeobenchError, blaming
from geobench.models import Model
from geobench.plugins import get_models, who
from geobench.progress import SILENT, Progress


def check_embedding(model: type[Model], output: Path) -> None:
    """Raise ``GeobenchError`` where ``model`` has no location embeddings, or they cannot be written to ``output``."""
    if model.embed is Model.embed:
        able = ", ".join(name for name, other in get_models().items() if other.embed is not Model.embed)
        raise GeobenchError(f"{model.name} has no location embeddings; these models have: {able or 'none'}.")
    if output.suffix != ".npy":
        raise GeobenchError(f"{output}: the embeddings are written as numpy's .npy; end the name of the output so.")
    files.check_writable(output)


def write_embeddings(
    model: Model, source: Path, output: Path, *, normalise: bool = True, progress: Progress = SILENT
) -> tuple[int, int]:
    """Write the embeddings (n, dim) of the coordinates in ``source`` to ``output``, float32 ``.npy``; return the shape.

    Args:
        model: ready to answer, one with location embeddings: ``get_model("geoclip")``.
        source: a CSV file with latitude and longitude columns, in degrees.
        output: replaced whole; row i belongs to row i of ``source``.
        normalise: to unit length, as the paper uses them.
        progress: told of the work.

    Raises:
        GeobenchError: the model has no location embeddings, or ``output`` is no ``.npy`` that can be written.
        DatasetError: ``source`` cannot be read, or a row holds no coordinates.
    """
    check_embedding(type(model), output)
    coordinates = read_coordinates(source)
    with blaming(who(model), f"to embed {source}"):
        width = model.embed(coordinates[:1], normalise=normalise).shape[1]
        with files.replacing(output) as temporary:
            target = open_memmap(temporary, mode="w+", dtype=np.float32, shape=(len(coordinates), width))
            search.fill(
                target, coordinates, lambda block: model.embed(block, normalise=normalise), f"embed {source}", progress
            )
    return len(coordinates), width
