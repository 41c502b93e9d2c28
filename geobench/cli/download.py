"""The command ``geobench datasets download``: show what would be downloaded, ask, download."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from geobench.cli.group import AS_JSON, in_units, print_rows, resumable
from geobench.cli.lists import datasets
from geobench.progress import ConsoleProgress

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.data.download.download import PlannedFile
    from geobench.data.remote_files import RemoteFile


@datasets.command("download")
@click.argument("name")
@click.option("--split", default="", help="Only what this split needs, such as test.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--accept-changed", is_flag=True, help="Accept a file that differs from the one downloaded before.")
@AS_JSON
@resumable
def download_dataset(name: str, split: str, yes: bool, accept_changed: bool, as_json: bool) -> None:
    """Download the data set NAME: show licence, size and addresses, and ask first.

    \b
    geobench datasets download im2gps3k
    geobench datasets download osv5m --split test --yes

    An interrupted download resumes when the command is given again. Every file is verified if its size or hash is
    known, and recorded in downloads.json next to it. Files on the Hugging Face hub use your token (HF_TOKEN, or
    `hf auth login`), mirror (HF_ENDPOINT) and cache. No other command downloads a data set.
    """
    from geobench import get_dataset
    from geobench.data.download.download import download, plan

    dataset = get_dataset(name)
    planned = plan(dataset, split)
    if planned:
        _show(dataset, planned)
    if any(not file.present and file.remote.urls for file in planned) and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"there is no terminal to confirm the download of {name}; give --yes to go ahead.")
        click.confirm("Download this?", abort=True, err=True)
    if dataset.status == "embedded":
        click.echo(f"{name} is part of geobench; there is nothing to download.")
        return
    summary = download(dataset, split, accept_changed=accept_changed, progress=ConsoleProgress())
    print_rows([_row(entry, as_json) for entry in summary.files], as_json)
    for failure in summary.failures:
        click.echo(f"Failed: {failure}", err=True)
    if summary.failures:
        raise click.exceptions.Exit(1)
    click.echo(f"{name} is complete; check it with: geobench datasets check {name}", err=True)


def _show(dataset: Dataset, planned: Sequence[PlannedFile]) -> None:
    """Print what the data set is, and where its files come from and go to."""
    from tabulate import tabulate

    click.echo(f"{dataset.title} ({dataset.name}), {dataset.status}", err=True)
    for key in ("licence", "citation", "homepage", "note", "obtain"):
        if value := getattr(dataset, key):
            click.echo(f"{key}: {value}", err=True)
    click.echo(f"folder: {dataset.folder}\n", err=True)
    rows = [_group(list(group)) for _, group in groupby(planned, lambda file: file.remote.pattern)]
    click.echo(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True) + "\n", err=True)
    missing = [file.remote for file in planned if not file.present]
    if missing:
        known = sum(file.bytes_left for file in planned)
        unstated = any(not (remote.size or remote.about) for remote in missing)
        sizes = ([in_units(known)] if known else []) + (["an unstated amount"] if unstated else [])
        click.echo(f"to download: {len(missing):,} files, {' and '.join(sizes)}\n", err=True)


def _group(planned: Sequence[PlannedFile]) -> dict[str, str]:
    """Return the row of one entry of the definition, which may stand for several files."""
    from geobench.data.download.hub import address_in_use
    from geobench.data.download.web import host

    remote, present = planned[0].remote, sum(file.present for file in planned)
    partial = sum(file.bytes_here for file in planned if not file.present)
    hosts = [host(address_in_use(url)) for url in remote.urls]
    cached = sum(file.in_hub_cache for file in planned)
    here = "yes" if present == len(planned) else f"{present:,} of {len(planned):,}" if present else "no"
    here += f", {cached:,} in the hub's cache" if cached else ""
    return {
        "file": remote.pattern,
        "what": remote.what,
        "size": _size(remote.size, remote.about, len(planned)),
        "verified by": _verified_by(remote),
        "from": ", ".join(dict.fromkeys(hosts)) or f"by hand: {remote.page}",
        "here": f"{here}, and {partial / 1e6:,.0f} MB of the rest" if partial else here,
    }


def _verified_by(remote: RemoteFile) -> str:
    from geobench.data.download.hub import parse_address

    if remote.sha256:
        return "sha256"
    if remote.size:
        return "size"
    return "what the hub states" if any(map(parse_address, remote.urls)) else "nothing, but recorded"


def _size(size: int | None, about: int, number: int) -> str:
    if not size and not about:
        return "not stated"
    return in_units(size * number) if size else f"about {in_units(about * number)}"


def _row(entry: dict[str, Any], as_json: bool) -> dict[str, Any]:
    if as_json:
        return entry
    return {
        "file": entry["file"],
        "what": entry["what"],
        "bytes": f"{entry['size']:,}",
        "sha256": entry.get("sha256", "")[:12] or "unknown",
        "downloaded": entry.get("downloaded", "by hand")[:10],
    }
