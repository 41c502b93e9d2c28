"""Experiments: a TOML names a grid of trainings and evaluations, and the published table that it repeats."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from types import GenericAlias
from typing import Any

from geobench.data.definitions import in_words, wrong_types
from geobench.errors import ExperimentError, UnknownNameError, unknown_name
from geobench.metrics import accuracies, ordered
from geobench.plugins import get_metric, get_metrics

CHOICES: dict[str, Any] = {
    "model": str,
    "data": str,
    "encoder": str,
    "variant": str,
    "settings": dict[str, Any],
    "views": int,
    "augmentation": str,
    "live": bool,
    "fraction": float,
    "limit": int,
    "gallery": str,
    "crops": int,
    "seeds": list[int],
}
"""What an experiment chooses for all its rows, and a row for itself: see docs/experiments.md."""
SCALARS = frozenset(CHOICES) - {"settings", "seeds"}
ROW: dict[str, Any] = CHOICES | {
    "title": str,
    "published": str,
    "source": str,
    "run": bool,
    "note": str,
    "vary": dict[str, list[Any]],
    "on": dict[str, dict[str, Any]],
}
EXPERIMENT: dict[str, Any] = CHOICES | {
    "title": str,
    "source": str,
    "notes": list[str],
    "columns": list[str],
    "datasets": list[str],
    "rows": list[dict[str, Any]],
    "on": dict[str, dict[str, Any]],
}
ON_ROW = CHOICES | {"vary": dict[str, list[Any]]}
ON_EXPERIMENT = CHOICES | {"datasets": list[str]}

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
        on: for each training set what takes the place of the choices and of the varied values there.
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
        on: for each training set what takes the place of the choices there.
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
        ExperimentError: the file is not an experiment; names the key and the nearest valid ones.
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
    _check(path, "", values, EXPERIMENT, needed=("title", "model", "data", "datasets", "rows"))
    for data, changes in values.get("on", {}).items():
        _check(path, f"on.{data}", changes, ON_EXPERIMENT)
    for score in values.get("columns", ()):
        try:
            get_metric(score)
        except UnknownNameError as error:
            raise ExperimentError(f"{path}: columns: {error}") from error
    for key in ("datasets", "rows", "seeds", "columns"):
        if values.get(key) == []:
            raise ExperimentError(f"{path}: {key} is empty, so there is nothing to run; name at least one.")
    return Experiment(
        name=path.stem,
        path=path,
        title=values["title"],
        source=values.get("source", ""),
        notes=tuple(values.get("notes", ())),
        columns=tuple(values.get("columns") or _accuracies_on(values["datasets"])),
        datasets=tuple(values["datasets"]),
        choices=_choices(values),
        on=values.get("on", {}),
        rows=tuple(_row(path, number, row) for number, row in enumerate(values["rows"], 1)),
    )


def _accuracies_on(datasets: Iterable[str]) -> list[str]:
    shown = ordered(metric for dataset in datasets for metric in accuracies(get_metrics(dataset)))
    return [metric.name for metric in shown]


def _row(path: Path, number: int, values: Mapping[str, Any]) -> ExperimentRow:
    where = f"rows[{number}]"
    _check(path, where, values, ROW, needed=("title",))
    vary = values.get("vary", {})
    for data, changes in values.get("on", {}).items():
        _check(path, f"{where}.on.{data}", changes, ON_ROW)
        for key, listed in changes.get("vary", {}).items():
            if len(listed) != len(vary.get(key, ())):
                raise ExperimentError(
                    f"{path}: {where}.on.{data}.vary.{key} has {len(listed)} values, {where}.vary.{key} "
                    f"{len(vary.get(key, ()))}; each takes the place of one."
                )
    for key, listed in [*vary.items(), ("seeds", values.get("seeds", [0]))]:
        if not listed:
            raise ExperimentError(f"{path}: {where}: {key} has no values, so there is nothing to run.")
        if key in SCALARS:
            _check_types(path, f"{where}.vary", {key: listed}, {key: GenericAlias(list, (CHOICES[key],))})
    said = {name: values[name] for name in ("source", "run", "note") if name in values}
    untold = [key for key in vary if f"{{{key}" not in values["title"]]
    return ExperimentRow(
        title=values["title"] + "".join(f", {key}={{{key}}}" for key in untold),
        published=values.get("published", values["title"]),
        choices=_choices(values),
        vary=vary,
        on=values.get("on", {}),
        **said,
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


def _check(
    path: Path, where: str, values: Mapping[str, Any], hints: Mapping[str, Any], needed: Iterable[str] = ()
) -> None:
    """Raise ``ExperimentError`` if keys are unknown or missing, or values do not have the types in ``hints``."""
    within = f"{where}: " if where else ""
    for key in values:
        if key not in hints:
            hint = "The switches of a model stand under settings." if "settings" in hints else ""
            raise ExperimentError(f"{path}: {within}{unknown_name('key', key, hints, hint)}")
    for key in needed:
        if key not in values:
            raise ExperimentError(f"{path}: {within}the key {key} is missing.")
    _check_types(path, where, values, hints)


def _check_types(path: Path, where: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for key, value, hint in wrong_types(values, hints):
        named = f"{where}.{key}" if where else key
        raise ExperimentError(f"{path}: {named} must be {in_words(hint)}, not {value!r}.")
