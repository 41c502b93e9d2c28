"""The commands ``geobench cache``: bare, it lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, P, R, in_units, main, names, print_rows, swept_line

if TYPE_CHECKING:
    from geobench.cache.entries import Entry
    from geobench.cache.removal import Selection

WIDTH = 32
"""Characters of a column of words."""
UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def age_s(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float:
    """Return the seconds in ``12h``, ``30d``, ``8w`` or ``1y``; 0 if none are given."""
    if value is None:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdwy])", value.strip())
    if not match or not float(match[1]):
        raise click.BadParameter(f"{value!r} is no age; use hours, days, weeks or years: 12h, 30d, 8w, 1y.")
    return float(match[1]) * UNITS_S[match[2]]


def _selects(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that select entries."""
    for option in (
        click.option(
            "--older-than",
            "older_than_s",
            metavar="AGE",
            callback=age_s,
            help="Not used for so long: 12h, 30d, 8w, 1y.",
        ),
        click.option("--dataset", default="", help="Made of this data set, or of a model trained on it."),
        click.option("--kind", "kinds", metavar="KIND,…", callback=names, help="Of these kinds: features,galleries."),
    ):
        command = option(command)
    return command


def _selection(kinds: list[str] | None, **options: Any) -> Selection:
    from geobench.cache.removal import Selection

    return Selection(kinds=kinds or (), **options)


@main.group(invoke_without_command=True)
@_selects
@click.option("--entries", "each", is_flag=True, help="List each entry by its name; locks only with --kind locks.")
@AS_JSON
@click.pass_context
def cache(ctx: click.Context, /, each: bool, as_json: bool, **options: Any) -> None:
    """List what lies in GEOBENCH_HOME by kind, size and last use; `cache remove` makes room.

    \b
    geobench cache
    geobench cache --entries --kind features,galleries
    geobench cache remove --older-than 30d
    geobench cache sweep                                     # what killed processes left

    The column "removed" says when `cache remove` takes what is of a kind, "needed" how much of it checkpoints here
    refer to, which stays unless --needed is given. An entry is used when it is read or written.
    """
    if ctx.invoked_subcommand is not None:
        return
    from geobench import files
    from geobench.cache.entries import find_entries
    from geobench.cache.needs import Needs

    entries = find_entries()
    needs = Needs.of(entries)
    selected = [(entry, needs.of_entry(entry)) for entry in _selection(**options).of(entries)]
    if each and not options["kinds"]:
        selected = [(entry, user) for entry, user in selected if entry.kind.name != "locks"]
    facts = [_facts(entry, user) for entry, user in selected] if each else _by_kind(selected)
    print_rows(facts if as_json else [_row(fact) for fact in facts], as_json)
    if not as_json:
        click.echo(f"\n{in_units(sum(entry.bytes for entry, _ in selected))} in {files.home()}")


def _facts(entry: Entry, user: str) -> dict[str, Any]:
    return {
        "entry": entry.name,
        "kind": entry.kind.name,
        "dataset": ", ".join(entry.datasets),
        "what": entry.what,
        "bytes": entry.bytes,
        "last_used": _time(entry.used),
        "needed_by": user,
    }


def _by_kind(selected: Sequence[tuple[Entry, str]]) -> list[dict[str, Any]]:
    """Return a row for each kind of which there is something, in the order of the kinds."""
    from geobench.cache.kinds import KINDS

    found = []
    for kind in KINDS:
        of_kind = [(entry, user) for entry, user in selected if entry.kind is kind]
        if of_kind:
            found.append(
                {
                    "kind": kind.name,
                    "entries": len(of_kind),
                    "bytes": sum(entry.bytes for entry, _ in of_kind),
                    "bytes_needed": sum(entry.bytes for entry, user in of_kind if user),
                    "last_used": _time(max(entry.used for entry, _ in of_kind)),
                    "removed": kind.removal.value,
                    "note": kind.note,
                }
            )
    return found


