"""Checkpoints: a folder of arrays and a record of everything the model was trained with. Nothing is unpickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import disk, files, holding, naming
from geobench.data.dataset import limited
from geobench.devices import pick_device
from geobench.errors import CheckpointError, GeobenchError, SettingError, UnknownNameError, as_plugin_error
from geobench.geo import FloatArray, as_coordinates
from geobench.images.digests import Digests
from geobench.models import Model
from geobench.plugins import get_dataset, get_datasets, get_model_class, who
from geobench.provenance import TrainingIdentity, weights_digest
from geobench.settings import configure

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = "weights.safetensors"
DIGESTS = "digests.npy"
SEAL = "seal"
"""Digest of everything else in a record: reveals an edit."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint(TrainingIdentity):
    """What a model was trained with, and what it learnt.

    Attributes:
        id: ``MODEL@ID`` names it on the command line.
        images: number of training images, of which ``unreadable`` were left out.
        limit: the number of images that was asked for, None for all; ``drawn_from`` is that of which it is a fraction,
            None if no fraction was asked for; ``whole_table`` is the digest of names and positions of the whole set,
            which audits are of, empty if no limit was asked for, and in checkpoints of earlier versions.
        available: images that its data set had then; None if that was not recorded, by an earlier version.
        created: UTC, ISO 8601.
        versions: of geobench, torch, the distribution of the model, and the libraries that decode and encode, when
            training ended.
        encoded_with: versions of the libraries that decoded and encoded its features, when these were extracted; empty
            if unknown, or if the model uses no features.
        seconds: of training, extraction excluded.
        weights: digits that stand for everything learnt; the same training on the same machine gives the same.
        own_gallery: spec of the gallery that imported weights came with, in place of their training coordinates.
    """

    own_gallery = ""  # no field: only imported weights have one

    id: str
    images: int
    unreadable: int
    limit: int | None
    drawn_from: int | None = None
    whole_table: str = ""
    available: int | None = None
    created: str
    versions: dict[str, str]
    encoded_with: dict[str, str] = field(default_factory=dict)
    device: str
    seconds: float
    weights: str

    @property
    def spec(self) -> str:
        """Return ``MODEL@ID``."""
        return f"{self.model}@{self.id}"

    @property
    def learnt_from(self) -> str:
        """Return how many images of which data set it was trained on, in words."""
        part = self.available is not None and self.images < self.available
        return f"{self.images:,}{f' of {self.available:,}' if part else ''} images of {self.dataset}"

    @property
    def folder(self) -> Path:
        """Return its folder."""
        return checkpoint_folder(self.model, self.id)

    @property
    def label(self) -> naming.Label:
        """Return names that were given to it, and what it was made for."""
        return naming.read_label(self.folder)

    @cached_property
    def aside(self) -> str:
        """Return why ``MODEL`` alone does not stand for it, in words; empty if it may.

        A limit that left nothing out, such as one above the number of images, makes no part.
        """
        whole = self.limit is None or (self.available is not None and self.images >= self.available)
        part = "" if whole else f"on {self.learnt_from}" if self.available else f"on {self.images:,} images, a part"
        purpose = self.label.purpose
        return ", ".join(filter(None, (part, f"made for {purpose}" if purpose else "")))

    def current_table(self) -> pd.DataFrame:
        """Return the table that the same training would learn from now, if its data set has not changed that of then.

        Raises:
            GeobenchError: the data set is unknown, not on this machine, or cannot be used.
        """
        table = get_dataset(self.dataset).table("train", self.drawn_from or self.limit)
        return limited(table, self.limit)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the named arrays that the model's ``restore`` takes."""
        from safetensors.numpy import load_file

        return load_file(self.folder / WEIGHTS)

    @property
    def made_of(self) -> str:
        """Return the key of the features that it refers to in place of weights, as kNN does; empty if it has them."""
        from safetensors import safe_open

        with safe_open(self.folder / WEIGHTS, "numpy") as weights:
            held = "features" in weights.keys() and weights.get_slice("features").get_dtype() == "U8"  # noqa: SIM118
            return str(json.loads(weights.get_tensor("features").tobytes())["key"]) if held else ""

    @cached_property
    def digests(self) -> Digests | None:
        """Return the digests (2, m) of what it learnt from, in order and memory-mapped; None if unknown.

        See :meth:`geobench.TrainingSet.digests`. Imported weights have none, nor do checkpoints of earlier versions.
        """
        path = self.folder / DIGESTS
        if self.own_gallery or not path.exists():
            return None
        try:
            return files.read_array(path, np.uint64, (2, None), mapped=True)
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, error) from error

    @cached_property
    def coordinates(self) -> FloatArray:
        """Return the coordinates (n, 2) of the training set: the source of ``training:N`` galleries."""
        try:
            return as_coordinates(files.read_array(self.folder / "coordinates.npy", np.float64, (None, 2)))
        except (OSError, ValueError, GeobenchError) as error:
            raise _damaged(self.folder, error) from error

    def restored(self, device: str = "cpu") -> Model:
        """Return the model with what it learnt, on ``device``; raise ``CheckpointError`` if that is damaged."""
        from safetensors import SafetensorError

        model = self.configured(device)
        holding.use(self.folder / WEIGHTS, self.folder / "checkpoint.json")
        with as_plugin_error(who(model), f"in restore() from {self.folder}"):
            try:
                arrays = self.arrays()
                if weights_digest(arrays) != self.weights:
                    raise ValueError("its weights are not the ones that were saved with it")
                model.restore_learnt(arrays)
            except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
                raise _damaged(self.folder, error) from error
        return model

    def configured(self, device: str = "cpu") -> Model:
        """Return the model with its settings and this checkpoint, but nothing of what it learnt: cheap.

        Raises:
            CheckpointError: the settings are those of another version of the model.
        """
        model_class = get_model_class(self.model)
        try:
            model = model_class(configure(model_class.Config, self.config, self.model), device)
        except (SettingError, UnknownNameError) as error:
            raise CheckpointError(
                f"{self.spec} does not fit this version of the model {self.model}: {error}"
            ) from error
        model.checkpoint = self
        return model

    def save(
        self,
        state: Mapping[str, npt.NDArray[Any]],
        coordinates: FloatArray,
        digests: Digests | None = None,
        logs: Sequence[Path] = (),
        label: naming.Label = naming.Label(),  # noqa: B008  frozen
    ) -> None:
        """Write the folder, completely or not at all.

        Args:
            state: what the model learnt.
            coordinates: (n, 2) of the training set.
            digests: (2, m) of what it learnt from, in order; None if unknown.
            logs: files and folders to keep with it.
            label: its names and purpose.
        """
        from safetensors.numpy import save_file

        with files.replacing_folder(self.folder) as folder:
            save_file({name: np.asarray(array, order="C") for name, array in state.items()}, folder / WEIGHTS)
            files.write_array(folder / "coordinates.npy", coordinates)
            if digests is not None:
                files.write_array(folder / DIGESTS, digests)
            for log in logs:
                shutil.copytree(log, folder / log.name) if log.is_dir() else shutil.copy(log, folder / log.name)
            label.save(folder)
            record = asdict(self)
            files.write_json(folder / "checkpoint.json", record | {SEAL: files.digest(record)})


