"""Predictions of a test set made in shards: each on any machine, then merged into the result of the whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from geobench.choices import Choice, model_class_of
from geobench.data.dataset import changed_while_read
from geobench.errors import MergeError, ResultError, SettingError
from geobench.evaluate import (
    cached_features,
    digests_of,
    distinct_images,
    locate,
    overlap_warning,
    rows_in_training,
    scored,
)
from geobench.features.code import joined as joined_versions
from geobench.features.parts import check_images
from geobench.gallery import warn_if_small
from geobench.images.digests import Digests, read_digests
from geobench.models import TestSet
from geobench.plugins import get_dataset
from geobench.predictions import Predictions
from geobench.preflight import Combination, Plan
from geobench.progress import Progress
from geobench.provenance import Identity, circumstances, now
from geobench.results import PREDICTIONS, Result, find_kept, load_result
from geobench.services import Service
from geobench.sharding import Part, Shard

FOLDER = "shards"
"""In the results folder."""
KIND = "predictions"


def check_shard(shard: Shard | None, choices: Sequence[Choice], test_sets: Sequence[TestSet]) -> None:
    """Raise ``SettingError`` if a test set has fewer images than there are shards, or a model is a service."""
    if shard is None:
        return
    for test_set in test_sets:
        try:
            shard.rows(len(test_set))
        except SettingError as error:
            raise SettingError(f"{test_set.name}: {error}") from None
    for choice in choices:
        if issubclass(model_class_of(choice.spec), Service):
            raise SettingError(
                f"{choice.asked} asks a service, and each answer is kept when it comes; instead of shards: "
                "--set concurrency=16"
            )


def predict_shard(combination: Combination, plan: Plan, progress: Progress) -> tuple[list[Path], list[Result]]:
    """Predict the shard ``plan.shard`` and save it; return its record, or the result of the whole if that is there.

    Raises:
        DatasetError: images have changed since the identity of the result was made.
    """
    assert plan.shard is not None
    model, test_set, gallery, identity = (
        combination.model,
        combination.test_set,
        combination.gallery,
        combination.identity,
    )
    shard, rows = plan.shard, plan.shard.rows(len(test_set))
    if not plan.force and (kept := find_kept(plan.folder, identity)) is not None:
        progress.say(f"{model.name} on {test_set.name}: the whole is there, {kept.name}; nothing to predict.")
        return [], [load_result(kept, predictions=True)]
    settings = {name: value for name, value in identity.identity().items() if name != "images_key"}
    stem = replace(identity, images_key="").stem  # of photos that have changed the shard is replaced
    record = plan.folder / FOLDER / f"{stem}.{shard.suffix}.json"
    spec = model.checkpoint.spec if model.checkpoint is not None else model.name
    named = f"{spec} on {test_set.name}" + (f" × {identity.gallery}, seed {identity.seed}" if gallery else "")
    part = Part(record, KIND, shard, named, settings)
    if not plan.force and _is_kept(part, identity, test_set.part(rows)):
        progress.say(f"{named}: kept shard {shard}, {record}.")
        return [record], []
    warn_if_small(gallery, plan.options.top_k, progress)
    model, ours = combination.load(), test_set.part(rows)
    started = time.monotonic()
    if model.input == "none":  # may depend on an image's place in the set, as random draws do
        predictions = locate(model, test_set, gallery, plan.options, progress)[np.arange(rows.start, rows.stop)]
    else:
        predictions = locate(model, ours, gallery, plan.options, progress)
    seconds = round(time.monotonic() - started, 3)
    digests, learnt = digests_of(model, ours, plan.options), rows_in_training(model, ours, plan.options)
    if test_set.dataset.content_key(test_set.table, "test", progress) != identity.images_key:
        raise changed_while_read(test_set.name, [])
    about = circumstances(model, test_set, gallery, cached_features(model, ours, plan.options)) | {
        "images_key": identity.images_key,
        "rows": [rows.start, rows.stop],
        "in_training": None if learnt is None else int(learnt.sum()),
        "digests": None if digests is None else [digest.tobytes().hex() for digest in np.ascontiguousarray(digests)],
        "seconds": seconds,
    }
    beside = _predictions_of(record)
    predictions.save(beside, ours.images, ours.truth, ours.extra)
    replace(part, about=about | {"predictions": _digest(beside)}).save()
    progress.say(f"{named}: saved shard {shard}, images {rows.start + 1:,} to {rows.stop:,}: {record}.")
    return [record], []


def merged(parts: Sequence[Part], progress: Progress) -> Result:
    """Return the result of the whole that ``parts``, all shards in order, make up.

    Raises:
        MergeError: a shard is damaged, or was made of another test set than the one here, or of other photos.
    """
    stated = parts[0].settings
    if set(stated) != {f.name for f in fields(Identity)} - {"images_key"}:
        raise MergeError(f"{parts[0].path} was written by another version of geobench; predict that shard again.")
    dataset = get_dataset(stated["dataset"])
    test_set = TestSet.of(dataset, stated["n"], progress)
    here = {"n": len(test_set), "table_hash": test_set.table_hash, "columns_hash": test_set.columns_hash}
    for name, value in here.items():
        if value != stated[name]:
            raise MergeError(
                f"{parts[0].path}: {dataset.name} has another table here than for the shards ({name} is {value!r}, not "
                f"{stated[name]!r}); merge where it is the same."
            )
    loaded = [_load(part) for part in parts]
    learnt = [part.about["in_training"] for part in parts]
    return scored(
        test_set,
        _concatenated(loaded),
        identity=Identity(**stated, images_key=test_set.images_key),
        in_training=None if None in learnt else sum(learnt),
        distinct_images=distinct_images(model_class_of(stated["model"]), _same_photos(parts, test_set, progress)),
        seconds=round(sum(part.about["seconds"] for part in parts), 3),
        **_circumstances(parts),
    )


def save_merged(result: Result, parts: Sequence[Part], folder: Path, progress: Progress) -> Path:
    """Save the ``result`` of ``parts``; return its record."""
    if warning := overlap_warning(result):
        progress.say(warning)
    if (kept := find_kept(folder, result)) is not None:
        progress.say(f"{kept.name} was there already, and is replaced by what the shards hold.")
    saved = result.save(folder)
    made = f"merged {len(parts)} shards, {result.n:,} images: {saved}"
    progress.say(f"{parts[0].what}: {made}. The shards can be deleted.")
    return saved


def _predictions_of(record: Path) -> Path:
    return record.with_name(record.name.removesuffix(".json") + PREDICTIONS)


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _is_kept(part: Part, identity: Identity, ours: TestSet) -> bool:
    """Return whether ``part`` is there whole, and of the photos ``ours`` as they are now."""
    try:
        found = Part.load(part.path)
        if found.about["predictions"] != _digest(_predictions_of(part.path)):
            return False
        if found.about["digests"] is None:
            return bool(found.about["images_key"] == identity.images_key)
        if model_class_of(identity.model).input != "none":
            made = _as_digests(found.about["digests"])
            check_images(
                found, ours.dataset, ours.images, "test", made, read_digests(ours.dataset, ours.images, "test")
            )
        return True
    except (MergeError, OSError, KeyError):
        return False


def _as_digests(texts: Sequence[str]) -> Digests:
    digests: Digests = np.frombuffer(bytes.fromhex("".join(texts)), dtype=np.uint64).reshape(-1, 2)
    return digests


def _load(part: Part) -> Predictions:
    """Return the predictions of a shard.

    Raises:
        MergeError: they are not what was written.
    """
    beside = _predictions_of(part.path)
    again = f"predict it again: geobench run … --shard {part.shard} --predict-only"
    try:
        if _digest(beside) != part.about["predictions"]:
            raise MergeError(f"{beside} was changed after shard {part.shard} was written; {again}")
        predictions, _ = Predictions.load(beside)
    except (OSError, ResultError) as error:
        raise MergeError(
            f"{beside}, the predictions of shard {part.shard}, cannot be read ({error}); {again}"
        ) from error
    return predictions


def _concatenated(loaded: Sequence[Predictions]) -> Predictions:
    """Return the predictions of all shards; one in which every image failed may have more or fewer ranks."""
    depth = next((part.coordinates.shape[1] for part in loaded if not part.failed.all()), 1)
    return Predictions.concatenate([_none(len(part), depth) if part.failed.all() else part for part in loaded])


def _none(n: int, depth: int) -> Predictions:
    """Return predictions for n images all of which failed, of ``depth`` ranks."""
    return Predictions(np.full((n, depth, 2), np.nan), np.full((n, depth), np.nan), np.ones(n, dtype=np.bool_))


def _same_photos(parts: Sequence[Part], test_set: TestSet, progress: Progress) -> Digests | None:
    """Return the digests (n, 2) of the photos that were predicted from; None if those of a shard are unknown.

    They are compared with those of the files here, which may be others of the same size and time on another machine.

    Raises:
        MergeError: they are others.
    """
    if any(part.about["digests"] is None for part in parts):
        if any(part.about["images_key"] != test_set.images_key for part in parts):
            raise MergeError(
                f"{parts[0].path}: the photos have other times or sizes than those here, and what was read of them is "
                "not known; merge on the machine that predicted."
            )
        return None
    made = _as_digests([digest for part in parts for digest in part.about["digests"]])
    if model_class_of(parts[0].settings["model"]).input == "none":  # digests are of names and positions
        return made
    here = read_digests(test_set.dataset, test_set.images, "test", progress)
    for part in parts:
        rows = part.shard.rows(len(test_set))
        names = test_set.images[rows.start : rows.stop]
        check_images(part, test_set.dataset, names, "test", made[rows.start : rows.stop], here[rows.start : rows.stop])
    return made


def _circumstances(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what is recorded besides the identity: what follows from it, of the first, and what each shard has."""
    shared = {name: value for name, value in parts[0].about.items() if name in _OF_ALL}
    versions = {name: joined_versions([part.about[name] for part in parts]) for name in _OF_EACH}
    devices = dict.fromkeys(part.about["device"] for part in parts)
    memory = max(part.about["peak_memory_mb"] for part in parts)
    return shared | versions | {"created": now(), "device": " and ".join(devices), "peak_memory_mb": memory}


_OF_ALL = (
    "expected",
    "images",
    "trained_on",
    "training_images",
    "training_seed",
    "training",
    "gallery_distinct",
    "in_gallery",
)
_OF_EACH = ("versions", "encoded_with", "training_encoded_with")
