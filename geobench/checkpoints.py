"""Checkpoints: a folder of arrays and a record of everything the model was trained with. Nothing unpickles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.devices import pick_device
from geobench.errors import CheckpointError, GeobenchError, SettingError, UnknownNameError, as_plugin_error
from geobench.geo import FloatArray, as_coordinates
from geobench.models import Model
from geobench.plugins import get_model_class, registry, who
from geobench.settings import configure

WEIGHTS = "weights.safetensors"
SEAL = "seal"
"""Digits of all else in a record, by which a change made by hand is noticed."""


@dataclass(frozen=True)
class Checkpoint:
    """What a model was trained with.

    Attributes:
        model, id: ``MODEL@ID`` names it on the command line.
        config: every hyper-parameter; ``variant``, the named list of settings that it began with, or empty.
        augmentation: views, kind, seed and live, where the views were made at random; else empty.
        dataset: the training set, ``images`` of it, of which ``unreadable`` were left out.
        limit: the number of images that was asked for, None for all.
        encoder, encoder_weights, crops: what its features came from; empty for a model that uses none.
        created: UTC, ISO 8601.
        versions: of geobench, torch and the distribution of the model.
        seconds: of training, features not counted.
        weights: digits that stand for everything learnt; the same training on the same machine gives the same.
        own_gallery: spec of the gallery that imported weights came with, in place of their training coordinates.
    """

    own_gallery = ""  # no field: only imported weights have one

    model: str
    id: str
    config: dict[str, Any]
    variant: str
    seed: int | None  # None: not known, of imported weights
    dataset: str
    images: int
    unreadable: int
    encoder: str
    encoder_weights: str
    crops: int
    augmentation: dict[str, Any]
    limit: int | None
    created: str
    versions: dict[str, str]
    device: str
    seconds: float
    weights: str

    @property
    def spec(self) -> str:
        """Return ``MODEL@ID``."""
        return f"{self.model}@{self.id}"

    @property
    def folder(self) -> Path:
        """Return where it lies."""
        return checkpoint_folder(self.model, self.id)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return what the model's ``restore`` takes."""
        from safetensors.numpy import load_file

        return load_file(self.folder / WEIGHTS)

    @cached_property
    def coordinates(self) -> FloatArray:
        """Return the coordinates (n, 2) of the training set: the source of ``training:N`` galleries."""
        try:
            return as_coordinates(files.read_array(self.folder / "coordinates.npy", np.float64, (None, 2)))
        except (OSError, ValueError, GeobenchError) as error:
            raise _damaged(self.folder, error) from error

    def restored(self, device: str = "cpu") -> Model:
        """Return the model with what it learnt, on ``device``; raise ``CheckpointError`` where that is damaged."""
        from safetensors import SafetensorError

        model_class = get_model_class(self.model)
        try:
            model = model_class(configure(model_class.Config, self.config, self.model), device)
        except (SettingError, UnknownNameError) as error:  # of another version of the model
            raise CheckpointError(f"{self.spec} does not fit the model {self.model} of today: {error}") from error
        with as_plugin_error(who(model), f"in restore from {self.folder}"):
            try:
                arrays = self.arrays()
                if weights_digest(arrays) != self.weights:
                    raise ValueError("its weights are not those that were saved with it")
                model.restore(arrays)
            except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
                raise _damaged(self.folder, error) from error
        model.checkpoint = self
        return model

    def save(self, state: Mapping[str, npt.NDArray[Any]], coordinates: FloatArray, logs: Sequence[Path] = ()) -> None:
        """Write the folder with the model's ``state``, its training coordinates and ``logs``, whole or not at all."""
        from safetensors.numpy import save_file

        with files.replacing_folder(self.folder) as folder:
            save_file({name: np.asarray(array, order="C") for name, array in state.items()}, folder / WEIGHTS)
            files.write_array(folder / "coordinates.npy", coordinates)
            for log in logs:
                shutil.copytree(log, folder / log.name) if log.is_dir() else shutil.copy(log, folder / log.name)
            record = asdict(self)
            files.write_json(folder / "checkpoint.json", record | {SEAL: files.digest(record)})


