"""The command ``geobench answers``."""

from __future__ import annotations

from pathlib import Path

import click

from geobench.cli.breakdown import FORMAT, NAMED
from geobench.cli.group import AS_JSON, DATASET, RESULTS, main, print_doubts


@main.command()
@NAMED
@DATASET
@click.option(
    "--picture", metavar="FILE.png", type=click.Path(path_type=Path, dir_okay=False), help="Draw accuracy against cost."
)
@FORMAT
@AS_JSON
@RESULTS
def answers(
    results: tuple[str, ...], dataset: str | None, picture: Path | None, style: str, as_json: bool, folder: Path
) -> None:
    """Show what answers in words are worth and cost: answered, refused, unparseable, how fine, tokens, time, price.

    \b
    geobench answers chat --dataset im2gps3k
    geobench answers results/*chat*.json --picture costs.png --format markdown

    RESULT is named as for `breakdown`. Prices are stated for the run, per million tokens, and can be stated later: the
    same command asks nothing again (--set price_in=2.5 --set price_out=10 --force).
    """
    from geobench.analysis.answers import HIT_KM, cost_points, show_answers
    from geobench.analysis.details import all_detailed

    detailed = all_detailed(results, folder, dataset)
    click.echo(show_answers(detailed, "json" if as_json else style))
    if picture is not None:
        from geobench.pictures.costs import draw

        draw(cost_points(detailed), HIT_KM).savefig(picture)
        click.echo(f"wrote {picture}", err=True)
    print_doubts([each.result for each in detailed], aside=as_json or style in ("csv", "json"))
