"""From results to the rows of a table: intervals, seeds joined, ties with the best, published rows next to ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from geobench.gallery import is_oracle
from geobench.geo import FloatArray
from geobench.metrics import Metric, image_values, ordered
from geobench.plugins import get_metric, get_metrics
from geobench.published.rows import published_metrics, published_rows
from geobench.published.verdicts import Judged, judge
from geobench.results import Result
from geobench.statistics.intervals import Clusters, Interval, clusters_of, intervals
from geobench.statistics.paired import leaders, linearised


@dataclass(frozen=True)
class Row:
    """A row of a table: one result, several that differ only by seed, or one that a paper printed.

    Attributes:
        dataset: the test set.
        model: ``MODEL@CHECKPOINT``; ``MODEL@TRAINING SET`` for several seeds of a training; or as published.
        metrics: of the test set, in the order of the columns.
        scores: by the name of the metric, the mean over the results; NaN if a paper or a record does not have it.
        spread: their standard deviation (n − 1); empty for one result.
        intervals: 95 % confidence intervals over images, the mean of the seeds' ends; empty without predictions.
        best: scores at which no other row on the same images is significantly better.
        results: one per seed; empty for a published row.
        clusters: what the intervals are clustered by, such as ``AUTHOR``, and the number of clusters.
        judged: what the row says about the published rows that it repeats.
        superseded: older results for the same entry, by the names of their files.
        n, crops, gallery, source, also, protocol, how, note: of a published row, as in
            :func:`geobench.published.rows.published_rows`.
    """

    dataset: str
    model: str
    metrics: tuple[Metric, ...]
    scores: dict[str, float]
    spread: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    best: frozenset[str] = frozenset()
    results: tuple[Result, ...] = ()
    clusters: tuple[str, int] = ("", 0)
    judged: tuple[Judged, ...] = ()
    superseded: tuple[str, ...] = ()
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
    def recorded_only(self) -> bool:
        """Return whether predictions are missing, so that scores have no interval and cannot be checked."""
        return any(result.predictions is None for result in self.results)


def rows(
    results: Sequence[Result],
    published: str = "methods",
    join_seeds: bool = True,
    thresholds_km: Sequence[float] | None = None,
    also: Sequence[str] = (),
) -> list[Row]:
    """Return the rows of the tables of ``results``, test set by test set: ours in their order, then published ones.

    Args:
        results: with predictions; of those without them only the recorded scores are shown.
        published: a name in :data:`geobench.published.rows.SELECTIONS`.
        join_seeds: put results that differ only by seed into one row.
        thresholds_km: distances of the accuracies, in place of the test sets' own.
        also: names of metrics that are shown in addition to the test sets' own.

    Raises:
        UnknownNameError: no such selection of published rows, or no such metric.
        SettingError: a threshold is not a distance.
    """
    found = []
    for dataset in dict.fromkeys(result.dataset for result in results):
        metrics = tuple(ordered([*get_metrics(dataset, thresholds_km), *map(get_metric, also)]))
        here = [result for result in results if result.dataset == dataset]
        papers = [_published(dataset, metrics, row) for row in published_rows(dataset, published).to_dict("records")]
        shown = {(row.model, row.source) for row in papers}
        ours = [_row(group, older, shown, metrics) for group, older in _groups(here, join_seeds)]
        found += _told_apart(_with_leaders(ours)) + papers
    return found


def score_of(result: Result, metric: Metric) -> float:
    """Return the score of ``result`` by ``metric``, computed from predictions if it is not recorded; NaN if unknown."""
    if metric.name in result.scores or result.predictions is None:
        return result.scores.get(metric.name, float("nan"))
    return metric.score(result.scored)


def _groups(results: Iterable[Result], join_seeds: bool) -> Iterator[tuple[list[Result], list[str]]]:
    """Yield the results of each row, the newest of an entry, and the names of the older ones."""
    entries: dict[Any, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.created):
        entries.setdefault(result.entry, []).append(result)
    newest = [(entry[-1], [_file(older) for older in entry[:-1]]) for entry in entries.values()]
    newest.sort(key=lambda pair: _order(pair[0]))
    for _, alike in groupby(newest, key=lambda pair: _order(pair[0])[:-1]):
        seeds = list(alike)
        for group in _joined(seeds) if join_seeds else [[pair] for pair in seeds]:
            yield [result for result, _ in group], [name for _, older in group for name in older]


def _file(result: Result) -> str:
    return result.path.name if result.path is not None else f"{result.stem}.json"


def _joined(seeds: list[tuple[Result, list[str]]]) -> list[list[tuple[Result, list[str]]]]:
    """Return results that differ only in checkpoint and seed as one group, if no two have the same seeds.

    Otherwise, as with a training repeated with the same seed, each checkpoint has a group of its own.
    """
    distinct = {(result.training_seed, result.seed) for result, _ in seeds}
    if len(distinct) == len(seeds) and all(result.training_seed is not None for result, _ in seeds):
        return [seeds]
    return [list(group) for _, group in groupby(seeds, key=lambda pair: pair[0].checkpoint)]


def _order(result: Result) -> tuple[Any, ...]:
    """Return what rows are sorted by; all but the last are the same for results that differ only by seed."""
    training = (result.trained_on, result.training_images, result.encoder, sorted(map(repr, result.config.items())))
    measured = (result.subset, result.n, result.gallery_size, result.gallery, result.crops, result.top_k)
    return result.model, training, measured, (result.checkpoint, result.seed)


def _row(
    results: list[Result], superseded: list[str], shown: Collection[tuple[str, str]], metrics: tuple[Metric, ...]
) -> Row:
    """Return the row of ``results``, which differ only by seed, judged by the published rows that are ``shown``."""
    first = results[0]
    several = len({result.checkpoint for result in results}) > 1
    scores = {metric.name: [score_of(result, metric) for result in results] for metric in metrics}
    found = Row(
        dataset=first.dataset,
        model=f"{first.model}@{first.trained_on}" if several else first.spec,
        metrics=metrics,
        scores={name: float(np.mean(each)) for name, each in scores.items()},
        results=tuple(results),
        superseded=tuple(superseded),
    )
    if len(results) > 1:
        found = replace(found, spread={name: float(np.std(each, ddof=1)) for name, each in scores.items()})
    if found.recorded_only:
        return found
    clusters = _clusters(first)
    ends = _intervals(results, clusters, ordered([*metrics, *published_metrics(first.dataset)]))
    judged = [
        replace(each, sources=tuple(source for source in each.sources if (each.model, source) in shown))
        for each in judge(first, ends)
    ]
    return replace(
        found,
        intervals={metric.name: ends[metric.name] for metric in metrics if metric.name in ends},
        clusters=(clusters.by, len(clusters.sizes)),
        judged=tuple(each for each in judged if each.sources),
    )


def _intervals(results: Sequence[Result], clusters: Clusters, metrics: Sequence[Metric]) -> dict[str, Interval]:
    """Return the interval of each score, the mean of those of ``results``; without one in which it has none."""
    each = [intervals(image_values(result.scored, metrics), clusters, metrics) for result in results]
    names = [name for name in each[0] if all(name in ends for ends in each)]
    means = {name: np.mean([ends[name] for ends in each], axis=0) for name in names}
    return {name: (float(low), float(high)) for name, (low, high) in means.items()}


def _clusters(result: Result) -> Clusters:
    assert result.truth is not None
    return clusters_of(result.truth, result.extra)


def _with_leaders(rows: list[Row]) -> list[Row]:
    """Return ``rows`` with what each is best at among those on the same images, oracles left out."""
    images: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        if not row.recorded_only and not row.oracle:
            images.setdefault(images_of(row.results[0]), []).append(index)
    rows = list(rows)
    for indices in images.values():
        if len(indices) > 1:
            members = [rows[index] for index in indices]
            clusters = _clusters(members[0].results[0])
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


def _told_apart(rows: list[Row]) -> list[Row]:
    """Return ``rows`` with the settings that differ after a model's name if rows would look the same otherwise."""
    named = []
    for row in rows:
        first = row.results[0]
        alike = [r.results[0] for r in rows if r.model == row.model and _order(r.results[0])[2] == _order(first)[2]]
        settings = {key for other in alike for key in other.config}
        differ = sorted(key for key in settings if len({repr(other.config.get(key)) for other in alike}) > 1)
        shown = ", ".join(f"{key}={first.config.get(key)}" for key in differ)
        named.append(replace(row, model=f"{row.model} ({shown})") if shown else row)
    return named


def _published(dataset: str, metrics: tuple[Metric, ...], row: dict[Any, Any]) -> Row:
    import pandas as pd

    return Row(
        dataset=dataset,
        metrics=metrics,
        scores={metric.name: float(row.get(metric.name, np.nan)) for metric in metrics},
        n=None if pd.isna(row["n"]) else int(row["n"]),
        **{name: row[name] for name in ("model", "crops", "gallery", "source", "also", "protocol", "how", "note")},
    )
