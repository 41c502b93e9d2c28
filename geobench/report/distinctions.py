"""What tells the rows of a table apart, and results against a gallery that has changed since."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from geobench import files
from geobench.errors import GalleryError
from geobench.gallery import get_gallery, is_file, needs_training
from geobench.report.groups import Facts, facts, is_drawn
from geobench.results import Result

VISIBLE = frozenset(
    {"dataset", "subset", "n", "model", "trained_on", "training.dataset", "crops"}
    | {"gallery", "gallery_size", "gallery_content"}
)
"""Facts that a table shows in a column or as part of the model's name, or that are looked at on their own."""
REPEATED = frozenset({"training.encoder", "training.encoder_weights", "training.encoder_caveat", "encoder_caveat"})
"""Facts that another one or a note states: a model only runs on features of the encoder that it was trained with."""
BY_IMAGES = dict.fromkeys(("table_hash", "images_key", "columns_hash"), ("subset", "n"))
BY_TRAINING = dict.fromkeys(("training.table_hash", "training.images_key"), ("model", "trained_on", "training_images"))
COMPARED = BY_IMAGES | BY_TRAINING
"""Facts that are compared among rows of which others are the same: a part of a set has other images, and nothing has
changed. All that are not listed are compared among the rows of one model and training set."""
BY_MODEL = ("model", "trained_on")

Place = tuple[Any, ...]
"""A gallery whose content should be one: see :func:`conflicting_galleries`."""
NAMES = {
    "table_hash": "table",
    "images_key": "files",
    "columns_hash": "columns",
    "training.table_hash": "training table",
    "training.images_key": "training files",
    "training.augmentation": "views",
    "training.model_code": "training code",
    "code.source": "code",
}
MOST_SETTINGS = 3
"""Settings listed after a name that is unique without them."""
NEEDLESS = 24
"""Characters above which a value is shown as the digits of a digest."""


def distinctions(groups: Sequence[Sequence[Result]], conflicting: Mapping[Place, str]) -> list[str]:
    """Return for each group in what it differs from the others of the same model and training set; empty if in nothing.

    Facts that a table shows anyway, and seeds, are not listed.

    Args:
        groups: the results of each row.
        conflicting: from :func:`conflicting_galleries`.
    """
    known = [facts(results[0]) for results in groups]
    differing = _differing(known)
    found = []
    for results, own, names in zip(groups, known, differing, strict=True):
        settings = [name for name in names if name.startswith("config.")]
        unique = results[0].checkpoint and len({result.checkpoint for result in results}) == 1
        shown = [name for name in names if name not in settings and name != "form"]
        shown += settings[:MOST_SETTINGS] if unique else settings
        parts = [f"{_name(name)}={_short(own.get(name, 'none'))}" for name in shown if _is_stated(own, name)]
        parts += ["…"] if unique and len(settings) > MOST_SETTINGS else []
        if _gallery_of(results[0]) in conflicting:
            parts.append(f"gallery={results[0].gallery_hash[:4]}")
        if "form" in names and own["form"] == "1":
            parts.append("record of form 1")
        found.append(", ".join(parts))
    return found


def _differing(known: Sequence[Facts]) -> list[list[str]]:
    """Return for each of ``known`` the names of the facts in which it differs from a row that it is compared with."""
    found: dict[tuple[str, ...], list[str]] = {}
    levels = dict.fromkeys([BY_MODEL, *COMPARED.values()])
    for level in levels:
        for key in {_key(own, level) for own in known}:
            among = [own for own in known if _key(own, level) == key]
            found[key] = [name for name in _varying(among) if COMPARED.get(name, BY_MODEL) == level]
    return [[name for level in levels for name in found[_key(own, level)]] for own in known]


def _key(own: Facts, level: tuple[str, ...]) -> tuple[str, ...]:
    return *level, *(own.get(name, "") for name in level)


def _varying(among: Sequence[Facts]) -> Iterator[str]:
    """Yield the names of facts that have several values; what a record does not state is no value."""
    for name in dict.fromkeys(name for own in among for name in own):
        values = {own.get(name, "none") for own in among if _is_stated(own, name)}
        if len(values) > 1 and name not in REPEATED | VISIBLE:
            yield name


def _is_stated(own: Facts, name: str) -> bool:
    """Return whether a record states a fact: one of form 1 lacks some, and predictions of others have no images."""
    return bool(own.get(name)) if name in BY_IMAGES else name in own or own["form"] == "2"


def _name(fact: str) -> str:
    section, _, name = fact.rpartition(".")
    return NAMES.get(fact) or (name if section in ("config", "code") else fact.replace(".", " ").replace("_", " "))


def _short(value: str) -> str:
    if re.fullmatch("[0-9a-f]{16}", value):
        return value[:4]
    return value if len(value) <= NEEDLESS else files.digest(value)[:4]


def _gallery_of(result: Result) -> Place:
    """Return what has one content unless its source changed: a file, or a draw from a source that is no training set.

    That of a training set is one for all results of the same facts.
    """
    if not needs_training(result.gallery):
        return result.gallery, result.seed if is_drawn(result) else 0
    return result.gallery, result.seed, *sorted(facts(result).items())


def conflicting_galleries(groups: Sequence[Sequence[Result]]) -> dict[Place, str]:
    """Return the galleries of which results have different contents, and for each the hash of that which is in use.

    That is the content of the file today, or of the newest result.
    """
    found: dict[Place, list[Result]] = {}
    for result in (result for results in groups for result in results if result.gallery):
        found.setdefault(_gallery_of(result), []).append(result)
    several = {place: alike for place, alike in found.items() if len({each.gallery_hash for each in alike}) > 1}
    return {place: _content_in_use(alike) for place, alike in several.items()}


def _content_in_use(results: Sequence[Result]) -> str:
    newest = max(results, key=lambda result: result.created)
    try:
        return get_gallery(newest.gallery).hash if is_file(newest.gallery) else newest.gallery_hash
    except GalleryError:
        return newest.gallery_hash


def is_outdated(results: Sequence[Result], conflicting: Mapping[Place, str]) -> bool:
    """Return whether a result is against coordinates that its gallery no longer has: see ``conflicting_galleries``."""
    return any(conflicting.get(_gallery_of(r), r.gallery_hash) != r.gallery_hash for r in results if r.gallery)
