"""The command ``geobench compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, DATASET, RESULTS, THRESHOLDS, main, print_doubts, print_rows
from geobench.rounding import shown

if TYPE_CHECKING:
    from geobench.statistics.compare import Comparison, Line


@main.command()
@click.argument("a")
@click.argument("b")
@DATASET
@THRESHOLDS
@click.option("--fail-if-worse", is_flag=True, help="Exit with 1 if B is significantly worse than A.")
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
    thresholds_km: list[float] | None,
    fail_if_worse: bool,
    output: Path | None,
    as_json: bool,
    folder: Path,
) -> None:
    """Show the difference between results A and B on the same images, and whether it is real.

    \b
    geobench compare geoclip classifier --dataset im2gps3k
    geobench compare geoclip@mp16-s0-1a2b3c4d geoclip@mp16-s0-5e6f7a8b --thresholds 25 --fail-if-worse
    geobench compare 1a2b3c4d 5e6f7a8b --output changed.csv

    A and B are MODEL, MODEL@CHECKPOINT, MODEL@TRAINING SET, the first digits of a result's key, or its file. For each
    accuracy and other share: the difference in percentage points with its 95 % confidence interval, the p-value of the
    exact paired test (McNemar's, with images of one photographer or place swapped together), the same adjusted for the
    number of shares (Holm), and the images gained and lost. With --fail-if-worse, B is worse if it is lower at one of
    them with an adjusted p-value below 0.05.
    """
    import json

    from geobench import files
    from geobench.named import find_result
    from geobench.statistics.compare import compare as compare_results

    found = compare_results(find_result(a, folder, dataset), find_result(b, folder, dataset), thresholds_km)
    if as_json:
        click.echo(json.dumps(found.to_record(), indent=2, ensure_ascii=False))
    else:
        _show(found)
    print_doubts([found.a, found.b], aside=as_json)
    if output is not None:
        import pandas as pd

        columns = ["image", "score", "threshold_km", "change", "latitude", "longitude", "error_km_a", "error_km_b"]
        files.write_text(output, pd.DataFrame(found.changes(), columns=columns).to_csv(index=False))
        click.echo(f"wrote {output}", err=True)
    if fail_if_worse and found.worse:
        where = ", ".join(_short(line) for line in found.lines if line.worse)
        raise click.ClickException(f"B, {found.b.spec}, is significantly worse than A, {found.a.spec}, at {where}.")


def _show(found: Comparison) -> None:
    for side, result in (("A", found.a), ("B", found.b)):
        gallery = f" × {result.gallery}, seed {result.seed}" if result.gallery else ""
        crops = (
            f", {result.crops} crop{'s' if result.crops > 1 else ''}" if result.crops else ""
        )  # 0: predictions of others
        click.echo(f"{side}: {result.spec}{result.partial}{gallery}{crops} (result {result.key[:8]})")
    by = "" if found.clusters.by == "image" else f", {len(found.clusters.sizes):,} clusters by {found.clusters.by}"
    click.echo(f"{found.a.dataset}: {found.a.n:,} images{by}\n")
    print_rows([_row(line) for line in found.lines], as_json=False)


def _row(line: Line) -> Mapping[str, Any]:
    change, share = line.difference, line.metric.kind == "share"
    sizes = [abs(value) for value in (line.a, line.b, change.value) if not math.isnan(value)]
    digits = line.metric.comparison_digits if share else line.metric.decimals(min(sizes, default=0.0))
    low, high = (_number(end, digits, "+") for end in (change.low, change.high))
    return {
        "": f"Within {_short(line)}, %" if line.threshold_km is not None else _short(line) + (", %" if share else ""),
        "A": _number(line.a, digits),
        "B": _number(line.b, digits),
        "B − A": _number(change.value, digits, "+"),
        "95 % CI": "" if math.isnan(change.low) else f"[{low}, {high}]",
        "p": _p_value(change.p),
        "p (Holm)": _p_value(line.adjusted) if share else "",
        "gained": "" if line.gained is None else f"{line.gained:,}",
        "lost": "" if line.lost is None else f"{line.lost:,}",
    }


def _short(line: Line) -> str:
    return f"{line.threshold_km:g} km" if line.threshold_km is not None else line.metric.heading


def _number(value: float, digits: int, sign: str = "") -> str:
    return "" if math.isnan(value) else shown(value, digits, sign)


def _p_value(p: float) -> str:
    return "" if math.isnan(p) else "<0.0001" if p < 1e-4 else f"{p:.4f}"
