"""The command ``geobench compare``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, RESULTS, main, print_rows

if TYPE_CHECKING:
    from geobench.statistics.compare import Comparison, Line


def _thresholds(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    """Split ``1,25`` into distances above 0."""
    if value is None:
        return None
    try:
        numbers = [float(number) for number in value.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < float("inf") for number in numbers):
        raise click.BadParameter(f"{value!r} is no list of distances in km, such as 25 or 1,25,200.")
    return list(dict.fromkeys(numbers))


@main.command()
@click.argument("a")
@click.argument("b")
@click.option("--dataset", help="Look among the results on this test set.")
@click.option(
    "--threshold", "thresholds", metavar="KM", callback=_thresholds, help="25, or 1,25,100.  [default: the five levels]"
)
@click.option("--fail-if-worse", is_flag=True, help="Exit with 1 where B is significantly worse than A.")
@click.option(
    "--output",
    metavar="FILE.csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the images that B gained and lost, with both errors.",
)
@AS_JSON
@RESULTS
def compare(
    a: str,
    b: str,
    dataset: str | None,
    thresholds: list[float] | None,
    fail_if_worse: bool,
    output: Path | None,
    as_json: bool,
    folder: Path,
) -> None:
    """Show what result B has more than result A on the same images, and whether the difference is real.

    \b
    geobench compare geoclip classifier --dataset im2gps3k
    geobench compare geoclip@mp16-s0-1a2b3c4d geoclip@mp16-s0-5e6f7a8b --threshold 25 --fail-if-worse
    geobench compare 1a2b3c4d 5e6f7a8b --output changed.csv

    A and B are MODEL, MODEL@CHECKPOINT, the first digits of a result's key, or the file of a result. For each accuracy:
    the difference in points with its 95 % interval, the p-value of the exact paired test (McNemar's, with images of one
    photographer or place exchanged together), the same adjusted for the number of accuracies (Holm), and the images
    gained and lost. --fail-if-worse looks at the adjusted p-values of the accuracies; below 0.05 and B lower is worse.
    """
    import json

    from geobench import files
    from geobench.statistics.compare import compare as compare_results
    from geobench.statistics.compare import find_result

    found = compare_results(find_result(a, folder, dataset), find_result(b, folder, dataset), thresholds)
    if as_json:
        click.echo(json.dumps(found.to_record(), indent=2, ensure_ascii=False))
    else:
        _show(found)
    if output is not None:
        import pandas as pd

        columns = ["image", "threshold_km", "change", "latitude", "longitude", "error_km_a", "error_km_b"]
        files.write_text(output, pd.DataFrame(found.changes(), columns=columns).to_csv(index=False))
        click.echo(f"wrote {output}", err=True)
    if fail_if_worse and found.worse:
        where = ", ".join(f"{line.threshold_km:g} km" for line in found.lines if line.worse)
        raise click.ClickException(f"B, {found.b.spec}, is significantly worse than A, {found.a.spec}, at {where}.")


def _show(found: Comparison) -> None:
    for side, result in (("A", found.a), ("B", found.b)):
        gallery = f" × {result.gallery}, seed {result.seed}" if result.gallery else ""
        crops = f", {result.crops} crop{'s' if result.crops > 1 else ''}" if result.crops else ""  # 0: others' answers
        click.echo(f"{side}: {result.spec}{gallery}{crops} (result {result.key[:8]})")
    by = "" if found.clusters.by == "image" else f", {len(found.clusters.sizes):,} clusters by {found.clusters.by}"
    click.echo(f"{found.a.dataset}: {found.a.n:,} images{by}\n")
    print_rows([_row(line) for line in found.lines], as_json=False)


def _row(line: Line) -> Mapping[str, Any]:
    digits, change = (2 if line.threshold_km is not None else 0), line.difference
    name = f"Within {line.threshold_km:g} km, %" if line.threshold_km is not None else line.score.replace("_", " ")
    return {
        "": name,
        "A": f"{line.a:,.{digits}f}",
        "B": f"{line.b:,.{digits}f}",
        "B − A": f"{change.value:+,.{digits}f}",
        "95 % interval": f"[{change.low:+,.{digits}f}, {change.high:+,.{digits}f}]",
        "p": _chance(change.p),
        "p (Holm)": _chance(line.adjusted) if line.threshold_km is not None else "",
        "gained": "" if line.gained is None else f"{line.gained:,}",
        "lost": "" if line.lost is None else f"{line.lost:,}",
    }


def _chance(p: float) -> str:
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"
