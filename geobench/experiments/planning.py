"""Making a plan from an experiment and the requested changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.errors import ExperimentError, GeobenchError, unknown_name
from geobench.experiments.definitions import SCALARS, Experiment, ExperimentRow, merged
from geobench.experiments.effects import refuse_ineffective, refuse_without_training, without_effect
from geobench.experiments.plans import Plan, PlannedRow, trains
from geobench.gallery import SOURCES, is_file, parse_size
from geobench.plugins import get_dataset, get_encoder, get_model_class, registry
from geobench.settings import as_dict, configure
from geobench.train import configured

if TYPE_CHECKING:
    from geobench.models import Model

MANY = 1000
"""An experiment with more evaluations is run only if that is confirmed."""


class TooManyEvaluationsError(ExperimentError):
    """An experiment with more than ``MANY`` evaluations that was not confirmed.

    Attributes:
        path: its definition.
        evaluations: their number.
    """

    def __init__(self, path: Path, evaluations: int, confirmation: str = "many=True") -> None:
        super().__init__(
            f"{path} asks for {evaluations:,} evaluations; more than {MANY:,} must be confirmed with {confirmation}."
        )
        self.path, self.evaluations = path, evaluations


@dataclass(frozen=True)
class Changes:
    """Requested changes to an experiment; None changes nothing.

    Attributes:
        data: training set; by default test sets, encoder and settings are then chosen to match it.
        datasets: test sets.
        encoder: of the features.
        seeds: of the training runs.
        limit: maximum number of training images.
        test_limit: maximum number of test images.
        settings: hyper-parameters, for the models that have them, including ``epochs``.
        galleries: specs, instead of those of the rows.
        crops: views of each test image.
    """

    data: str | None = None
    datasets: Sequence[str] | None = None
    encoder: str | None = None
    seeds: Sequence[int] | None = None
    limit: int | None = None
    test_limit: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    galleries: Sequence[str] | None = None
    crops: int | None = None


def make_plan(experiment: Experiment, changes: Changes = Changes(), many: bool = False) -> Plan:
    """Return the plan of ``experiment`` with ``changes``; reads nothing but definitions.

    Raises:
        ExperimentError: a setting, model, data set or gallery does not exist, or a value is out of range; names the
            file, the row and the nearest valid names.
        TooManyEvaluationsError: there are more than ``MANY`` evaluations, and ``many`` is not set.
    """
    _refuse_unknown(changes)
    data = str(changes.data or experiment.choices["data"])
    if changes.galleries:  # the requested ones replace those that rows vary
        experiment = replace(experiment, rows=tuple(row.without("gallery") for row in experiment.rows))
    datasets = _datasets(experiment, changes, data)
    _refuse_many(experiment, changes, datasets, many)
    for name in {*experiment.on, *(name for row in experiment.rows for name in row.on)}:
        _known(experiment, "on", get_dataset, name)
    rows = [planned for row in experiment.rows for planned in _planned(experiment, row, data, changes)]
    refuse_without_training(experiment, rows, data, changes)
    _refuse_unused(experiment, rows, changes)
    return Plan(experiment, data, datasets, tuple(rows), changes.test_limit)


def _refuse_unknown(changes: Changes) -> None:
    for name in (changes.data, *(changes.datasets or ())):
        if name is not None:
            get_dataset(name)
    if changes.encoder is not None:
        get_encoder(changes.encoder)
    for spec in changes.galleries or ():
        _check_gallery(spec)


def _datasets(experiment: Experiment, changes: Changes, data: str) -> tuple[str, ...]:
    """Return the test sets: those requested, else those that the experiment has for ``data``, else its test split."""
    chosen = _known(experiment, "data", get_dataset, data)
    elsewhere = data != experiment.choices["data"]
    fitting = experiment.on.get(data, {}).get("datasets", [data] if elsewhere else experiment.datasets)
    datasets = tuple(dict.fromkeys(changes.datasets or fitting))
    for name in datasets:
        _known(experiment, "datasets", get_dataset, name)
    if data in datasets and chosen.split_for("train") == chosen.split_for("test"):
        raise ExperimentError(
            f"{data} has a single split, which would be both trained and tested on; choose other test sets (datasets)."
        )
    return datasets


def _refuse_many(experiment: Experiment, changes: Changes, datasets: Sequence[str], many: bool) -> None:
    evaluations = 0
    for row in experiment.rows:
        seeds = row.choices.get("seeds") or changes.seeds or experiment.choices.get("seeds") or [0]
        evaluations += row.run * len(row) * len(seeds) * len(datasets) * max(1, len(changes.galleries or ()))
    if evaluations > MANY and not many:
        raise TooManyEvaluationsError(experiment.path, evaluations)


def _planned(experiment: Experiment, row: ExperimentRow, data: str, changes: Changes) -> Iterator[PlannedRow]:
    """Yield the rows of the table that ``row`` expands to on ``data``."""
    asked = {name: getattr(changes, name) for name in ("data", "encoder", "limit", "seeds", "crops")}
    given = {name: value for name, value in asked.items() if value is not None}
    if "seeds" in row.choices:  # such as those of a model without randomness
        given.pop("seeds", None)
    own = {"encoder": None} if data != experiment.choices["data"] else {}  # the default of the training set
    for there, here in row.points(data):
        paper = merged(experiment.choices, row.choices, _as_choices(there))
        on = merged(experiment.on.get(data, {}), row.choices, row.on.get(data, {}), _as_choices(here))
        chosen = merged(experiment.choices, own, on, given)
        chosen = {key: value for key, value in chosen.items() if key not in ("vary", "datasets")}
        for number, gallery in enumerate(changes.galleries or [chosen.get("gallery")]):
            if number and (not row.run or "gallery" in without_effect(chosen["model"])):
                break
            asked_for = {"gallery": gallery} if changes.galleries else {}
            yield _row(experiment, row, data, paper | asked_for, chosen | {"gallery": gallery}, changes)


def _as_choices(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices and settings of a point of a grid."""
    scalars = {key: value for key, value in point.items() if key in SCALARS}
    return scalars | {"settings": {key: value for key, value in point.items() if key not in SCALARS}}


