"""From a data set to a checkpoint. The same model, data, encoder, settings and seed give the same checkpoint."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench import files, naming
from geobench.checkpoints import Checkpoint, checkpoint_folder, find_checkpoint, readable_checkpoints
from geobench.data.dataset import limited
from geobench.data.tables.swapped import swap_evidence
from geobench.devices import default_workers, describe_device, pick_device
from geobench.distributed import current, joined, local_device
from geobench.errors import SettingError, TrainingError, as_plugin_error, unknown_name
from geobench.features.cache import Features, extract
from geobench.features.live import LiveViews, PixelLoader
from geobench.features.wrappers import plain, wrapped
from geobench.images.augmentation import Augmentation
from geobench.models import Model, TrainingSet, coordinates_of, hash_table
from geobench.plugins import get_dataset, get_datasets, get_encoder, get_model_class, who
from geobench.progress import SILENT, Progress
from geobench.provenance import (
    TrainingIdentity,
    describe_encoder,
    library_versions,
    model_code,
    now,
    versions_of,
    weights_digest,
)
from geobench.settings import as_dict, configure
from geobench.training.log import LOGS

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder

DEFAULT_DATA = "bluemarble"
FORCED = "forced"
"""A file beside the state of a training that was begun with ``force``."""
ALREADY_TRAINED = "is already trained"
"""Part of the message about an existing checkpoint."""


def train(
    model: str,
    data: str = DEFAULT_DATA,
    *,
    encoder: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    variant: str = "",
    settings: Mapping[str, Any] | None = None,
    crops: int = 1,
    views: int = 0,
    augmentation: str | None = None,
    live: bool = False,
    limit: int | None = None,
    fraction: float = 1.0,
    name: str = "",
    purpose: str = "",
    device: str = "auto",
    workers: int | None = None,
    batch_size: int = 64,
    force: bool = False,
    progress: Progress = SILENT,
) -> Checkpoint:
    """Train ``model`` on the data set ``data`` and return its checkpoint; an interrupted training is resumed.

    If started by ``torchrun``, all processes train it together.

    Args:
        model: name of a model.
        data: name of a data set with images to train on.
        encoder: name; None takes the data set's default.
        seed: of everything random in the training.
        epochs: shorthand for the setting ``epochs``.
        variant: a named group of settings of the model, such as ``paper``.
        settings: hyper-parameters; they override the variant's, which override those of the data set's TOML.
        crops: views of each image: 1, 5 or 10.
        views: P random views in place of crops; 0 for none.
        augmentation: kind of the random views: ``simclr`` (default) or ``official``.
        live: draw new views at every step instead of once beforehand.
        limit: number of images to train on.
        fraction: fraction of the images to train on, with the settings that the model's paper uses for it.
        name: for people: ``MODEL@NAME`` is then this checkpoint.
        purpose: what it is made for, such as ``an experiment``, if ``MODEL`` alone must not stand for it.
        device: ``auto``, ``cpu``, ``cuda``, ….
        workers: processes that decode images; None chooses.
        batch_size: images encoded together; it never changes a result.
        force: train again even if the checkpoint exists, on features extracted again.
        progress: reports the work.

    Raises:
        GeobenchError: unknown names, invalid settings, data or weights that are not available.
    """
    model_class, dataset = get_model_class(model), get_dataset(data)
    if not model_class.trainable:
        raise TrainingError(f"{model} needs no training; run it: geobench run --models {model} --datasets DATASET")
    if (live or augmentation) and not views:
        given = "live" if live else f"augmentation={augmentation!r}"
        raise SettingError(f"{given} needs a number of random views, such as views=2.")
    if views and crops != 1:
        raise SettingError(f"crops and views exclude each other: give crops={crops} or views={views}, not both.")
    if name:
        _refuse_name(model_class, name)
    config = configured(model_class, dataset, variant, fraction, dict(settings or {}), epochs, progress)
    dataset.prepare("train", progress)
    everything = dataset.table("train")
    whole = everything if limit is None else dataset.table("train", limit)
    table = _part(whole, fraction)
    if evidence := swap_evidence(coordinates_of(table)):
        progress.say(f"{data}: {evidence}.")
    encode = wrapped(get_encoder(encoder or dataset.default_encoder), model_class.reads)
    tunes = bool(getattr(config, "tunes", False))
    if tunes and crops != 1:
        raise SettingError(
            f"crops={crops} are views of cached features, and backbone={config.backbone} trains on pixels; for several "
            "views of each image give views instead."
        )
    live = live or (tunes and views > 0)
    augment = Augmentation(views, augmentation or "simclr", seed) if views else None
    images_key = dataset.content_key(table, "train", progress)
    uses_features = model_class.input == "features"
    device = local_device(pick_device(device))
    encoded: dict[str, Any] = {}
    if uses_features:
        encoded = {"crops": crops, "precision": encode.precision(device)} | describe_encoder(encode)
    identity = TrainingIdentity(
        model=model_class.name,
        model_code=model_code(model_class),
        config=as_dict(config),
        variant=variant,
        seed=seed,
        dataset=dataset.name,
        images_key=images_key,
        table_hash=hash_table(table),
        augmentation=asdict(augment) | {"live": live} if uses_features and augment is not None else {},
        **encoded,
    )
    workers = default_workers(device) if workers is None else workers
    how = _How(crops, augment, live, tunes, device, workers, batch_size, force)
    with joined(device) as group:
        speak = progress if group.main else SILENT
        training_set = _training_set(dataset, table, images_key, encode, how, speak)
        drawn: dict[str, Any] = {"limit": limit} if fraction == 1.0 else {"limit": len(table), "drawn_from": len(whole)}
        if drawn["limit"] is not None:
            drawn["whole_table"] = hash_table(dataset.positions("train"))
        drawn["available"] = len(everything)
        return _trained(model_class(config, device), training_set, identity, drawn, (name, purpose), force, speak)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise what :func:`train` raises of names and settings in its arguments ``options``, without training."""
    model, dataset = get_model_class(options["model"]), get_dataset(options["data"])
    if not model.trainable:
        raise TrainingError(f"{model.name} needs no training.")
    if options.get("encoder"):
        get_encoder(options["encoder"])
    chosen = (options["variant"], options["fraction"], dict(options["settings"]), options["epochs"])
    configured(model, dataset, *chosen)
    dataset.table("train", options["limit"])


