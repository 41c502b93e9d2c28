"""Experiments: a TOML names a grid of trainings and evaluations, and the published table that it repeats."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Required

from annotated_types import Ge, Gt, Le, MinLen
from typing_extensions import TypedDict

from geobench.errors import ExperimentError, UnknownNameError, unknown_name
from geobench.metrics import accuracies, ordered
from geobench.plugins import get_metric, get_metrics
from geobench.settings.declarations import validate

Positive = Annotated[int, Ge(1)]


class ChosenValues(TypedDict, total=False):
    """What an experiment chooses for all its rows, and a row for itself: see docs/experiments.md."""

    model: str
    data: str
    encoder: str
    variant: str
    settings: dict[str, Any]
    views: Annotated[int, Ge(0)]
    augmentation: str
    live: bool
    fraction: Annotated[float, Gt(0), Le(1)]
    limit: Positive
    gallery: str
    crops: Positive
    seeds: Annotated[list[Annotated[int, Ge(0)]], MinLen(1)]


class OnRow(ChosenValues, total=False):
    """What a row chooses instead on one training set; varied values one for one."""

    vary: dict[str, list[Any]]


class OnExperiment(ChosenValues, total=False):
    """What an experiment chooses instead on one training set."""

    datasets: Annotated[list[str], MinLen(1)]


class RowTable(ChosenValues, total=False):
    """A table ``[[rows]]`` of an experiment's TOML."""

    title: Required[str]
    published: str
    source: str
    run: bool
    note: str
    vary: dict[str, Annotated[list[Any], MinLen(1)]]
    on: dict[str, OnRow]


class ExperimentTable(ChosenValues, total=False):
    """The TOML of an experiment."""

    title: Required[str]
    model: Required[str]  # type: ignore[misc]  # only here must it be given
    data: Required[str]  # type: ignore[misc]  # likewise
    datasets: Required[Annotated[list[str], MinLen(1)]]
    rows: Required[Annotated[list[RowTable], MinLen(1)]]
    source: str
    notes: list[str]
    columns: Annotated[list[str], MinLen(1)]
    on: dict[str, OnExperiment]


CHOICES = frozenset(ChosenValues.__annotations__)
SCALARS = CHOICES - {"settings", "seeds"}
HINT = "Hyper-parameters of a model go under settings."

Choices = Mapping[str, Any]


