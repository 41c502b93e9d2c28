"""The command ``geobench probe``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, DEVICE, counted, main, names, numbers, print_rows
from geobench.probe.paper import PUBLISHED, published
from geobench.progress import ConsoleProgress, Progress

if TYPE_CHECKING:
    from geobench.probe.probe import ProbeRow
    from geobench.probe.tasks import Task

ENCODER, LIMIT = "efficientnet_lite0", 5000
LEGEND = """
mAP: mean over concepts and seeds; sd: over seeds; 95 %: bootstrap over groups of neighbouring test images, – if there
are fewer than 10 groups. * the highest of its sort (location, joined), or not told apart from it by the paired
interval. A joined row's distance to visual features alone has a paired interval too. The further columns are the mAP
of the labels of one kind.
The paper's rows, on geotagged NUS-WIDE, which is another task if the one above is not it; they have no intervals:"""


@main.command()
@click.option(
    "--features",
    default="raw,wrap,onehot,fourier,harmonics",
    show_default=True,
    callback=names,
    help="Of locations; a model with location embeddings too, such as geoclip@official.",
)
@click.option(
    "--visual", show_default=ENCODER, help="Encoder of the visual features, or none; NUS-WIDE's are in its files."
)
@click.option("--limit", type=click.IntRange(1), show_default=f"{LIMIT}", help="Images of the embedded task.")
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
@DEVICE
@AS_JSON
def probe(
    features: list[str],
    visual: str | None,
    limit: int | None,
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
    from geobench.probe.locations import check_known
    from geobench.probe.probe import learnt_nearby, measured
    from geobench.probe.probe import probe as run_probe
    from geobench.settings import configure, parse_assignments

    config = configure(ProbeConfig, parse_assignments(assignments), "probe")
    check_known(features)
    device, progress = pick_device(device), ConsoleProgress()
    task = _task(visual, limit, nus_wide, positions, device, progress)
    rows = run_probe(task, features, seeds, config, device, progress)
    print_rows([_as_json(row) if as_json else _as_text(row) for row in rows], as_json)
    train, test = int(task.training.sum()), int(task.testing.sum())
    notes = [
        *([] if as_json else [""]),
        f"{task.name}: {measured(task)} of {len(task.concepts)} concepts have a test image and count; "
        f"{counted(train, 'training image')}, {counted(test, 'test image')}.",
        *task.about,
        *learnt_nearby(task, features),
    ]
    for line in notes:
        click.echo(f"note: {line}" if as_json else line, err=as_json)
    if not as_json:
        click.echo(LEGEND)
        click.echo(", ".join(f"{name} {value:.3f}" for name, value in PUBLISHED.items()))


def _task(
    visual: str | None, limit: int | None, folder: Path | None, positions: Path | None, device: str, progress: Progress
) -> Task:
    """Return the task that the options name; refuse those that say nothing about it."""
    from geobench.probe.nus_wide import nus_wide
    from geobench.probe.tasks import embedded

    if folder is None and positions is None:
        encoder = visual or ENCODER
        return embedded(limit or LIMIT, None if encoder == "none" else encoder, 0, device, progress)
    if folder is None or positions is None:
        raise click.UsageError("--nus-wide and --positions go together: its public files hold no positions.")
    if limit is not None:
        raise click.UsageError("--limit is of the embedded task; NUS-WIDE has its own split.")
    if visual not in (None, "none"):
        raise click.UsageError(
            "NUS-WIDE's visual features are those of its files; give --visual none, or leave it out."
        )
    return nus_wide(folder, positions, with_visual=visual is None)


def _as_text(row: ProbeRow) -> dict[str, Any]:
    paper = published(row.features)
    return {
        "features": row.features,
        "width": row.width,
        "mAP": f"{row.mean:.3f}{'*' if row.leads else ''}",
        "sd": _number(row.sd),
        "95 %": _interval(row.low, row.high),
        "+ over visual": "" if row.gain is None else f"{row.gain[0]:+.3f} {_interval(*row.gain[1:], '+.3f')}",
        **{kind: f"{value:.3f}" for kind, value in row.by_kind.items()},
        "paper": "" if paper is None else f"{paper:.3f}",
    }


def _as_json(row: ProbeRow) -> dict[str, Any]:
    """Return the row with null for what there is not."""
    return {
        "features": row.features,
        "width": row.width,
        "mAP": row.mean,
        "seeds": list(row.values),
        "sd over seeds": _known(row.sd),
        "95 %": _pair(row.low, row.high),
        "leads": row.leads,
        "over visual": row.gain and row.gain[0],
        "over visual 95 %": row.gain and _pair(*row.gain[1:]),
        "by kind": dict(row.by_kind),
        "paper": published(row.features),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pair(low: float, high: float) -> list[float] | None:
    return None if math.isnan(low) else [low, high]


def _number(value: float, form: str = ".3f") -> str:
    return "–" if math.isnan(value) else format(value, form)


def _interval(low: float, high: float, form: str = ".3f") -> str:
    return "–" if math.isnan(low) else f"[{low:{form}}, {high:{form}}]"
