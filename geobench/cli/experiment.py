"""The commands ``geobench experiment``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import (
    AS_JSON,
    DEVICE,
    ON,
    RESULTS,
    finish,
    main,
    names,
    numbers,
    print_rows,
    resumable,
    specs,
    terminal_width,
)
from geobench.progress import ConsoleProgress

if TYPE_CHECKING:
    from geobench.experiments.plans import Plan

MAX_ROWS = 60  # listed by `show`


@main.group()
def experiment() -> None:
    """Reproduce a table of a paper, or run a grid of your own, from one TOML file.

    \b
    geobench experiment list
    geobench experiment show table-2a --data bluemarble
    geobench experiment run table-2a --data bluemarble --workers 2
    geobench experiment report table-2a --format latex
    """


def _changes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change an experiment."""
    options = [
        click.option("--data", help="Training set.  [default: the experiment's]"),
        click.option("--datasets", callback=names, help="Test sets.  [default: the experiment's, or those of --data]"),
        click.option("--encoder", help="Encoder of the features.  [default: the experiment's, or that of --data]"),
        click.option(
            "--seeds",
            callback=lambda c, p, v: v and numbers(c, p, v),
            help="Of the training runs: 0,1,2.",
        ),
        click.option("--limit", type=click.IntRange(1), help="Train on at most this many images."),
        click.option("--test-limit", type=click.IntRange(1), help="Test on at most this many images per set."),
        click.option("--epochs", type=click.IntRange(1), help="Passes over the data."),
        click.option(
            "--set", "assignments", metavar="NAME=VALUE", multiple=True, help="Set a hyper-parameter; repeatable."
        ),
        click.option("--galleries", callback=specs, help="21k, land:100k, …, instead of those of the rows."),
        click.option("--crops", type=click.Choice(["1", "5", "10"]), help="Views of each test image."),
        click.option("--yes", is_flag=True, help="Run even if there are more than 1,000 evaluations."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _plan(name: str, options: dict[str, Any]) -> Plan:
    from geobench.experiments.definitions import get_experiment
    from geobench.experiments.planning import Changes, TooManyEvaluationsError, make_plan
    from geobench.settings import parse_assignments

    yes, epochs, crops = options.pop("yes"), options.pop("epochs"), options.pop("crops")
    settings = parse_assignments(options.pop("assignments")) | ({"epochs": epochs} if epochs else {})
    changes = Changes(settings=settings, crops=int(crops) if crops else None, **options)
    try:
        return make_plan(get_experiment(name), changes, yes)
    except TooManyEvaluationsError as error:
        raise TooManyEvaluationsError(error.path, error.evaluations, "--yes") from None


@experiment.command("list")
@AS_JSON
def list_experiments(as_json: bool) -> None:
    """List the bundled experiments: tables and figures of the GeoCLIP paper."""
    from geobench.experiments.definitions import experiment_names, get_experiment
    from geobench.experiments.planning import make_plan

    rows = []
    for name in experiment_names():
        plan = make_plan(get_experiment(name))
        rows.append(
            {
                "experiment": name,
                "title": plan.experiment.title,
                "trainings": plan.trainings,
                "evaluations": plan.evaluations,
                "data": plan.data,
                "test sets": ", ".join(plan.datasets),
                "scaled for": ", ".join(plan.experiment.on),
            }
        )
    print_rows(rows, as_json)


@experiment.command("show")
@click.argument("name")
@_changes
@AS_JSON
def show_experiment(name: str, as_json: bool, **options: Any) -> None:
    """Show the grid of an experiment, a bundled one or a TOML file: its rows, training runs and evaluations."""
    _show(_plan(name, options), as_json)


def _limits(plan: Plan) -> str:
    trained = {int(row.choices["limit"]) for row in plan.rows if row.run and row.choices.get("limit")}
    limits = {"training": " or ".join(f"{limit:,}" for limit in sorted(trained)), "test": f"{plan.test_limit or ''}"}
    return "".join(f" At most {limit} {what} images." for what, limit in limits.items() if limit)


def _show(plan: Plan, as_json: bool) -> None:
    rows = [
        {
            "row": row.title,
            "model": row.model if row.run else "not run",
            "settings": " ".join(f"{key}={value}" for key, value in row.choices["settings"].items()) if row.run else "",
            "gallery": (row.gallery or "the test set's own") if row.run else "",
            "seeds": ", ".join(map(str, row.seeds)) if row.run else "",
            "repeats": row.published,
        }
        for row in plan.rows
    ]
    counts = {"trainings": plan.trainings, "evaluations": plan.evaluations}
    if as_json:
        about = {"experiment": plan.experiment.name, "title": plan.experiment.title, "data": plan.data}
        click.echo(
            json.dumps(about | {"datasets": plan.datasets} | counts | {"rows": rows}, indent=2, ensure_ascii=False)
        )
        return
    click.echo(
        f"{plan.experiment.title}\nTrained on {plan.data}, tested on {', '.join(plan.datasets)}.{_limits(plan)}\n"
    )
    print_rows(rows[:MAX_ROWS], as_json)
    if len(rows) > MAX_ROWS:
        click.echo(f"… and {len(rows) - MAX_ROWS:,} more rows")
    click.echo(f"\n{plan.trainings:,} trainings, {plan.evaluations:,} evaluations.")
    for note in plan.experiment.notes:
        click.echo(f"Note: {note}")


@experiment.command("run")
@click.argument("name")
@_changes
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that train in parallel, each with its share of the cores, or a GPU of its own.",
)
@ON
@click.option("--dry-run", is_flag=True, help="Show what would be done without doing it.")
@click.option(
    "--format", default="table", show_default=True, help="table, markdown, latex, latex-fragment, csv or json."
)
@DEVICE
@RESULTS
@resumable
def run_experiment(
    name: str, workers: int, on: str | None, dry_run: bool, format: str, device: str, folder: Path, **options: Any
) -> None:
    """Run an experiment, a bundled one or a TOML file, and show its table next to the published one.

    \b
    geobench experiment run table-2a                           # the paper's data, if you have it
    geobench experiment run table-2a --data bluemarble         # embedded imagery, settings scaled to it
    geobench experiment run table-s2 --data bluemarble --limit 2000 --epochs 1 --seeds 0
    geobench experiment run mine.toml --workers 4
    geobench experiment run table-s3 --on slurm

    Checkpoints and results are stored under a hash of everything they depend on, and finished ones are reused: to
    resume after an interruption, run the same command again. A failed evaluation is reported, the others still run, and
    the exit code is 1. The table is saved as RESULTS/experiments/NAME-DATA-HASH.json and .csv.

    With --workers the trainings are divided among processes of this machine, with --on each is a job of a cluster; each
    model is trained by one process.
    """
    from geobench.errors import SettingError, unknown_name
    from geobench.report.text import LAYOUTS

    if format not in (valid := (*LAYOUTS, "csv", "json")):
        raise unknown_name("format", format, valid)
    plan = _plan(name, options)
    if dry_run:
        _show(plan, as_json=False)
        return
    from geobench.experiments.record import make_record
    from geobench.experiments.run import run_plan
    from geobench.experiments.table import save_record, write_record
    from geobench.jobs.profile import read_profile

    progress = ConsoleProgress()
    progress.say(f"{plan.experiment.title}: {plan.trainings} trainings, {plan.evaluations} evaluations.")
    if on and workers > 1:
        raise SettingError(f"--workers {workers} are processes of this machine, and --on makes jobs; give one of them.")
    profile = read_profile(on) if on else None
    finished = run_plan(plan, workers=workers, profile=profile, folder=folder, device=device, progress=progress)
    record = make_record(finished, folder)
    saved = save_record(record, folder)
    progress.say(f"saved {saved} and {saved.with_suffix('.csv').name}.")
    finish(finished.failures, lambda: write_record(record, format, terminal_width()))


@experiment.command("report")
@click.argument("name")
@click.option(
    "--format", default="table", show_default=True, help="table, markdown, latex, latex-fragment, csv or json."
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@RESULTS
def report_experiment(name: str, format: str, output: Path | None, folder: Path) -> None:
    """Show the table of the newest run of NAME again, or that of a record (a JSON file)."""
    from geobench import files
    from geobench.experiments.table import changes_since, find_record, write_record

    path, record = find_record(name, folder)
    click.echo(f"{path}, of {record['created']}", err=True)
    changes = [*changes_since(record, folder)]
    for line in changes:
        click.echo(line, err=True)
    width = terminal_width() if output is None else None
    text = write_record(record | {"notes": [*record["notes"], *changes]}, format, width)
    if output is None:
        click.echo(text)
        return
    files.write_text(output, text + "\n")
    click.echo(f"wrote {output}", err=True)
