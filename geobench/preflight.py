"""Before a run: what is asked for, how models without a checkpoint are trained, and what can be known to be missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geobench.checkpoints import Checkpoint, find_checkpoint, get_model
from geobench.errors import CheckpointError, SettingError, unknown_name
from geobench.evaluate import Options, encoder_for
from geobench.gallery import check_spec
from geobench.models import Model, TestSet
from geobench.plugins import get_dataset, get_encoder, get_model_class
from geobench.settings import setting_names
from geobench.train import DEFAULT_DATA


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
        folder: of results; ``force`` evaluates again what is there.
    """

    galleries: Sequence[str] | None
    seeds: Sequence[int]
    options: Options
    subset: str
    settings: Mapping[str, Any]
    device: str
    folder: Path
    force: bool

    def draws(self, model: Model | type[Model]) -> Iterator[tuple[str | None, int]]:
        """Yield spec and seed of every gallery; a model that uses none has one."""
        if not model.uses_gallery:
            yield None, 0
            return
        specs: Sequence[str | None] = self.galleries or [None]
        for gallery in dict.fromkeys(specs):
            for seed in dict.fromkeys(self.seeds):
                yield gallery, seed

    def load(self, spec: str) -> Model:
        """Return the model ``spec`` on the device; one that needs no training with those settings that it declares."""
        model = model_class_of(spec)
        names = [] if model.trainable else setting_names(model.Config)
        return get_model(spec, self.device, {name: self.settings[name] for name in names if name in self.settings})


def model_class_of(spec: str) -> type[Model]:
    """Return the class of the model ``NAME`` or ``NAME@CHECKPOINT``."""
    return get_model_class(spec.partition("@")[0])


def check_settings(models: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Raise where a setting is none of any model that needs no training."""
    classes = [model_class_of(spec) for spec in models]
    valid = {name for model in classes if not model.trainable for name in setting_names(model.Config)}
    if settings and all(model.trainable for model in classes):
        raise SettingError(
            f"settings apply to models that need no training; those of {', '.join(models)} are chosen when they are "
            f"trained: geobench train {models[0]} --set NAME=VALUE"
        )
    for name in settings:
        if name not in valid:
            raise unknown_name("setting of these models", name, valid)


def plan_training(models: Sequence[str], train_missing: bool) -> dict[str, Mapping[str, Any] | None]:
    """Return for each model None, or how to train it first: as the other models of the run were trained."""
    found = {spec: find_checkpoint(spec) if model_class_of(spec).trainable else None for spec in models}
    donor = next((c for c in found.values() if c is not None and c.encoder), None)
    plan: dict[str, Mapping[str, Any] | None] = {}
    for spec, checkpoint in found.items():
        if checkpoint is not None or not model_class_of(spec).trainable:
            plan[spec] = None
        elif not train_missing:
            raise CheckpointError(f"{spec} has no checkpoint; train it first: geobench train {spec}")
        else:
            plan[spec] = {"data": DEFAULT_DATA} if donor is None else _as_trained(donor)
    return plan


def _as_trained(donor: Checkpoint) -> dict[str, Any]:
    """Return the arguments of :func:`train` that give the training set and features of ``donor``."""
    copied = ("encoder", "seed", "crops", "limit")
    given = {name: getattr(donor, name) for name in copied if getattr(donor, name) is not None}
    return {"data": donor.dataset} | given


def check_model(spec: str, training: Mapping[str, Any] | None, test_sets: Sequence[TestSet], plan: Plan) -> None:
    """Raise a ``GeobenchError`` if something that ``spec`` needs is known to be unavailable, before any work.

    Args:
        spec: ``NAME`` or ``NAME@CHECKPOINT``.
        training: how it is trained first; None if it need not be.
        test_sets: what it is run on.
        plan: galleries, crops, device.
    """
    model = model_class_of(spec)
    training_images = None
    if training is not None:
        dataset = get_dataset(training["data"])
        training_images = len(dataset.table("train", training.get("limit")))
        if model.input == "features":
            get_encoder(training.get("encoder", dataset.default_encoder)).check()
    for gallery, _ in plan.draws(model):
        if gallery is not None:
            check_spec(gallery, training_images)
    if training is None:
        _check_encoders(plan.load(spec), test_sets, plan)


def _check_encoders(model: Model, test_sets: Sequence[TestSet], plan: Plan) -> None:
    """Raise ``EncoderError`` if features are yet to be extracted and the weights of their encoder are not available."""
    for test_set in test_sets:
        encoder = encoder_for(model, test_set.dataset.default_encoder)
        if encoder is not None and not test_set.has_features(encoder, crops=plan.options.crops, device=model.device):
            encoder.check()
