"""The command line: parse, call one library function, echo. Everything here works from Python too."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from geobench.errors import GeobenchError, PluginError
from geobench.progress import ConsoleProgress

RESULTS = click.option(
    "--results", "folder", type=click.Path(path_type=Path), default="results", show_default=True, help="Results folder."
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
CROPS = click.option(
    "--crops", type=click.Choice(["1", "5", "10"]), default="1", show_default=True, help="Views of each image."
)
BATCH = click.option(
    "--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images encoded together."
)
WORKERS = click.option("--workers", type=click.IntRange(0), help="Processes that decode images.  [default: chosen]")


class Commands(click.Group):
    """A group whose commands turn every error of ours into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C and SIGTERM end it with a line that says what happens next."""
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except GeobenchError as error:
            raise _Told(error) from error
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command, given again, goes on from here.", err=True)
            ctx.exit(1)
        except MemoryError as error:
            raise click.ClickException("there is no memory left; lower --batch-size, --workers or --limit.") from error
        except OSError as error:
            raise click.ClickException(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error


class _Told(click.ClickException):
    """An error of ours as click shows it: one line, with its exit code."""

    def __init__(self, error: GeobenchError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """Split ``a,b`` into names."""
    names = None if value is None else [name.strip() for name in value.split(",") if name.strip()]
    if names == []:
        raise click.BadParameter("it names nothing; names are separated by commas.")
    return names


def _numbers(ctx: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        return [int(number) for number in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of whole numbers such as 0,1,2.") from None


def _print(rows: Sequence[Mapping[Any, Any]], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    click.echo(tabulate(list(rows), headers="keys", tablefmt="simple", disable_numparse=True))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="geobench-geolocalization", prog_name="geobench")
def main() -> None:
    """Train, run and compare models that tell where on Earth a photo was taken.

    \b
    A first look, on embedded imagery:   geobench demo
    One model after another:             geobench train geoclip
                                         geobench run --models geoclip,knn --datasets bluemarble
                                         geobench report
    Your own photos:                     geobench datasets add mine --images DIR --metadata CSV

    Everything that is computed once (features, gallery embeddings, checkpoints) is kept in GEOBENCH_HOME, by default
    in your cache folder. Exit codes: 0 all well, 1 something failed, 2 wrong usage.
    """


@main.command()
@RESULTS
@DEVICE
def demo(folder: Path, device: str) -> None:
    """Train three models and the floor on embedded imagery, show the table (about three minutes on two cores)."""
    from geobench.demo import COMMANDS
    from geobench.demo import demo as run_demo

    click.echo("This stands for:\n" + "\n".join(f"  {command}" for command in COMMANDS) + "\n", err=True)
    outcome = run_demo(folder, device, ConsoleProgress())
    _finish(outcome.failures, lambda: _table(folder))


@main.command()
@click.argument("model")
@click.option("--data", default="bluemarble", show_default=True, help="Training set.")
@click.option("--encoder", help="Encoder of the features.  [default: the data set's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random in the training.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data.  [default: the model's]")
@click.option("--set", "assignments", metavar="NAME=VALUE", multiple=True, help="A hyper-parameter; repeatable.")
@CROPS
@click.option("--variant", default="", help="A named list of settings, such as paper or official for geoclip.")
@click.option("--views", type=click.IntRange(0), default=0, help="Views of each image made at random, not crops.")
@click.option("--augmentation", default="simclr", show_default=True, help="How views are made: simclr or official.")
@click.option("--live", is_flag=True, help="Make the views anew at each step, not once beforehand.")
@click.option("--limit", type=click.IntRange(1), help="Train on so many images.")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Train on this part of the images.")
@DEVICE
@WORKERS
@BATCH
@click.option("--force", is_flag=True, help="Train again where the checkpoint is there.")
def train(assignments: tuple[str, ...], crops: str, **options: Any) -> None:
    """Train MODEL and keep its checkpoint. Interrupted and given again, it goes on.

    \b
    geobench train geoclip
    geobench train geoclip --data mp16 --seed 1
    geobench train classifier --set min_images=20 --set "max_images=[2000, 500]"

    The hyper-parameters of a model, with their values: geobench models show MODEL
    """
    from geobench import train as run_train
    from geobench.settings import parse_assignments

    settings = parse_assignments(assignments)
    checkpoint = run_train(settings=settings, crops=int(crops), progress=ConsoleProgress(), **options)
    click.echo(checkpoint.spec)


@main.command()
@click.option("--models", required=True, callback=_names, help="NAME (its newest checkpoint) or NAME@CHECKPOINT, …")
@click.option("--datasets", required=True, callback=_names, help="Test sets, separated by commas.")
@click.option("--galleries", callback=_names, help="21k, land:100k, sphere:1M, FILE.csv, …  [default: the data set's]")
@click.option("--seeds", default="0", show_default=True, callback=_numbers, help="Of the galleries' draws.")
@CROPS
@click.option("--top-k", type=click.IntRange(1), default=1, show_default=True, help="Predictions kept for each image.")
@click.option("--limit", type=click.IntRange(1), help="Use so many images of each test set.")
@click.option("--subset", help="clean: score the images that `datasets audit` kept as well, from the same predictions.")
@DEVICE
@WORKERS
@BATCH
@click.option("--no-train", is_flag=True, help="Refuse a model without a checkpoint instead of training it first.")
@click.option("--force", is_flag=True, help="Evaluate again what is there.")
@RESULTS
def run(crops: str, no_train: bool, folder: Path, **options: Any) -> None:
    """Evaluate every model on every test set and gallery. What is done is kept; what fails is told at the end.

    \b
    geobench run --models geoclip,classifier --datasets gws15k
    geobench run --models geoclip --datasets im2gps3k --galleries 21k,100k,500k --seeds 0,1,2 --crops 10

    Galleries: SIZE or training:SIZE (drawn from the model's training coordinates), land:SIZE and sphere:SIZE (uniform
    by area), official:SIZE (the one released with GeoCLIP's weights, geoclip@official), or a CSV file with latitude and
    longitude.
    """
    from geobench import run as run_all

    outcome = run_all(
        crops=int(crops), train_missing=not no_train, folder=folder, progress=ConsoleProgress(), **options
    )
    answered = list(dict.fromkeys(result.dataset for result in outcome.results))
    _finish(outcome.failures, lambda: _table(folder, answered) if answered else "")


def _table(folder: Path, datasets: list[str] | None = None) -> str:
    from geobench.report import report as make_report

    return make_report("table", folder, datasets)


def _finish(failures: list[str], text: Callable[[], str]) -> None:
    """Print the outcome, then a line for each failure; exit with 1 where there is one."""
    shown = text()
    if shown:
        click.echo("\n" + shown)
    for failure in failures:
        click.echo(f"Failed: {failure}", err=True)
    if failures:
        raise click.exceptions.Exit(1)


@main.command()
@AS_JSON
@click.option("--strict", is_flag=True, help="Exit with 1 where a plugin failed to load.")
def plugins(as_json: bool, strict: bool) -> None:
    """List the plugins: distribution, what each registers, and its error where it failed to load."""
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
    _print(rows, as_json)
    if strict and plugin_errors():
        raise PluginError("; ".join(plugin_errors()))


@main.command()
@AS_JSON
def encoders(as_json: bool) -> None:
    """List the encoders; a pattern stands for every name that it fits."""
    from geobench import get_encoders

    rows = [
        {"encoder": name, "what": (factory.__doc__ or "").strip().splitlines()[0].rstrip(".")}
        for name, factory in get_encoders().items()
    ]
    _print(rows, as_json)


def _warn_of_plugins() -> None:
    from geobench.plugins import left_out

    for line in left_out():
        click.echo(f"Warning: {line}", err=True)


from geobench.cli import (  # noqa: E402  they add their commands to main
    breakdown,  # noqa: F401
    check,  # noqa: F401
    compare,  # noqa: F401
    download,  # noqa: F401
    embed,  # noqa: F401
    experiment,  # noqa: F401
    features,  # noqa: F401
    frontier,  # noqa: F401
    lists,  # noqa: F401
    predict,  # noqa: F401
    report,  # noqa: F401
    score,  # noqa: F401
)
