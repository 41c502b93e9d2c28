"""Doubts about how rows were measured and recorded: clusters, encoders, versions, seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from operator import attrgetter

from geobench.provenance import DISTRIBUTION
from geobench.report.doubts.doubt import Doubt, named, rows_by
from geobench.report.groups import file_name
from geobench.report.rows import Row
from geobench.results import Result

FEW_CLUSTERS = 10
"""Below it a confidence interval is a rough estimate."""
ENCODED = {
    "preprocessing": "the preprocessing differs",
    "precision": "the precision differs",
    "encoder_weights": "the weights differ",
    "encoder_code": "the code differs",
}
AS_TRAINED = {"encoder_code": "code of the encoder", "preprocessing": "preprocessing"}


def few_clusters(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose intervals rest on few photographers, places or images; a single one has no interval."""
    few = [row for row in ours if 0 < row.effective < FEW_CLUSTERS]
    for (by, clusters), effective in dict.fromkeys((row.clusters, round(row.effective, 1)) for row in few):
        rows = tuple(row for row in few if (*row.clusters, round(row.effective, 1)) == (by, clusters, effective))
        what = f"{clusters} images" if by == "image" else f"{clusters} clusters by {by}"
        what += f", which are worth {effective:g} of equal size" if clusters >= FEW_CLUSTERS else ""
        text = f"The confidence intervals of {named(rows, ours)} rest on {what}: rough estimates."
        if clusters == 1:
            what = "is one image" if by == "image" else f"are one cluster by {by}"
            text = f"All that {named(rows, ours)} was tested on {what}, which has no confidence interval."
        yield Doubt("few clusters", rows, text)


def misread(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose predictions would be far better as swapped coordinates, or as radians."""
    for row in ours:
        first = row.results[0]
        if first.predictions is None or first.truth is None:
            continue
        if what := first.predictions.misread(first.truth):
            yield Doubt("misread predictions", (row,), f"The predictions of {row.model} {what}.")


def encoded_differently(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose features come from one encoder, but not with the same preprocessing, weights, libraries and so on."""
    for encoder, rows in rows_by([row for row in ours if row.results[0].encoder], attrgetter("encoder")).items():
        stated = [result.encoded_with for row in rows for result in row.results if result.encoded_with]
        compared: dict[str, Callable[[Result], str]] = {what: attrgetter(name) for name, what in ENCODED.items()}
        compared["libraries differ"] = partial(_versions, names=_differing(stated))
        for what, value in compared.items():
            known = _rows_by_values(rows, value)
            if len(known) > 1:
                each = "; ".join(f"{value}: {named(several, ours)}" for value, several in known.items())
                yield Doubt("encoded differently", tuple(rows), f"{encoder}: {what} among rows ({each}).")


def _differing(versions: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the libraries of which ``versions`` state several."""
    names = dict.fromkeys(name for each in versions for name in each)
    return [name for name in names if len({each[name] for each in versions if name in each}) > 1]


def _versions(result: Result, names: Sequence[str]) -> str:
    """Return the versions of the libraries ``names`` that its features were made with, in words."""
    return _listed(result.encoded_with, names)


def _listed(versions: Mapping[str, str], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in names if name in versions)


def _rows_by_values(rows: Sequence[Row], value: Callable[[Result], str]) -> dict[str, list[Row]]:
    """Return ``rows`` by each value that their results state."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        for each in dict.fromkeys(map(value, row.results)):
            if each:
                found.setdefault(each, []).append(row)
    return found


def encoded_otherwise_than_in_training(ours: Sequence[Row]) -> Iterator[Doubt]:
    """Rows whose test images were not encoded as the images that their models were trained on."""
    found: dict[str, list[Row]] = {}
    for row in ours:
        for what in dict.fromkeys(what for result in row.results for what in _since_training(result)):
            found.setdefault(what, []).append(row)
    for what, rows in found.items():
        text = f"The test images of {named(rows, ours)} were not encoded as those of the training were: {what}."
        yield Doubt("encoded otherwise than in training", tuple(rows), text)


def _since_training(result: Result) -> Iterator[str]:
    """Yield what differs between the features of the test images and those of the training, as far as it is known."""
    pairs = {what: (getattr(result, name), result.training.get(name)) for name, what in AS_TRAINED.items()}
    now, then = result.encoded_with, result.training_encoded_with
    differing = _differing([now, then])
    pairs["libraries"] = (_listed(now, differing), _listed(then, differing))
    for what, (here, there) in pairs.items():
        if here and there and here != there:
            yield f"{what} {here}, in training {there}"


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
    misread,
    few_clusters,
    encoded_differently,
    encoded_otherwise_than_in_training,
    caveat_of_encoder,
    other_version,
    trained_by_other_code,
    record_of_form_1,
    seeds_without_effect,
    measured_more_than_once,
)
