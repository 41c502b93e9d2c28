"""The groups ``geobench models`` and ``geobench datasets``: bare, they list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

import click

from geobench.cli.added import echo_added, echo_sides
from geobench.cli.group import AS_JSON, main, names, print_rows, warn_of_plugins
from geobench.cli.trainings import as_row, facts
from geobench.progress import ConsoleProgress

WIDTHS = {"valid": 24, "meaning": 38, "source": 22}
"""Columns of `models show`, wrapped to so many characters."""


@main.group(invoke_without_command=True)
@AS_JSON
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the models and their trainings; `models show MODEL` has the hyper-parameters.

    NAME alone stands for the newest training without a remark; the others are named by what is in the first column.
    """
    if ctx.invoked_subcommand is not None:
        return
    from geobench import get_models
    from geobench.checkpoints import readable_checkpoints
    from geobench.naming import newest

    warn_of_plugins()
    rows: list[dict[str, Any]] = []
    trainings: list[dict[str, Any]] = []
    for name, model in get_models().items():
        found, refused = readable_checkpoints(name)
        for error in refused:
            click.echo(f"Warning: {error}", err=True)
        chosen = newest(found)
        of_model = [facts(one, chosen) for one in reversed(found)]
        ids = [checkpoint.id for checkpoint in reversed(found)] + list(model.importable())
        if as_json:
            rows.append({"model": name, "what": model.summary, "checkpoints": ids, "trainings": of_model})
            continue
        trainings += of_model
        alone = chosen.spec if chosen is not None else "trained first" if model.trainable else "needs no training"
        released = ", ".join(f"{name}@{one}" for one in model.importable())
        rows.append({"model": name, "what": model.summary, "NAME alone": alone, "released": released})
    print_rows(rows, as_json)
    if trainings:
        click.echo()
        print_rows([as_row(training) for training in trainings], as_json)


@models.command("show")
@click.argument("model")
@AS_JSON
def show_model(model: str, as_json: bool) -> None:
    """Show the hyper-parameters of MODEL; of MODEL@CHECKPOINT all that it was trained with."""
    from geobench.checkpoints import find_checkpoint
    from geobench.plugins import get_model_class
    from geobench.settings import described

    if "@" in model:
        checkpoint = find_checkpoint(model)
        assert checkpoint is not None
        record = asdict(checkpoint)
        if not as_json:  # a line for each setting
            record |= {f"config.{name}": value for name, value in record.pop("config").items()}
        print_rows([{"what": name, "value": value} for name, value in record.items()], as_json)
        return
    model_class = get_model_class(model)
    rows = described(model_class.Config)
    print_rows(rows if as_json else [_wrapped(row) for row in rows], as_json)
    if not as_json:
        named = {f"--variant {name}": values for name, values in model_class.variants.items()}
        named |= {f"--fraction {part}": values for part, values in model_class.fraction_settings.items()}
        for option, values in named.items():
            click.echo(f"{option}: " + ", ".join(f"{name}={value}" for name, value in values.items()))


