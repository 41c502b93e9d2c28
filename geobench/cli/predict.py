"""The command ``geobench predict``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import AS_JSON, DEVICE, finish, main, print_rows
from geobench.progress import ConsoleProgress


@main.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Query in words instead of a photo; repeatable.")
@click.option("--model", default="geoclip", show_default=True, help="NAME or NAME@CHECKPOINT.")
@click.option("--gallery", help="As in run.  [default: the training coordinates, at most 100k]")
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="Predictions for each query.")
@click.option(
    "--map",
    "map_to",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the similarity of all land to each query: .png, .pdf or .svg.",
)
@click.option("--beside", multiple=True, metavar="MODEL", help="Draw this model's map too; repeatable.")
@DEVICE
@AS_JSON
def predict(
    photos: tuple[Path, ...],
    texts: tuple[str, ...],
    model: str,
    gallery: str | None,
    top_k: int,
    map_to: Path | None,
    beside: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Locate each PHOTO or TEXT: the best places with the model's scores.

    \b
    geobench predict holiday.jpg
    geobench predict --text Desert --text "a fishing village" --map places.png

    Texts need a model whose encoder has a text tower: any CLIP. The map has a panel for each query and model:
    with --beside, checkpoints of one, two and three hierarchies are compared.
    """
    from geobench import get_model
    from geobench.predict import predict as place

    if not photos and not texts:
        raise click.UsageError("give at least one PHOTO or --text.")
    if not all(text.strip() for text in texts):
        raise click.UsageError("a --text is empty.")
    if beside and map_to is None:
        raise click.UsageError("--beside draws another model's map; add --map FILE.")
    ready = get_model(model, device)
    others = [get_model(other, device) for other in beside]
    if ready.checkpoint is not None:
        about = f"{ready.checkpoint.spec}, trained on {ready.checkpoint.dataset}"
        click.echo(f"model: {about}", err=True)
    table = place(ready, photos, gallery, top_k, texts=texts, map_to=map_to, beside=others, progress=ConsoleProgress())
    failed = table[table["error"] != ""]
    found = table[table["error"] == ""].drop(columns="error")
    shown = found if as_json else found.astype({"score": float}).round({"latitude": 5, "longitude": 5, "score": 6})
    print_rows(shown.to_dict("records"), as_json)
    if map_to is not None and len(found):
        click.echo(f"wrote {map_to}", err=True)
    finish([f"{row.query}: {row.error}" for row in failed.itertuples()], lambda: "")