def weights_digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return digits that stand for what a model has learnt: the names and values of its arrays."""
    return files.digest(*(part for name in sorted(arrays) for part in (name, arrays[name])))


def checkpoint_folder(model: str, identifier: str) -> Path:
    """Return the folder of a checkpoint, there or not."""
    return files.home() / "checkpoints" / model / identifier


def now() -> str:
    """Return the time, UTC, to the microsecond: the newest checkpoint is the one of the largest."""
    return datetime.now(UTC).isoformat()


def get_checkpoints(model: str | None = None) -> list[Checkpoint]:
    """Return the checkpoints of ``model``, of all models where it is None, the newest last.

    Raises:
        CheckpointError: one of them cannot be used; nobody knows then which is the newest.
    """
    found, refused = readable_checkpoints(model)
    if refused:
        raise refused[0]
    return found


def readable_checkpoints(model: str | None = None) -> tuple[list[Checkpoint], list[CheckpointError]]:
    """Return the checkpoints that can be used, the newest last, and why the others cannot."""
    found: list[Checkpoint] = []
    refused: list[CheckpointError] = []
    for path in _records(model or "*"):
        try:
            found.append(_read(path))
        except CheckpointError as error:
            refused.append(error)
    return sorted(found, key=lambda checkpoint: checkpoint.created), refused


def _records(model: str) -> list[Path]:
    """Return the paths of the records of ``model`` (or ``*``); hidden folders are still being written."""
    paths = sorted((files.home() / "checkpoints").glob(f"{model}/*/checkpoint.json"))
    return [path for path in paths if not path.parent.name.startswith(".")]


def find_checkpoint(spec: str) -> Checkpoint | None:
    """Return the checkpoint that ``NAME`` (the newest) or ``NAME@ID`` names; None where ``NAME`` has none.

    Where no checkpoint of ours is called ``ID``, the model is asked for weights of that name that others released.

    Raises:
        UnknownNameError: no such model.
        CheckpointError: no such checkpoint; those that are there are named.
    """
    name, at, identifier = spec.partition("@")
    model_class = get_model_class(name)
    if not at:
        return next(reversed(get_checkpoints(name)), None)
    named = {path.parent.name: path for path in _records(name)}
    if identifier in named:
        return _read(named[identifier])  # and no other: a damaged one beside it does not matter
    with as_plugin_error(f"the model {name}", f"to import {spec}"):
        imported = model_class.imported_checkpoint(identifier)
    if imported is None:
        there = ", ".join(f"{name}@{i}" for i in [*named, *model_class.importable()]) or "none"
        raise CheckpointError(f"there is no checkpoint {spec}; there are: {there}. Make one: geobench train {name}")
    return imported


def get_model(spec: str, device: str = "auto") -> Model:
    """Return the model that ``spec`` names, ready to locate: ``NAME`` (its newest checkpoint) or ``NAME@ID``.

    Raises:
        UnknownNameError: no such model.
        CheckpointError: it has no such checkpoint, or a damaged one.
    """
    model_class = get_model_class(spec.partition("@")[0])
    if not model_class.trainable:
        return model_class(device=pick_device(device))
    checkpoint = find_checkpoint(spec)
    if checkpoint is None:
        raise CheckpointError(f"{spec} has no checkpoint yet; make one: geobench train {spec}")
    return checkpoint.restored(pick_device(device))


def _read(path: Path) -> Checkpoint:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if SEAL not in values:
            raise ValueError("it is incomplete, or an earlier geobench made it")
        seal = values.pop(SEAL)
        checkpoint = Checkpoint(**{field.name: values[field.name] for field in fields(Checkpoint)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path.parent, error) from error
    if seal != files.digest(values):
        raise CheckpointError(
            f"{path} was changed after the training: it no longer says what the weights were trained with. Put it back "
            f"as it was, or train with other settings: geobench train MODEL --set NAME=VALUE"
        )
    if path.parts[-3:-1] != (checkpoint.model, checkpoint.id):
        raise CheckpointError(f"{path.parent} holds {checkpoint.spec}; move it back to {checkpoint.folder}.")
    return checkpoint


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:300] if str(error) else type(error).__name__
    return CheckpointError(f"the checkpoint {folder} is damaged or incomplete ({reason}); delete it and train again.")


def iter_versions(model_class: type[Model]) -> Iterator[tuple[str, str]]:
    """Yield name and version of geobench, torch and the distribution that brings ``model_class``."""
    from importlib.metadata import version

    yield "geobench", version("geobench-geolocalization")
    yield "torch", version("torch")
    owner = registry().owners.get(("model", model_class.name))
    if owner is not None and owner.distribution != "geobench-geolocalization":
        yield owner.distribution, owner.version
