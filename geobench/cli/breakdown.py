"""The commands ``geobench breakdown`` and ``geobench calibration``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import AS_JSON, THRESHOLDS, main

RESULTS = click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=click.Path(path_type=Path))
FORMAT = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json have every column, unrounded.",
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
@THRESHOLDS
@FORMAT
@AS_JSON
def breakdown(
    results: tuple[Path, ...],
    by: str,
    smallest: int,
    thresholds_km: list[float] | None,
    style: str,
    as_json: bool,
) -> None:
    """Show where a model fails: the scores of each RESULT by group, with confidence intervals.

    \b
    geobench breakdown results/im2gps3k_geoclip_*.json
    geobench breakdown results/im2gps3k_knn_no-gallery_s0_1a2b3c4d.json --by country --smallest 50
    geobench breakdown results/*.json --by training-distance --format csv > distance.csv

    RESULT is a file results/*.json, or a predictions file. Countries and regions come from time zone polygons and
    GeoNames' places, without a network. Below the groups are all images, and all images weighted by area and by
    population, which shows what a test set from a few well-photographed places hides.
    """
    from geobench.analysis.details import load_detailed
    from geobench.analysis.tables import show_breakdown

    detailed = [load_detailed(path) for path in results]
    click.echo(show_breakdown(detailed, by, smallest, "json" if as_json else style, thresholds_km))


@main.command()
@RESULTS
@click.option(
    "--probabilities/--ranks-only",
    default=None,
    help="Whether the scores are probabilities.  [default: what the model says]",
)
@THRESHOLDS
@FORMAT
@AS_JSON
def calibration(
    results: tuple[Path, ...],
    probabilities: bool | None,
    thresholds_km: list[float] | None,
    style: str,
    as_json: bool,
) -> None:
    """Show whether a model knows when it is right: coverage of its top k, accuracy where it is confident.

    \b
    geobench run --models geoclip --datasets im2gps3k --top-k 100
    geobench calibration results/im2gps3k_geoclip_*.json

    For a model whose scores are probabilities (geoclip), the expected calibration error is shown too. Other scores,
    such as the densities of knn, only order the images; what depends on the order alone is shown for every model.
    """
    from geobench.analysis.details import load_detailed
    from geobench.analysis.tables import show_calibration

    detailed = [load_detailed(path) for path in results]
    click.echo(show_calibration(detailed, probabilities, "json" if as_json else style, thresholds_km))