@dataclass(frozen=True)
class _How:
    """How the features of a training set are made."""

    crops: int
    augmentation: Augmentation | None
    live: bool
    tunes: bool
    device: str
    workers: int
    batch_size: int
    force: bool


def _training_set(
    dataset: Dataset, table: pd.DataFrame, images_key: str, encoder: Encoder, how: _How, progress: Progress
) -> TrainingSet:
    """Return the training set; its features are extracted when a model first asks for them.

    Before a training on pixels, the features of the encoder as it is tell which images can be read, and what they hold.
    """

    def features() -> Features:
        return extract(
            dataset,
            table,
            plain(encoder) if how.tunes else encoder,
            purpose="train",
            crops=how.crops,
            augmentation=None if how.live else how.augmentation,
            device=how.device,
            batch_size=how.batch_size,
            workers=how.workers,
            images_key=images_key,
            force=how.force,
            progress=progress,
        )

    def loader(kind: type[PixelLoader]) -> PixelLoader:
        encoder.load(how.device)
        return kind(dataset, list(table["image"]), encoder, how.augmentation, how.device, how.workers)

    return TrainingSet(
        dataset,
        table,
        features,
        live=partial(loader, LiveViews) if how.live and not how.tunes else None,
        encoder=encoder,
        read_pixels=partial(loader, PixelLoader) if how.tunes else None,
    )


def _part(table: pd.DataFrame, fraction: float) -> pd.DataFrame:
    if not 0 < fraction <= 1:
        raise SettingError(f"fraction must be greater than 0 and at most 1, not {fraction}.")
    return limited(table, max(1, round(fraction * len(table)))) if fraction < 1 else table


def _refuse_name(model: type[Model], name: str) -> None:
    """Raise ``SettingError`` if ``MODEL@NAME`` would mean something else already."""
    naming.check_name(name)
    if name in get_datasets():
        raise SettingError(f"{model.name}@{name} is the newest training on that data set; choose another name.")
    if name in model.importable():
        raise SettingError(f"{model.name}@{name} stands for weights that the model brings; choose another name.")


def _trained(
    model: Model,
    training_set: TrainingSet,
    identity: TrainingIdentity,
    drawn: Mapping[str, Any],
    named: tuple[str, str],
    force: bool,
    progress: Progress,
) -> Checkpoint:
    """Return the existing checkpoint, or train it: one process at a time, or all of a group together.

    ``named`` are the name that a person gives to it, and its purpose.
    """
    group = current()
    identifier = f"{identity.dataset}-s{identity.seed}-{identity.key[:8]}"
    folder = checkpoint_folder(model.name, identifier)
    if named[0]:
        _refuse_taken(model.name, named[0], identifier)
    lock = files.locked(folder.with_name(f".{identifier}"), progress.say) if group.main else nullcontext()
    with lock:  # a second process waits and finds the checkpoint
        exists = group.share(folder.exists())
        before = naming.read_label(folder) if exists else naming.Label(purpose=named[1])
        label = before.again(*named)
        if exists and not force:
            if group.main and label != before:
                label.save(folder)
            meaning = _meaning(model.name, identifier, before, label) if group.main else ""
            progress.say(f"{model.name}@{identifier} {ALREADY_TRAINED} (--force trains it again){meaning}.")
        else:
            if force and group.main:
                _forget_unforced(folder)
            group.wait()
            _fit(model, training_set, identity, identifier, drawn, label, progress)
        group.wait()
    found = find_checkpoint(f"{model.name}@{identifier}")
    assert found is not None
    return found


