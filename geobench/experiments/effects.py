"""Choices of an experiment that would have no effect are refused: rows would repeat figures under other titles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geobench.errors import ExperimentError
from geobench.experiments.definitions import SCALARS, Experiment, ExperimentRow
from geobench.experiments.plans import TRAIN_OPTIONS, PlannedRow, trains
from geobench.plugins import get_model_class

if TYPE_CHECKING:
    from geobench.experiments.planning import Changes

OF_FEATURES = frozenset({"encoder", "views", "augmentation", "live", "crops"})


def without_effect(model: str) -> dict[str, str]:
    """Return the choices that change nothing about ``model``, a name or ``NAME@CHECKPOINT``, each with the reason."""
    model_class = get_model_class(model.partition("@")[0])
    found: dict[str, str] = {}
    if not trains(model):
        of_training = {*TRAIN_OPTIONS, "seeds"} - (set() if model_class.trainable else {"settings"})
        found |= dict.fromkeys(of_training, f"{model} is used as it is, not trained")
    if model_class.input != "features":
        found |= dict.fromkeys(OF_FEATURES, f"{model} uses no features")
    if not model_class.uses_gallery:
        found["gallery"] = f"{model} uses no gallery"
    return found


def refuse_ineffective(experiment: Experiment, row: ExperimentRow, data: str, model: str) -> None:
    """Raise ``ExperimentError`` if ``row`` chooses or varies something that has no effect on its ``model``."""
    reasons = without_effect(model)
    here = row.on.get(data, {})
    for choices in (row.choices, here):
        _refuse(experiment, f"row {row.title!r}", _named(choices), reasons)
    for varied in (row.vary, here.get("vary", {})):
        _refuse(experiment, f"row {row.title!r}", [(n, n if n in SCALARS else "settings") for n in varied], reasons)


def refuse_without_training(experiment: Experiment, rows: Sequence[PlannedRow], data: str, changes: Changes) -> None:
    """Raise ``ExperimentError`` for choices of the whole experiment, or requested ones, that no row has a use for."""
    models = dict.fromkeys(row.model for row in rows if row.run)
    if not models:
        return
    reasons = [without_effect(model) for model in models]
    common = {name: reason for name, reason in reasons[0].items() if all(name in others for others in reasons)}
    common.pop("data", None)  # names the experiment's settings and test sets
    for choices in (experiment.choices, experiment.on.get(data, {})):
        _refuse(experiment, "the experiment", _named(choices), common)
    requested = {name: getattr(changes, name) for name in ("encoder", "seeds", "limit", "settings", "crops")}
    requested |= {"gallery": changes.galleries}
    _refuse(experiment, "this run", _named({name: value for name, value in requested.items() if value}), common)


def _named(choices: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each choice, and of each setting, with the choice that it is part of."""
    for name, value in choices.items():
        yield from ((setting, name) for setting in value) if name == "settings" else [(name, name)]


def _refuse(experiment: Experiment, where: str, chosen: Iterable[tuple[str, str]], reasons: Mapping[str, str]) -> None:
    for name, choice in chosen:
        if choice in reasons:
            raise ExperimentError(
                f"{experiment.path}: {where}: {name} has no effect, since {reasons[choice]}; leave it out."
            )
