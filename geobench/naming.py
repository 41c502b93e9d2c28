"""Which training a name stands for: the newest of a whole set that was asked for, never a smoke test.

Trainings on a part of a set, and those that geobench began by itself (for an experiment, for ``run``, for the demo),
stand aside: they are used where they are named. What a training is for, and names given to it, lie in a file beside its
record, because both may change afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench import disk, files
from geobench.errors import CheckpointError, SettingError
from geobench.settings import described

if TYPE_CHECKING:
    from geobench.checkpoints import Checkpoint

LABEL = "label.json"
LISTED = 3
"""Checkpoints that a message lists; ``geobench models`` lists them all."""


@dataclass(frozen=True)
class Label:
    """What is known of a checkpoint beside its training.

    Attributes:
        names: given to it by people: ``MODEL@NAME``.
        purpose: what geobench made it for by itself, such as ``run``; empty for one that was asked for.
    """

    names: tuple[str, ...] = ()
    purpose: str = ""

    def again(self, name: str, purpose: str) -> Label:
        """Return the label after the same training was asked for again: once asked for by a person, it stays so."""
        names = dict.fromkeys((*self.names, *([name] if name else [])))
        return Label(tuple(names), self.purpose and purpose and self.purpose)

    def save(self, folder: Path) -> None:
        """Write it into the ``folder`` of a checkpoint; an empty one needs no file."""
        if self != Label() or (folder / LABEL).exists():
            files.write_json(folder / LABEL, asdict(self))


def read_label(folder: Path) -> Label:
    """Return the label of the checkpoint in ``folder``; raise ``CheckpointError`` if it cannot be read."""
    path = folder / LABEL
    if not path.exists():
        return Label()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Label(tuple(map(str, values["names"])), str(values["purpose"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        unreadable = (
            f"{path} is not readable ({type(error).__name__}: {error}); delete it, then name the training again."
        )
        raise CheckpointError(disk.not_readable(path, error, unreadable)) from error


def check_name(name: str) -> None:
    """Raise ``SettingError`` if ``name`` cannot be given to a training."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise SettingError(
            f"{name!r} cannot be the name of a training; use letters, digits, '.', '_', '+' and '-', such as paper-lr3."
        )


def newest(found: Sequence[Checkpoint], dataset: str | None = None) -> Checkpoint | None:
    """Return the newest of ``found``, the newest last, that stands for its model; None if none does.

    Args:
        found: checkpoints of one model.
        dataset: training set; None for any.
    """
    return next((one for one in reversed(found) if not one.aside and dataset in (None, one.dataset)), None)


def why_chosen(chosen: Checkpoint, found: Sequence[Checkpoint], dataset: str | None = None) -> str:
    """Return why ``chosen`` is taken of ``found``, in words, and what else could have been meant.

    Args:
        chosen: what :func:`newest` returned.
        found, dataset: its arguments.
    """
    full = [one for one in found if not one.aside and dataset in (None, one.dataset)]
    where = f" on {dataset}" if dataset else ""
    others = [one for one in reversed(full) if one.id != chosen.id]
    if not others:
        return f"the only full training{where}"
    said = _listed((f"{one.spec} ({difference(one, chosen)})" for one in others), len(others))
    return f"the newest of {len(full)} full trainings{where}; not {said}"


def difference(one: Checkpoint, other: Checkpoint) -> str:
    """Return what ``one`` was trained with that ``other`` was not, in words."""
    parts = [one.dataset] if one.dataset != other.dataset else []
    if not parts and one.table_hash != other.table_hash:
        parts.append(f"{one.images:,} images, other names or positions")
    parts += [one.encoder] if one.encoder != other.encoder else []
    parts += [f"seed {one.seed}"] if one.seed != other.seed else []
    parts += [f"{name}={one.config[name]}" for name in one.config if one.config[name] != other.config.get(name)]
    parts += [f"{one.crops} crops"] if one.crops != other.crops else []
    parts += ["other views"] if one.augmentation != other.augmentation else []
    return ", ".join(parts) or "other images, weights or code"


def standing_aside(found: Sequence[Checkpoint]) -> str:
    """Return those of ``found`` that a name alone does not stand for, in words, the newest first; empty if none."""
    aside = [one for one in reversed(found) if one.aside]
    return _listed((f"{one.spec} ({one.aside})" for one in aside), len(aside))


def changed_settings(checkpoint: Checkpoint, config_class: type[Any]) -> dict[str, Any]:
    """Return the settings of ``checkpoint`` that differ from the defaults of its model, and the seed if it is not 0."""
    usual = {each["setting"]: each["default"] for each in described(config_class)}
    changed = {name: value for name, value in checkpoint.config.items() if _plain(value) != _plain(usual.get(name))}
    return changed | ({"seed": checkpoint.seed} if checkpoint.seed else {})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _listed(items: Iterable[str], n: int) -> str:
    shown = ", ".join(item for item, _ in zip(items, range(LISTED), strict=False))
    return f"{shown} and {n - LISTED} more (geobench models)" if n > LISTED else shown