@dataclass(frozen=True)
class ExperimentRow:
    """One row of the table, or as many as the values that it varies make.

    Attributes:
        title: of the row; ``{queue_length}`` stands for the value of what varies.
        published: title of the published row that it repeats, likewise; empty for none.
        source: of that row, if it is not the experiment's.
        run: False for a row of which only the published figures are shown; ``note`` says why.
        choices: what it chooses itself.
        vary: for each choice or setting the values that it takes; several are multiplied.
        on: for each training set the choices and varied values that replace these there.
    """

    title: str
    published: str
    source: str = ""
    run: bool = True
    note: str = ""
    choices: Choices = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def points(self, data: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield what varies, at each point of the row's grid: as the file has it, and as it is on ``data``."""
        here = {**self.vary, **self.on.get(data, {}).get("vary", {})}
        for there, own in zip(product(*self.vary.values()), product(*here.values()), strict=True):
            yield dict(zip(self.vary, there, strict=True)), dict(zip(here, own, strict=True))

    def without(self, key: str) -> ExperimentRow:
        """Return the row with ``key`` no longer varied."""
        on = {data: {**changes, "vary": _less(changes.get("vary", {}), key)} for data, changes in self.on.items()}
        return replace(self, vary=_less(self.vary, key), on=on)

    def __len__(self) -> int:
        return math.prod(map(len, self.vary.values()))


@dataclass(frozen=True)
class Experiment:
    """A grid and the layout of its table.

    Attributes:
        name: that of its file, without the suffix.
        path: the file.
        title: of the table.
        source: of the published rows that it repeats, as :func:`geobench.published.rows.published_rows` names it.
        notes: what cannot be repeated, and anything else a reader must know.
        columns: names of metrics; by default the accuracies of its test sets.
        datasets: test sets.
        choices: for all rows.
        on: for each training set the choices that replace these there.
        rows: of the table, in its order.
    """

    name: str
    path: Path
    title: str
    source: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    datasets: tuple[str, ...]
    choices: Choices
    on: Mapping[str, Choices]
    rows: tuple[ExperimentRow, ...]


def experiment_names() -> list[str]:
    """Return the names of the bundled experiments."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def get_experiment(name: str) -> Experiment:
    """Return the experiment ``name``: a bundled one, or the path of a TOML file.

    Raises:
        UnknownNameError: no such experiment.
        ExperimentError: the file is not an experiment; names the key and what is valid.
    """
    if name.endswith(".toml"):
        return read_experiment(Path(name))
    if name not in experiment_names():
        hint = "Your own is a file: geobench experiment run FILE.toml"
        raise unknown_name("experiment", name, experiment_names(), hint)
    return read_experiment(_folder() / f"{name}.toml")


def _folder() -> Path:
    from geobench_experiments import FOLDER

    return Path(FOLDER)


def read_experiment(path: Path) -> Experiment:
    """Return the experiment in the file ``path``; raise ``ExperimentError`` if it is not one."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExperimentError(f"{path}: there is no such file.") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} is not an experiment: {error}.") from error
    table = validate(ExperimentTable, values, str(path), ExperimentError, HINT)
    for score in table.get("columns", ()):
        try:
            get_metric(score)
        except UnknownNameError as error:
            raise ExperimentError(f"{path}: columns: {error}") from error
    return Experiment(
        name=path.stem,
        path=path,
        title=table["title"],
        source=table.get("source", ""),
        notes=tuple(table.get("notes", ())),
        columns=tuple(table.get("columns") or _accuracies_on(table["datasets"])),
        datasets=tuple(table["datasets"]),
        choices=_choices(table),
        on=table.get("on", {}),
        rows=tuple(_row(f"{path}: rows[{number}]", row) for number, row in enumerate(table["rows"], 1)),
    )


def _accuracies_on(datasets: Iterable[str]) -> list[str]:
    shown = ordered(metric for dataset in datasets for metric in accuracies(get_metrics(dataset)))
    return [metric.name for metric in shown]


def _row(where: str, row: RowTable) -> ExperimentRow:
    vary = row.get("vary", {})
    for data, changes in row.get("on", {}).items():
        for key, listed in changes.get("vary", {}).items():
            if len(listed) != len(vary.get(key, ())):
                raise ExperimentError(
                    f"{where}.on.{data}.vary.{key} has {len(listed)} values and vary.{key} {len(vary.get(key, ()))}; "
                    f"each replaces one."
                )
    for key in SCALARS & vary.keys():
        for value in vary[key]:
            validate(ChosenValues, {key: value}, f"{where}.vary", ExperimentError)
    unnamed = [key for key in vary if f"{{{key}" not in row["title"]]
    return ExperimentRow(
        title=row["title"] + "".join(f", {key}={{{key}}}" for key in unnamed),
        published=row.get("published", row["title"]),
        source=row.get("source", ""),
        run=row.get("run", True),
        note=row.get("note", ""),
        choices=_choices(row),
        vary=vary,
        on=row.get("on", {}),
    )


def _choices(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in CHOICES}


def _less(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


def merged(*layers: Choices) -> dict[str, Any]:
    """Return the choices of ``layers``, the last the strongest; their settings are joined."""
    found: dict[str, Any] = {}
    for layer in layers:
        found |= {key: value for key, value in layer.items() if key != "settings"}
        found["settings"] = {**found.get("settings", {}), **layer.get("settings", {})}
    return found
