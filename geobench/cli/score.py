"""The commands ``geobench score`` and ``geobench replay``: predictions that exist already."""

from __future__ import annotations

import json
from pathlib import Path

import click

from geobench.cli.group import AS_JSON, RESULTS, main, print_doubts, print_rows
from geobench.progress import ConsoleProgress


def _pairs(ctx: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, str]:
    """Read ``image=a,latitude=b``."""
    from geobench.published.predictions_file import ROLES

    pairs = [pair.partition("=") for pair in (value or "").split(",") if pair.strip()]
    for role, equals, name in pairs:
        if role.strip() not in ROLES or not name.strip():
            wrong = role + equals + name
            raise click.BadParameter(f"{wrong!r} is not ROLE=NAME, such as latitude=y; roles: {', '.join(ROLES)}.")
    return {role.strip(): name.strip() for role, _, name in pairs}


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, help="Test set; its table is needed, its images are not.")
@click.option("--name", help="Name of the model in the tables.  [default: the file's name]")
@click.option(
    "--columns",
    callback=_pairs,
    metavar="ROLE=NAME,…",
    help="The file's names for image, latitude, longitude, rank, score, if they are not recognised.",
)
@AS_JSON
@RESULTS
def score(file: Path, dataset: str, name: str | None, columns: dict[str, str], as_json: bool, folder: Path) -> None:
    """Score predictions that others made: FILE is CSV or JSON Lines with an id, a latitude and a longitude.

    \b
    geobench score theirs.csv --dataset im2gps3k --name PIGEOTTO
    geobench score answers.jsonl --dataset yfcc4k --columns image=key,latitude=y_hat,longitude=x_hat

    The result is saved with those of geobench run and appears in the same tables; the one of its test set is printed,
    with the rows of GeoCLIP's paper. An image without a prediction is a miss. Several predictions for one image need a
    column rank (1 is best) or score (higher is better); the tables count the best. Ids that do not match exactly are
    matched without suffix or folder.
    """
    from geobench.published.scoring import score_file
    from geobench.report.formats import report

    result = score_file(file, dataset, name, columns, progress=ConsoleProgress())
    path = result.save(folder)
    click.echo(f"saved {path}", err=True)
    click.echo(
        json.dumps(result.record(), indent=2, ensure_ascii=False)
        if as_json
        else report("table", folder, [dataset], "paper")
    )


@main.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@AS_JSON
def replay(predictions: Path, as_json: bool) -> None:
    """Score the same PREDICTIONS by the rules of others, and show how many points are due to convention alone.

    \b
    geobench replay results/im2gps3k_geoclip_training-100000_s0_1a2b3c4d.predictions.csv

    A rule is a model of the Earth, whether an error of exactly the threshold counts, and how an image without a
    prediction is scored. PREDICTIONS is a predictions file in the results folder, or the .json record next to it.
    """
    from geobench.published.replay import replay_file, rows, spread, summary, table
    from geobench.results import load_result, record_of

    replayed, metrics = replay_file(predictions)
    record = record_of(predictions)
    if record.suffix == ".json" and record.is_file():
        print_doubts([load_result(record, predictions=True)], True)
    if as_json:
        click.echo(json.dumps({"rules": rows(replayed), "spread": spread(replayed)}, indent=2, ensure_ascii=False))
        return
    print_rows(table(replayed, metrics), False)
    click.echo("\n" + summary(replayed, metrics))
