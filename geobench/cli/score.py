"""The commands ``geobench score`` and ``geobench replay``: predictions that exist already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from geobench.cli.group import AS_JSON, DATASET, RESULTS, main, print_doubts, print_rows, terminal_width
from geobench.progress import ConsoleProgress


def _pairs(ctx: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, str]:
    """Read ``image=a,latitude=b``."""
    from geobench.published.file_columns import ROLES, TRUTH_ROLES

    roles = (*ROLES, *TRUTH_ROLES)
    pairs = [pair.partition("=") for pair in (value or "").split(",") if pair.strip()]
    for role, equals, name in pairs:
        if role.strip() not in roles or not name.strip():
            wrong = role + equals + name
            raise click.BadParameter(f"{wrong!r} is not ROLE=NAME, such as latitude=y; roles: {', '.join(roles)}.")
    return {role.strip(): name.strip() for role, _, name in pairs}


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", help="Test set; its table is needed, its images are not.")
@click.option("--name", help="Name of the model in the tables.  [default: the file's name]")
@click.option(
    "--columns",
    callback=_pairs,
    metavar="ROLE=NAME,…",
    help="The file's names for image, latitude, longitude (or position for both in one), rank, score, status, model, "
    "response (answers in words), truth_latitude, truth_longitude, if they are not recognised.",
)
@click.option(
    "--parser",
    default="",
    metavar="NAME",
    help="Read answers in words: json, country-city (lines country: and city:), lat-lon, or free (any text).",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of true positions: a test set of its own, called --dataset, or like the file.",
)
@click.option(
    "--subset", type=click.Choice(["clean"]), help="Also score this part of the test set: what an audit left."
)
@click.option("--as-given", is_flag=True, help="Score positions that look swapped, like radians, or like the truth.")
@AS_JSON
@RESULTS
def score(
    file: Path, dataset: str | None, name: str | None, as_json: bool, folder: Path, subset: str | None, **options: Any
) -> None:
    """Score predictions that others made: FILE has an id, a latitude and a longitude for each image.

    \b
    geobench score theirs.csv --dataset im2gps3k --name PIGEOTTO
    geobench score answers.jsonl --dataset yfcc4k --columns latitude=location.coordinates.latitude
    geobench score wide.xlsx --truth truth.csv
    geobench score batch_output.jsonl --dataset im2gps3k --parser json

    FILE is CSV, JSON, JSON Lines or a spreadsheet (.xlsx). Columns of several models, such as pred_lat_gpt and
    pred_lat_claude, give a result each. Without --dataset the true positions in FILE, or in --truth, become a test set.

    The results are saved with those of geobench run and appear in the same tables; their own rows are printed, and the
    places that they take. An image without a prediction is a miss; words in place of a position are counted
    by what they say. If FILE lacks images of the set, the result is partial: it is not ranked. Several predictions for
    one image need a column rank (1 is best) or score (higher is better); the tables count the best. Ids that do not
    match exactly are matched without suffix or folder.
    """
    from geobench.published.scoring import Options, score_models
    from geobench.report.formats import report

    progress = ConsoleProgress()
    results = score_models(file, dataset, name, Options(subset=subset or "", **options), progress=progress)
    for result in results:
        click.echo(f"saved {result.save(folder)}", err=True)
    if as_json:
        records = [result.record() for result in results]
        click.echo(json.dumps(records[0] if len(records) == 1 else records, indent=2, ensure_ascii=False))
        return
    own = {result.key for result in results}
    sets = dict.fromkeys(result.dataset for result in results)
    for each in sets:
        click.echo(report("table", folder, [each], "paper", shown=own, own=own, width=terminal_width()))
    click.echo(f"\nThe whole table: geobench report --datasets {','.join(sets)}", err=True)


@main.command()
@click.argument("result")
@DATASET
@AS_JSON
@RESULTS
def replay(result: str, dataset: str | None, as_json: bool, folder: Path) -> None:
    """Score the same predictions by the rules of others, and show how many points are due to convention alone.

    \b
    geobench replay geoclip --dataset im2gps3k
    geobench replay results/im2gps3k_geoclip_training-100000_s0_1a2b3c4d.predictions.csv

    A rule is a model of the Earth, whether an error of exactly the threshold counts, and how an image without a
    prediction is scored. RESULT is MODEL, MODEL@CHECKPOINT, MODEL@TRAINING SET, the first digits of a result's key, or
    its file; a predictions file may be without its record.
    """
    from geobench.published.replay import named_predictions, replay_file, rows, spread, summary, table
    from geobench.results import load_result, record_of

    predictions = named_predictions(result, folder, dataset)
    replayed, metrics = replay_file(predictions)
    record = record_of(predictions)
    if record.suffix == ".json" and record.is_file():
        print_doubts([load_result(record, predictions=True)], True)
    if as_json:
        click.echo(json.dumps({"rules": rows(replayed), "spread": spread(replayed)}, indent=2, ensure_ascii=False))
        return
    print_rows(table(replayed, metrics), False)
    click.echo("\n" + summary(replayed, metrics))
