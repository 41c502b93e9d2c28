"""Doubts about data: training images, unaudited sets, other versions of images, positions and galleries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from geobench.audits.subsets import SUBSETS, Subset, get_subsets
from geobench.checkpoints import find_checkpoint
from geobench.errors import GeobenchError
from geobench.plugins import get_dataset
from geobench.report.doubts.doubt import Doubt, named, rows_by
from geobench.report.rows import Row
from geobench.results import Result

VERSIONS = {
    "test_hash": "names or true positions differ; they are not compared",
    "images_key": "sizes, times or contents of the image files differ",
    "columns_hash": "columns such as photographers differ",
}


def trained_on_test_images(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose model has learnt from images that it is tested on."""
    rows = tuple(row for row in ours if row.in_training)
    shares = dict.fromkeys(f"{row.model} (from {row.in_training:,} of {row.results[0].n:,})" for row in rows)
    text = f"¶ Trained on images of this test set, so that scores show what is remembered: {', '.join(shares)}"
    yield Doubt("trained on test images", rows, f"{text}; from a tenth on not part of the comparison.")


def not_audited(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Pairs of photo sets without an audit on this machine that fits; the crops of a map are drawn apart."""
    for (dataset, training), rows in rows_by(ours, lambda result: (result.dataset, result.trained_on)).items():
        if not (_holds_photos(dataset) and _holds_photos(training)):
            continue
        audits = _audits(dataset, training)
        unfit = tuple(row for row in rows if not any(_fits(audit, row.results[0]) for audit in audits))
        text = "The audit is of other images or positions" if audits else "Not audited"
        command = f"geobench datasets audit {dataset} --against {training}"
        shared = f"for photos of {dataset} that are also in {training}: {named(unfit, ours)}"
        yield Doubt("not audited", unfit, f"{text} {shared} ({command}).")


def _holds_photos(dataset: str) -> bool:
    """Return whether ``dataset`` is known here and stores its images."""
    try:
        return bool(dataset) and get_dataset(dataset).stored
    except GeobenchError:
        return False


def _audits(dataset: str, training: str) -> list[Subset]:
    """Return the audits of ``dataset`` against ``training`` on this machine."""
    try:
        return [subset for name in SUBSETS for subset in get_subsets(dataset, name) if subset.against == training]
    except GeobenchError:  # there is none
        return []


def _fits(audit: Subset, result: Result) -> bool:
    """Return whether ``audit`` is of what ``result`` was trained and tested on, or of sets of which these are parts."""
    if audit.test is None or audit.training is None:
        return False
    whole = not result.subset and result.n == len(audit.kept) + len(audit.left_out)
    if whole and audit.test.table != result.test_hash:
        return False
    learnt = result.training.get("table_hash", "")
    return learnt in ("", audit.training.table) or _is_limited(result)


def _is_limited(result: Result) -> bool:
    """Return whether a model was trained on a part of its set, as far as its checkpoint is here to tell."""
    try:
        checkpoint = find_checkpoint(result.spec) if result.checkpoint else None
    except GeobenchError:
        return False
    return checkpoint is not None and checkpoint.limit is not None


def oracle(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose gallery contains true positions."""
    for row in ours:
        if row.oracle:
            first = row.results[0]
            held = f"{first.in_gallery:,} of the {first.n:,} test coordinates exactly or rounded"
            text = f"Oracle: {first.gallery} holds {held}; {first.spec} against it is not part of the comparison."
            yield Doubt("oracle", (row,), text)


def outdated_gallery(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows against coordinates that a file, or another source, no longer has."""
    rows = tuple(row for row in ours if row.outdated)
    galleries = ", ".join(dict.fromkeys(row.results[0].gallery for row in rows))
    text = f"{galleries} had other coordinates when {named(rows, ours)} was measured; not part of the comparison."
    yield Doubt("outdated gallery", rows, text)


def changed_test_set(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on a test set that is another one on this machine today."""
    changed = [row for row in ours if row.changes]
    for change in dict.fromkeys(row.changes for row in changed):
        rows = tuple(row for row in changed if row.changes == change)
        text = f"{rows[0].dataset} on this machine has changed since {named(rows, ours)} was measured"
        yield Doubt("changed test set", rows, f"{text}: {', '.join(change)}.")


def several_versions(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on as many images of a test set, but of another version of it."""
    for name, what in VERSIONS.items():
        stated = [row for row in ours if getattr(row.results[0], name)]
        for rows in rows_by(stated, lambda result: (result.subset, result.n)).values():
            versions = rows_by(rows, attrgetter(name))
            if len(versions) > 1:
                each = " | ".join(named(several, ours) for several in versions.values())
                text = f"Measured on different versions of the test set ({what}): {each}."
                yield Doubt("several versions of the test set", tuple(rows), text)


def partial_set(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on fewer or more images than the set has according to its authors."""
    for expected, found in rows_by(ours, lambda result: result.expected).items():
        rows = tuple(row for row in found if expected is not None and row.results[0].n != expected)
        which = "" if len(rows) == len(ours) else f" ({named(rows, ours)})"
        text = f"n differs from the {expected or 0:,} images that the set's authors describe"
        yield Doubt("partial set", rows, f"{text}: not comparable with published rows{which}.")


KINDS: tuple[Callable[[Sequence[Row]], Iterator[Doubt]], ...] = (
    trained_on_test_images,
    not_audited,
    oracle,
    outdated_gallery,
    changed_test_set,
    several_versions,
    partial_set,
)
