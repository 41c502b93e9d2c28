"""The record of an experiment on disk, and its table in every format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geobench import files
from geobench.errors import ResultError, UnknownNameError, unknown_name
from geobench.experiments.record import SCHEMA
from geobench.metrics import Metric, headings
from geobench.plugins import get_metric
from geobench.report.current import TestSetsHere
from geobench.report.tables import FIXED, NONE, Entry, Table, as_published
from geobench.report.text import LAYOUTS
from geobench.results import FOLDER, load_result
from geobench.rounding import shown

FORMATS = (*LAYOUTS, "csv", "json")


def save_record(record: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write the record as JSON and its lines as CSV, below ``folder``; return the path of the JSON."""
    stem = f"{record['experiment']}-{record['data']}-{record['key'][:8]}"
    path = folder / "experiments" / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', stem)}.json"
    files.write_json(path, record)
    files.write_text(path.with_suffix(".csv"), write_record(record, "csv") + "\n")
    return path


def find_record(name: str, folder: Path = FOLDER) -> tuple[Path, dict[str, Any]]:
    """Return the newest record of the experiment ``name`` below ``folder``, or the record whose path ``name`` is.

    Raises:
        ResultError: there is none, or it is damaged; says which command makes one.
    """
    paths = [Path(name)] if name.endswith(".json") else list((folder / "experiments").glob("[!.]*.json"))
    found = []
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["schema"] != SCHEMA or not record["lines"]:
                raise ValueError(f"form {record['schema']}, this version reads form {SCHEMA}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(f"{path} is not a record of an experiment ({error}); run it again.") from error
        if name.endswith(".json") or record["experiment"] == Path(name).stem:
            found.append((path, record))
    if not found:
        raise ResultError(f"no run of {name} in {folder}; make one: geobench experiment run {name}")
    return max(found, key=lambda pair: pair[1]["created"])


def changes_since(record: Mapping[str, Any], folder: Path = FOLDER) -> Iterator[str]:
    """Yield a line for each test set that is another one on this machine than when the record was made.

    Evaluations whose results are no longer in ``folder`` tell nothing.
    """
    here = TestSetsHere()
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for name in dict.fromkeys(cell["result"] for cell in record["cells"] if cell["result"]):
        try:
            result = load_result(folder / name, predictions=True)
        except ResultError:
            continue
        if changes := here.changes(result):
            found[result.dataset, changes] = None
    for dataset, changes in found:
        text = f"{dataset} on this machine has changed since this table was made: {', '.join(changes)}"
        yield f"{text}; run the experiment again."


def write_record(record: Mapping[str, Any], format: str = "table", width: int | None = None) -> str:
    """Return the table of a record as text; ``format`` is one of ``FORMATS``, ``width`` that of a terminal."""
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if format == "json":
        return json.dumps(record, indent=2, ensure_ascii=False)
    if format == "csv":
        import pandas as pd

        flat = [{key: _joined(value) for key, value in line.items()} for line in record["lines"]]
        return str(pd.DataFrame(flat).to_csv(index=False)).rstrip("\n")
    fit = {"width": width} if format == "table" else {}
    return LAYOUTS[format]([_table(record)], **fit)


def _joined(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _table(record: Mapping[str, Any]) -> Table:
    metrics = [_metric(name) for name in record["columns"]]
    lines = [_entries(line, metrics) for line in record["lines"]]
    return Table(f"{record['title']} ({record['data']})", lines, len(lines), list(record["notes"]))


def _metric(name: str) -> Metric:
    """Return the metric of a column; one that is no longer registered is called by its name."""
    try:
        return get_metric(name)
    except UnknownNameError:
        return Metric(name, name, kind="whole", whole=lambda images: float("nan"))


def _entries(line: Mapping[str, Any], metrics: Sequence[Metric]) -> dict[str, Entry]:
    ours, heads = line["of"] == "ours", headings(metrics, FIXED)
    return {
        "Model": Entry(line["title"]),
        "Of": Entry(_whose(line)),
        "Test set": Entry(line["dataset"]),
        "Gallery": Entry((line.get("gallery") or (NONE if ours else "")).partition("|")[0]),
        "n": Entry("" if line["n"] is None else f"{line['n']:,}"),
        **{heads[metric.name]: _score(line, metric) for metric in metrics},
        "Published": Entry(line.get("verdict", "")),
    }


def _whose(line: Mapping[str, Any]) -> str:
    if line["of"] != "ours":
        return f"paper, {line['source'].rpartition(', ')[2]}"
    if line.get("failed"):
        return "ours: failed"
    there, asked = len(line["seeds"]), line["asked_seeds"]
    if there == asked:
        return f"ours, {there} seeds" if there > 1 else "ours"
    return f"ours, {there} of {asked} seeds"


def _score(line: Mapping[str, Any], metric: Metric) -> Entry:
    name, digits = metric.name, metric.comparison_digits
    value = line.get(name)
    if value is None:
        return Entry("")
    if line["of"] != "ours":
        return Entry(as_published(value), value=value)
    best, deviation = name in line["best"], line.get(f"{name}_sd")
    if deviation is not None:
        return Entry(f"{shown(value, digits)} ± {shown(deviation, digits)}", best=best, value=value)
    low, high = line.get(f"{name}_low"), line.get(f"{name}_high")
    below = "" if low is None or high is None else f"[{shown(low, digits)}, {shown(high, digits)}]"
    return Entry(shown(value, digits), below, best, value)
