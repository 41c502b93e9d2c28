"""From results to the rows of a table: intervals, seeds joined, ties with the best, published rows next to ours."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from geobench.gallery import is_oracle
from geobench.geo import FloatArray
from geobench.metrics import Metric, accuracies, image_values, ordered
from geobench.plugins import get_metric, get_metrics
from geobench.provenance import is_tested_on_training
from geobench.published.rows import published_metrics, published_rows
from geobench.published.verdicts import Judged, judge
from geobench.report.audited import Audited, audited, same_named
from geobench.report.current import TestSetsHere
from geobench.report.distinctions import conflicting_galleries, distinctions, is_outdated
from geobench.report.groups import Group, group
from geobench.results import Result
from geobench.statistics.intervals import Clusters, Interval, clusters_of, intervals
from geobench.statistics.paired import leaders, linearised


@dataclass(frozen=True)
class Row:
    """A row of a table: one result, several that differ only by seed, or one that a paper printed.

    Attributes:
        dataset: the test set.
        model: ``MODEL@CHECKPOINT``; ``MODEL@TRAINING SET`` for several seeds of a training,
            with all names of the set; or as published.
        metrics: of the test set, in the order of the columns.
        scores: by the name of the metric, the mean over the results; NaN if a paper or a record does not have it.
        spread: their standard deviation (n − 1); empty for one result.
        intervals: 95 % confidence intervals over images, the mean of the seeds' ends; empty without predictions.
        answered: of predictions of others, accuracies of the answered images alone; empty if all were answered.
        best: scores at which no other row on the same images is significantly better.
        results: one per seed; empty for a published row.
        clusters: what the intervals are clustered by, such as ``AUTHOR``, and the number of clusters.
        effective: the number of clusters of equal size that vary as much.
        judged: what the row says about the published rows that it repeats.
        superseded: older results for the same entry, by the names of their files.
        repeats: results with other seeds that drew nothing, so that they are this one again; likewise.
        changes: what has changed in the test set on this machine since it was measured, in words.
        outdated: whether its gallery, such as a file, has other coordinates now.
        audited: what the audit that fits it found; None if there is none here, and then
        same_named: how many test images have the id and the place of a training image.
        n, crops, gallery, source, also, protocol, how, note: of a published row, as in
            :func:`geobench.published.rows.published_rows`.
    """

    dataset: str
    model: str
    metrics: tuple[Metric, ...]
    scores: dict[str, float]
    spread: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    best: frozenset[str] = frozenset()
    results: tuple[Result, ...] = ()
    clusters: tuple[str, int] = ("", 0)
    effective: float = 0.0
    judged: tuple[Judged, ...] = ()
    superseded: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    outdated: bool = False
    audited: Audited | None = None
    same_named: int = 0
    n: int | None = None
    crops: str = ""
    gallery: str = ""
    source: str = ""
    also: tuple[str, ...] = ()
    protocol: str = ""
    how: str = ""
    note: str = ""

    @property
    def oracle(self) -> bool:
        """Return whether the gallery of a result contains the true positions."""
        return any(is_oracle(result.in_gallery, result.n) for result in self.results)

    @property
    def in_training(self) -> int:
        """Return how many test images are among the training images, as far as is known."""
        return max((result.in_training or 0 for result in self.results), default=0)

    @property
    def seen(self) -> int:
        """Return how many test images the model has learnt from, as files or, by audit or name, as other copies."""
        return max(self.in_training, self.same_named, self.audited.same if self.audited is not None else 0)

    @property
    def partial(self) -> bool:
        """Return whether only some of the images were asked for: such a row is never ranked against whole ones."""
        return any(result.partial for result in self.results)

    @property
    def compared(self) -> bool:
        """Return whether it is part of the comparison with the others, as a test on the same candidates and images."""
        if not self.results or self.recorded_only or self.oracle or self.outdated or self.partial:
            return False
        return not is_tested_on_training(self.seen, self.results[0].n)

    @property
    def recorded_only(self) -> bool:
        """Return whether predictions are missing, so that scores have no interval and cannot be checked."""
        return any(result.predictions is None for result in self.results)


def rows(
    results: Sequence[Result],
    published: str = "methods",
    join_seeds: bool = True,
    thresholds_km: Sequence[float] | None = None,
    also: Sequence[str] = (),
    shown: Collection[str] = (),
) -> list[Row]:
    """Return the rows of the tables of ``results``, test set by test set: ours in their order, then published ones.

    Args:
        results: with predictions; of those without them only the recorded scores are shown.
        published: a name in :data:`geobench.published.rows.SELECTIONS`.
        join_seeds: put results that differ only by seed into one row.
        thresholds_km: distances of the accuracies, in place of the test sets' own.
        also: names of metrics that are shown in addition to the test sets' own.
        shown: keys of results that count, such as those of a run, even if there are newer ones for their entries.
            Otherwise a result that fits the test set as it is on this machine counts, of several the newest.

    Raises:
        UnknownNameError: no such selection of published rows, or no such metric.
        SettingError: a threshold is not a distance.
    """
    here = TestSetsHere()
    changes = {id(result): here.changes(result) for result in results}
    found = []
    for dataset in dict.fromkeys(result.dataset for result in results):
        metrics = tuple(ordered([*get_metrics(dataset, thresholds_km), *map(get_metric, also)]))
        own = [result for result in results if result.dataset == dataset]
        papers = [_published(dataset, metrics, row) for row in published_rows(dataset, published).to_dict("records")]
        judges = {(row.model, row.source) for row in papers}
        groups = group(own, join_seeds, lambda result: (result.key in shown, not changes[id(result)]))
        ours = [row_of(each, metrics, judges, changes[id(each.results[0])]) for each in groups]
        found += with_leaders(told_apart(ours)) + papers
    return found


def score_of(result: Result, metric: Metric) -> float:
    """Return the score of ``result`` by ``metric``, computed from predictions if it is not recorded; NaN if unknown."""
    if metric.name in result.scores or result.predictions is None:
        return result.scores.get(metric.name, float("nan"))
    return metric.score(result.scored)


def row_of(
    group: Group,
    metrics: tuple[Metric, ...],
    judges: Collection[tuple[str, str]] = (),
    changes: tuple[str, ...] = (),
) -> Row:
    """Return the row of results that differ only by seed.

    Args:
        group: of the results.
        metrics: of the columns.
        judges: model and source of the published rows that judge it.
        changes: see :class:`Row`.
    """
    results = group.results
    first = results[0]
    several = len({result.checkpoint for result in results}) > 1
    scores = {metric.name: [score_of(result, metric) for result in results] for metric in metrics}
    name = f"{first.model}@{'/'.join(dict.fromkeys(r.trained_on for r in results))}" if several else first.spec
    found = Row(
        dataset=first.dataset,
        model=name + max(result.partial for result in results),
        metrics=metrics,
        scores={name: float(np.mean(each)) for name, each in scores.items()},
        results=results,
        superseded=group.superseded,
        repeats=group.repeats,
        changes=changes,
        audited=(found_by := audited(first)),
        same_named=same_named(first) if found_by is None else 0,
    )
    if len(results) > 1:
        found = replace(found, spread={name: float(np.std(each, ddof=1)) for name, each in scores.items()})
    if found.recorded_only:
        return found
    clusters = _clusters(first)
    ends = _intervals(results, clusters, ordered([*metrics, *published_metrics(first.dataset)]))
    judged = [
        replace(each, sources=tuple(source for source in each.sources if (each.model, source) in judges))
        for each in judge(first, ends, found.scores)
    ]
    return replace(
        found,
        answered=_of_the_answered(results, metrics),
        intervals={metric.name: ends[metric.name] for metric in metrics if metric.name in ends},
        clusters=(clusters.by, len(clusters.sizes)),
        effective=clusters.effective,
        judged=tuple(each for each in judged if each.sources),
    )


def _of_the_answered(results: Sequence[Result], metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the accuracies of the images that others' models answered; empty if all were, or none of a result."""
    if not any(result.answered < result.n for result in results) or not all(result.answered for result in results):
        return {}
    if not all(result.statuses for result in results):  # of a run of ours: what failed is a file, not an answer
        return {}
    parts = [result.scored.take(~result.predictions.failed) for result in results if result.predictions is not None]
    return {metric.name: float(np.mean([metric.score(part) for part in parts])) for metric in accuracies(metrics)}


