"""Results against the audits on this machine: which one fits, and what it found of the images of a result."""

from __future__ import annotations

from dataclasses import dataclass

from geobench.audits.fingerprints import DISTANCE
from geobench.audits.leakage import KINDS
from geobench.audits.overlap import same_id, same_photos
from geobench.audits.subsets import SUBSETS, Subset, get_subsets
from geobench.checkpoints import find_checkpoint
from geobench.errors import GeobenchError
from geobench.models import hash_table
from geobench.plugins import get_dataset
from geobench.results import Result

MOST_NAMED = 200_000
"""Images of a training set whose names are compared without an audit."""


@dataclass(frozen=True)
class Audited:
    """What the audit that fits a result found of its images.

    Attributes:
        n: images of the result.
        leaking: of these, those that share anything with a training image; ``same`` of them are one.
        found: how many each kind found, for kinds that found any; empty if an earlier version did not record it.
        skipped: what was not looked for, in words, though it could have been.
        unable: kinds that could not be checked.
    """

    n: int
    leaking: int
    same: int
    found: tuple[tuple[str, int], ...]
    skipped: tuple[str, ...]
    unable: tuple[str, ...]


def holds_photos(dataset: str) -> bool:
    """Return whether ``dataset`` is known here and stores its images; the crops of a map are drawn apart."""
    try:
        return bool(dataset) and get_dataset(dataset).stored
    except GeobenchError:
        return False


def audits(dataset: str, training: str) -> list[Subset]:
    """Return the audits of ``dataset`` against ``training`` on this machine, the newest last."""
    try:
        return [subset for name in SUBSETS for subset in get_subsets(dataset, name) if subset.against == training]
    except GeobenchError:  # there is none
        return []


def audited(result: Result) -> Audited | None:
    """Return what the newest audit that fits ``result`` found of its images; None if none fits."""
    fitting = [audit for audit in audits(result.dataset, result.trained_on) if _fits(audit, result)]
    return _found(fitting[-1], result) if fitting else None


def same_named(result: Result) -> int:
    """Return how many test images have the id and the place of a training image, by the tables alone, as an audit's.

    0 where no table tells: the training set is not here, is another one now, was learnt in part, or is so large that
    reading it is an audit's work.
    """
    import pandas as pd

    if result.names is None or result.truth is None or not 0 < result.training_images <= MOST_NAMED:
        return 0
    if not (holds_photos(result.dataset) and holds_photos(result.trained_on)):
        return 0
    try:
        theirs = get_dataset(result.trained_on).table("train")
    except GeobenchError:
        return 0
    if result.training.get("table_hash", "") != hash_table(theirs):
        return 0
    ours = pd.DataFrame({"image": result.names, "latitude": result.truth[:, 0], "longitude": result.truth[:, 1]})
    return int(same_photos(ours, theirs, {"id": same_id(ours, theirs)}).sum())


def _found(audit: Subset, result: Result) -> Audited:
    images = {*audit.kept, *audit.left_out} if result.names is None else set(map(str, result.names))
    found = {kind: len(images.intersection(names)) for kind, names in (audit.found or {}).items()}
    skipped = [kind for kind in KINDS if kind not in audit.kinds and kind not in audit.unable]
    if "twin" in audit.kinds and audit.distance < DISTANCE:
        skipped.append(f"twins that differ in more than {audit.distance} bits")
    return Audited(
        n=result.n,
        leaking=len(images.intersection(audit.left_out).difference(audit.unreadable)),
        same=len(images.intersection(audit.same_photos)),
        found=tuple((kind, count) for kind, count in found.items() if count),
        skipped=tuple(skipped),
        unable=audit.unable,
    )


def _fits(audit: Subset, result: Result) -> bool:
    """Return whether ``audit`` is of what ``result`` was trained and tested on, or of sets of which these are parts."""
    if audit.test is None or audit.training is None:
        return False
    whole = not result.subset and result.n == len(audit.kept) + len(audit.left_out)
    if (whole and audit.test.table != result.test_hash) or (result.names is None and not whole):
        return False
    learnt = result.training.get("table_hash", "")
    return learnt in ("", audit.training.table) or _is_of_whole(audit.training.table, result)


def _is_of_whole(table: str, result: Result) -> bool:
    """Return whether ``table`` is that of which a model was trained on a part, as far as its checkpoint tells."""
    try:
        checkpoint = find_checkpoint(result.spec) if result.checkpoint else None
    except GeobenchError:
        return False
    return checkpoint is not None and checkpoint.limit is not None and checkpoint.whole_table in ("", table)
