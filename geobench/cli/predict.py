"""The command ``geobench predict``."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import click

from geobench.cli.group import AS_JSON, DEVICE, finish, main, print_rows
from geobench.progress import ConsoleProgress

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".tif", ".tiff")
"""Of files below a folder that count as photos even if they are damaged: they are then reported, not left out."""


@main.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Query in words instead of a photo; repeatable.")
@click.option("--model", default="geoclip", show_default=True, help="NAME or NAME@CHECKPOINT.")
@click.option("--gallery", help="As in run.  [default: the training coordinates, at most 100k]")
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="Distinct places for each query.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv", "geojson", "kml"]),
    default="table",
    show_default=True,
    help="csv, json and geojson have every column, unrounded.",
)
@click.option(
    "--map",
    "map_to",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the similarity of all land to each query, or the scores: .png, .pdf or .svg.",
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
    style: str,
    map_to: Path | None,
    beside: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Locate each PHOTO or TEXT: the best places with the model's scores.

    \b
    geobench predict holiday.jpg
    geobench predict holiday/ --format kml > holiday.kml
    geobench predict --text Desert --text "a fishing village" --map places.png

    PHOTO is a file, a folder with all images below it, or a pattern such as '2024-*/*.jpg'. A place is named by the
    country that it is in and the nearest town with more than 1,000 inhabitants (GeoNames).

    Texts need a model whose encoder has a text tower: any CLIP. The map has a panel for each query and model:
    with --beside, checkpoints of one, two and three hierarchies are compared.
    """
    from geobench import get_model
    from geobench.answers import as_geojson, as_kml, with_names
    from geobench.predict import predict as place

    if not photos and not texts:
        raise click.UsageError("give at least one PHOTO or --text.")
    if not all(text.strip() for text in texts):
        raise click.UsageError("a --text is empty.")
    if beside and map_to is None:
        raise click.UsageError("--beside draws another model's map; add --map FILE.")
    files = _expanded(photos)
    ready = get_model(model, device)
    others = [get_model(other, device) for other in beside]
    if ready.checkpoint is not None:
        about = f"{ready.checkpoint.spec}, trained on {ready.checkpoint.dataset}"
        click.echo(f"model: {about}", err=True)
    table = place(ready, files, gallery, top_k, texts=texts, map_to=map_to, beside=others, progress=ConsoleProgress())
    named = with_names(table)
    failed = table[table["error"] != ""]
    found = named[table["error"] == ""].drop(columns="error")
    style = "json" if as_json else style
    if style == "json":
        print_rows(found.to_dict("records"), True)
    elif style == "csv":
        click.echo(found.to_csv(index=False), nl=False)
    elif style in ("geojson", "kml"):
        click.echo(as_geojson(named) if style == "geojson" else as_kml(named))
    else:
        shown = found.astype({"score": float}).round({"latitude": 5, "longitude": 5, "score": 6})
        shown = shown.assign(query=_short(list(shown["query"]), texts)).drop(columns=["country", "town", "town_km"])
        print_rows(shown.to_dict("records"), False)
    if map_to is not None and len(found):
        click.echo(f"wrote {map_to}", err=True)
    finish([f"{row.query}: {row.error}" for row in failed.itertuples()], lambda: "")


def _expanded(photos: Sequence[Path]) -> list[Path]:
    """Return the files that ``photos`` name: themselves, the images below a folder, what a pattern matches."""
    files: list[Path] = []
    for given in photos:
        matches = [given]
        if glob.has_magic(str(given)) and not given.exists():
            found = glob.glob(str(given.expanduser()), recursive=True)  # noqa: PTH207  an absolute one, too
            matches = sorted(map(Path, found))
            if not matches:
                raise click.UsageError(f"the pattern {given} matches no file.")
        for path in matches:
            files += _images_below(path) if path.is_dir() else [path]
    return list(dict.fromkeys(files))


def _images_below(folder: Path) -> list[Path]:
    """Return the images in ``folder`` and below, hidden ones left out; say how many other files there are."""
    from geobench.images.formats import is_photo

    below = (path for path in sorted(folder.rglob("*")) if path.is_file())
    seen = [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    images = [path for path in seen if path.suffix.lower() in SUFFIXES or is_photo(_head(path))]
    if not images:
        raise click.UsageError(f"the folder {folder} has no images.")
    if others := len(seen) - len(images):
        click.echo(f"{folder}: {len(images):,} images; {others:,} other files are left out.", err=True)
    return images


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _short(queries: list[str], texts: Sequence[str]) -> list[str]:
    """Return ``queries`` with the folder left out that all photos among them are in."""
    photos = {query for query in queries if query not in texts}
    if not photos:
        return queries
    common = os.path.commonpath([str(Path(photo).absolute().parent) for photo in photos])
    return [os.path.relpath(Path(q).absolute(), common) if q in photos else q for q in queries]
