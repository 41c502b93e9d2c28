"""Provenance: what results and checkpoints depend on, and what else is recorded to trust or repeat them.

The key of a result is made of the fields of :class:`Identity` and of nothing else, and its record holds these same
fields: nothing can be in one and not in the other. The same holds for a checkpoint and :class:`TrainingIdentity`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from geobench import files
from geobench.devices import describe_device, peak_memory_mb
from geobench.errors import as_plugin_error
from geobench.features.code import LIBRARIES, features_code, installed
from geobench.plugins import registry, who
from geobench.source import class_code

if TYPE_CHECKING:
    import numpy.typing as npt

    from geobench.features.cache import Features
    from geobench.features.encoders import Encoder
    from geobench.gallery import Gallery
    from geobench.models import Model, TestSet

DISTRIBUTION = "geobench-geolocalization"
TRAINED_SHARE = 0.01
"""A result is disqualified if the model was trained on this share of its test images. Each of them can add a hit, so
that accuracies may be a point too high, which is as much as separates published methods."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that the predictions of a result depend on.

    Attributes:
        dataset: name of the test set; ``subset`` is the part of it that is scored, such as ``clean``, or empty.
        images_key: digest of the images: names, and what changes when a file does.
        table_hash: digest of names and true positions: the version of the test set.
        columns_hash: digest of its other columns, such as photographers and scenes: intervals and breakdowns use them.
        n: images in the test set, the denominator of every score.
        model: name of the model.
        code: the digest ``source`` of the model's own code, and for a model that is not trained the versions of the
            distributions that predict; the weights of one that is stand for these.
        checkpoint, weights: of a trained model: the id of its checkpoint, empty if it was fitted without one, and the
            digest of everything learnt.
        config: hyper-parameters and settings.
        encoder, encoder_weights, preprocessing, precision: what its features come from; empty for a model that uses
            none.
        encoder_code: digest of the code that turns files into features: the encoder's own, and what decodes images.
        encoder_caveat: what must be known of the encoder to read its results, such as weights that may not be those
            its name stands for; usually empty.
        crops: views of each image; 0 for a model that uses no features.
        gallery, gallery_size, gallery_hash: spec, number of points and digest of the gallery; empty for a model that
            uses none.
        seed: of the gallery's draw.
        top_k: predictions kept for each image.
    """

    dataset: str
    subset: str = ""
    images_key: str = ""
    table_hash: str = ""
    columns_hash: str = ""
    n: int
    model: str
    code: dict[str, str]
    checkpoint: str = ""
    weights: str = ""
    config: dict[str, Any]
    encoder: str = ""
    encoder_weights: str = ""
    encoder_code: str = ""
    encoder_caveat: str = ""
    preprocessing: str = ""
    precision: str = ""
    crops: int = 0
    gallery: str = ""
    gallery_size: int = 0
    gallery_hash: str = ""
    seed: int = 0
    top_k: int = 1

    def identity(self) -> dict[str, Any]:
        """Return the fields that the key is made of."""
        return {f.name: getattr(self, f.name) for f in fields(Identity)}

    @property
    def key(self) -> str:
        """Return 16 digits that stand for everything the predictions depend on."""
        return files.digest(self.identity())

    @property
    def stem(self) -> str:
        """Return the name of its files, without a suffix."""
        parts = [self.dataset, self.model, self.gallery or "no-gallery", f"s{self.seed}", self.key[:8]]
        return re.sub(r"[^\w.+-]+", "-", "_".join(parts))


@dataclass(frozen=True, kw_only=True)
class TrainingIdentity:
    """Everything that a checkpoint depends on: the id of a checkpoint is made of these fields and no others.

    Attributes:
        model: name of the model.
        model_code: digest of its code; empty for imported weights, and unknown of checkpoints of earlier versions.
        config: every hyper-parameter; ``variant``, the named list of settings that it began with, or empty.
        seed: of everything random in the training; None if unknown, for imported weights.
        dataset: name of the training set.
        images_key, table_hash: digests of its images, and of their names and positions.
        encoder, encoder_weights, encoder_code, encoder_caveat, preprocessing, precision, crops: what its features came
            from, as in :class:`Identity`; empty for a model that uses none.
        augmentation: views, kind, seed and live, if the views were drawn at random; otherwise empty.
    """

    model: str
    model_code: str = ""
    config: dict[str, Any]
    variant: str = ""
    seed: int | None
    dataset: str
    images_key: str = ""
    table_hash: str = ""
    encoder: str = ""
    encoder_weights: str = ""
    encoder_code: str = ""
    encoder_caveat: str = ""
    preprocessing: str = ""
    precision: str = ""
    crops: int = 0
    augmentation: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """Return the fields that the key is made of; without the code if there is none, as before it was recorded."""
        without = set() if self.model_code else {"model_code"}
        return {f.name: getattr(self, f.name) for f in fields(TrainingIdentity) if f.name not in without}

    def recipe(self) -> dict[str, Any]:
        """Return the identity without its seeds: equal for trainings that differ in nothing else."""
        augmentation = {name: value for name, value in self.augmentation.items() if name != "seed"}
        recipe = self.identity() | {"augmentation": augmentation}
        del recipe["seed"]
        return recipe

    @property
    def key(self) -> str:
        """Return 16 digits that stand for everything the training depends on."""
        return files.digest(self.identity())


def identify(
    model: Model, test_set: TestSet, gallery: Gallery | None, encoder: Encoder | None, crops: int, top_k: int
) -> Identity:
    """Return what the predictions of ``model`` for ``test_set`` depend on.

    Args:
        model: with its checkpoint, if it was trained.
        test_set: what it is tested on.
        gallery: None for a model that uses none.
        encoder: of the features; None for a model that uses none.
        crops, top_k: see :class:`Identity`.
    """
    checkpoint = model.checkpoint
    learnt: dict[str, Any] = (
        {"checkpoint": checkpoint.id, "weights": checkpoint.weights, "config": checkpoint.config}
        if checkpoint is not None
        else {"weights": _fitted(model), "config": model.stated_config()}
    )
    code = {"source": model_code(type(model))} | (versions_of(type(model)) if checkpoint is None else {})
    encoded: dict[str, Any] = (
        {"crops": crops, "precision": encoder.precision(model.device)} | dict(describe_encoder(encoder))
        if encoder is not None
        else {}
    )
    drawn: dict[str, Any] = (
        {"gallery": gallery.spec, "gallery_size": len(gallery), "gallery_hash": gallery.hash, "seed": gallery.seed}
        if gallery is not None
        else {}
    )
    images: dict[str, Any] = {"images_key": test_set.images_key, "table_hash": test_set.table_hash}
    images |= {"columns_hash": test_set.columns_hash, "n": len(test_set)}
    names: dict[str, Any] = {"dataset": test_set.name, "model": model.name, "code": code, "top_k": top_k}
    return Identity(**names, **images, **learnt, **encoded, **drawn)


def describe_encoder(encoder: Encoder) -> dict[str, str]:
    """Return what an identity states of ``encoder``: name, weights, code, caveat and preprocessing."""
    return {
        "encoder": encoder.name,
        "encoder_weights": encoder.weights_key(),
        "encoder_code": features_code(encoder),
        "encoder_caveat": encoder.caveat(),
        "preprocessing": encoder.describe(),
    }


def circumstances(
    model: Model, test_set: TestSet, gallery: Gallery | None, features: Features | None
) -> dict[str, Any]:
    """Return what else is recorded of a result: nothing that its key is made of.

    Args:
        model, test_set, gallery: as in :func:`identify`.
        features: of the test images; None if the model uses none.
    """
    checkpoint = model.checkpoint
    return {
        "expected": test_set.dataset.count,
        "images": test_set.dataset.describe(),
        "trained_on": checkpoint.dataset if checkpoint is not None else "",
        "training_images": checkpoint.images if checkpoint is not None else 0,
        "training_seed": checkpoint.seed if checkpoint is not None else None,
        "training": checkpoint.recipe() if checkpoint is not None else {},
        "gallery_distinct": gallery.distinct if gallery is not None else 0,
        "in_gallery": gallery.count_of(test_set.truth) if gallery is not None else 0,
        "created": now(),
        "versions": versions_of(type(model)) | library_versions(),
        "encoded_with": features.versions if features is not None else {},
        "training_encoded_with": checkpoint.encoded_with if checkpoint is not None else {},
        "device": describe_device(model.device),
        "peak_memory_mb": peak_memory_mb(),
    }


def _fitted(model: Model) -> str:
    """Return the digest of what a model without a checkpoint learnt by a call of ``fit``; empty if it needs none."""
    if not model.trainable:
        return ""
    with as_plugin_error(who(model), "in state()"):
        return weights_digest(model.learnt())


def weights_digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return a digest of what a model has learnt: the names and values of its arrays."""
    return files.digest(*(part for name in sorted(arrays) for part in (name, arrays[name])))


