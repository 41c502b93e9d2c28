"""The commands ``geobench jobs``: bare, it lists the jobs of a cluster."""

from __future__ import annotations

import time

import click

from geobench.cli.group import AS_JSON, main, print_rows

POLL_S = 1.0
NEWEST = 3
"""Commands whose jobs are listed by default."""


@main.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help=f"Of all commands, not only of the last {NEWEST}.")
@AS_JSON
@click.pass_context
def jobs(context: click.Context, everything: bool, as_json: bool) -> None:
    """List the jobs that commands with --on have submitted: state, node, time and log of each.

    \b
    geobench jobs
    geobench jobs log 12_3 --follow
    geobench jobs cancel 12_3
    geobench jobs cancel 20260131-091500-1f2e3d

    A job that is done has a result, whatever the cluster says of it. Jobs that were preempted or ran out of time wait
    and go on by themselves; of one that died its task is submitted once more.
    """
    if context.invoked_subcommand is not None:
        return
    from geobench.jobs.launches import launches, states

    rows = [
        {
            "launch": launch.name,
            "what": launch.what,
            "job": job.id,
            "task": job.label,
            "state": state.words,
            "node": state.nodes,
            "time": state.time,
            "log": str(launch.log(job)),
        }
        for launch in launches()[: None if everything else NEWEST]
        for job, state in states(launch).items()
    ]
    if rows or as_json:
        print_rows(rows if as_json else [_shown(row) for row in rows], as_json)
    else:
        click.echo("No job was submitted from this home. To submit some: geobench experiment run NAME --on slurm")


def _shown(row: dict[str, str]) -> dict[str, str]:
    """Return a row as the terminal has it: without the log, whose path ``jobs log`` finds."""
    return {name: value for name, value in row.items() if name != "log"}


@jobs.command()
@click.argument("job")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--rank", type=click.IntRange(0), default=0, show_default=True, help="Of the job's processes.")
def log(job: str, follow: bool, rank: int) -> None:
    """Show what JOB has printed."""
    from geobench.errors import GeobenchError
    from geobench.jobs.launches import find_job, queued

    launch, record = find_job(job)
    path, shown = launch.log(record, rank), 0
    while True:
        alive = follow and (launch.name, record.id) in queued()
        if path.exists():
            with path.open("rb") as file:
                file.seek(shown)
                text = file.read()
            shown += len(text)
            click.echo(text.decode(errors="replace"), nl=False)
        if not alive:
            break
        time.sleep(POLL_S)
    if not path.exists():
        raise GeobenchError(f"{path}: nothing yet; the job has not begun, or its log is on another machine.")


@jobs.command()
@click.argument("which", nargs=-1, required=True)
def cancel(which: tuple[str, ...]) -> None:
    """Cancel jobs, or all of a launch. What they have done and saved is kept; the command given again goes on."""
    from geobench.jobs.launches import cancel as cancel_jobs

    for name in which:
        numbers = cancel_jobs(name)
        click.echo(f"cancelled {', '.join(numbers)}." if numbers else f"{name}: none of its jobs waits or runs.")