def _intervals(results: Sequence[Result], clusters: Clusters, metrics: Sequence[Metric]) -> dict[str, Interval]:
    """Return the interval of each score, the mean of those of ``results``; without one in which it has none."""
    each = [intervals(image_values(result.scored, metrics), clusters, metrics) for result in results]
    names = [name for name in each[0] if all(name in ends for ends in each)]
    means = {name: np.mean([ends[name] for ends in each], axis=0) for name in names}
    return {name: (float(low), float(high)) for name, (low, high) in means.items()}


def _clusters(result: Result) -> Clusters:
    assert result.truth is not None
    return clusters_of(result.truth, result.extra)


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Return ``rows`` with what tells them apart after their names, and those against an outdated gallery as such."""
    groups = [row.results for row in rows]
    conflicting = conflicting_galleries(groups)
    return [
        replace(
            row,
            model=f"{row.model} ({distinction})" if distinction else row.model,
            outdated=is_outdated(row.results, conflicting),
        )
        for row, distinction in zip(rows, distinctions(groups, conflicting), strict=True)
    ]


def with_leaders(rows: Sequence[Row]) -> list[Row]:
    """Return ``rows`` with what each is best at among those on the same images."""
    images: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        if row.compared:
            images.setdefault(images_of(row.results[0]), []).append(index)
    rows = list(rows)
    for indices in images.values():
        if len(indices) > 1:
            members = [rows[index] for index in indices]
            newest = max((row.results[0] for row in members), key=lambda result: result.created)
            clusters = _clusters(newest)  # if columns such as photographers were corrected, these are the later ones
            metrics = members[0].metrics
            values = [_mean_values(row.results, clusters, metrics) for row in members]
            seeds = [len(row.results) for row in members]
            best = leaders([row.scores for row in members], values, seeds, clusters, metrics)
            for index, names in zip(indices, best, strict=True):
                rows[index] = replace(rows[index], best=names)
    return rows


def images_of(result: Result) -> bytes:
    """Return the names and true positions of the images in their order, as bytes."""
    assert result.names is not None and result.truth is not None
    return "\0".join(map(str, result.names)).encode() + result.truth.tobytes()


def _mean_values(results: Sequence[Result], clusters: Clusters, metrics: Sequence[Metric]) -> dict[str, FloatArray]:
    each = [linearised(image_values(result.scored, metrics), clusters, metrics) for result in results]
    return {name: np.mean([values[name] for values in each], axis=0) for name in each[0]}


def _published(dataset: str, metrics: tuple[Metric, ...], row: dict[Any, Any]) -> Row:
    import pandas as pd

    return Row(
        dataset=dataset,
        metrics=metrics,
        scores={metric.name: float(row.get(metric.name, np.nan)) for metric in metrics},
        n=None if pd.isna(row["n"]) else int(row["n"]),
        **{name: row[name] for name in ("model", "crops", "gallery", "source", "also", "protocol", "how", "note")},
    )
