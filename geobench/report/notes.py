"""What stands under a table of results: all that a reader must know to trust and to compare it, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geobench.report.rows import Row

HOW = {
    "copied": "† as the method's authors give it, copied from the source",
    "re-run": "§ somebody else's run or rescoring, copied from the source",
}
MARKS = {how: meaning[0] for how, meaning in HOW.items()}


def sources(rows: Sequence[Row]) -> dict[str, int]:
    """Return a number for each source of the published among ``rows``."""
    found = dict.fromkeys(source for row in rows if not row.results for source in (row.source, *row.also))
    return {source: number for number, source in enumerate(found, 1)}


def notes(rows: Sequence[Row], marks: dict[str, int]) -> list[str]:
    """Return the notes under the table of ``rows``; ``marks`` are the numbers of its sources."""
    ours = [row for row in rows if row.results]
    published = [row for row in rows if not row.results]
    return [
        *_how_scored(ours),
        *_how_sure(ours, bool(published)),
        *_cautions(ours),
        *_verdicts(ours),
        *_papers(published, marks),
    ]


def _how_scored(ours: Sequence[Row]) -> Iterator[str]:
    images = " / ".join(dict.fromkeys(result.images for row in ours for result in row.results))
    yield f"Images: {images}. Accuracy: share of all n images, in %, within the distance; a failed image is a miss."


def _how_sure(ours: Sequence[Row], published: bool) -> Iterator[str]:
    sure = [(*row.clusters, row.results[0].n) for row in ours if row.intervals]
    kinds = dict.fromkeys("" if g == n else f", clustered by {by} ({g:,} clusters)" for by, g, n in sure)
    for kind in kinds:
        yield f"[low, high]: 95 % interval over images{kind}."
    if any(row.best for row in ours):
        yield (
            "Marked as best: all that are not significantly worse than the best on the same images (exact paired test "
            f"for accuracies, paired t for the rest; Holm, 5 %){'; published rows take no part' if published else ''}."
        )
    if any(row.spread for row in ours):
        yield "±: standard deviation over results that differ by seed only, of the training or the gallery's draw."


def _cautions(ours: Sequence[Row]) -> Iterator[str]:
    if any(row.recorded_only for row in ours):
        yield "‡ the record without its predictions: not checked, no interval, no part in the comparison."
    for result in (row.results[0] for row in ours if row.oracle):
        yield (
            f"Oracle: {result.gallery} holds {result.in_gallery:,} of the {result.n:,} test coordinates exactly; "
            f"{result.spec} against it is no part of the comparison."
        )
    results = [result for row in ours for result in row.results]
    for expected in dict.fromkeys(r.expected for r in results if r.expected is not None and r.n != r.expected):
        yield (
            f"n differs from the {expected:,} images that the set's authors describe: not comparable with published "
            "rows."
        )
    for row in ours:
        if row.superseded:
            shown = ", ".join(result.path.name for result in row.results if result.path is not None)
            older = ", ".join(row.superseded)
            yield f"{row.results[0].spec} was measured more than once; the newest is shown ({shown}), not {older}."


def _verdicts(ours: Sequence[Row]) -> Iterator[str]:
    for row in ours:
        for judged in row.judged:
            where = "; ".join(judged.sources)
            yield f"{row.model}: {judged.verdict.word}, {judged.model} ({where}): {judged.verdict.reason}."


def _papers(published: Sequence[Row], marks: dict[str, int]) -> Iterator[str]:
    hows = dict.fromkeys(row.how for row in published)
    if hows:
        named = "; ".join(f"[{number}] {source}" for source, number in marks.items())
        yield f"{'; '.join(HOW[how] for how in hows)}; none of them was run here. {named}."
    remarks = [f"{row.model} [{marks[row.source]}]: {row.note}" for row in published if row.note]
    if remarks:
        yield f"On published rows: {'; '.join(remarks)}."
