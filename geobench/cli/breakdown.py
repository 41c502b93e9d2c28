"""The commands ``geobench breakdown`` and ``geobench calibration``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import AS_JSON, main

RESULTS = click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=click.Path(path_type=Path))
FORMAT = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json hold every column, unrounded.",
)


@main.command()
@RESULTS
@click.option(
    "--by",
    default="continent",
    show_default=True,
    metavar="WHAT",
    help="continent, country, region, scene, training-distance, or a column of the test set.",
)
@click.option("--smallest", type=click.IntRange(1), default=30, show_default=True, help="Smaller groups are joined.")
@FORMAT
@AS_JSON
def breakdown(results: tuple[Path, ...], by: str, smallest: int, style: str, as_json: bool) -> None:
    """Show where a model fails: the scores of each RESULT by group, with intervals.

    \b
    geobench breakdown results/im2gps3k_geoclip_*.json
    geobench breakdown results/im2gps3k_knn_no-gallery_s0_1a2b3c4d.json --by country --smallest 50
    geobench breakdown results/*.json --by training-distance --format csv > distance.csv

    RESULT is a file results/*.json, or a predictions file. Country and region are those of time zone polygons and
    GeoNames' places: no network is used. Below the groups stand all images, and all images weighted by area and by
    inhabitants, which tell what a test set from a few well-photographed places hides.
    """
    from geobench.analysis.details import load_answers
    from geobench.analysis.tables import show_breakdown

    click.echo(show_breakdown([load_answers(path) for path in results], by, smallest, "json" if as_json else style))


@main.command()
@RESULTS
@click.option(
    "--probabilities/--ranks-only",
    default=None,
    help="Whether the scores are probabilities.  [default: what the model says]",
)
@FORMAT
@AS_JSON
def calibration(results: tuple[Path, ...], probabilities: bool | None, style: str, as_json: bool) -> None:
    """Show whether a model knows when it is right: coverage of its top k, accuracy where it is confident.

    \b
    geobench run --models geoclip --datasets im2gps3k --top-k 100
    geobench calibration results/im2gps3k_geoclip_*.json

    Of a model whose scores are probabilities (geoclip) the expected calibration error is shown too. Other scores, such
    as the densities of knn, only order the images; what rests on the order is shown for all.
    """
    from geobench.analysis.details import load_answers
    from geobench.analysis.tables import show_calibration

    shown = show_calibration([load_answers(path) for path in results], probabilities, "json" if as_json else style)
    click.echo(shown)
