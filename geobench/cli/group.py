"""The group ``geobench``, and what its commands share: options, and how rows, failures and errors are printed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from geobench import disk
from geobench.errors import GeobenchError, SettingError, StorageError, is_of_the_disk, is_out_of_memory
from geobench.progress import ConsoleProgress

if TYPE_CHECKING:
    from geobench.cache.leftovers import Leftover
    from geobench.results import Result

RESULTS = click.option(
    "--results", "folder", type=click.Path(path_type=Path), default="results", show_default=True, help="Results folder."
)
DATASET = click.option("--dataset", help="Only the results on this test set.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
CROPS = click.option(
    "--crops", type=click.Choice(["1", "5", "10"]), default="1", show_default=True, help="Views of each image."
)
SHARD = click.option(
    "--shard", "shard_text", metavar="I/N", help="Only the I-th of N parts of the images; then: geobench merge."
)
SHARDS = click.option("--shards", type=click.IntRange(1), help="With --on: divide the images among N jobs.")
ON = click.option(
    "--on",
    metavar="PROFILE",
    help="Run as jobs of a cluster: slurm, or a profile NAME or FILE.toml (docs/clusters.md).",
)


def check_shards(shards: int | None, on: str | None) -> None:
    """Refuse ``--shards`` without ``--on``, which would do nothing."""
    if shards is not None and not on:
        raise SettingError(
            f"--shards {shards} are jobs of a cluster: add --on slurm, or make one with --shard 1/{shards}."
        )


BATCH = click.option(
    "--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images encoded together."
)


def distances(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    """Split ``1,25`` into distances in km."""
    from geobench.plugins import LARGEST_THRESHOLD_KM

    if value is None:
        return None
    try:
        found = [float(number) for number in value.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < km <= LARGEST_THRESHOLD_KM for km in found):
        raise click.BadParameter(
            f"{value!r} is not a list of distances in km, above 0 and at most {LARGEST_THRESHOLD_KM:,}, such as "
            "1,25,100."
        )
    return list(dict.fromkeys(found))


THRESHOLDS = click.option(
    "--thresholds",
    "thresholds_km",
    metavar="KM,…",
    callback=distances,
    help="Distances of the accuracies, such as 1,25,100.  [default: the test set's]",
)
QUIET = click.Option(
    ["--quiet"],
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, parameter, value: setattr(ConsoleProgress, "quiet", value),
    help="Show no progress; results, warnings and what is saved are printed.",
)
WORKERS = click.option("--workers", type=click.IntRange(0), help="Processes that decode images.  [default: chosen]")
GROUPS = {
    "Data": {
        "datasets": "list, show, split and check data sets; add your own photos",
        "encoders": "list the image encoders",
        "features": "encode a data set's images ahead of a training or run",
        "merge": "make one of shards that other machines have worked on",
        "cache": "list and remove what lies in GEOBENCH_HOME",
        "jobs": "list, follow and cancel jobs of a cluster",
    },
    "Train and run": {
        "demo": "train and compare five models on embedded imagery",
        "models": "list the models and their trainings",
        "train": "train a model and save its checkpoint",
        "run": "evaluate models on test sets and galleries",
        "predict": "locate photos or texts",
        "experiment": "reproduce a paper's table, or run a grid of your own",
        "plugins": "list what is installed, and what registers it",
    },
    "Analyse": {
        "breakdown": "scores by continent, country, region or any column",
        "calibration": "whether a model knows when it is right",
        "compare": "the difference between two results, with its interval",
        "ceiling": "the best scores that a gallery allows",
        "frontier": "what a larger gallery brings and costs",
        "answers": "what answers in words are worth and cost",
        "samples": "draw sample photos by level of error",
        "replay": "score the same predictions by the rules of others",
        "probe": "what location features are worth in another task",
    },
    "Share": {
        "report": "results as tables: terminal, Markdown, LaTeX, CSV, HTML",
        "score": "score predictions that others made, in a file",
        "embed": "write location embeddings for use elsewhere",
    },
}
"""The commands in a line each, as ``geobench --help`` shows them."""
STOPPED, TERMINATED = 130, 143  # exit codes, as a shell has them for SIGINT and SIGTERM
RESUMABLE = "geobench.resumable"  # in a context's meta: the command, given again, resumes
P = ParamSpec("P")
R = TypeVar("R")


class Commands(click.Group):
    """A group whose commands turn every error of geobench into one line."""

    group_class = type  # groups in it are of its kind

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C and SIGTERM end it with a line that says how to resume."""
        signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of a job of a shell in the background
            signal.signal(signal.SIGINT, _interrupt)
        try:
            return super().invoke(ctx)
        except GeobenchError as error:
            raise _OneLine(error) from error
        except KeyboardInterrupt as stop:
            resumes = " The same command, given again, resumes from here." if ctx.meta.get(RESUMABLE) else ""
            click.echo(f"\nStopped.{resumes}", err=True)
            ctx.exit(TERMINATED if isinstance(stop, _Terminated) else STOPPED)
        except BrokenPipeError:  # the reader of the output, such as head, has closed it; click ends quietly
            raise
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise click.ClickException("out of memory; lower --batch-size, --workers or --limit.") from error
        except OSError as error:
            found = _not_written(error)
            if found is not None:
                raise _OneLine(found) from error
            raise click.ClickException(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and to each that does something the option ``--quiet``."""
        super().add_command(cmd, name)
        if not isinstance(cmd, click.Group) and QUIET not in cmd.params:
            cmd.params.append(QUIET)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under the headings of :data:`GROUPS`; those of a group of commands are one list."""
        if ctx.parent is not None:
            with formatter.section("Commands"):
                formatter.write_dl(
                    [(name, cmd.get_short_help_str(1000)) for name, cmd in sorted(self.commands.items())]
                )
            return
        for heading, lines in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl(list(lines.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; help that cannot be written, which click prints by itself, is one line as well."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            found = _not_written(error)
            if found is None:
                raise
            click.echo(f"Error: {found}", err=True)
            sys.exit(1)


def _not_written(error: OSError) -> StorageError | None:
    """Return the error that a file cannot be written, or the output, which has no name; None if it is another."""
    if error.filename is None:
        echoed = any(frame.f_globals["__name__"] == "click.utils" for frame, _ in walk_tb(error.__traceback__))
        return disk.not_written(error, _output()) if echoed and is_of_the_disk(error) else None
    path = Path(os.fsdecode(error.filename))
    is_new = os.access(path.parent, os.X_OK) and not path.exists()  # nothing that could be read
    if is_of_the_disk(error) or error.errno == errno.EROFS or is_new:
        return disk.not_written(error, path)
    return None


def _output() -> Path:
    """Return the file that standard output was redirected to, where the system tells."""
    link = Path("/proc/self/fd/1")
    return link.resolve() if link.exists() else Path("the output")


class _OneLine(click.ClickException):
    """An error of geobench as click shows it: one line, with its exit code."""

    def __init__(self, error: GeobenchError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]


class _Stopped(KeyboardInterrupt):
    """SIGINT. Not KeyboardInterrupt itself: if that leaves code which a library ran from C, as torch does at import,
    ``python -m`` exits with SIGINT although the exception was caught."""


class _Terminated(_Stopped):
    """SIGTERM."""


def _interrupt(number: int, frame: object) -> None:
    raise _Terminated if number == signal.SIGTERM else _Stopped


def resumable(command: Callable[P, R]) -> Callable[P, R]:
    """Mark a command that saves what is done: interrupted and given again, it resumes.

    It first removes what others left that were killed.
    """

    @wraps(command)
    def marked(*args: P.args, **kwargs: P.kwargs) -> R:
        click.get_current_context().meta[RESUMABLE] = True
        _sweep()
        return command(*args, **kwargs)

    return marked


def _sweep() -> None:
    """Remove leftovers of killed processes, more than an hour old, and say so; one process of a group does."""
    from geobench.cache.leftovers import HOUR_S, sweep

    if os.environ.get("RANK", "0") == "0" and (line := swept_line(sweep(HOUR_S))):
        click.echo(line, err=True)


def swept_line(swept: Sequence[Leftover]) -> str:
    """Return what was swept in one line, empty if nothing was."""
    number = "1 leftover" if len(swept) == 1 else f"{len(swept):,} leftovers"
    return f"removed {number} of killed processes ({in_units(sum(one.bytes for one in swept))})." if swept else ""


def names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """Split ``a,b`` into names."""
    names = None if value is None else [name.strip() for name in value.split(",") if name.strip()]
    if names == []:
        raise click.BadParameter("it contains no name; separate names by commas.")
    return names


MODELS = click.option(
    "--models",
    required=True,
    callback=names,
    help="NAME (its newest full training), NAME@DATA (the newest on that set), NAME@CHECKPOINT, …",
)
TRAINED_ON = click.option(
    "--trained-on", metavar="DATA", help="Training set of all models; those without a full training on it are trained."
)
ALLOW_MIXED = click.option(
    "--allow-mixed", is_flag=True, help="Compare models trained on different data or with different encoders."
)


def specs(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """Split ``21k,land:100k,FILE`` into galleries; the path of a file that exists may itself contain commas."""
    if names(ctx, parameter, value) is None or value is None:
        return None
    parts, joined = value.split(","), []
    while parts:
        whole = next((n for n in range(len(parts), 1, -1) if _is_file(",".join(parts[:n]))), 1)
        joined.append(",".join(parts[:whole]).strip())
        parts = parts[whole:]
    return [spec for spec in joined if spec]


def _is_file(spec: str) -> bool:
    """Return whether ``spec`` is a file that exists, with or without the names of its columns behind it."""
    path, mark, columns = spec.strip().rpartition("#")
    candidates = [spec.strip(), path] if mark and "," not in columns else [spec.strip()]
    return any(Path(candidate).expanduser().is_file() for candidate in candidates)


def numbers(ctx: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Split ``0,1`` into whole numbers."""
    try:
        return [int(number) for number in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 0,1,2.") from None


def counted(n: int, what: str) -> str:
    """Return ``1 image`` or ``2,000 images``."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def in_units(size: int) -> str:
    """Return a number of bytes in the largest unit that fits: ``1.5 GB``."""
    unit, name = next(
        (unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if size >= unit or unit == 1
    )
    return f"{size / unit:,.1f} {name}"


def print_rows(rows: Sequence[Mapping[Any, Any]], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    click.echo(tabulate(list(rows), headers="keys", tablefmt="simple", disable_numparse=True))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="geobench-geolocalization", prog_name="geobench")
def main() -> None:
    """Train, run and compare models that predict where on Earth a photo was taken.

    \b
    A first look, on embedded imagery:   geobench demo
    One model after another:             geobench train geoclip
                                         geobench run --models geoclip,knn --datasets bluemarble
                                         geobench report
    Your own photos:                     geobench datasets add mine --images DIR --metadata CSV

    Expensive results (features, gallery embeddings, checkpoints) are cached in GEOBENCH_HOME, by default in your cache
    folder; `geobench cache` lists them. Exit codes: 0 success, 1 something failed, 2 wrong usage, 130 stopped by
    Ctrl-C, 143 by SIGTERM.
    """


def results_table(
    folder: Path,
    datasets: list[str] | None = None,
    thresholds_km: Sequence[float] | None = None,
    shown: Collection[str] = (),
) -> str:
    """Return the table of the results in ``folder``, by default on all test sets.

    Of the results for one entry those with the keys ``shown`` count, even if there are newer ones.
    """
    from geobench.report.formats import report as make_report

    return make_report("table", folder, datasets, thresholds_km=thresholds_km, shown=shown, width=terminal_width())


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is shown in; None if it goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_doubts(results: Sequence[Result], aside: bool) -> None:
    """Print what would make a reader doubt ``results``, a line each; ``aside`` to stderr, where the output is data."""
    from geobench.report.doubts import doubts_of

    for text in doubts_of(results):
        click.echo(text, err=aside)


def finish(failures: list[str], text: Callable[[], str]) -> None:
    """Print ``text``, then a line for each failure; exit with 1 if there is one."""
    shown = text()
    if shown:
        click.echo("\n" + shown)
    for failure in failures:
        click.echo(f"Failed: {failure}", err=True)
    if failures:
        raise click.exceptions.Exit(1)


def warn_of_plugins() -> None:
    """Print a warning for each plugin or data set that was left out."""
    from geobench.plugins import left_out

    for line in left_out():
        click.echo(f"Warning: {line}", err=True)