def _wrapped(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of `models show` whose long columns have several lines."""
    default = list(row["default"]) if isinstance(row["default"], tuple) else row["default"]
    columns = {**row, "default": default}
    return {name: "\n".join(wrap(str(value), WIDTHS.get(name, 80))) for name, value in columns.items()}


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
    """List the data sets: images, status, whether they are on this machine, and what they can be used for here.

    \b
    train, run   photos and positions are here
    score        the table of positions is here, which score, ceiling, audit, breakdown and report need
    """
    from geobench import get_datasets

    warn_of_plugins()
    rows = [
        {
            "dataset": name,
            "title": dataset.title,
            "images": dataset.count if as_json else f"{dataset.count or 0:,}",
            "status": dataset.status,
            "here": dataset.present if as_json else ("yes" if dataset.present else "no"),
            "use": dataset.uses if as_json else dataset.uses or "–",
            "default gallery": dataset.default_gallery,
        }
        for name, dataset in get_datasets().items()
    ]
    print_rows(rows, as_json)


@datasets.command("show")
@click.argument("name")
@AS_JSON
def show_dataset(name: str, as_json: bool) -> None:
    """Show all that is known about the data set NAME: where it is looked for, how to get it, what to cite."""
    from geobench import get_dataset

    dataset = get_dataset(name)
    known = asdict(dataset) | {"folder": str(dataset.folder), "here": dataset.present}
    known["sources"] = [{key: value for key, value in file.items() if value} for file in known["sources"]]
    if not as_json:
        usual = {"images": "images"} if dataset.stored else {}
        splits = {split: usual | keys for split, keys in known.pop("splits").items()}
        known |= {
            f"split {split}": _plain(keys | {"images": keys["images"] or "none"} if usual else keys)
            for split, keys in splits.items()
        }
        known |= {what: _plain(known[what]) for what in ("columns", "tables", "settings")}
        known["sources"] = "\n".join(
            f"{file['file']}: {address}"
            for file in known["sources"]
            for address in (*file.get("urls", ()), file.get("page"))
            if address
        )
    rows = [{"what": key, "value": value} for key, value in known.items() if value not in ("", {}, [], (), None)]
    print_rows(rows, as_json)


def _plain(values: Mapping[str, Any]) -> str:
    """Return a table of a definition as a person writes it down, such as ``images photos, metadata positions.csv``."""
    inner = {key: f"({_plain(value)})" if isinstance(value, Mapping) else value for key, value in values.items()}
    return ", ".join(f"{key} {value}" for key, value in inner.items())


@datasets.command("map")
@click.argument("name")
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True, help="Which images.")
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="FILE.png, FILE.pdf or FILE.svg."
)
def map_dataset(name: str, split: str, output: Path) -> None:
    """Draw where the images of the data set NAME are on a map of the world."""
    from geobench import get_dataset
    from geobench.pictures.maps import draw_dataset

    draw_dataset(get_dataset(name), split, output)
    click.echo(f"wrote {output}", err=True)


@datasets.command("add")
@click.argument("name")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="What the photos are in; they stay there: a folder, an archive, a folder of shards, or '*.tar' in quotes. "
    "Without it the set is a table of positions to score predictions on.",
)
@click.option(
    "--metadata", type=click.Path(path_type=Path), help="CSV file: image, latitude, longitude, anything else."
)
@click.option(
    "--exif",
    is_flag=True,
    help="Read the positions from the photos instead: EXIF, XMP, .xmp files and Takeout's JSON beside them.",
)
@click.option(
    "--train",
    type=click.Path(path_type=Path),
    help="CSV file of the photos to train on, in place of --metadata; with --test.",
)
@click.option("--test", type=click.Path(path_type=Path), help="CSV file of the photos to test on; with --train.")
@click.option(
    "--skip-bad", is_flag=True, help="Leave out rows that cannot be used and images listed twice; each is counted."
)
@click.option("--image-column", help="Name of the column, where it is not recognised; its number with --no-header.")
@click.option("--latitude-column", help="Likewise.")
@click.option("--longitude-column", help="Likewise.")
@click.option("--photo-column", help="Of parquet files in which several columns hold photos.")
@click.option("--no-header", is_flag=True, help="The first line of the CSV file is a row; columns count from 1.")
@click.option("--layout", default="", help="Of the images, where it is not recognised, such as zip or parquet.")
@click.option("--title", default="", help="For humans.  [default: NAME]")
@click.option("--encoder", default="ViT-L-14/openai", show_default=True, help="Used where a command names none.")
@click.option("--replace", is_flag=True, help="Register anew under a name of your own.")
def add(
    image_column: str, latitude_column: str, longitude_column: str, photo_column: str, no_header: bool, **options: Any
) -> None:
    """Register your own photos as the data set NAME, to train and to test on.

    \b
    geobench datasets add holiday --images ~/photos --exif
    geobench datasets add mine --images photos.zip --metadata photos.csv --latitude-column breite
    geobench datasets add street --images 'shards/*.tar'   # a webdataset that holds the positions itself
    geobench datasets add mine --images photos/ --train train.csv --test test.csv
    geobench datasets add places --metadata places.csv     # no photos: to score predictions of others on
    geobench datasets add vo --images yfcc4k.zip --metadata list.txt --no-header --image-column 2 \\
        --longitude-column 13 --latitude-column 14

    Photos are read where they are, also in zip and tar archives, webdataset, msgpack and parquet shards, and the parts
    of a split tar; nothing is unpacked. Names match with `/` written as `_`, and without their suffix.

    A row that cannot be used is an error. With --skip-bad it is left out, counted and listed in notes.csv, and the set
    has a copy of the table as it is now.
    """
    from geobench.data.registration import add_dataset

    if options["train"] or options["test"]:
        if not (options["train"] and options["test"] and options["images"]):
            raise click.UsageError("give two tables of the same photos: --images DIR --train CSV --test CSV.")
        if options["metadata"] or options["exif"]:
            raise click.UsageError("give the positions in one way: --train and --test, --metadata, or --exif.")
    elif options["images"] is None and (options["exif"] or not options["metadata"]):
        raise click.UsageError("say what the photos are in: --images; a test set without photos needs --metadata CSV.")
    if options["exif"] and options["metadata"]:
        raise click.UsageError("give the positions in one way: --metadata CSV, or --exif.")
    named = {"image": image_column, "latitude": latitude_column, "longitude": longitude_column}
    columns = {role: _column(name, no_header) for role, name in named.items() if name}
    columns |= {"photo": photo_column} if photo_column else {}
    added = add_dataset(columns=columns, header=not no_header, progress=ConsoleProgress(), **options)
    echo_added(added)


def _column(name: str, number: bool) -> str | int:
    if number and not name.isdigit():
        raise click.UsageError(f"without a header a column is a number that counts from 1, not {name!r}.")
    return int(name) if number else name


@datasets.command("split")
@click.argument("name")
@click.option("--test", type=float, default=0.2, show_default=True, help="Share of the images to test on.")
@click.option(
    "--by",
    callback=names,
    default="distance",
    show_default=True,
    help="What is kept on one side, separated by commas: a column of the table, distance, cluster.",
)
@click.option("--km", type=float, help="Of --by distance or cluster.  [default: 1 or 25]")
@click.option("--name", "new_name", default="", help="Of the new data set.  [default: NAME-split]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw.")
@click.option("--replace", is_flag=True, help="Replace a set of your own of that name.")
def split(name: str, by: list[str], **options: Any) -> None:
    """Divide your photos NAME into images to train on and images to test on: the data set NAME-split.

    \b
    geobench datasets split mine                           # a place is never on both sides
    geobench datasets split mine --by photographer         # nor is a value of this column of the table
    geobench datasets split mine --by cluster,photographer --test 0.3 --seed 1

    \b
    distance  images within --km of one another, or linked by others that are, are on one side
    cluster   images within --km of the middle of a cluster are on one side; for photos that lie densely
    COLUMN    images with the same value are on one side, such as a photographer or a city

    Files of the same bytes are on one side too. `train --data NAME-split` trains on one side, and `run --datasets
    NAME-split` tests on the other. Nothing is copied but the two tables. The same seed gives the same sides.
    """
    from geobench.data.splitting import split_dataset

    echo_sides(split_dataset(name, by=by, progress=ConsoleProgress(), **options))


@datasets.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget your own data set NAME; the photos stay where they are."""
    from geobench.data.registration import remove_dataset

    click.echo(f"removed {remove_dataset(name)}")
