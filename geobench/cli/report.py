"""The command ``geobench report``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.group import RESULTS, THRESHOLDS, finish, main, names, specs, terminal_width
from geobench.progress import ConsoleProgress


@main.command()
@click.option(
    "--format",
    default="table",
    show_default=True,
    help="table, markdown, latex, latex-fragment, html, csv or json.",
)
@click.option("--datasets", callback=names, help="Only these test sets.")
@click.option(
    "--models", callback=specs, help="Only these: MODEL, MODEL@CHECKPOINT, MODEL@TRAINING SET, digits of a key, files."
)
@click.option("--sort", metavar="SCORE", help="Best first by this score, such as acc_25km, or by model.")
@click.option("--columns", callback=names, metavar="NAME,…", help="Only these scores and conditions: acc_25km,n, …")
@click.option(
    "--published", default="methods", show_default=True, help="Published rows to show: all, methods, paper or none."
)
@THRESHOLDS
@click.option("--seeds-apart", is_flag=True, help="A row for every seed instead of mean ± standard deviation.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option(
    "--figures", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Draw the figures of a paper."
)
@click.option(
    "--thumbnails",
    type=click.IntRange(0),
    help="At most so many small pictures of test images in the HTML page.  [default: 1000]",
)
@RESULTS
def report(
    format: str,
    datasets: list[str] | None,
    models: list[str] | None,
    sort: str | None,
    columns: list[str] | None,
    published: str,
    thresholds_km: list[float] | None,
    seeds_apart: bool,
    output: Path | None,
    figures: Path | None,
    thumbnails: int | None,
    folder: Path,
) -> None:
    """Show the results as tables: 95 % confidence intervals, ties for the first place, published rows next to yours.

    \b
    geobench report
    geobench report --models geoclip,knn@mp16 --sort acc_25km --columns acc_25km,median_km
    geobench report --format latex --output table.tex      # compiles as it is
    geobench report --format latex-fragment --published none
    geobench report --thresholds 1,25,100,1000             # accuracy at other distances
    geobench report --format csv --output results.csv      # every column, unrounded
    geobench report --format html --output report.html     # one file: map, curves, a card per image
    geobench report --figures figures                      # error maps, curves and bars as SVG, PDF and PNG

    A table is as wide as the terminal: where that is narrow, what a result was measured with goes below the model's
    name, and intervals are left out, which is said. Models that ignore the photo, such as random, stand last. Written
    to a file or a pipe the table is whole.

    A result that is damaged, or whose predictions no longer give its scores, is named and left out; the exit code is
    then 1.
    """
    from geobench import files
    from geobench.report.formats import report as make_report

    damaged: list[str] = []
    if format == "html" and output is None:
        raise click.UsageError("an HTML report is a file of several megabytes: add --output report.html.")
    text = make_report(
        *(format, folder, datasets, published, not seeds_apart),
        say=damaged.append,
        thumbnails=thumbnails,
        progress=ConsoleProgress(),
        thresholds_km=thresholds_km,
        models=models,
        sort=sort,
        columns=columns,
        width=terminal_width() if output is None else None,
    )
    if output is None:
        click.echo(text)
    else:
        files.write_text(output, text + "\n")
        click.echo(f"wrote {output}", err=True)
    if figures is not None:
        from geobench.report.figures import draw_folder

        drawn = draw_folder(folder, figures, datasets, ConsoleProgress(), thresholds_km)
        click.echo(f"wrote {len(drawn)} files to {figures}", err=True)
    finish(damaged, lambda: "")
