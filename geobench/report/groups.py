"""Which results belong in one row: those that are equal in everything but seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from geobench.gallery import is_file, needs_training
from geobench.named import newest
from geobench.results import Result

SEEDED = frozenset({"checkpoint", "weights", "gallery_hash", "seed"})
"""Parts of an identity that differ between seeds."""
KEPT = frozenset({"top_k"})
"""Parts of an identity that no first prediction depends on: results that differ in them alone are of one row."""
Facts = Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """The results of one row.

    Attributes:
        results: one per seed, equal in everything else.
        superseded: names of the files of older results for the same entries.
        repeats: likewise of results that differ in a seed which nothing was drawn with.
    """

    results: tuple[Result, ...]
    superseded: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()


def facts(result: Result) -> dict[str, str]:
    """Return everything that the results of a row have in common, by name; what the record does not state is left out.

    They are the identity of the result and the recipe of its training, without what depends on seeds, and without
    the number of predictions kept.
    """
    seeded = SEEDED if result.checkpoint else SEEDED - {"weights"}  # fitted by hand: nothing tells from what
    found: dict[str, Any] = {name: value for name, value in result.identity().items() if name not in seeded | KEPT}
    found |= {"table_hash": result.test_hash, "trained_on": result.trained_on, "form": 1 if result.stated_key else 2}
    found |= {"training_images": result.training_images}
    recipe = {name: value for name, value in result.training.items() if name not in ("model", "config")}
    if recipe:
        recipe["augmentation"] = _views(recipe.get("augmentation", {}))
    found |= {f"training.{name}": value for name, value in recipe.items()}
    if result.gallery and not is_drawn(result):
        found["gallery_content"] = result.gallery_hash
    for name in ("config", "code"):
        found |= {f"{name}.{key}": value for key, value in sorted(found.pop(name).items())}
    return {name: str(value) for name, value in found.items() if not (result.stated_key and value in ("", None))}


def _views(augmentation: Mapping[str, Any]) -> str:
    """Return the random views of a training in words."""
    if not augmentation:
        return "none"
    live = " live" if augmentation.get("live") else ""
    return f"{augmentation.get('views')}{live} {augmentation.get('kind')}"


def is_drawn(result: Result) -> bool:
    """Return whether the gallery depends on its seed; a file and the whole training set do not."""
    whole = needs_training(result.gallery) and result.gallery_size == result.training_images
    return not (whole or is_file(result.gallery))


def group(
    results: Iterable[Result], join_seeds: bool, standing: Callable[[Result], Any] = lambda result: 0
) -> list[Group]:
    """Return the rows of ``results`` in their order.

    Args:
        results: of one test set.
        join_seeds: put results that differ only by seed into one row.
        standing: of the results for one entry that with the highest standing counts, of several the newest.
    """
    counting, older = newest(results, standing)
    names = _names_of_contents(counting)
    ordered = sorted(((_order(result, names), result) for result in counting), key=lambda pair: pair[0])
    found = []
    for _, pairs in groupby(ordered, key=lambda pair: pair[0][:-1]):
        alike = [result for _, result in pairs]
        for several in _joined(alike) if join_seeds else [[result] for result in alike]:
            kept, repeats = without_repeats(several)
            superseded = tuple(file_name(each) for result in several for each in older[result.key])
            found.append(Group(tuple(kept), superseded, tuple(map(file_name, repeats))))
    return found


def file_name(result: Result) -> str:
    """Return the name of the record of ``result``."""
    return result.path.name if result.path is not None else f"{result.stem}.json"


def _names_of_contents(results: Iterable[Result]) -> dict[tuple[str, str], str]:
    """Return for each content of a training set the first of its names in the alphabet: a copy is the same set."""
    names: dict[tuple[str, str], str] = {}
    for result in results:
        content = _content(result)
        names[content] = min(result.trained_on, names.get(content, result.trained_on))
    return names


def _content(result: Result) -> tuple[str, str]:
    """Return digests of what was trained on; of a record that does not state them, the name stands for the content."""
    table, images = (str(result.training.get(name, "")) for name in ("table_hash", "images_key"))
    return (table, images) if table and images else (result.trained_on, "")


def _order(result: Result, names: Mapping[tuple[str, str], str]) -> tuple[Any, ...]:
    """Return what rows are sorted by; all but the last are the same for results that differ only by seed.

    ``names`` are those of the training sets by their content, which decides what is the same set.
    """
    name = names[_content(result)]
    alike = facts(result) | ({"trained_on": name, "training.dataset": name} if result.training else {})
    training = (name, result.training_images, result.encoder, sorted(map(repr, result.config.items())))
    measured = (result.subset, result.n, result.gallery_size, result.gallery, result.crops)
    return result.model, training, measured, sorted(alike.items()), (result.trained_on, result.checkpoint, result.seed)


def _joined(alike: list[Result]) -> list[list[Result]]:
    """Return results that are equal in all but seeds as one group, if their seeds differ and their galleries agree.

    If one seed of the draw stands for galleries of different coordinates, only results against the same are joined.
    """
    galleries: dict[int, dict[str, list[Result]]] = {}
    for result in alike:
        galleries.setdefault(result.seed, {}).setdefault(result.gallery_hash, []).append(result)
    if all(len(contents) == 1 for contents in galleries.values()):
        return _of_distinct_seeds(alike)
    parts = [part for contents in galleries.values() for part in contents.values()]
    return [several for part in parts for several in _of_distinct_seeds(part)]


def _of_distinct_seeds(alike: list[Result]) -> list[list[Result]]:
    """Return ``alike`` as one group if no two have the same seeds; else each name of the set, or checkpoint, as one.

    The latter concerns trainings repeated with the same seed, and those whose seed is unknown.
    """
    distinct = {(result.training_seed, result.seed) for result in alike}
    if len(distinct) == len(alike) and all(result.training_seed is not None for result in alike):
        return [alike]
    named = [list(several) for _, several in groupby(alike, key=lambda result: result.trained_on)]
    if len(named) > 1:
        return [group for several in named for group in _of_distinct_seeds(several)]
    return [list(several) for _, several in groupby(alike, key=lambda result: result.checkpoint)]


def without_repeats(results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Return ``results``, which differ only by seed, and separately those whose seed drew nothing new.

    Same weights, same gallery and same scores are one measurement, whatever its seeds are called.
    """
    kept: list[Result] = []
    repeats: list[Result] = []
    for result in results:
        (repeats if any(_is_repeat(result, other) for other in kept) else kept).append(result)
    return kept, repeats


def _is_repeat(a: Result, b: Result) -> bool:
    learnt = a.checkpoint == b.checkpoint or (a.weights != "" and a.weights == b.weights)
    return learnt and a.gallery_hash == b.gallery_hash and a.record()["scores"] == b.record()["scores"]
