"""The commands that check whether data can be trusted: ``datasets check``, ``datasets audit`` and ``ceiling``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, WORKERS, finish, main, names, numbers, print_rows, resumable, specs
from geobench.cli.lists import datasets
from geobench.progress import ConsoleProgress

if TYPE_CHECKING:
    from geobench.audits.ceiling import Ceiling
    from geobench.audits.check import Check

SHOWN = 5  # items of a finding
FILE = click.Path(path_type=Path, dir_okay=False)


@datasets.command()
@click.argument("name")
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True, help="Which images.")
@click.option("--quick", is_flag=True, help="Only check which images are there, without opening them.")
@click.option("--map", "map_to", type=FILE, help="Draw where the images are: FILE.png, FILE.pdf or FILE.svg.")
@click.option("--output", type=FILE, help="Write every image and line with a finding to a CSV file.")
@WORKERS
@AS_JSON
def check(
    name: str, split: str, quick: bool, map_to: Path | None, output: Path | None, workers: int | None, as_json: bool
) -> None:
    """Check the data set NAME: what is missing, damaged, listed twice, or at an impossible position.

    \b
    geobench datasets check im2gps3k
    geobench datasets check mine --map mine.png --output problems.csv
    geobench datasets check mp16 --split train --quick

    Every image is decoded once. Exit code 1: something is wrong that changes scores or makes them meaningless: images
    missing or unreadable, invalid rows or headers, impossible positions. Notes do not change the exit code.
    """
    from geobench.audits.check import check as check_dataset
    from geobench.pictures.maps import check_map, draw_positions

    if map_to is not None:
        check_map(map_to)
    found = check_dataset(name, split, quick=quick, workers=workers, progress=ConsoleProgress())
    if as_json:
        click.echo(json.dumps(found.record(), indent=2, ensure_ascii=False))
    else:
        _show(found)
    if output is not None:
        found.write(output)
        click.echo(f"wrote {output}", err=True)
    if map_to is not None:
        draw_positions(found.coordinates, map_to, f"{name}, {found.split}: {len(found.coordinates):,} images")
        click.echo(f"wrote {map_to}", err=True)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _show(found: Check) -> None:
    """Print the numbers, then each finding with its first items."""
    numbers = {
        "expected": found.expected,
        "listed": found.listed,
        "found": found.found,
        "readable": "not opened" if found.readable is None else found.readable,
        "scored": found.scored,
    }
    print_rows([{what: f"{n:,}" if isinstance(n, int) else n or "not stated" for what, n in numbers.items()}], False)
    click.echo()
    for finding in found.findings:
        shown = [f"    {item}" for item in finding.items[:SHOWN]]
        if len(finding.items) > SHOWN:
            shown.append(f"    … and {len(finding.items) - SHOWN:,} more (--output FILE has them all)")
        click.echo("\n".join([f"{'WRONG' if finding.is_error else 'note '}  {finding.kind}: {finding.text}", *shown]))
    if found.ok:
        click.echo("Nothing is wrong.")


@datasets.command()
@click.argument("test")
@click.option("--against", required=True, metavar="TRAINING", help="The training set.")
@click.option("--kinds", callback=names, help="Of leaks that count: photographer,id,coordinate,twin.  [default: all]")
@click.option("--distance", type=int, default=16, show_default=True, help="Bits, of 128, by which twins may differ.")
@click.option("--output", type=FILE, help="Write every pair to a CSV file.")
@WORKERS
@AS_JSON
@resumable
def audit(test: str, output: Path | None, as_json: bool, **options: Any) -> None:
    """Find what the test set TEST shares with a training set, and save the images that share nothing as `clean`.

    \b
    geobench datasets audit im2gps3k --against mp16 --output leaks.csv
    geobench datasets audit im2gps3k --against mp16 --kinds id,twin
    geobench run --models geoclip --datasets im2gps3k --subset clean

    \b
    photographer  the same person took both (a column such as AUTHOR, or Flickr's file names)
    id            the same name, whatever its folder, separator and suffix, or the same Flickr photo
    coordinate    the same position to six decimals, 11 cm
    twin          the same picture in another file: recompressed, resized, cropped by up to 3 % on each side

    The images are read once, for twins; their fingerprints are cached. What cannot be checked, such as twins of images
    that are not on this machine, is reported, and is an error if --kinds names it. `clean` is used as long as neither
    set changes, and for models trained on what was audited, or on a part of it.
    """
    from geobench import get_dataset
    from geobench.audits.leakage import audit as find_leaks

    leaks = find_leaks(test, progress=ConsoleProgress(), **options)
    rows = leaks.rows()
    if not as_json:
        rows = [row | {"test_share": f"{100 * row['test_share']:.1f} %"} for row in rows]
    print_rows(rows, as_json)
    for remark in leaks.remarks:
        click.echo(remark, err=True)
    if output is not None:
        leaks.write(output)
        click.echo(f"wrote {output}", err=True)
    clean = leaks.clean()
    path = clean.save()
    click.echo(f"clean: {clean.describe()}, saved as {path}", err=True)
    dataset = get_dataset(test)
    photos = dataset.has_photos(dataset.split_for("test"))
    command = f"run --models MODELS --datasets {test}" if photos else f"score FILE --dataset {test}"
    click.echo(f"To score them next to all images: geobench {command} --subset clean", err=True)


@main.command()
@click.option("--datasets", required=True, callback=names, help="Test sets, separated by commas.")
@click.option("--galleries", callback=specs, help="21k, land:100k, FILE, …  [default: the data set's]")
@click.option(
    "--training", metavar="NAME", help="Data set or MODEL@CHECKPOINT that a gallery such as 21k is drawn from."
)
@click.option("--seeds", default="0", show_default=True, callback=numbers, help="Of the galleries' draws.")
@click.option("--limit", type=click.IntRange(1), help="Use so many images of each test set.")
@AS_JSON
def ceiling(as_json: bool, **options: Any) -> None:
    """Audit galleries: the best scores that any model could reach, and whether the gallery contains the true positions.

    \b
    geobench ceiling --datasets im2gps3k --galleries land:21k,land:100k,land:500k
    geobench ceiling --datasets im2gps3k,gws15k --galleries 21k,100k --training mp16

    A model that chooses from the gallery cannot do better than its nearest point. A gallery that holds at least 15 %
    of the test coordinates, exactly or rounded, is an oracle, and is marked as one in every table.
    """
    from geobench.audits.ceiling import ceilings

    audit = ceilings(progress=ConsoleProgress(), **options)
    if as_json:
        print_rows([found.row() for found in audit.ceilings], as_json)
    elif audit.ceilings:
        print_rows([_shown(found) for found in audit.ceilings], as_json)
        click.echo("\nAccuracy in % within the distance of a model that always picks the nearest point of the gallery.")
    finish(audit.failures, lambda: "")


def _shown(found: Ceiling) -> dict[str, str]:
    from geobench.metrics import headings
    from geobench.plugins import get_metrics

    metrics = [metric for metric in get_metrics(found.dataset) if metric.name in found.scores]
    share = f"{found.in_gallery:,} ({100 * found.in_gallery / found.n:.1f} %)"
    return {
        "Data set": found.dataset,
        "Gallery": found.gallery + (" ORACLE" if found.oracle else ""),
        "Seed": str(found.seed),
        "Points": f"{found.size:,}",
        "Distinct": f"{found.distinct:,}",
        "n": f"{found.n:,}",
        "Of them in it": share,
        **{head: f"{found.scores[name]:,.1f}" for name, head in headings(metrics).items()},
    }
