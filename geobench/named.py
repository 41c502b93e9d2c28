"""Which results a name means: the names that every command takes, and which of several results for one entry counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geobench.checkpoints import settings_of
from geobench.errors import ResultError, UnknownNameError, unknown_name
from geobench.plugins import get_models
from geobench.results import FOLDER, Result, load_result, read_results, record_of

NAMES = "MODEL, MODEL@CHECKPOINT, MODEL@TRAINING SET, MODEL:ARGUMENT, the first digits of a key, or a result's file"
NO_RESULTS = (
    "no results in {folder}; to make some: geobench demo, or geobench run --models geoclip --datasets bluemarble"
)
KEY_DIGITS = 4  # of a key that name a result
LISTED = 6  # results that are listed where a name means several
VERSIONS = {"table_hash": "table", "gallery_hash": "gallery content", "encoder_weights": "encoder weights"}


def find_results(name: str | Path, folder: Path = FOLDER, dataset: str | None = None) -> list[Result]:
    """Return the results called ``name`` with their predictions, the newest last: of each entry that which counts.

    Args:
        name: a file (``….json`` or its ``….predictions.csv``), the first digits of a key, ``MODEL``,
            ``MODEL@CHECKPOINT``, ``MODEL@TRAINING SET`` or ``MODEL:ARGUMENT``.
        folder: of results.
        dataset: only results on this test set.

    Raises:
        UnknownNameError: there is no such result.
        ResultError: there are no results at all, or one that is meant is damaged.
    """
    if _is_file(name):
        result = load_result(record_of(Path(name)), predictions=True)
        if dataset not in (None, result.dataset):
            raise ResultError(f"{name} is a result on {result.dataset}, not on {dataset}.")
        return [result]
    found, damaged = read_results(folder, predictions=False)
    if not found:
        raise ResultError(" ".join(damaged) or NO_RESULTS.format(folder=folder))
    meant, _ = newest(called(found, str(name), folder, dataset, damaged))
    return [load_result(result.path, predictions=True) for result in meant if result.path is not None]


def find_result(name: str | Path, folder: Path = FOLDER, dataset: str | None = None) -> Result:
    """Return the one result called ``name``, with its predictions: see :func:`find_results`.

    Raises:
        UnknownNameError: there is no such result.
        ResultError: several match, or the file is damaged.
    """
    found = find_results(name, folder, dataset)
    if len(found) > 1:
        versions = _versions(found)
        shown = "; ".join(f"{r.key[:8]} ({r.spec} on {_where(r, versions)})" for r in found[:LISTED])
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise ResultError(
            f"{name} matches {len(found)} results; name one by the first digits of its key: {shown}{more}."
        )
    return found[0]


def called(
    results: Sequence[Result],
    name: str,
    folder: Path = FOLDER,
    dataset: str | None = None,
    damaged: Sequence[str] = (),
) -> list[Result]:
    """Return those of ``results`` that are called ``name``, which is no file; ``damaged`` are lines on unread ones.

    Raises:
        UnknownNameError: there are none; the message says on which test sets there are some.
    """
    matching = [result for result in results if _is_called(result, name)]
    there = [result for result in matching if dataset in (None, result.dataset)]
    if there:
        return there
    hint = f"Damaged: {' '.join(damaged)}" if damaged else ""
    if matching:
        others = ", ".join(sorted({result.dataset for result in matching}))
        raise UnknownNameError(f"{name} has no result on {dataset} in {folder}; it has on: {others}. {hint}".rstrip())
    on = [result for result in results if dataset in (None, result.dataset)]
    if not on:
        sets = {result.dataset for result in results}
        raise unknown_name("data set among the results", str(dataset), sets, hint)
    where = f"result in {folder}" + (f" on {dataset}" if dataset else "")
    raise unknown_name(where, name, {result.spec for result in on} | {result.model for result in on}, hint)


def meant(results: Sequence[Result], names: Sequence[str], folder: Path = FOLDER) -> list[Result]:
    """Return those of ``results``, all of ``folder``, that any of ``names`` means, in their order.

    Raises:
        UnknownNameError: a name means none of them.
    """
    keys: set[str] = set()
    for name in names:
        of_name = [load_result(record_of(Path(name)))] if _is_file(name) else called(results, name, folder)
        if of_name[0].key not in {result.key for result in results}:
            raise UnknownNameError(f"{name} is not among the results in {folder}.")
        keys |= {result.key for result in of_name}
    return [result for result in results if result.key in keys]


def newest(
    results: Iterable[Result], standing: Callable[[Result], Any] = lambda result: 0
) -> tuple[list[Result], dict[str, list[Result]]]:
    """Return the result of each entry that counts, and by its key the older ones for the same entry.

    That with the highest ``standing`` counts, of several the newest; of those that differ from it only in how many
    predictions were kept, that with the most: they score alike, and tell more.
    """
    entries: dict[tuple[Any, ...], list[Result]] = {}
    for result in sorted(results, key=lambda result: (standing(result), result.created)):
        entries.setdefault(result.entry, []).append(result)
    for entry in [entry for entry, found in entries.items() if found[-1].stated_key]:
        if (heir := _heir(entry, entries)) is not None:
            entries[heir][:0] = entries.pop(entry)
    counting, older = [], {}
    for found in entries.values():
        last = found[-1]
        twins = [r for r in found if _but_kept(r) == _but_kept(last) and standing(r) == standing(last)]
        chosen = max(twins, key=lambda result: (result.top_k, result.created))
        counting.append(chosen)
        older[chosen.key] = [r for r in found if _but_kept(r) != _but_kept(chosen) or r.top_k == chosen.top_k]
        older[chosen.key].remove(chosen)
    return counting, older


def _but_kept(result: Result) -> dict[str, Any]:
    """Return the identity of ``result`` without the number of predictions kept, on which no first one depends."""
    return {**result.identity(), "top_k": 0}


def _heir(entry: tuple[Any, ...], entries: Mapping[tuple[Any, ...], list[Result]]) -> tuple[Any, ...] | None:
    """Return the entry of a newer result that takes the place of a record of form 1, which states less."""
    old = entries[entry][-1]
    return next(
        (
            other
            for other, found in entries.items()
            if other != entry
            and found[-1].created > old.created
            and all(ours in ("", theirs) for ours, theirs in zip(entry, other, strict=True))
        ),
        None,
    )


def _is_file(name: str | Path) -> bool:
    """Return whether ``name`` is that of a file, there or not."""
    return str(name).endswith((".json", ".csv"))


def _is_called(result: Result, name: str) -> bool:
    by_key = len(name) >= KEY_DIGITS and result.key.startswith(name)
    by_data = bool(result.trained_on) and name == f"{result.model}@{result.trained_on}"
    return by_key or by_data or name in (result.model, result.spec, result.stem) or _has_settings_of(result, name)


def _has_settings_of(result: Result, name: str) -> bool:
    """Return whether ``name`` is ``MODEL:ARGUMENT``, as for ``geobench run``, with the settings that the result has.

    Settings that change no answer, such as how many requests are under way, are not in a result.
    """
    model, colon, _ = name.partition(":")
    if not colon or model != result.model or model not in get_models():
        return False
    return all(result.config.get(key, value) == value for key, value in settings_of(name).items())


def _versions(results: Sequence[Result]) -> list[str]:
    """Return which of test set, gallery, and weights of the encoder have several versions among ``results``."""
    alike: dict[Any, list[Result]] = {}
    for result in results:
        alike.setdefault((_where(result), result.spec), []).append(result)
    return [n for n in VERSIONS if any(len({getattr(r, n) for r in several}) > 1 for several in alike.values())]


def _where(result: Result, versions: Sequence[str] = ()) -> str:
    parts = [result.subset, result.gallery, f"seed {result.seed}" if result.gallery else "", f"{result.n:,} images"]
    parts += [f"{VERSIONS[name]} {getattr(result, name)[:6]}" for name in versions if getattr(result, name)]
    return ", ".join([result.dataset, *filter(None, parts)])
