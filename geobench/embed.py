"""Location embeddings of the coordinates in a CSV file, as input to other tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geobench import files, search
from geobench.errors import GeobenchError, as_plugin_error
from geobench.gallery_files import read_places
from geobench.models import Model
from geobench.plugins import get_models, who
from geobench.progress import SILENT, Progress


def check_embedding(model: type[Model], output: Path) -> None:
    """Raise ``GeobenchError`` if ``model`` has no location embeddings or ``output`` cannot be written."""
    if model.embed is Model.embed:
        able = ", ".join(name for name, other in get_models().items() if other.embed is not Model.embed)
        raise GeobenchError(f"{model.name} has no location embeddings; models that do: {able or 'none'}.")
    if output.suffix != ".npy":
        raise GeobenchError(f"{output}: embeddings are written in numpy's .npy format; give the file name that suffix.")
    files.check_writable(output)


def write_embeddings(
    model: Model, csv_path: Path, output: Path, *, normalise: bool = True, progress: Progress = SILENT
) -> tuple[int, int]:
    """Write the embeddings (n, dim), float32, of the coordinates in ``csv_path`` to ``output``; return their shape.

    Args:
        model: a trained model with location embeddings, such as ``get_model("geoclip")``.
        csv_path: a CSV file with latitude and longitude columns, in degrees.
        output: replaced atomically; row i belongs to row i of ``csv_path``.
        normalise: scale embeddings to unit length, as the paper does.
        progress: reports progress.

    Raises:
        GeobenchError: the model has no location embeddings, or ``output`` is not a writable ``.npy`` path.
        DatasetError: ``csv_path`` cannot be read, or a row has no valid coordinates.
    """
    check_embedding(type(model), output)
    coordinates = read_places(csv_path)
    with as_plugin_error(who(model), f"to embed {csv_path}"):
        width = model.embed(coordinates[:1], normalise=normalise).shape[1]
        with files.replacing(output) as temporary:
            target = files.new_array(temporary, np.float32, (len(coordinates), width))
            search.fill(
                target,
                coordinates,
                lambda block: model.embed(block, normalise=normalise),
                f"embed {csv_path}",
                progress,
            )
    return len(coordinates), width
