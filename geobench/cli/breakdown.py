"""The commands ``geobench breakdown`` and ``geobench calibration``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import AS_JSON, DATASET, RESULTS, THRESHOLDS, main, print_doubts

NAMED = click.argument("results", nargs=-1, required=True, metavar="RESULT...")
FORMAT = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json have every column, unrounded.",
)


@main.command()
@NAMED
@DATASET
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
@RESULTS
def breakdown(
    results: tuple[str, ...],
    dataset: str | None,
    by: str,
    smallest: int,
    thresholds_km: list[float] | None,
    style: str,
    as_json: bool,
    folder: Path,
) -> None:
    """Show where a model fails: the scores of each RESULT by group, with confidence intervals.

    \b
    geobench breakdown geoclip --dataset im2gps3k
    geobench breakdown knn@mp16-s0-1a2b3c4d --by country --smallest 50
    geobench breakdown results/*.json --by training-distance --format csv > distance.csv

    RESULT is MODEL, MODEL@CHECKPOINT, MODEL@TRAINING SET, the first digits of a result's key, or its file; of a name
    that means several results, all are shown. Countries and regions come from time zone polygons and
    GeoNames' places, without a network. Below the groups are all images, and all images weighted by area and by
    population, which shows what a test set from a few well-photographed places hides.
    """
    from geobench.analysis.details import all_detailed
    from geobench.analysis.tables import show_breakdown

    detailed = all_detailed(results, folder, dataset)
    click.echo(show_breakdown(detailed, by, smallest, "json" if as_json else style, thresholds_km))
    print_doubts([each.result for each in detailed], aside=as_json or style in ("csv", "json"))


@main.command()
@NAMED
@DATASET
@click.option(
    "--probabilities/--ranks-only",
    default=None,
    help="Whether the scores are probabilities.  [default: what the model says]",
)
@THRESHOLDS
@FORMAT
@AS_JSON
@RESULTS
def calibration(
    results: tuple[str, ...],
    dataset: str | None,
    probabilities: bool | None,
    thresholds_km: list[float] | None,
    style: str,
    as_json: bool,
    folder: Path,
) -> None:
    """Show whether a model knows when it is right: coverage of its top k, accuracy where it is confident.

    \b
    geobench run --models geoclip --datasets im2gps3k --top-k 100
    geobench calibration geoclip --dataset im2gps3k

    RESULT is MODEL, MODEL@CHECKPOINT, MODEL@TRAINING SET, the first digits of a result's key, or its file; of a name
    that means several results, all are shown. Of runs that differ in --top-k alone that with the most is taken.

    For a model whose scores are probabilities (geoclip), the expected calibration error is shown too. Other scores,
    such as the densities of knn, only order the images; what depends on the order alone is shown for every model.
    """
    from geobench.analysis.details import all_detailed
    from geobench.analysis.tables import show_calibration

    detailed = all_detailed(results, folder, dataset)
    click.echo(show_calibration(detailed, probabilities, "json" if as_json else style, thresholds_km))
    print_doubts([each.result for each in detailed], aside=as_json or style in ("csv", "json"))
