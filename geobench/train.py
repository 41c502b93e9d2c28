"""From a data set to a checkpoint. The same model, data, encoder, settings and seed give the same checkpoint."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from geobench import files
from geobench.checkpoints import Checkpoint, checkpoint_folder, find_checkpoint, iter_versions, now
from geobench.devices import describe_device, pick_device
from geobench.errors import SettingError, TrainingError, blaming
from geobench.features import extract
from geobench.models import Model, TrainingSet
from geobench.plugins import get_dataset, get_encoder, get_model_class, who
from geobench.progress import SILENT, Progress
from geobench.settings import as_dict, configure

if TYPE_CHECKING:
    from geobench.datasets import Dataset

DEFAULT_DATA = "bluemarble"


def train(
    model: str,
    data: str = DEFAULT_DATA,
    *,
    encoder: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    settings: Mapping[str, Any] | None = None,
    crops: int = 1,
    limit: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    batch_size: int = 64,
    force: bool = False,
    progress: Progress = SILENT,
) -> Checkpoint:
    """Train ``model`` on the data set ``data`` and return its checkpoint; an interrupted training goes on.

    Args:
        model: name of a model.
        data: name of a data set with images to train on.
        encoder: name; the data set's default where it is None.
        seed: of everything random in the training.
        epochs: shorthand for the setting ``epochs``.
        settings: hyper-parameters; they go before those that the data set's TOML carries.
        crops: views of each image: 1, 5 or 10.
        limit: train on so many images.
        device: ``auto``, ``cpu``, ``cuda``, ….
        workers: processes that decode images; None chooses.
        batch_size: images encoded together; it never changes a result.
        force: train again where the checkpoint exists already.
        progress: told of the work.

    Raises:
        GeobenchError: unknown names, settings that do not fit, data or weights that are not there.
    """
    model_class, dataset = get_model_class(model), get_dataset(data)
    if not model_class.trainable:
        raise TrainingError(f"{model} has nothing to learn; run it: geobench run --models {model} --datasets DATASET")
    device = pick_device(device)
    config = _config(model_class, dataset, dict(settings or {}), epochs, progress)
    table = dataset.table("train", limit)
    encode = get_encoder(encoder or dataset.default_encoder)
    about = {
        "config": as_dict(config),
        "seed": seed,
        "dataset": dataset.name,
        "encoder": encode.name if model_class.input == "features" else "",
        "encoder_weights": encode.weights_key() if model_class.input == "features" else "",
        "crops": crops if model_class.input == "features" else 0,
        "limit": limit,
    }
    content = [dataset.content_key(table, "train"), table[["latitude", "longitude"]].to_numpy()]
    identifier = f"{dataset.name}-s{seed}-{files.digest(model, about, *content)[:8]}"
    training_set = TrainingSet(
        dataset.name,
        table,
        lambda: extract(
            dataset,
            table,
            encode,
            purpose="train",
            crops=crops,
            device=device,
            batch_size=batch_size,
            workers=default_workers(device) if workers is None else workers,
            progress=progress,
        ),
    )
    folder = checkpoint_folder(model, identifier)
    with files.locked(folder.with_name(f".{identifier}"), progress.say):  # a second process finds the work done
        found = None if force or not folder.exists() else find_checkpoint(f"{model}@{identifier}")
        if found is not None:
            progress.say(f"{found.spec} is trained already (--force trains it again).")
            return found
        return _fit(model_class(config, device), training_set, identifier, about, progress)


def _fit(
    model: Model, training_set: TrainingSet, identifier: str, about: dict[str, Any], progress: Progress
) -> Checkpoint:
    """Fit ``model``, in the scratch folder of an interrupted training where there is one, and save it."""
    folder = checkpoint_folder(model.name, identifier)
    scratch = folder.with_name(f".{identifier}.partial")
    scratch.mkdir(parents=True, exist_ok=True)
    if model.input == "features":
        training_set.readable  # noqa: B018  extracts, so that the seconds below are those of the training
    started = time.monotonic()
    with blaming(who(model), f"in fit on {training_set.name}"):
        model.fit(training_set, seed=about["seed"], scratch=scratch, progress=progress)
        state = model.state()
    checkpoint = Checkpoint(
        model=model.name,
        id=identifier,
        images=len(training_set),
        unreadable=len(training_set) - len(training_set.readable) if model.input == "features" else 0,
        created=now(),
        versions=dict(iter_versions(type(model))),
        device=describe_device(model.device),
        seconds=round(time.monotonic() - started, 2),
        weights=files.digest(*(part for name in sorted(state) for part in (name, state[name]))),
        **about,
    )
    checkpoint.save(state, training_set.coordinates)
    shutil.rmtree(scratch)
    progress.say(f"saved {checkpoint.spec}, trained on {len(training_set):,} images in {checkpoint.seconds:.0f} s.")
    return checkpoint


def _config(
    model_class: type[Model], dataset: Dataset, settings: dict[str, Any], epochs: int | None, progress: Progress
) -> Any:
    """Return the configuration: the model's defaults, then the data set's settings, then the user's."""
    if epochs is not None:
        if "epochs" not in {field.name for field in fields(model_class.Config)}:
            raise SettingError(f"{model_class.name} does not train in epochs; leave --epochs out.")
        settings["epochs"] = epochs
    fitting = dict(dataset.settings.get(model_class.name, {}))
    used = {name: value for name, value in fitting.items() if name not in settings}
    if used:
        listed = ", ".join(f"{name}={value}" for name, value in used.items())
        progress.say(f"{model_class.name}: settings that fit {dataset.name}: {listed} (--set NAME=VALUE overrides).")
    return configure(model_class.Config, fitting | settings, model_class.name)


def default_workers(device: str) -> int:
    """Return how many processes decode: none beside an encoder on the CPU, which needs the cores itself."""
    import os

    return 0 if device == "cpu" else min(16, os.cpu_count() or 1)
