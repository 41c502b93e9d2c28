"""The command ``geobench probe``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geobench.cli.group import main, names, numbers, print_rows
from geobench.progress import ConsoleProgress


@main.command()
@click.option(
    "--features",
    default="raw,wrap,onehot,fourier,harmonics",
    show_default=True,
    callback=names,
    help="Of locations; a model with location embeddings too, such as geoclip@official.",
)
@click.option(
    "--visual", default="efficientnet_lite0", show_default=True, help="Encoder of the visual features, or none."
)
@click.option("--limit", type=click.IntRange(1), default=5000, show_default=True, help="Images of the embedded task.")
@click.option(
    "--nus-wide", type=click.Path(path_type=Path), metavar="DIR", help="NUS-WIDE's public files, in place of it."
)
@click.option(
    "--positions", type=click.Path(path_type=Path), help="Their positions: a table of image, latitude, longitude."
)
@click.option("--seeds", default="0,1,2", show_default=True, callback=numbers, help="Of the classifier.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting of the classifier, such as hidden=512."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def probe(
    features: list[str],
    visual: str,
    limit: int,
    nus_wide: Path | None,
    positions: Path | None,
    seeds: list[int],
    assignments: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Show what a location is worth in another task: multi-label classification (GeoCLIP's table 3).

    \b
    geobench probe --features raw,onehot,geoclip@official
    geobench probe --features geoclip --visual none --seeds 0,1,2,3,4
    geobench probe --nus-wide NUS-WIDE --positions geo.csv --features onehot,geoclip@official

    Location features, alone and joined with visual ones, go into one hidden layer of 2,048 units with dropout. The
    measure is the mean average precision (mAP), with the standard deviation over seeds and the 95 % interval over test
    images. The embedded task has labels of continent, country, climate and land cover, and a split that keeps
    neighbours apart.
    """
    from geobench.devices import pick_device
    from geobench.probe.classifier import ProbeConfig
    from geobench.probe.probe import PUBLISHED
    from geobench.probe.probe import probe as run_probe
    from geobench.probe.tasks import embedded
    from geobench.probe.tasks import nus_wide as load_nus_wide
    from geobench.settings import configure, parse_assignments

    if (nus_wide is None) != (positions is None):
        raise click.UsageError("--nus-wide and --positions go together: its public files hold no positions.")
    config = configure(ProbeConfig, parse_assignments(assignments), "probe")
    device, progress = pick_device(device), ConsoleProgress()
    encoder = None if visual == "none" else visual
    if nus_wide is not None and positions is not None:
        task = load_nus_wide(nus_wide, positions)
    else:
        task = embedded(limit, encoder, 0, device, progress)
    rows = run_probe(task, features, seeds, config, device, progress)
    best = max(row.mean for row in rows)
    shown: list[dict[str, Any]] = [
        {
            "features": row.features,
            "width": row.width,
            "mAP": row.mean if as_json else f"{row.mean:.3f}{'*' if row.mean == best else ''}",
            "sd over seeds": row.sd if as_json else ("–" if row.sd != row.sd else f"{row.sd:.3f}"),
            "95 %": [row.low, row.high] if as_json else f"[{row.low:.3f}, {row.high:.3f}]",
        }
        for row in rows
    ]
    print_rows(shown, as_json)
    if as_json:
        return
    train, test = int(task.training.sum()), int(task.testing.sum())
    click.echo(
        f"\n{task.name}: {len(task.concepts)} concepts, {train:,} training and {test:,} test images. * the highest."
    )
    for line in task.about:
        click.echo(line)
    click.echo("\nThe paper's table 3, mAP on geotagged NUS-WIDE, which is another task:")
    click.echo(", ".join(f"{name} {value:.3f}" for name, value in PUBLISHED.items()))
