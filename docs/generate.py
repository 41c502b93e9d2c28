"""What cog writes into the documents, so that they cannot drift: `cog -r -I docs README.md docs/*.md`."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from tabulate import tabulate

from geobench import get_datasets, get_encoders, get_models
from geobench.cli import main
from geobench.jobs.profile import Profile, read_profile
from geobench.plugins import registry
from geobench.rounding import shown

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "results" / "reference"
OURS = "geobench-geolocalization"
LANGUAGES = {".py": "python", ".toml": "toml"}
LARGE = ("table-2a-bluemarble-1ffc7e01", "table-2b-bluemarble-6b238436")
COLUMNS = {"City 25 km": "acc_25km", "Region 200 km": "acc_200km", "Country 750 km": "acc_750km"}
WIDTH = 100  # of a help text


def models() -> str:
    """Return the table of the bundled models."""
    return _table(
        {"Model": f"`{name}`", "What it does": model.summary, "Answers from": _source(model)}
        for name, model in get_models().items()
        if _bundled("model", name)
    )


def datasets() -> str:
    """Return the table of the bundled data sets."""
    return _table(
        {
            "Data set": f"`{name}`",
            "Title": dataset.title,
            "Images": f"{dataset.count:,}" if dataset.count is not None else "–",
            "Status": dataset.status,
            "Default gallery": dataset.default_gallery,
        }
        for name, dataset in get_datasets().items()
        if _bundled("dataset", name)
    )


def encoders() -> str:
    """Return the table of the bundled encoders."""
    return _table(
        {"Encoder": f"`{name}`", "What it is": (factory.__doc__ or "").splitlines()[0].rstrip(".")}
        for name, factory in get_encoders().items()
        if _bundled("encoder", name)
    )


def results(run: str) -> str:
    """Return the tables of ``results/reference/RUN`` as the report made them when the predictions were there."""
    return (REFERENCE / run / "table.md").read_text(encoding="utf-8").strip()


def ablation() -> str:
    """Return the rows of Tables 2a and 2b on 100,000 crops of embedded imagery: mean ± deviation over the seeds."""
    return _table({"Table": name[6:8]} | row for name in LARGE for row in _experiment(name, COLUMNS))


def experiment(name: str) -> str:
    """Return our rows of the record ``name`` of an experiment: mean ± deviation over the seeds."""
    return _table(_experiment(name, COLUMNS | {"Continent 2500 km": "acc_2500km"}))


def _experiment(name: str, columns: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield our rows of the record ``name`` of an experiment: ``columns`` are the heads and their scores."""
    import pandas as pd

    record = pd.read_csv(REFERENCE / "experiments" / f"{name}.csv")
    for _, row in record[record["of"] == "ours"].iterrows():
        spread = {score: row[f"{score}_sd"] for score in columns.values()}
        yield {"Row": str(row["title"])} | {
            head: shown(row[score], 2) + ("" if pd.isna(spread[score]) else f" ± {shown(spread[score], 2)}")
            for head, score in columns.items()
        }


def hostile(what: str) -> str:
    """Return the cases of ``tests/test_reliability_WHAT.py``, each with what becomes of it."""
    spec = importlib.util.spec_from_file_location(f"reliability_{what}", ROOT / f"tests/test_reliability_{what}.py")
    assert spec is not None and spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    return _table({"Input": case.what, "Result": case.outcome} for case in cases.CASES)


def stories() -> str:
    """Return the names of the tests in ``tests/test_silent`` as sentences, by file."""
    lines = []
    for path in sorted((ROOT / "tests" / "test_silent").glob("test_*.py")):
        lines.append(f"**`{path.relative_to(ROOT).as_posix()}`**\n")
        found = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
        names = [node.name.removeprefix("test_") for node in found if node.name.startswith("test_")]
        lines += [f"- {name.replace('_', ' ')}" for name in names] + [""]
    return "\n".join(lines).rstrip()


def file(path: str) -> str:
    """Return the file ``path`` of this repository as a code block."""
    source = ROOT / path
    return f"```{LANGUAGES[source.suffix]}\n{source.read_text(encoding='utf-8').rstrip()}\n```"


def profile() -> str:
    """Return the table of what a job can ask a cluster for."""
    defaults = vars(read_profile("slurm"))
    return _table(
        {"Key": f"`{f.name}`", "Default": f"`{_toml(defaults[f.name])}`", "What it is": f.metadata["description"]}
        for f in fields(Profile)
    )


def _toml(value: Any) -> str:
    return "[]" if value == () else json.dumps(value)


def command_line() -> str:
    """Return a section with the help text of every command."""
    return "\n\n".join(_section(path) for path, _ in commands(main, ()))


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield ``command`` and all below it, each with the words that are typed after ``geobench``."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from commands(below, (*path, name))


def _section(path: tuple[str, ...]) -> str:
    asked = CliRunner().invoke(main, [*path, "--help"], prog_name="geobench", terminal_width=WIDTH)
    return f"## {' '.join(('geobench', *path))}\n\n```text\n{asked.output.rstrip()}\n```"


def _source(model: type) -> str:
    gallery = "a gallery" if model.uses_gallery else "places of its own"
    return f"{model.input}, {gallery}" if model.input != "none" else gallery


def _bundled(kind: str, name: str) -> bool:
    """Return whether this distribution brings it: the documents do not list what else is installed."""
    owner = registry().owners.get((kind, name))
    return owner is not None and owner.distribution == OURS


def _table(rows: Iterable[dict[str, str]]) -> str:
    return tabulate(list(rows), headers="keys", tablefmt="github", disable_numparse=True)
