"""The commands ``demo``, ``train`` and ``run``, and those that list plugins and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import (
    ALLOW_MIXED,
    AS_JSON,
    BATCH,
    CROPS,
    DEVICE,
    MODELS,
    ON,
    RESULTS,
    SHARD,
    SHARDS,
    THRESHOLDS,
    TRAINED_ON,
    WORKERS,
    check_shards,
    finish,
    main,
    names,
    numbers,
    print_rows,
    results_table,
    resumable,
    specs,
)
from geobench.errors import PluginError, SettingError
from geobench.progress import ConsoleProgress, is_first_process

if TYPE_CHECKING:
    from geobench.run import RunSummary


@main.command()
@RESULTS
@DEVICE
@resumable
def demo(folder: Path, device: str) -> None:
    """Train three models and two baselines on embedded imagery and show the tables (a few minutes on two cores)."""
    from geobench.experiments.demo import COMMANDS, next_steps
    from geobench.experiments.demo import demo as run_demo

    click.echo("Equivalent to:\n" + "\n".join(f"  {command}" for command in COMMANDS) + "\n", err=True)
    outcome = run_demo(folder, device, ConsoleProgress())
    finish(outcome.failures, lambda: f"{results_table(folder)}\n\n{next_steps(folder)}")


@main.command()
@click.argument("model")
@click.option("--data", default="bluemarble", show_default=True, help="Training set.")
@click.option("--encoder", help="Encoder of the features.  [default: the data set's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random in the training.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data.  [default: the model's]")
@click.option("--set", "assignments", metavar="NAME=VALUE", multiple=True, help="A hyper-parameter; repeatable.")
@CROPS
@click.option("--variant", default="", help="A named group of settings, such as paper or official for geoclip.")
@click.option("--views", type=click.IntRange(0), default=0, help="Random views of each image, in place of crops.")
@click.option("--augmentation", help="Kind of random views: simclr (default) or official.")
@click.option("--live", is_flag=True, help="Draw new views at every step, not once beforehand.")
@click.option("--limit", type=click.IntRange(1), help="Number of images to train on.")
@click.option(
    "--fraction",
    type=float,
    default=1.0,
    show_default=True,
    help="Fraction of the images to train on; for 0.2, 0.1 and 0.05 geoclip uses the paper's batch size.",
)
@click.option("--name", default="", help="For people: MODEL@NAME is then this checkpoint.")
@DEVICE
@WORKERS
@BATCH
@click.option("--force", is_flag=True, help="Train again even if the checkpoint exists, on features extracted again.")
@ON
@resumable
def train(assignments: tuple[str, ...], crops: str, on: str | None, **options: Any) -> None:
    """Train MODEL and save its checkpoint. An interrupted training is resumed by the same command.

    \b
    geobench train geoclip
    geobench train geoclip --data mp16 --seed 1
    geobench train classifier --set min_images=20 --set "max_images=[2000, 500]"

    MODEL alone then stands for it elsewhere, unless it was trained on a part (--limit, --fraction): that is named by
    its id, or by --name. Hyper-parameters of a model: geobench models show MODEL
    """
    from geobench import train as run_train
    from geobench.settings import parse_assignments

    options |= {"settings": parse_assignments(assignments), "crops": int(crops)}
    if on:
        from geobench.jobs.profile import read_profile
        from geobench.on_cluster import train_in_job

        click.echo(train_in_job(options, read_profile(on), ConsoleProgress()))
        return
    checkpoint = run_train(progress=ConsoleProgress(), **options)
    if is_first_process():
        click.echo(checkpoint.spec)


@main.command()
@MODELS
@click.option("--datasets", required=True, callback=names, help="Test sets, separated by commas.")
@click.option("--galleries", callback=specs, help="21k, land:100k, sphere:1M, FILE, …  [default: the data set's]")
@click.option("--seeds", default="0", show_default=True, callback=numbers, help="Of the galleries' draws.")
@CROPS
@click.option("--top-k", type=click.IntRange(1), default=1, show_default=True, help="Predictions kept for each image.")
@click.option("--limit", type=click.IntRange(1), help="Number of images of each test set.")
@click.option("--set", "assignments", metavar="NAME=VALUE", multiple=True, help="Of a model without training.")
@THRESHOLDS
@click.option("--subset", help="clean: score the images that `datasets audit` kept as well, from the same predictions.")
@DEVICE
@WORKERS
@BATCH
@TRAINED_ON
@ALLOW_MIXED
@click.option("--no-train", is_flag=True, help="Refuse a model without a checkpoint instead of training it.")
@click.option("--force", is_flag=True, help="Evaluate again even if the result exists, on features extracted again.")
@click.option("--retry", callback=names, help="Ask a service again: errors, refused, unparseable.")
@click.option("--max-requests", type=click.IntRange(1), help="Send a service no more than so many requests.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="Spend no more, by the stated prices.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, trained, asked and paid without doing it.")
@SHARD
@SHARDS
@ON
@click.option(
    "--predict-only", is_flag=True, help="Save predictions for `geobench merge`, without scores; trains nothing."
)
@RESULTS
@resumable
def run(
    crops: str,
    top_k: int,
    batch_size: int,
    workers: int | None,
    no_train: bool,
    assignments: tuple[str, ...],
    thresholds_km: list[float] | None,
    retry: list[str] | None,
    max_requests: int | None,
    max_cost: float | None,
    shard_text: str | None,
    shards: int | None,
    on: str | None,
    predict_only: bool,
    **chosen: Any,
) -> None:
    """Evaluate every model on every test set and gallery. Existing results are kept; failures are listed at the end.

    Names, images, weights, galleries, device and results folder are checked first: what cannot run is reported before
    anything is trained or extracted. The table shows the results kept or computed here, even if there are newer ones.

    \b
    geobench run --models geoclip,classifier --datasets gws15k
    geobench run --models geoclip --datasets im2gps3k --galleries 21k,100k,500k --seeds 0,1,2 --crops 10

    A model that has no full training is trained first, like the others of the run. Models trained on different data or
    with different encoders are refused without --allow-mixed.

    Galleries: SIZE or training:SIZE (drawn from the model's training coordinates), land:SIZE and sphere:SIZE (uniform
    by area), official:SIZE (the one released with GeoCLIP's weights, geoclip@official), or a CSV file with latitude and
    longitude. A file and a whole source are the same with every seed, and are evaluated once. --thresholds changes the
    table alone: scores are computed from the predictions, which are saved.

    A model behind an endpoint is chat:NAME or chat:FILE.toml, with its settings as --set (geobench models show chat).
    Every answer is kept when it comes, and none is asked for twice: stopped in whatever way, the same command goes on.

    With --shard 3/16 --predict-only a test set is divided among sixteen commands, on any machines; geobench merge makes
    the results of what they save in RESULTS/shards. A shard trains nothing: train the models first. With --shards 16
    --on slurm each is a job of a cluster, and they are merged at the end.

    \b
    geobench run --models chat:gpt-4o --datasets im2gps3k --dry-run --set price_in=2.5 --set price_out=10
    geobench run --models chat:gpt-4o --datasets im2gps3k --set concurrency=16 --max-cost 20
    geobench run --models chat:llava --datasets bluemarble --set base_url=http://localhost:8080/v1
    """
    from geobench import Options
    from geobench import run as run_all
    from geobench.services import Asking
    from geobench.settings import parse_assignments

    check_shards(shards, on)
    asking = Asking(tuple(retry or ()), max_requests, max_cost)
    chosen["options"] = Options(int(crops), top_k, batch_size, workers, asking)
    chosen["settings"] = parse_assignments(assignments)
    if on:
        summary = _run_in_jobs(on, shards or 1, shard_text, predict_only, chosen)
    else:
        shard = _shard(shard_text, predict_only)
        summary = run_all(train_missing=not no_train, shard=shard, progress=ConsoleProgress(), **chosen)
    if chosen["dry_run"]:
        print_rows([_planned(row) for row in summary.planned], as_json=False)
        finish(summary.failures, lambda: "")
        return
    if predict_only:
        if thresholds_km is not None:
            click.echo("--thresholds is for scores: give it to geobench report, after geobench merge.", err=True)
        finish(summary.failures, lambda: "\n".join(map(str, summary.parts)))
        return
    tested = list(dict.fromkeys(result.dataset for result in summary.results))
    keys = {result.key for result in summary.results}
    finish(summary.failures, lambda: results_table(chosen["folder"], tested, thresholds_km, keys) if tested else "")


def _run_in_jobs(
    on: str, shards: int, shard_text: str | None, predict_only: bool, chosen: dict[str, Any]
) -> RunSummary:
    """Run in jobs of a cluster, a shard each."""
    from geobench.jobs.profile import read_profile
    from geobench.on_cluster import run_in_jobs

    refused = {"--shard": shard_text, "--predict-only": predict_only, "--dry-run": chosen["dry_run"]}
    refused |= {"--subset": chosen["subset"]}
    if given := [name for name, value in refused.items() if value]:
        raise SettingError(f"--on predicts all shards and merges them, and does not go with {given[0]}; leave it out.")
    return run_in_jobs(shards=shards, profile=read_profile(on), progress=ConsoleProgress(), **chosen)


def _shard(text: str | None, predict_only: bool) -> str | None:
    """Return the shard that is predicted, None for a run with scores."""
    if text is not None and not predict_only:
        raise SettingError(
            f"the scores of a part are not those of the test set; add --predict-only to --shard {text}, and then: "
            "geobench merge RESULTS/shards"
        )
    return (text or "1/1") if predict_only else None


def _planned(row: dict[str, Any]) -> dict[str, str]:
    """Return a row of what would be done, as text."""
    asked = {head: row[name] for head, name in (("requests", "requests"), ("in", "tokens_in"), ("out", "tokens_out"))}
    return (
        {"model": row["model"], "test set": f"{row['dataset']} ({row['n']:,})", "gallery": row["gallery"] or "–"}
        | {"seed": str(row["seed"]), "what": row["what"]}
        | {head: "–" if value is None else f"{value:,}" for head, value in asked.items()}
        | {"cost": "–" if row["cost"] is None else f"{row['cost']:.4g}"}
    )


@main.command()
@AS_JSON
@click.option("--strict", is_flag=True, help="Exit with 1 if a plugin failed to load.")
def plugins(as_json: bool, strict: bool) -> None:
    """List the plugins: distribution, what each registers, and its error if it failed to load."""
    from geobench.plugins import plugin_errors, registry

    found = registry().plugins
    rows = [
        {
            "plugin": plugin.name,
            "distribution": plugin.origin,
            "registers": plugin.registers if as_json else "\n".join(plugin.registers),
            "error": plugin.error,
        }
        for plugin in found
    ]
    print_rows(rows, as_json)
    if strict and plugin_errors():
        raise PluginError("; ".join(plugin_errors()))


def _in_a_line(docstring: str) -> str:
    """Return the first line of a docstring as a table has it: without a full stop and the marks of code."""
    return docstring.strip().splitlines()[0].rstrip(".").replace("``", "") if docstring.strip() else ""


@main.command()
@AS_JSON
def encoders(as_json: bool) -> None:
    """List the encoders; a pattern stands for every name that it matches."""
    from geobench import get_encoders

    rows = [{"encoder": name, "what": _in_a_line(factory.__doc__ or "")} for name, factory in get_encoders().items()]
    print_rows(rows, as_json)
