"""Doubts about data: training images, unaudited sets, other versions of images, positions and galleries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

import numpy as np

from geobench.audits.subsets import audit_command
from geobench.data.plausibility import evidence
from geobench.errors import GeobenchError
from geobench.geo import place_keys
from geobench.metrics import thresholds_of
from geobench.plugins import get_dataset
from geobench.provenance import TRAINED_SHARE
from geobench.report.audited import Audited, audits, holds_photos
from geobench.report.doubts.doubt import Doubt, Key, named, rows_by
from geobench.report.rows import Row

VERSIONS = {
    "test_hash": "names, true positions or their order differ; they are not compared",
    "images_key": "sizes, times or contents of the image files differ",
    "columns_hash": "columns such as photographers differ",
}


def trained_on_test_images(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose model has learnt from images that it is tested on."""
    rows = tuple(row for row in ours if row.in_training)
    shares = dict.fromkeys(f"{row.model} (from {row.in_training:,} of {row.results[0].n:,})" for row in rows)
    text = f"¶ Trained on images of this test set, so that scores show what is remembered: {', '.join(shares)}"
    yield Doubt(
        "trained on test images", rows, f"{text}; from {100 * TRAINED_SHARE:g} % on not part of the comparison."
    )


def not_audited(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Pairs of photo sets without an audit on this machine that fits; the crops of a map are drawn apart."""
    for (dataset, training), rows in rows_by(ours, lambda result: (result.dataset, result.trained_on)).items():
        if not (holds_photos(dataset) and holds_photos(training)):
            continue
        open_rows = [row for row in rows if row.in_training < row.results[0].n]  # of the others all is known
        unfit = tuple(row for row in open_rows if row.audited is None)
        text = "The audit is of other images or positions" if audits(dataset, training) else "Not audited"
        shared = f"for photos of {dataset} that are also in {training}: {named(unfit, ours)}"
        yield Doubt("not audited", unfit, f"{text} {shared} ({audit_command(dataset, training)}).")
        alike = tuple(row for row in unfit if row.same_named > row.in_training)
        same = max((row.same_named for row in alike), default=0)
        text = f"¶ {same:,} test images have the name and the place of a photo in {training}: {named(alike, ours)}"
        apart = "" if any(row.compared for row in alike) else "; not part of the comparison"
        yield Doubt("trained on test images", alike, f"{text}{apart}.")


def leaks(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on images of which the audit found some, or what they have in common, among the training images."""
    for (dataset, training, audit), rows in _by_audit(ours, lambda audit: audit).items():
        if not audit.leaking:
            continue
        which = ", ".join(f"{kind}: {count:,}" for kind, count in audit.found)
        same = f", {audit.same:,} of them as the same photo" if audit.same else ""
        counted = f"{audit.leaking:,} of {audit.n:,} test images ({which or 'of what kind is not recorded'}){same}"
        text = f"{'¶ ' if audit.same else ''}The audit of {dataset} against {training} found {counted}"
        apart = "" if any(row.compared for row in rows) or not audit.same else "; not part of the comparison"
        yield Doubt("leaks found by the audit", tuple(rows), f"{text}: {named(rows, ours)}{apart}.")


def partial_audit(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on images whose audit did not look for every kind of leak."""
    lacking = _by_audit(ours, lambda audit: (audit.skipped, audit.unable))
    for (dataset, training, (skipped, unable)), rows in lacking.items():
        ways = [f"did not look for {', '.join(skipped)} ({audit_command(dataset, training)})"] if skipped else []
        ways += [f"could not look for {', '.join(unable)}"] if unable else []
        if ways:
            text = f"The audit of {dataset} against {training} {' and '.join(ways)}: {named(rows, ours)}."
            yield Doubt("partial audit", tuple(rows), text)


def _by_audit(ours: Sequence[Row], value: Callable[[Audited], Key]) -> dict[tuple[str, str, Key], list[Row]]:
    """Return the rows that an audit fits by test set, training set and a value of what it found."""
    found: dict[tuple[str, str, Key], list[Row]] = {}
    for row in ours:
        if row.audited is not None:
            found.setdefault((row.dataset, row.results[0].trained_on, value(row.audited)), []).append(row)
    return found


def implausible_positions(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on a test set whose true positions cannot all be true: swapped, at (0, 0), at sea, or rounded."""
    known = [row for row in ours if row.results[0].truth is not None]
    for version, rows in rows_by(known, lambda result: (result.dataset, result.test_hash, result.subset)).items():
        truth = rows[0].results[0].truth
        assert truth is not None
        for kind, text in evidence(truth, thresholds_of(rows[0].metrics)).items():
            yield Doubt(kind, tuple(rows), f"{version[0]}: {text}{'' if text.endswith('?') else '.'}")


def copies(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on a test set that has the same image under several names, each of which counts."""
    for distinct, rows in rows_by(ours, lambda result: (result.dataset, result.n, result.distinct_images)).items():
        dataset, n, images = distinct
        if images is not None and images < n:
            text = f"{n - images:,} of the {n:,} images of {dataset} are copies of others under other names"
            remedy = f"intervals take them for independent (geobench datasets check {dataset} lists them)"
            yield Doubt("copies in the test set", tuple(rows), f"{text}; {remedy}.")


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
    """Rows on other versions of a test set: of as many images, or of another number that is as complete."""
    whole = [row for row in ours if not row.results[0].subset and row.results[0].expected in (None, row.results[0].n)]
    sizes = rows_by(whole, attrgetter("n"))
    if len(sizes) > 1:
        each = " | ".join(f"{named(several, ours)} ({n:,})" for n, several in sizes.items())
        text = f"Measured on different numbers of images, each said to be the whole set; they are not compared: {each}."
        yield Doubt("several versions of the test set", tuple(whole), text)
    for name, what in VERSIONS.items():
        stated = [row for row in ours if getattr(row.results[0], name)]
        for rows in rows_by(stated, lambda result: (result.subset, result.n)).values():
            versions = rows_by(rows, attrgetter(name))
            if len(versions) > 1:
                each = " | ".join(named(several, ours) for several in versions.values())
                text = f"Measured on different versions of the test set ({what}): {each}."
                yield Doubt("several versions of the test set", tuple(rows), text)


def partly_asked(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows of predictions of others for a part of the images only."""
    rows = tuple(row for row in ours if row.partial)
    each = ", ".join(
        f"{row.results[0].spec} (asked for {row.results[0].asked:,} of {row.results[0].n:,})" for row in rows
    )
    text = f"Partial: {each}; images that were not asked for are misses, and the row is not part of the comparison."
    yield Doubt("partly asked", rows, text)


def known_variant(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on a version of the test set that is known to go around, whole or by the images that were asked for."""
    for row in ours:
        first = row.results[0]
        distinct = None if first.truth is None else len(np.unique(place_keys(first.truth)))
        found = _variant(first.dataset, first.n, distinct)
        asked = _variant(first.dataset, first.asked, None) if first.asked < first.n else ""
        for n, what in ((first.n, found), (first.asked, asked)):
            if what and not first.subset:
                yield Doubt("known variant", (row,), f"{row.model}: {n:,} images of {first.dataset} are {what}.")


def _variant(dataset: str, n: int, distinct: int | None) -> str:
    try:
        return get_dataset(dataset).variant(n, distinct)
    except GeobenchError:
        return ""


def partial_set(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows on fewer or more images than the set has according to its authors."""
    for expected, found in rows_by(ours, lambda result: result.expected).items():
        rows = tuple(row for row in found if expected is not None and row.results[0].n != expected)
        which = "" if len(rows) == len(ours) else f" ({named(rows, ours)})"
        text = f"n differs from the {expected or 0:,} images that the set's authors describe"
        yield Doubt("partial set", rows, f"{text}: not comparable with published rows{which}.")


KINDS: tuple[Callable[[Sequence[Row]], Iterator[Doubt]], ...] = (
    trained_on_test_images,
    leaks,
    not_audited,
    partial_audit,
    implausible_positions,
    copies,
    oracle,
    outdated_gallery,
    changed_test_set,
    several_versions,
    partly_asked,
    known_variant,
    partial_set,
)
