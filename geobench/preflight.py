"""Before a run: what is asked for, and what is known to be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.checkpoints import find_checkpoint, get_model, settings_of
from geobench.choices import Choice, model_class_of
from geobench.errors import GeobenchError, SettingError, unknown_name
from geobench.evaluate import Options, encoder_for
from geobench.gallery import check_spec, choose_gallery, needs_training
from geobench.models import Model, TestSet
from geobench.plugins import get_dataset, get_encoder
from geobench.services import Service
from geobench.settings import configure, setting_names
from geobench.sharding import Shard

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.gallery import Gallery
    from geobench.provenance import Identity


@dataclass(frozen=True)
class Plan:
    """What a run is asked for.

    Attributes:
        galleries: specs; None for each test set's default.
        seeds: of the galleries' draws.
        options: how models are evaluated.
        subset: name of a part of each test set that is scored as well; empty for none.
        settings: of models that need no training.
        device: torch device.
        folder: of results; ``force`` evaluates again what is there, on features extracted again.
        shard: the part of each test set that is predicted, without scores; None evaluates all of it.
    """

    galleries: Sequence[str] | None
    seeds: Sequence[int]
    options: Options
    subset: str
    settings: Mapping[str, Any]
    device: str
    folder: Path
    force: bool
    shard: Shard | None = None

    def draws(self, model: Model | type[Model]) -> Iterator[tuple[str | None, int]]:
        """Yield spec and seed of every gallery; a model that uses none has one."""
        if not model.uses_gallery:
            yield None, 0
            return
        specs: Sequence[str | None] = self.galleries or [None]
        for gallery in dict.fromkeys(specs):
            for seed in dict.fromkeys(self.seeds):
                yield gallery, seed

    def asks_again(self, model: Model) -> bool:
        """Return whether a result of ``model`` that is there is computed again."""
        return self.force or (isinstance(model, Service) and bool(self.options.asking.retry))

    def load(self, spec: str) -> Model:
        """Return the model ``spec`` on the device, ready to locate."""
        return get_model(spec, self.device, declared(model_class_of(spec), self.settings))

    def configured(self, spec: str) -> Model:
        """Return the model ``spec`` with its settings and checkpoint, but nothing of what it learnt: cheap."""
        model = model_class_of(spec)
        checkpoint = find_checkpoint(spec) if model.trainable else None
        return checkpoint.configured(self.device) if checkpoint is not None else self.load(spec)


@dataclass(frozen=True)
class Job:
    """What is run of one model.

    Attributes:
        choice: the model, and how it is trained first if it has to be.
        combinations: test set, gallery spec (None for its default) and seed of the draw.
    """

    choice: Choice
    combinations: tuple[tuple[TestSet, str | None, int], ...]


@dataclass(frozen=True)
class Combination:
    """What one result is of.

    Attributes:
        model: with its checkpoint, but nothing of what it learnt.
        load: returns it ready to locate; called only if something has to be predicted.
        test_set: the whole.
        gallery: None for a model that uses none.
        identity: what the predictions depend on.
    """

    model: Model
    load: Callable[[], Model]
    test_set: TestSet
    gallery: Gallery | None
    identity: Identity


def declared(model: type[Model], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``settings`` that ``model`` declares; nothing for a model that is trained."""
    names = [] if model.trainable else setting_names(model.Config)
    return {name: settings[name] for name in names if name in settings}


def check_settings(models: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Raise if a setting is not declared by any model that needs no training, or its value does not fit."""
    classes = {spec: model_class_of(spec) for spec in models}
    untrained = {spec: model for spec, model in classes.items() if not model.trainable}
    valid = {name for model in untrained.values() for name in setting_names(model.Config)}
    if settings and not untrained:
        raise SettingError(
            f"settings apply to models that need no training; those of {', '.join(models)} are chosen when they are "
            f"trained: geobench train {models[0]} --set NAME=VALUE"
        )
    for name in settings:
        if name not in valid:
            raise unknown_name("setting of these models", name, valid)
    for spec, model in classes.items():
        values = settings_of(spec)  # a trained model takes no argument
        if not model.trainable:
            configure(model.Config, values | declared(model, settings), model.name)


def check_jobs(choices: Sequence[Choice], test_sets: Sequence[TestSet], plan: Plan) -> tuple[list[Job], list[str]]:
    """Return what can be run of each model as far as that is known beforehand, and a line for everything else.

    Args:
        choices: the models: :func:`geobench.choices.choose`.
        test_sets: what is tested on.
        plan: galleries, crops, device.
    """
    jobs: list[Job] = []
    failures: list[str] = []
    for choice in choices if test_sets else ():
        spec, how = choice.spec, choice.training
        try:
            check = _Ready(plan.configured(spec), plan) if how is None else _Untrained(spec, how)
            combinations: list[tuple[TestSet, str | None, int]] = []
            for test_set in test_sets:
                check.encoder(test_set)
                combinations += _runnable(choice.asked, test_set, check, plan, failures)
        except GeobenchError as error:
            failures.append(f"{choice.asked}: {error}")
            continue
        if combinations:
            jobs.append(Job(choice, tuple(combinations)))
    return jobs, failures


def _runnable(
    spec: str, test_set: TestSet, check: _Ready | _Untrained, plan: Plan, failures: list[str]
) -> Iterator[tuple[TestSet, str | None, int]]:
    """Yield the combinations on ``test_set`` whose gallery can be drawn; add a line for each gallery that cannot."""
    refused: set[str | None] = set()
    for gallery, seed in plan.draws(model_class_of(spec)):
        if gallery in refused:
            continue
        try:
            check.gallery(test_set, gallery)
        except GeobenchError as error:
            refused.add(gallery)
            failures.append(f"{spec} × {test_set.name}{f' × {gallery}' if gallery else ''}: {error}")
            continue
        yield test_set, gallery, seed


@dataclass(frozen=True)
class _Ready:
    """What a model with a checkpoint, or one that needs no training, needs for a run."""

    model: Model
    plan: Plan

    def encoder(self, test_set: TestSet) -> None:
        """Raise if features are yet to be extracted and the weights of their encoder are not available."""
        encoder = encoder_for(self.model, test_set.dataset.default_encoder)
        crops, device = self.plan.options.crops, self.plan.device
        if encoder is not None and not test_set.has_features(encoder, crops=crops, device=device):
            encoder.check()

    def gallery(self, test_set: TestSet, spec: str | None) -> None:
        """Raise if the gallery ``spec`` cannot be drawn."""
        if not self.model.uses_gallery:
            return
        if spec is None or needs_training(spec):
            choose_gallery(self.model, spec, test_set.dataset.default_gallery)
        else:
            check_spec(spec)


@dataclass(frozen=True)
class _Untrained:
    """What a model that is trained first needs for a run."""

    spec: str
    training: Mapping[str, Any]

    def encoder(self, test_set: TestSet) -> None:
        """Raise if the weights of the encoder of its training set are not available."""
        if model_class_of(self.spec).input == "features":
            get_encoder(self.training.get("encoder", self._dataset.default_encoder)).check()

    def gallery(self, test_set: TestSet, spec: str | None) -> None:
        """Raise if the gallery ``spec`` cannot be drawn; a test set's default is made to fit."""
        if spec is not None:
            check_spec(spec, self._images)

    @cached_property
    def _images(self) -> int:
        drawn_from = len(self._dataset.table("train", self.training.get("limit")))
        return max(1, round(float(self.training.get("fraction", 1.0)) * drawn_from))

    @property
    def _dataset(self) -> Dataset:
        return get_dataset(str(self.training["data"]))
