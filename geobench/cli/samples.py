"""The command ``geobench samples``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import DATASET, RESULTS, THRESHOLDS, main, print_doubts


@main.command()
@click.argument("result")
@DATASET
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to save the page: .png, .pdf or .svg.",
)
@click.option("--per-level", type=click.IntRange(1, 8), default=5, show_default=True, help="Images of each level.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw.")
@THRESHOLDS
@RESULTS
def samples(
    result: str,
    dataset: str | None,
    output: Path,
    per_level: int,
    seed: int,
    thresholds_km: list[float] | None,
    folder: Path,
) -> None:
    """Draw a page of sample queries by error level: photo, true position, best prediction, error.

    \b
    geobench samples geoclip --dataset im2gps3k --output samples.png

    The images of each level are drawn at random, not chosen. RESULT is MODEL, MODEL@CHECKPOINT,
    MODEL@TRAINING SET, the first digits of a result's key, or its file; the photos of its test set must be on this
    machine, as when tested. The page has small copies of photos: mind their licences before you pass it on.
    """
    from geobench.analysis.details import load_detailed
    from geobench.report.samples import sample_page

    detailed = load_detailed(result, folder, dataset)
    sample_page(detailed, output, per_level, seed, thresholds_km)
    click.echo(f"wrote {output}", err=True)
    print_doubts([detailed.result], aside=True)