def checkpoint_folder(model: str, identifier: str) -> Path:
    """Return the folder of a checkpoint, which need not exist."""
    return files.home() / "checkpoints" / model / identifier


def get_checkpoints(model: str | None = None) -> list[Checkpoint]:
    """Return the checkpoints of ``model``, or of all models, the newest last.

    Raises:
        CheckpointError: one of them cannot be used, so that the newest is not known.
    """
    found, refused = readable_checkpoints(model)
    if refused:
        raise refused[0]
    return found


def readable_checkpoints(model: str | None = None) -> tuple[list[Checkpoint], list[CheckpointError]]:
    """Return the usable checkpoints, the newest last, and an error for each of the others."""
    found: list[Checkpoint] = []
    refused: list[CheckpointError] = []
    for path in _records(model or "*"):
        try:
            found.append(_read(path))
        except CheckpointError as error:
            refused.append(error)
    return sorted(found, key=lambda checkpoint: checkpoint.created), refused


def _records(model: str) -> list[Path]:
    """Return the paths of the records of ``model`` (or ``*``), without folders still being written (hidden)."""
    paths = sorted((files.home() / "checkpoints").glob(f"{model}/*/checkpoint.json"))
    return [path for path in paths if not path.parent.name.startswith(".")]


def find_checkpoint(spec: str) -> Checkpoint | None:
    """Return the checkpoint that ``spec`` stands for; None if it is ``NAME`` and no training stands for that.

    Args:
        spec: ``NAME`` (the newest full training that was asked for), ``NAME@DATA`` (the newest on that set), or
            ``NAME@CHECKPOINT``: an id, a name given by ``train``, or what the model says of released weights.

    Raises:
        UnknownNameError: no such model.
        CheckpointError: no such checkpoint, or several; lists the existing ones.
    """
    name, at, identifier = spec.partition("@")
    model_class = get_model_class(name)
    if at and not model_class.trainable:
        raise CheckpointError(f"{name} needs no training and has no checkpoints, so there is no {spec}; use {name}.")
    if not at:
        return naming.newest(get_checkpoints(name))
    folders = {path.parent.name: path for path in _records(name)}
    if identifier in folders:
        return _read(folders[identifier])  # this one alone: another may be damaged
    called = [path for path in folders.values() if identifier in naming.read_label(path.parent).names]
    on_set = naming.newest(get_checkpoints(name), identifier) if _may_be_set(identifier, folders) else None
    if len(called) > 1 or (called and on_set is not None):
        meant = [f"{name}@{path.parent.name} (given this name)" for path in called]
        meant += [f"{on_set.spec} (trained on {identifier})"] if on_set is not None else []
        raise CheckpointError(f"{spec} may be {' or '.join(meant)}; name it by the full id.")
    if called:
        return _read(called[0])
    if on_set is not None:
        return on_set
    with as_plugin_error(f"the model {name}", f"while importing {spec}"):
        imported = model_class.imported_checkpoint(identifier)
    if imported is None:
        raise _no_checkpoint(spec, [*folders, *model_class.importable()])
    return imported


