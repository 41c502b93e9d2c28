"""The notes under a table of results: what a reader must know to trust and to compare it, a sentence each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from geobench.predictions import STATUSES
from geobench.published.verdicts import close_name
from geobench.report.doubts import doubts
from geobench.report.rows import Row

HOW = {
    "copied": "† as given by the method's authors, copied from the source",
    "re-run": "§ somebody else's run or rescoring, copied from the source",
}
MARKS = {how: meaning[0] for how, meaning in HOW.items()}


def sources(rows: Sequence[Row]) -> dict[str, int]:
    """Return a number for each source of the published among ``rows``."""
    found = dict.fromkeys(source for row in rows if not row.results for source in (row.source, *row.also))
    return {source: number for number, source in enumerate(found, 1)}


def notes(rows: Sequence[Row], numbers: dict[str, int]) -> list[str]:
    """Return the notes under the table of ``rows``; ``numbers`` are those of its sources."""
    ours = [row for row in rows if row.results]
    published = [row for row in rows if not row.results]
    return [
        *_how_scored(ours),
        *_answers(ours),
        *_uncertainty(ours, bool(published)),
        *_bare(ours),
        *(doubt.text for doubt in doubts(ours)),
        *_verdicts(ours),
        *_papers(published, numbers),
    ]


def _how_scored(ours: Sequence[Row]) -> Iterator[str]:
    images = " / ".join(dict.fromkeys(result.images for row in ours for result in row.results))
    yield f"Images: {images}. Accuracy: share of all n images, in %, within the distance; a failed image is a miss."


def _answers(ours: Sequence[Row]) -> Iterator[str]:
    if any(row.answered for row in ours):
        yield "In brackets: accuracy of the images that were answered alone."
    for row in ours:
        counts = Counter[str]()
        for result in row.results:
            counts.update(result.statuses)
        told = [f"{counts[status]:,} {what}" for status, what in STATUSES.items() if counts[status]]
        if told and len(counts) > 1:
            yield f"{row.model}: {', '.join(told)}."


def _uncertainty(ours: Sequence[Row], published: bool) -> Iterator[str]:
    known = [(*row.clusters, row.results[0].n) for row in ours if row.intervals]
    kinds = dict.fromkeys("" if g == n else f", clustered by {by} ({g:,} clusters)" for by, g, n in known)
    for kind in kinds:
        yield f"[low, high]: 95 % confidence interval over images{kind}."
    if any(row.best for row in ours):
        yield (
            "Marked as best: all that are not significantly worse than the best on the same images (exact paired test "
            f"for shares, paired t test for others; Holm, 5 %){'; published rows are not tested' if published else ''}."
        )
    if any(row.spread for row in ours):
        yield "±: standard deviation over results that differ only by seed, of the training or of the gallery's draw."


def _bare(ours: Sequence[Row]) -> Iterator[str]:
    bare = [row for row in ours if row.recorded_only]
    if bare:
        lacking = any(math.isnan(score) for row in bare for score in row.scores.values())
        yield (
            "‡ record without its predictions: not checked, no confidence interval, not part of the comparison"
            f"{'; scores that it does not state are left empty' if lacking else ''}."
        )


def _verdicts(ours: Sequence[Row]) -> Iterator[str]:
    for row in ours:
        for judged in row.judged:
            where = "; ".join(judged.sources)
            yield f"{row.model}: {judged.verdict.word}, {judged.model} ({where}): {judged.verdict.reason}."
        if not row.judged and (name := close_name(row.results[0])):
            yield f"{row.model} is held against no published row; if it is the published {name}, name it so."


def _papers(published: Sequence[Row], numbers: dict[str, int]) -> Iterator[str]:
    hows = dict.fromkeys(row.how for row in published)
    if hows:
        named = "; ".join(f"[{number}] {source}" for source, number in numbers.items())
        yield f"{'; '.join(HOW[how] for how in hows)}; none of them was run here. {named}."
    remarks = [f"{row.model} [{numbers[row.source]}]: {row.note}" for row in published if row.note]
    if remarks:
        yield f"On published rows: {'; '.join(remarks)}."