def _row(
    experiment: Experiment,
    row: ExperimentRow,
    data: str,
    paper: dict[str, Any],
    chosen: dict[str, Any],
    changes: Changes,
) -> PlannedRow:
    name = str(chosen["model"]).partition("@")[0]
    model = _known(experiment, f"row {row.title!r}", get_model_class, name)
    names = {f.name for f in fields(model.Config)}
    chosen["settings"] = chosen["settings"] | {key: value for key, value in changes.settings.items() if key in names}
    if row.run:
        refuse_ineffective(experiment, row, data, chosen["model"])
    if row.run and not trains(chosen["model"]):
        chosen["settings"] = _settings_of_untrained(experiment, row, model, chosen)
    if not model.uses_gallery:
        chosen["gallery"] = None
    title = _filled(experiment, row.title, chosen)
    if changes.galleries and len(changes.galleries) > 1 and "{gallery" not in row.title and chosen["gallery"]:
        title += f", gallery {chosen['gallery']}"
    if chosen["gallery"]:
        _known(experiment, f"row {row.title!r}", _check_gallery, chosen["gallery"])
    changed: dict[str, tuple[Any, Any]] = {}
    if row.run and trains(chosen["model"]):
        here, there = (configuration(experiment, row.title, choices) for choices in (chosen, paper))
        changed = {key: (here[key], there[key]) for key in here if key in there and here[key] != there[key]}
    return PlannedRow(
        title=title,
        published=_filled(experiment, row.published, paper),
        source=row.source or experiment.source,
        run=row.run,
        note=row.note,
        choices=chosen,
        changed=changed,
        seeds=tuple(dict.fromkeys(chosen.get("seeds", [0]))) if trains(chosen["model"]) else (0,),
    )


def _settings_of_untrained(
    experiment: Experiment, row: ExperimentRow, model: type[Model], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of a model that is not trained: none of a checkpoint, whose training fixed them.

    Settings of the whole experiment may be those of other models; those of the row must be its own.
    """
    if model.trainable:
        return {}
    names = {f.name for f in fields(model.Config)}
    explicit = {*row.choices.get("settings", {}), *(name for name in row.vary if name not in SCALARS)}
    settings = {name: value for name, value in chosen["settings"].items() if name in names | explicit}
    _known(experiment, f"row {row.title!r}", lambda name: configure(model.Config, settings, name), model.name)
    return settings


def configuration(experiment: Experiment, title: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return every hyper-parameter of a training; raise ``ExperimentError`` if one is unknown or invalid."""
    where = f"row {title!r}"
    dataset = _known(experiment, where, get_dataset, choices["data"])
    if choices.get("encoder"):
        _known(experiment, where, get_encoder, choices["encoder"])
    model = get_model_class(choices["model"])
    try:
        variant, fraction = choices.get("variant", ""), choices.get("fraction", 1.0)
        return as_dict(configured(model, dataset, variant, fraction, dict(choices["settings"]), None))
    except GeobenchError as error:
        raise ExperimentError(f"{experiment.path}: {where}: {error}") from error


def _known(experiment: Experiment, where: str, get: Any, name: str) -> Any:
    """Return ``get(name)``; its error is extended by the file and the place in it."""
    try:
        return get(name)
    except GeobenchError as error:
        raise ExperimentError(f"{experiment.path}: {where}: {error}") from error


def _check_gallery(spec: str) -> None:
    """Raise ``GeobenchError`` if ``spec`` is not a valid gallery, whatever the size of its source."""
    if is_file(spec):
        return
    source, _, size = spec.rpartition(":")
    valid = [*SOURCES, *sorted(registry().galleries)]
    if source not in ("", *valid):
        raise unknown_name("gallery", spec, valid, "Use SOURCE:SIZE or a file.")
    parse_size(size)


def _filled(experiment: Experiment, title: str, choices: Mapping[str, Any]) -> str:
    values = {**choices, **choices["settings"]}
    try:
        return title.format_map(values)
    except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise ExperimentError(
            f"{experiment.path}: the title {title!r} cannot be filled ({type(error).__name__}: {error}); braces must "
            f"contain one of {', '.join(sorted(values))}."
        ) from error


def _refuse_unused(experiment: Experiment, rows: Sequence[PlannedRow], changes: Changes) -> None:
    """Raise ``ExperimentError`` for a setting that no model of the experiment has."""
    models = {row.model for row in rows if row.run and "settings" not in without_effect(row.model)}
    names = {f.name for model in models for f in fields(get_model_class(model).Config)}
    for name in changes.settings:
        if name not in names:
            raise unknown_name(f"setting of {' and '.join(sorted(models))}", name, names)
