"""What each model of a run stands for, how missing ones are trained, and whether they may be compared in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geobench.checkpoints import Checkpoint, find_checkpoint, get_checkpoints, no_training
from geobench.errors import CheckpointError, GeobenchError, SettingError
from geobench.features.wrappers import WRAPPERS
from geobench.models import Model, hash_table
from geobench.naming import newest, standing_aside, why_chosen
from geobench.plugins import get_dataset, get_model_class
from geobench.train import DEFAULT_DATA


@dataclass(frozen=True)
class Choice:
    """What a model of a run stands for.

    Attributes:
        asked: as it was asked for: ``NAME``, ``NAME@DATA``, ``NAME@CHECKPOINT``.
        spec: ``NAME@CHECKPOINT``; ``NAME`` for a model that needs no training, or is trained first.
        training: arguments of :func:`geobench.train`; None for a model that is ready.
        why: a sentence for the user; empty if there was nothing to choose.
    """

    asked: str
    spec: str
    training: Mapping[str, Any] | None = None
    why: str = ""


def model_class_of(spec: str) -> type[Model]:
    """Return the class of the model ``NAME`` or ``NAME@CHECKPOINT``."""
    return get_model_class(spec.partition("@")[0])


def choose(
    models: Sequence[str], *, train_missing: bool = True, trained_on: str | None = None, allow_mixed: bool = False
) -> list[Choice]:
    """Return what each of ``models`` stands for; what is missing is trained like the others, of which the first counts.

    Args:
        models: ``NAME``, ``NAME@DATA`` or ``NAME@CHECKPOINT``.
        train_missing: False refuses a model without a training.
        trained_on: training set of all models; None for any.
        allow_mixed: compare models that were trained on different data or with different encoders.

    Raises:
        UnknownNameError: a model or data set that does not exist.
        CheckpointError: a checkpoint that does not exist, or a missing one and ``train_missing`` is False.
        SettingError: the models were trained on different data or with different encoders, or not on ``trained_on``.
    """
    if trained_on is not None:
        get_dataset(trained_on)
    found = {spec: _found(spec, trained_on) for spec in models}
    trained = [checkpoint for checkpoint in found.values() if checkpoint is not None]
    if not allow_mixed:
        _refuse_mixed({spec: checkpoint for spec, checkpoint in found.items() if checkpoint is not None})
    donor = next((checkpoint for checkpoint in trained if checkpoint.encoder), next(iter(trained), None))
    choices: dict[str, Choice] = {}
    for spec, checkpoint in found.items():
        if checkpoint is not None:
            choice = Choice(spec, checkpoint.spec, why=_why(spec, checkpoint, trained_on))
        elif not model_class_of(spec).trainable:
            choice = Choice(spec, spec)
        elif not train_missing:
            raise _missing(spec, trained_on)
        else:
            choice = Choice(
                spec, spec, _training(donor, trained_on, allow_mixed), _why_trained(spec, donor, trained_on)
            )
        choices.setdefault(choice.spec, choice)  # two names of one checkpoint are evaluated once
    return list(choices.values())


def _found(spec: str, trained_on: str | None) -> Checkpoint | None:
    """Return the checkpoint of ``spec``; None for a model that has to be trained, or needs no training."""
    if "@" in spec or trained_on is None or not model_class_of(spec).trainable:
        checkpoint = find_checkpoint(spec) if "@" in spec or model_class_of(spec).trainable else None
        if checkpoint is not None and trained_on not in (None, checkpoint.dataset):
            raise SettingError(
                f"{checkpoint.spec} was trained on {checkpoint.dataset}, and trained_on (--trained-on) asks for "
                f"{trained_on}; leave out one of the two."
            )
        return checkpoint
    return newest(get_checkpoints(spec), trained_on)


def _missing(spec: str, trained_on: str | None) -> CheckpointError:
    if trained_on is None:
        return no_training(spec)
    return CheckpointError(
        f"{spec} has no full training on {trained_on}; make one: geobench train {spec} --data {trained_on}"
    )


def _why(spec: str, checkpoint: Checkpoint, trained_on: str | None) -> str:
    """Return which checkpoint is taken and why, unless it was named."""
    about = f"{checkpoint.spec}, trained on {checkpoint.learnt_from}"
    about += f" on {checkpoint.created[:10]}" if checkpoint.created else ""
    name, at, identifier = spec.partition("@")
    if at and identifier != checkpoint.dataset:
        return "" if identifier == checkpoint.id else f"{spec} is {about}."
    if at and checkpoint.aside:
        return f"{spec} is {about}."  # a name, which happens to be that of the set
    wanted = identifier if at else trained_on
    return f"{spec} is {about}: {why_chosen(checkpoint, get_checkpoints(name), wanted)}."


def _why_trained(spec: str, donor: Checkpoint | None, trained_on: str | None) -> str:
    """Return that ``spec`` is trained first, on what, and why no training of it stands for it."""
    data = trained_on or (donor.dataset if donor is not None else DEFAULT_DATA)
    there = get_checkpoints(spec)
    aside = standing_aside(there)
    what = f"has no full training{f' on {trained_on}' if trained_on else ''}" if there else "has no checkpoint"
    like = f", like {donor.spec}" if donor is not None else ""
    return f"{spec} {what}: training it first, on {data}{like}{f'; to use another, name it: {aside}' if aside else ''}."


def _training(donor: Checkpoint | None, trained_on: str | None, allow_mixed: bool) -> dict[str, Any]:
    """Return the arguments of :func:`train` that give the training set and features of ``donor``."""
    if donor is None or donor.own_gallery or trained_on not in (None, donor.dataset):
        encoder = {"encoder": _base(donor.encoder)} if donor is not None and donor.encoder else {}
        return {"data": trained_on or (donor.dataset if donor is not None else DEFAULT_DATA)} | encoder
    if not allow_mixed:
        _refuse_changed(donor)
    return _as_trained(donor)


def _as_trained(donor: Checkpoint) -> dict[str, Any]:
    given: dict[str, Any] = {"seed": donor.seed} if donor.seed is not None else {}
    if donor.encoder:
        given |= {"encoder": _base(donor.encoder), "crops": donor.crops}
    if donor.limit is not None and donor.drawn_from is not None:  # a fraction draws from what a limit has drawn
        given |= {"limit": donor.drawn_from, "fraction": donor.limit / donor.drawn_from}
    elif donor.limit is not None:
        given |= {"limit": donor.limit}
    return {"data": donor.dataset} | given


def _refuse_changed(donor: Checkpoint) -> None:
    """Raise ``SettingError`` if the training set of ``donor`` is another one now: nothing can be trained like it."""
    try:
        table = donor.current_table()
    except GeobenchError:
        return  # said when it is trained
    if donor.table_hash and hash_table(table) != donor.table_hash:
        raise SettingError(
            f"{donor.dataset} has changed since {donor.spec} was trained, so another model cannot be trained on the "
            f"same data; train it again (geobench train {donor.model} --data {donor.dataset}), or allow models trained "
            f"on different data: allow_mixed (--allow-mixed)."
        )


def _refuse_mixed(found: Mapping[str, Checkpoint]) -> None:
    """Raise ``SettingError`` if the checkpoints of a run were trained on different data or with different encoders."""
    data: dict[tuple[str, str], list[Checkpoint]] = {}
    encoders: dict[tuple[str, str], list[Checkpoint]] = {}
    for one in found.values():
        data.setdefault((one.dataset, one.table_hash), []).append(one)
        if one.encoder:
            encoders.setdefault((_base(one.encoder), one.encoder_weights), []).append(one)
    remedy = "name other checkpoints (geobench models lists them), or compare them all the same: allow_mixed "
    remedy += "(--allow-mixed)"
    if len(data) > 1:
        each = "; ".join(f"{_specs(ones)} on {ones[0].learnt_from}" for ones in data.values())
        first = next(iter(found.values())).dataset
        raise SettingError(
            f"these models were trained on different data, so a table would compare that too: {each}. Evaluate all as "
            f"trained on one set, and train what is missing: trained_on (--trained-on {first}); or {remedy}."
        )
    if len(encoders) > 1:
        each = "; ".join(f"{_specs(ones)} with {name}" for (name, _), ones in encoders.items())
        weights = " (other weights)" if len({name for name, _ in encoders}) == 1 else ""
        raise SettingError(
            f"these models were trained with different encoders{weights}, so a table would compare those too: {each}. "
            f"Train all with one (geobench train MODEL --encoder ENCODER), {remedy}."
        )


def _base(encoder: str) -> str:
    """Return the name of an encoder without what is read of it, such as its tokens."""
    base, colon, reads = encoder.rpartition(":")
    return base if colon and reads in WRAPPERS else encoder


def _specs(checkpoints: Sequence[Checkpoint]) -> str:
    return ", ".join(dict.fromkeys(one.spec for one in checkpoints))
