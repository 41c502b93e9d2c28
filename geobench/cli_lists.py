"""The groups ``geobench models`` and ``geobench datasets``: bare, they list."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from geobench.cli import AS_JSON, _print, _warn_of_plugins, main


@main.group(invoke_without_command=True)
@AS_JSON
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the models and their checkpoints; `models show MODEL` has the hyper-parameters."""
    if ctx.invoked_subcommand is not None:
        return
    from geobench import get_models
    from geobench.checkpoints import get_checkpoints

    _warn_of_plugins()
    rows: list[dict[str, Any]] = []
    for name, model in get_models().items():
        there = [checkpoint.id for checkpoint in reversed(get_checkpoints(name))] + list(model.importable())
        shown = there if as_json else "\n".join(there) or ("none yet" if model.trainable else "needs none")
        rows.append({"model": name, "what": model.summary, "checkpoints": shown})
    _print(rows, as_json)


@models.command("show")
@click.argument("model")
@AS_JSON
def show_model(model: str, as_json: bool) -> None:
    """Show the hyper-parameters of MODEL; of MODEL@CHECKPOINT all that it was trained with."""
    from dataclasses import asdict

    from geobench.checkpoints import find_checkpoint
    from geobench.plugins import get_model_class

    if "@" in model:
        checkpoint = find_checkpoint(model)
        assert checkpoint is not None
        _print([{"what": name, "value": value} for name, value in asdict(checkpoint).items()], as_json)
        return
    config = get_model_class(model).Config
    rows = [
        {"setting": f.name, "type": getattr(f.type, "__name__", str(f.type)), "default": f.default}
        for f in fields(config)
    ]
    _print(rows, as_json)


@main.group(invoke_without_command=True)
@AS_JSON
@click.pass_context
def datasets(ctx: click.Context, as_json: bool) -> None:
    """List the data sets, show one, add your own photos."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_datasets, as_json=as_json)


@datasets.command("list")
@AS_JSON
def list_datasets(as_json: bool) -> None:
    """List the data sets: images, status, and whether they are on this machine."""
    from geobench import get_datasets

    _warn_of_plugins()
    rows = [
        {
            "dataset": name,
            "title": dataset.title,
            "images": dataset.count if as_json else f"{dataset.count or 0:,}",
            "status": dataset.status,
            "here": dataset.present if as_json else ("yes" if dataset.present else "no"),
            "default gallery": dataset.default_gallery,
        }
        for name, dataset in get_datasets().items()
    ]
    _print(rows, as_json)


@datasets.command("show")
@click.argument("name")
@AS_JSON
def show_dataset(name: str, as_json: bool) -> None:
    """Show all that is known about the data set NAME: where it is looked for, how to get it, what to cite."""
    from geobench import get_dataset

    dataset = get_dataset(name)
    known = {f.name: getattr(dataset, f.name) for f in fields(dataset)} | {
        "folder": str(dataset.folder),
        "here": dataset.present,
    }
    rows = [{"what": key, "value": value} for key, value in known.items() if value not in ("", {}, None)]
    _print(rows, as_json)


@datasets.command("map")
@click.argument("name")
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True, help="Which images.")
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="FILE.png, FILE.pdf or FILE.svg."
)
def map_dataset(name: str, split: str, output: Path) -> None:
    """Draw where the images of the data set NAME are on a map of the world."""
    from geobench import get_dataset
    from geobench.maps import draw_dataset

    draw_dataset(get_dataset(name), split, output)
    click.echo(f"wrote {output}", err=True)


@datasets.command("add")
@click.argument("name")
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Folder of the photos; they stay there.")
@click.option(
    "--metadata", type=click.Path(path_type=Path), help="CSV file: image, latitude, longitude, anything else."
)
@click.option("--exif", is_flag=True, help="Read the positions from the photos' EXIF instead.")
@click.option("--image-column", help="Name of the column, where it is not recognised.")
@click.option("--latitude-column", help="Likewise.")
@click.option("--longitude-column", help="Likewise.")
@click.option("--title", default="", help="For humans.  [default: NAME]")
@click.option("--encoder", default="ViT-L-14/openai", show_default=True, help="Used where a command names none.")
@click.option("--replace", is_flag=True, help="Register anew under a name of your own.")
def add(
    exif: bool, image_column: str, latitude_column: str, longitude_column: str, metadata: Path | None, **options: Any
) -> None:
    """Register your own photos as the data set NAME, to train and to test on.

    \b
    geobench datasets add holiday --images ~/photos --exif
    geobench datasets add mine --images photos/ --metadata photos.csv --latitude-column breite
    """
    from geobench.own import add_dataset

    if exif == (metadata is not None):
        raise click.UsageError("give the positions in one way: --metadata CSV, or --exif.")
    columns = {"image": image_column, "latitude": latitude_column, "longitude": longitude_column}
    added = add_dataset(metadata=metadata, columns=columns, **options)
    click.echo(f"{added.dataset.name}: {added.images:,} images, defined in {added.dataset.folder / 'dataset.toml'}")
    for what, names in (
        ("are listed but not in the folder; they will count as failed", added.missing),
        ("carry no position and are not part of the set", added.without_position),
    ):
        if names:
            more = ", …" if len(names) > 3 else ""
            click.echo(f"{len(names):,} images {what}: {', '.join(names[:3])}{more}", err=True)


@datasets.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget your own data set NAME; the photos stay where they are."""
    from geobench.own import remove_dataset

    click.echo(f"removed {remove_dataset(name)}")
