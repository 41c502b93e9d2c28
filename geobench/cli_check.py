"""The commands that say whether data can be trusted: ``datasets check``, ``datasets audit`` and ``ceiling``."""

from __future__ import annotations

from typing import Any

import click

from geobench.cli import AS_JSON, _finish, _names, _numbers, _print, main
from geobench.progress import ConsoleProgress


@main.command()
@click.option("--datasets", required=True, callback=_names, help="Test sets, separated by commas.")
@click.option("--galleries", callback=_names, help="21k, land:100k, FILE.csv, …  [default: the data set's]")
@click.option(
    "--training", metavar="NAME", help="Data set or MODEL@CHECKPOINT that a gallery such as 21k is drawn from."
)
@click.option("--seeds", default="0", show_default=True, callback=_numbers, help="Of the galleries' draws.")
@click.option("--limit", type=click.IntRange(1), help="Use so many images of each test set.")
@AS_JSON
def ceiling(as_json: bool, **options: Any) -> None:
    """Audit galleries: the best accuracy that any model could reach with each, and whether it holds the answers.

    \b
    geobench ceiling --datasets im2gps3k --galleries land:21k,land:100k,land:500k
    geobench ceiling --datasets im2gps3k,gws15k --galleries 21k,100k --training mp16

    A model that answers with a point of the gallery can't do better than its nearest one. A gallery that holds at least
    a tenth of the test coordinates exactly (to 11 cm) is an oracle, and is called that in every table.
    """
    from geobench.ceiling import ceilings

    audit = ceilings(progress=ConsoleProgress(), **options)
    if as_json:
        _print([found.row() for found in audit.ceilings], as_json)
    elif audit.ceilings:
        _print([_shown(found) for found in audit.ceilings], as_json)
        click.echo(
            "\nAccuracy in %, within the distance, of a model that always picks the nearest point of the gallery."
        )
    _finish(audit.failures, lambda: "")


def _shown(found: Any) -> dict[str, str]:
    from geobench.report import HEADS

    share = f"{found.in_gallery:,} ({100 * found.in_gallery / found.n:.1f} %)"
    return {
        "Data set": found.dataset,
        "Gallery": found.gallery + (" ORACLE" if found.oracle else ""),
        "Seed": str(found.seed),
        "Points": f"{found.size:,}",
        "Distinct": f"{found.distinct:,}",
        "n": f"{found.n:,}",
        "Of them in it": share,
        **{head: f"{found.scores[score]:.1f}" for score, head in HEADS.items()},
        "Median km": f"{found.scores['median_km']:,.1f}",
    }
