"""The command ``geobench datasets download``: show what would be fetched, ask, fetch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, goes_on, print_rows
from geobench.cli.lists import datasets
from geobench.progress import ConsoleProgress

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.data.download.download import Item


@datasets.command("download")
@click.argument("name")
@click.option("--split", default="", help="Only what this split needs, such as test.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--take-changed", is_flag=True, help="Take a file that is not what was downloaded before.")
@AS_JSON
@goes_on
def download_dataset(name: str, split: str, yes: bool, take_changed: bool, as_json: bool) -> None:
    """Download the data set NAME: shows licence, size and sources, and asks first.

    \b
    geobench datasets download im2gps3k
    geobench datasets download osv5m --split test --yes

    A download that was cut goes on when the command is given again. Every file is verified where its size or hash is
    known, and recorded in downloads.json beside it. No other command downloads a data set.
    """
    from geobench import get_dataset
    from geobench.data.download.download import download, plan

    dataset = get_dataset(name)
    items = plan(dataset, split)
    if items:
        _show(dataset, items)
    if any(not item.there and item.source.urls for item in items) and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"nobody is there to agree to the download of {name}; give --yes to go ahead.")
        click.confirm("Download this?", abort=True, err=True)
    if dataset.status == "embedded":
        click.echo(f"{name} is part of geobench; there is nothing to download.")
        return
    outcome = download(dataset, split, take_changed=take_changed, progress=ConsoleProgress())
    print_rows([_row(entry, as_json) for entry in outcome.files], as_json)
    for failure in outcome.failures:
        click.echo(f"Failed: {failure}", err=True)
    if outcome.failures:
        raise click.exceptions.Exit(1)
    click.echo(f"{name} is here; look it over: geobench datasets check {name}", err=True)


def _show(dataset: Dataset, items: Sequence[Item]) -> None:
    """Say what the set is, and where its files come from and go to."""
    from tabulate import tabulate

    click.echo(f"{dataset.title} ({dataset.name}), {dataset.status}", err=True)
    for what in ("licence", "citation", "homepage", "note", "obtain"):
        if value := getattr(dataset, what):
            click.echo(f"{what}: {value}", err=True)
    click.echo(f"folder: {dataset.folder}\n", err=True)
    rows = [_group(list(group)) for _, group in groupby(items, lambda item: item.source.pattern)]
    click.echo(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True) + "\n", err=True)
    left = [item.source for item in items if not item.there]
    if left:
        known, unstated = sum(item.bytes_left for item in items), any(not (s.size or s.about) for s in left)
        sizes = ([_in_units(known)] if known else []) + (["what is not stated"] if unstated else [])
        click.echo(f"to come: {len(left):,} files, {' and '.join(sizes)}\n", err=True)


def _group(items: Sequence[Item]) -> dict[str, str]:
    """Return the row of one source, which may stand for several files."""
    from geobench.data.download.web import host

    source, there = items[0].source, sum(item.there for item in items)
    begun = sum(item.bytes_here for item in items if not item.there)
    here = "yes" if there == len(items) else f"{there:,} of {len(items):,}" if there else "no"
    return {
        "file": source.pattern,
        "what": source.what,
        "size": _size(source.size, source.about, len(items)),
        "verified by": "sha256" if source.sha256 else "size" if source.size else "nothing, but recorded",
        "from": ", ".join(dict.fromkeys(host(url) for url in source.urls)) or f"by hand: {source.page}",
        "here": f"{here}, and {begun / 1e6:,.0f} MB of the rest" if begun else here,
    }


def _size(size: int | None, about: int, number: int) -> str:
    if not size and not about:
        return "not stated"
    return _in_units(size * number) if size else f"about {_in_units(about * number)}"


def _in_units(size: int) -> str:
    unit, name = next(
        (unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if size >= unit or unit == 1
    )
    return f"{size / unit:,.1f} {name}"


def _row(entry: dict[str, Any], as_json: bool) -> dict[str, Any]:
    if as_json:
        return entry
    return {
        "file": entry["file"],
        "what": entry["what"],
        "bytes": f"{entry['size']:,}",
        "sha256": entry.get("sha256", "")[:12] or "not known",
        "downloaded": entry.get("downloaded", "by hand")[:10],
    }