def _row(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return facts as a row for people."""
    texts = {"bytes": "size", "bytes_needed": "needed", "last_used": "last used", "needed_by": "needed by"}
    return {texts.get(name, name): _text(name, value) for name, value in facts.items()}


def _text(name: str, value: Any) -> str:
    if name.startswith("bytes"):
        return in_units(value) if value else "–"
    if name == "last_used":
        return str(value)[:16].replace("T", " ")
    if name in ("note", "what", "removed"):
        return "\n".join(wrap(str(value), WIDTH)) or "–"
    return f"{value:,}" if isinstance(value, int) else value or "–"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@cache.command("remove")
@click.argument("entries", nargs=-1)
@_selects
@click.option("--needed", is_flag=True, help="Also what checkpoints here refer to; it is made again when it is needed.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
def remove(entries: tuple[str, ...], needed: bool, dry_run: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Remove ENTRIES of GEOBENCH_HOME, or those of a kind, an age or a data set.

    \b
    geobench cache remove --older-than 30d --dry-run
    geobench cache remove --kind galleries --needed --yes     # they are embedded again by the next run
    geobench cache remove checkpoints/knn/bluemarble-s0-1a2b3c4d

    Features, galleries' embeddings, fingerprints and lists of archives are made again when a command needs them, with
    the same answers. Without --needed those stay that a checkpoint here refers to, and always what a running process
    uses. Checkpoints go by name only; interrupted work, which the same command would resume, by name or --older-than.
    Answers of chat models, data sets, weights, audits and digests are never removed.
    """
    from geobench.cache.removal import plan_removal
    from geobench.cache.removal import remove as remove_entries

    plan = plan_removal(_selection(names=entries, **options), needed)
    stay = len(plan.kept)
    if not as_json:
        for line in _kept(plan.kept):
            click.echo(line, err=True)
        if plan.removed:
            print_rows([_row(_facts(entry, "")) for entry in plan.removed], as_json)
    total = _counted(plan.removed)
    if plan.removed and not dry_run:
        if not yes and not click.confirm(f"Remove {total}?", err=True):
            click.echo("Nothing is removed.", err=True)
            return
        plan = remove_entries(plan)
    if as_json:
        kept = [_facts(entry, "") | {"reason": reason} for entry, reason in plan.kept]
        removed = [_facts(entry, "") for entry in plan.removed]
        click.echo(json.dumps({"removed": removed, "kept": kept, "dry_run": dry_run}, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{'would remove' if dry_run else 'removed'} {_counted(plan.removed)}")
        for line in [] if dry_run else _kept(plan.kept[stay:]):
            click.echo(line, err=True)
    if len(set(entries)) > len(plan.removed):
        raise click.exceptions.Exit(1)


def _counted(entries: Sequence[Entry]) -> str:
    number = "1 entry" if len(entries) == 1 else f"{len(entries):,} entries"
    return f"{number} ({in_units(sum(entry.bytes for entry in entries))})"


def _kept(kept: Iterable[tuple[Entry, str]]) -> list[str]:
    """Return a line for each kind and reason of what was selected and stays."""
    from geobench.cache.removal import NEEDED

    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry, reason in kept:
        groups.setdefault((entry.kind.name, reason), []).append(entry)
    more = {NEEDED: " (--needed removes it as well)"}
    return [
        f"kept {_counted(entries)} of {kind}: {reason}{more.get(reason, '')}"
        for (kind, reason), entries in groups.items()
    ]


@cache.command("sweep")
@AS_JSON
def sweep(as_json: bool) -> None:
    """Remove what killed processes left: half-written files that no living process holds.

    Commands that can be resumed, such as `train` and `run`, do it by themselves, for leftovers of more than an hour.
    What they resume, such as an interrupted training, is no leftover: `cache remove` removes it.
    """
    from geobench import files
    from geobench.cache.leftovers import sweep as remove_leftovers

    swept = remove_leftovers()
    if as_json:
        home = files.home()
        print_rows([{"path": str(one.path.relative_to(home)), "bytes": one.bytes} for one in swept], as_json)
    else:
        click.echo(swept_line(swept) or "there are no leftovers of killed processes.")
