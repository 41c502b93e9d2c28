"""The command ``geobench frontier``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import (
    ALLOW_MIXED,
    AS_JSON,
    CROPS,
    DEVICE,
    MODELS,
    RESULTS,
    TRAINED_ON,
    finish,
    main,
    names,
    print_doubts,
    resumable,
    specs,
)
from geobench.progress import ConsoleProgress

if TYPE_CHECKING:
    from geobench.experiments.frontier import Frontier


@main.command()
@MODELS
@click.option("--datasets", required=True, callback=names, help="Test sets, separated by commas.")
@click.option("--galleries", required=True, callback=specs, help="1k, 5k, 21k, land:100k, FILE, …")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the galleries' draws.")
@CROPS
@click.option("--limit", type=click.IntRange(1), help="Use so many images of each test set.")
@TRAINED_ON
@ALLOW_MIXED
@click.option("--no-train", is_flag=True, help="Refuse a model without a checkpoint instead of training it first.")
@click.option("--output", metavar="FILE.csv", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@DEVICE
@AS_JSON
@RESULTS
@resumable
def frontier(crops: str, no_train: bool, output: Path | None, as_json: bool, folder: Path, **options: Any) -> None:
    """Show what a larger gallery brings and costs (accuracy, time per query, memory), and the smallest that is enough.

    \b
    geobench frontier --models geoclip --datasets bluemarble --galleries 1k,5k,21k,land:100k
    geobench frontier --models geoclip@official --datasets im2gps3k --galleries official:10k,official:100k

    The results are those of `run`, and are saved like them; `report --figures DIR` draws them. Time and memory are
    measured on this machine, now: one query alone, one of many, the gallery's embeddings, the peak of the process.
    """
    from geobench import files
    from geobench.experiments.frontier import frontier as measure

    found = measure(crops=int(crops), train_missing=not no_train, folder=folder, progress=ConsoleProgress(), **options)
    rows = [point.flat() for point in found.points]
    if output is not None:
        import pandas as pd

        files.write_text(output, pd.DataFrame(rows).to_csv(index=False))
        click.echo(f"wrote {output}", err=True)
    if as_json:
        smallest = [
            {"model": model, "dataset": dataset, **{name: point.gallery for name, point in by_score.items()}}
            for model, dataset, by_score in found.smallest()
        ]
        click.echo(json.dumps({"points": rows, "smallest_within_the_best": smallest}, indent=2, ensure_ascii=False))
    else:
        click.echo("\n" + _frontier(found))
    print_doubts(found.results, aside=as_json)
    finish(found.failures, lambda: "")


def _frontier(found: Frontier) -> str:
    from tabulate import tabulate

    from geobench.experiments.frontier import smallest_line
    from geobench.metrics import accuracies, headings, ordered
    from geobench.plugins import get_metrics

    datasets = dict.fromkeys(point.dataset for point in found.points)
    metrics = {name: accuracies(get_metrics(name)) for name in datasets}
    heads = headings(ordered(metric for of_set in metrics.values() for metric in of_set))
    rows = [
        {"Model": point.model, "Test set": point.dataset, "Gallery": point.gallery}
        | {
            head.replace(" ", "\n", 1): _with_ends(point.scores[name], *point.intervals[name])
            if name in point.intervals
            else ""
            for name, head in heads.items()
        }
        | {
            "Alone\nms": _figure(point.latency_ms),
            "Of many\nms": _figure(point.batch_ms),
            "Gallery\nMiB": _figure(point.gallery_mb),
            "Peak\nMiB": f"{point.peak_memory_mb:,.0f}",
        }
        for point in found.points
    ]
    lines = [tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)] if rows else []
    for model, dataset, by_score in found.smallest():
        galleries = {name: point.gallery for name, point in by_score.items()}
        lines.append(smallest_line(f"{model} on {dataset}", galleries, metrics[dataset]))
    if found.points:
        lines.append(
            "[low, high]: 95 % confidence interval over the images. Alone, of many: median time of a query by itself, "
            "mean time of one among many, given features and embeddings. Peak: of the process while it predicts."
        )
    return "\n\n".join(lines)


def _with_ends(score: float, low: float, high: float) -> str:
    from geobench.rounding import shown

    return f"{shown(score, 1)}\n[{shown(low, 1)}, {shown(high, 1)}]"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