def _refuse_taken(model: str, name: str, identifier: str) -> None:
    """Raise ``SettingError`` if ``name`` is that of another checkpoint than ``identifier``."""
    for other in readable_checkpoints(model)[0]:
        if other.id != identifier and name in (other.id, *other.label.names):
            raise SettingError(f"{model}@{name} is {other.spec}, {_briefly(other)}; choose another name.")


def _briefly(checkpoint: Checkpoint) -> str:
    return f"trained on {checkpoint.learnt_from} on {checkpoint.created[:10]}"


def _meaning(model: str, identifier: str, before: naming.Label, now: naming.Label) -> str:
    """Return what the name of ``model`` stands for if not for ``identifier``, or why it now may, in words."""
    asked = f"; it was made for {before.purpose}, and counts as asked for from now on" if before.purpose else ""
    if now.purpose:
        return ""  # nobody asked
    chosen = naming.newest(readable_checkpoints(model)[0])
    if chosen is None or chosen.id == identifier:
        return asked
    return f"{asked}; {model} alone stands for the newest full training, {chosen.spec}, {_briefly(chosen)}"


def _scratch(folder: Path) -> Path:
    """Return where the training of a checkpoint keeps its state."""
    return folder.with_name(f".{folder.name}.partial")


def _forget_unforced(folder: Path) -> None:
    """Remove what an interrupted training left, unless that was forced as well: it knows other features."""
    scratch = _scratch(folder)
    if not (scratch / FORCED).exists():
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        (scratch / FORCED).touch()


def _fit(
    model: Model,
    training_set: TrainingSet,
    identity: TrainingIdentity,
    identifier: str,
    drawn: Mapping[str, Any],
    label: naming.Label,
    progress: Progress,
) -> None:
    """Fit ``model``, in the scratch folder of an interrupted training if there is one, and save it."""
    folder = checkpoint_folder(model.name, identifier)
    scratch = _scratch(folder)
    scratch.mkdir(parents=True, exist_ok=True)
    group = current()
    if model.input == "features":
        training_set.readable  # noqa: B018  extracts, in all processes together, before training is timed
    started = time.monotonic()
    with as_plugin_error(who(model), f"in fit() on {training_set.name}"):
        model.fit(training_set, seed=identity.seed or 0, scratch=scratch, progress=progress)
        if not group.main:
            return
        state = model.learnt()
    checkpoint = Checkpoint(
        **identity.identity(),
        id=identifier,
        images=len(training_set),
        unreadable=len(training_set) - len(training_set.readable) if model.input == "features" else 0,
        **drawn,
        created=now(),
        versions=versions_of(type(model)) | library_versions(),
        encoded_with=training_set.features.versions if model.input == "features" else {},
        device=describe_device(model.device),
        seconds=round(time.monotonic() - started, 2),
        weights=weights_digest(state),
    )
    logs = [scratch / name for name in LOGS if (scratch / name).exists()]
    checkpoint.save(state, training_set.coordinates, training_set.digests(model, progress), logs, label)
    shutil.rmtree(scratch)
    progress.say(f"saved {checkpoint.spec}, trained on {len(training_set):,} images in {checkpoint.seconds:.0f} s.")
    if checkpoint.aside and not label.purpose:
        progress.say(f"{model.name} alone does not stand for it: it was trained {checkpoint.aside}; name it.")


def configured(
    model_class: type[Model],
    dataset: Dataset,
    variant: str,
    fraction: float,
    settings: dict[str, Any],
    epochs: int | None,
    progress: Progress = SILENT,
) -> Any:
    """Return the configuration: defaults, overridden by the data set, the fraction, the variant and the user."""
    if epochs is not None:
        if "epochs" not in {field.name for field in fields(model_class.Config)}:
            raise SettingError(f"{model_class.name} is not trained in epochs; leave epochs out.")
        if "epochs" in settings:
            raise SettingError("epochs is given twice: as an argument and among the settings.")
        settings = settings | {"epochs": epochs}
    if variant and variant not in model_class.variants:
        raise unknown_name(f"variant of {model_class.name}", variant, model_class.variants)
    named = {
        f"the fraction {fraction}": model_class.fraction_settings.get(fraction, {}),
        f"the variant {variant}": model_class.variants.get(variant, {}),
    }
    for name, values in named.items():
        if values:
            progress.say(f"{model_class.name}: {name} sets {_listed(values)}.")
    if fraction != 1 and model_class.fraction_settings and fraction not in model_class.fraction_settings:
        known = ", ".join(map(str, model_class.fraction_settings))
        progress.say(f"{model_class.name}: its paper has no settings for the fraction {fraction} (only for {known}).")
    chosen = {name: value for values in (*named.values(), settings) for name, value in values.items()}
    fitting = dict(dataset.settings.get(model_class.name, {}))
    used = {name: value for name, value in fitting.items() if name not in chosen}
    if used:
        listed = _listed(used)
        progress.say(f"{model_class.name}: settings for {dataset.name}: {listed} (override with --set NAME=VALUE).")
    return configure(model_class.Config, fitting | chosen, model_class.name)


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())