def is_tested_on_training(in_training: int | None, n: int) -> bool:
    """Return whether a model was trained on a hundredth or more of its ``n`` test images: its row must never be best.

    False if it is not known how many these are (``in_training`` is None).
    """
    return in_training is not None and n > 0 and in_training >= TRAINED_SHARE * n


def training_overlap(spec: str, dataset: str, trained_on: str, in_training: int | None, n: int) -> str:
    """Return a line on the images of the test set ``dataset`` that ``spec`` was trained on; empty if it was on none."""
    audit = f"geobench datasets audit {dataset} --against {trained_on}"
    if in_training is None:
        unknown = f"whether {spec} was trained on images of {dataset} is unknown; to look for them: {audit}"
        return unknown if trained_on else ""
    if not in_training:
        return ""
    which = f"all {n:,}" if in_training == n else f"{in_training:,} of the {n:,}"
    advice = (
        f"to leave them out: {audit}, then geobench run --models {spec} --datasets {dataset} --subset clean"
        if in_training < n and dataset != trained_on
        else "test it on images that it has not seen"
    )
    return f"{spec} was trained on {which} test images of {dataset}, so its scores show what it remembers; {advice}."


def model_code(model: type[Model]) -> str:
    """Return 16 digits for the code of ``model``: how it learns and predicts."""
    from geobench.models import Model

    return files.digest(class_code(model, Model))


def versions_of(model: type[Model]) -> dict[str, str]:
    """Return the versions of geobench, torch and the distribution that brings ``model``: the code that predicts."""
    owner = registry().owners.get(("model", model.name))
    brought = {owner.distribution: owner.version} if owner is not None and owner.distribution != DISTRIBUTION else {}
    return {"geobench": version(DISTRIBUTION), "torch": version("torch")} | brought


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decode images, encode them, and bring released weights."""
    return installed((*LIBRARIES, "geoclip"))


def now() -> str:
    """Return the time, UTC, to the microsecond: of two results or checkpoints the newer has the larger."""
    return datetime.now(UTC).isoformat()
