"""Doubts about how rows were measured and recorded: clusters, encoders, versions, seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from operator import attrgetter

from geobench.provenance import DISTRIBUTION
from geobench.report.doubts.doubt import Doubt, named, rows_by
from geobench.report.groups import file_name
from geobench.report.rows import Row

FEW_CLUSTERS = 10
"""Below it a confidence interval is a rough estimate."""
ENCODED = {
    "preprocessing": "the preprocessing differs",
    "precision": "the precision differs",
    "encoder_weights": "the weights differ",
}


def few_clusters(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose intervals rest on few photographers or places."""
    few = [row for row in ours if row.intervals and row.clusters[1] < min(FEW_CLUSTERS, row.results[0].n)]
    for by, clusters in dict.fromkeys(row.clusters for row in few):
        rows = tuple(row for row in few if row.clusters == (by, clusters))
        text = f"The confidence intervals of {named(rows, ours)} rest on {clusters} clusters by {by}"
        yield Doubt("few clusters", rows, f"{text}: rough estimates.")


def encoded_differently(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose features come from one encoder, but not with the same preprocessing, precision or weights."""
    for encoder, rows in rows_by([row for row in ours if row.results[0].encoder], attrgetter("encoder")).items():
        for name, what in ENCODED.items():
            values = rows_by([row for row in rows if getattr(row.results[0], name)], attrgetter(name))
            if len(values) > 1:
                each = "; ".join(f"{value}: {named(several, ours)}" for value, several in values.items())
                yield Doubt("encoded differently", tuple(rows), f"{encoder}: {what} among rows ({each}).")


def caveat_of_encoder(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows of an encoder that has something to say of itself, such as weights that are not known to be the released."""
    for caveat, rows in rows_by(ours, attrgetter("encoder_caveat")).items():
        if caveat:
            text = f"{caveat[:1].upper()}{caveat[1:].rstrip('.')}: {named(rows, ours)}."
            yield Doubt("caveat of the encoder", tuple(rows), text)


def other_version(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows recorded by another version of geobench than this."""
    here = version(DISTRIBUTION)
    for writer, rows in rows_by(ours, lambda result: result.versions.get("geobench", "unknown")).items():
        if writer != here:
            text = f"Recorded by geobench {writer}, and this is {here}: {named(rows, ours)}."
            yield Doubt("other version", tuple(rows), text)


def trained_by_other_code(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows of a plugin's model that was trained before its code was edited."""
    codes = [
        (row, row.results[0].training.get("model_code", ""), row.results[0].code.get("source", "")) for row in ours
    ]
    rows = tuple(row for row, then, now in codes if then and now and then != now)
    text = f"The code of the model was edited between training and evaluation: {named(rows, ours)}"
    yield Doubt("trained by other code", rows, f"{text}; if that concerns the training, train again.")


def record_of_form_1(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose records do not state all that a result depends on."""
    rows = tuple(row for row in ours if row.results[0].stated_key)
    joined = [row for row in rows if len(row.results) > 1]
    text = f"Records of form 1 do not state crops, views and content of a training, nor weights: {named(rows, ours)}"
    unknown = f"; whether the results of {named(joined, ours)} differ by seed only cannot be known" if joined else ""
    yield Doubt("record of form 1", rows, f"{text}{unknown}.")


def seeds_without_effect(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows of which there are results with other seeds, with which nothing was drawn."""
    rows = tuple(row for row in ours if row.repeats)
    files = ", ".join(name for row in rows for name in row.repeats)
    text = f"Other seeds drew nothing new for {named(rows, ours)}; the result shown was obtained again: {files}."
    yield Doubt("seeds without effect", rows, text)


def measured_more_than_once(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows of which there are older results."""
    for row in ours:
        if row.superseded:
            shown = ", ".join(map(file_name, row.results))
            text = f"{row.results[0].spec} was measured more than once: shown is {shown}"
            yield Doubt("measured more than once", (row,), f"{text}, not {', '.join(row.superseded)}.")


KINDS: tuple[Callable[[Sequence[Row]], Iterator[Doubt]], ...] = (
    few_clusters,
    encoded_differently,
    caveat_of_encoder,
    other_version,
    trained_by_other_code,
    record_of_form_1,
    seeds_without_effect,
    measured_more_than_once,
)