def _may_be_set(identifier: str, folders: Iterable[str]) -> bool:
    """Return whether a checkpoint was trained on a data set ``identifier``, by the names of their ``folders``."""
    return any(folder.startswith(f"{identifier}-s") for folder in folders)


def _no_checkpoint(spec: str, existing: Sequence[str]) -> CheckpointError:
    """Return the error for a checkpoint or training that does not exist."""
    name, _, identifier = spec.partition("@")
    if identifier in get_datasets():
        aside = naming.standing_aside([one for one in get_checkpoints(name) if one.dataset == identifier])
        others = f"; to use another, name it: {aside}" if aside else ""
        return CheckpointError(
            f"there is no full training of {name} on {identifier}; make one: geobench train {name} --data {identifier}"
            f"{others}"
        )
    known = ", ".join(f"{name}@{one}" for one in existing) or "none"
    return CheckpointError(
        f"there is no checkpoint {spec}; existing ones: {known}. Train one: geobench train {name}; {name}@DATA is the "
        f"newest full training on a data set."
    )


def no_training(name: str) -> CheckpointError:
    """Return the error for the model ``name`` if nothing stands for it; lists what may be named instead."""
    aside = naming.standing_aside(readable_checkpoints(name)[0])
    if not aside:
        return CheckpointError(f"{name} has no checkpoint yet; train one: geobench train {name}")
    return CheckpointError(
        f"{name} alone stands for a full training, and there is none; make one (geobench train {name}), or name "
        f"another: {aside}"
    )


def settings_of(spec: str) -> dict[str, Any]:
    """Return the settings that the argument in ``NAME:ARGUMENT`` stands for; none for ``NAME``.

    Raises:
        SettingError: the model takes no argument, or not this one.
    """
    name, colon, argument = spec.partition(":")
    return dict(get_model_class(name).settings_of(argument)) if colon else {}


def get_model(spec: str, device: str = "auto", settings: Mapping[str, Any] | None = None) -> Model:
    """Return the model ``spec``, ready to locate: ``NAME`` (its newest full training), ``NAME@DATA`` or ``NAME@ID``.

    Args:
        spec: a model, or one of its checkpoints.
        device: ``auto``, ``cpu``, ``cuda``, ….
        settings: of a model that needs no training; those of a trained one are part of its checkpoint. They replace
            what the argument in ``NAME:ARGUMENT`` stands for.

    Raises:
        UnknownNameError: no such model, or no such setting.
        SettingError: a value that does not fit, or settings for a trained model.
        CheckpointError: it has no such checkpoint, or a damaged one.
    """
    name, at, _ = spec.partition("@")
    model_class = get_model_class(name)
    if not model_class.trainable:
        if at:
            find_checkpoint(spec)  # refuses
        values = settings_of(spec) | dict(settings or {})
        return model_class(configure(model_class.Config, values, model_class.name), pick_device(device))
    if settings:
        raise SettingError(f"{spec} has the settings it was trained with; to use others, train it again.")
    checkpoint = find_checkpoint(spec)
    if checkpoint is None:
        raise no_training(spec)
    return checkpoint.restored(pick_device(device))


def _read(path: Path) -> Checkpoint:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if SEAL not in values:
            raise ValueError("it is incomplete, or was written by an early version of geobench")
        seal = values.pop(SEAL)
        checkpoint = Checkpoint(**{f.name: values[f.name] for f in fields(Checkpoint) if _is_stated(f, values)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path.parent, error) from error
    if seal != files.digest(values):
        raise CheckpointError(
            f"{path} was edited after training, so it no longer says what the weights were trained with. Restore it, "
            f"or train with other settings: geobench train MODEL --set NAME=VALUE"
        )
    if path.parts[-3:-1] != (checkpoint.model, checkpoint.id):
        raise CheckpointError(f"{path.parent} contains {checkpoint.spec}; move it back to {checkpoint.folder}.")
    return checkpoint


def _is_stated(field: Field[Any], values: Mapping[str, Any]) -> bool:
    """Return whether ``values`` state a field; one that earlier versions did not record keeps its default."""
    return field.name in values or (field.default is MISSING and field.default_factory is MISSING)


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:300] if str(error) else type(error).__name__
    damaged = f"the checkpoint {folder} is damaged or incomplete ({reason}); delete it and train again."
    return CheckpointError(disk.not_readable(folder, error, damaged))
