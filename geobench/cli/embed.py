"""The command ``geobench embed``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import DEVICE, main
from geobench.progress import ConsoleProgress


@main.command()
@click.argument("coordinates", type=click.Path(path_type=Path))
@click.option("--model", default="geoclip", show_default=True, help="NAME or NAME@CHECKPOINT.")
@click.option(
    "--output",
    required=True,
    metavar="FILE.npy",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Replaced atomically.",
)
@click.option("--normalise/--no-normalise", default=True, show_default=True, help="Scale each row to length 1.")
@DEVICE
def embed(coordinates: Path, model: str, output: Path, normalise: bool, device: str) -> None:
    """Write the location embedding of each row of COORDINATES, a CSV file with latitude and longitude.

    \b
    geobench embed places.csv --model geoclip@official --output places.npy

    The array is float32, with a row for each line of the file, in order, and 512 columns for GeoCLIP. It is meant as
    input to other tasks: the 512 numbers summarise what photos taken at a place look like.
    """
    from geobench import get_model
    from geobench.embed import check_embedding, write_embeddings
    from geobench.plugins import get_model_class

    check_embedding(get_model_class(model.partition("@")[0]), output)
    loaded = get_model(model, device)
    rows, width = write_embeddings(loaded, coordinates, output, normalise=normalise, progress=ConsoleProgress())
    by = loaded.checkpoint.spec if loaded.checkpoint is not None else loaded.name
    click.echo(f"wrote {output}: {rows:,} × {width}, by {by}", err=True)
