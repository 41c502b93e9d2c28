"""From results to the rows of a table: intervals, seeds joined, ties with the best, the papers' rows beside ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from geobench import metrics
from geobench.gallery import is_oracle
from geobench.geo import FloatArray
from geobench.published.rows import Judged, judge, published_rows
from geobench.results import Result
from geobench.statistics.intervals import Clusters, Interval, clusters_of, intervals
from geobench.statistics.paired import leaders, linearised


@dataclass(frozen=True)
class Row:
    """A row of a table: one result, several that differ by seed only, or one that a paper printed.

    Attributes:
        dataset: the test set.
        model: ``MODEL@CHECKPOINT``; of seeds of a training ``MODEL@TRAINING SET``; or as published.
        scores: the mean over the results; NaN where a paper has none.
        spread: their standard deviation (n − 1); empty for one result.
        intervals: 95 %, over images, the mean of the seeds' ends; empty without predictions.
        best: scores at which no other row on the same images is significantly better.
        results: one per seed; empty for a published row.
        clusters: what the intervals are clustered by, such as ``AUTHOR``, and how many there are.
        judged: what the row says about the published rows that it repeats.
        superseded: older results for the same cell, by the names of their files.
        n, crops, gallery, source, also, protocol, how, note: of a published row, as in
            :func:`geobench.published.rows.published_rows`.
    """

    dataset: str
    model: str
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
        """Return whether the gallery of a result holds the answers."""
        return any(is_oracle(result.in_gallery, result.n) for result in self.results)

    @property
    def recorded_only(self) -> bool:
        """Return whether predictions are missing, so that scores can be neither checked nor given an interval."""
        return any(result.predictions is None for result in self.results)


def rows(results: Sequence[Result], published: str = "methods", join_seeds: bool = True) -> list[Row]:
    """Return the rows of the tables of ``results``, test set by test set: ours in their order, then the papers'."""
    found = []
    for dataset in dict.fromkeys(result.dataset for result in results):
        here = [result for result in results if result.dataset == dataset]
        papers = [_published(dataset, row) for row in published_rows(dataset, published).to_dict("records")]
        shown = {(row.model, row.source) for row in papers}
        ours = [_row(group, older, shown) for group, older in _groups(here, join_seeds)]
        found += _told_apart(_with_leaders(ours)) + papers
    return found


def _groups(results: Iterable[Result], join_seeds: bool) -> Iterator[tuple[list[Result], list[str]]]:
    """Yield the results of each row, the newest of a cell, and the names of the older ones."""
    cells: dict[Any, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.created):
        cells.setdefault(result.cell, []).append(result)
    newest = [(cell[-1], [_file(older) for older in cell[:-1]]) for cell in cells.values()]
    newest.sort(key=lambda pair: _order(pair[0]))
    for _, alike in groupby(newest, key=lambda pair: _order(pair[0])[:-1]):
        seeds = list(alike)
        for group in _joined(seeds) if join_seeds else [[pair] for pair in seeds]:
            yield [result for result, _ in group], [name for _, older in group for name in older]


def _file(result: Result) -> str:
    return result.path.name if result.path is not None else f"{result.stem}.json"


def _joined(seeds: list[tuple[Result, list[str]]]) -> list[list[tuple[Result, list[str]]]]:
    """Return results that are alike but for checkpoint and seed as one group, if their seeds tell them apart.

    Where they do not, as with a training repeated with the same seed, each checkpoint has a group of its own.
    """
    told = {(result.training_seed, result.seed) for result, _ in seeds}
    if len(told) == len(seeds) and all(result.training_seed is not None for result, _ in seeds):
        return [seeds]
    return [list(group) for _, group in groupby(seeds, key=lambda pair: pair[0].checkpoint)]


def _order(result: Result) -> tuple[Any, ...]:
    """Return what rows are sorted by; all but the last are the same for results that differ by seed only."""
    training = (result.trained_on, result.training_images, result.encoder, sorted(map(repr, result.config.items())))
    measured = (result.subset, result.n, result.gallery_size, result.gallery, result.crops, result.top_k)
    return result.model, training, measured, (result.checkpoint, result.seed)


def _row(results: list[Result], superseded: list[str], shown: Collection[tuple[str, str]]) -> Row:
    """Return the row of ``results``, which differ by seed only, judged by the published rows that are ``shown``."""
    first = results[0]
    several = len({result.checkpoint for result in results}) > 1
    found = Row(
        dataset=first.dataset,
        model=f"{first.model}@{first.trained_on}" if several else first.spec,
        scores={name: float(np.mean([result.scores[name] for result in results])) for name in metrics.SCORES},
        results=tuple(results),
        superseded=tuple(superseded),
    )
    if len(results) > 1:
        spread = {name: float(np.std([r.scores[name] for r in results], ddof=1)) for name in metrics.SCORES}
        found = replace(found, spread=spread)
    if found.recorded_only:
        return found
    clusters = _clusters(first)
    ends = [intervals(result.errors, clusters) for result in results]
    means = {name: np.mean([each[name] for each in ends], axis=0) for name in metrics.SCORES}
    both: dict[str, Interval] = {name: (float(low), float(high)) for name, (low, high) in means.items()}
    judged = [
        replace(each, sources=tuple(source for source in each.sources if (each.model, source) in shown))
        for each in judge(first, both)
    ]
    return replace(
        found,
        intervals=both,
        clusters=(clusters.by, len(clusters.sizes)),
        judged=tuple(each for each in judged if each.sources),
    )


def _clusters(result: Result) -> Clusters:
    assert result.truth is not None
    return clusters_of(result.truth, result.extra)


def _with_leaders(rows: list[Row]) -> list[Row]:
    """Return ``rows`` with what each is best at: against the others on the same images, an oracle's left out."""
    images: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        if not row.recorded_only and not row.oracle:
            images.setdefault(images_of(row.results[0]), []).append(index)
    rows = list(rows)
    for indices in images.values():
        if len(indices) > 1:
            members = [rows[index] for index in indices]
            clusters = _clusters(members[0].results[0])
            values = [_mean_values(row.results, clusters) for row in members]
            best = leaders([row.scores for row in members], values, [len(row.results) for row in members], clusters)
            for index, names in zip(indices, best, strict=True):
                rows[index] = replace(rows[index], best=names)
    return rows


def images_of(result: Result) -> bytes:
    """Return what tells the images and their true places, in this order."""
    assert result.names is not None and result.truth is not None
    return "\0".join(map(str, result.names)).encode() + result.truth.tobytes()


def _mean_values(results: Sequence[Result], clusters: Clusters) -> dict[str, FloatArray]:
    each = [linearised(result.errors, clusters) for result in results]
    return {name: np.mean([values[name] for values in each], axis=0) for name in metrics.SCORES}


def _told_apart(rows: list[Row]) -> list[Row]:
    """Return ``rows`` with the settings that differ behind a model's name where rows would look alike."""
    told = []
    for row in rows:
        first = row.results[0]
        alike = [r.results[0] for r in rows if r.model == row.model and _order(r.results[0])[2] == _order(first)[2]]
        settings = {key for other in alike for key in other.config}
        differ = sorted(key for key in settings if len({repr(other.config.get(key)) for other in alike}) > 1)
        shown = ", ".join(f"{key}={first.config.get(key)}" for key in differ)
        told.append(replace(row, model=f"{row.model} ({shown})") if shown else row)
    return told


def _published(dataset: str, row: dict[Any, Any]) -> Row:
    import pandas as pd

    return Row(
        dataset=dataset,
        scores={name: float(row.get(name, np.nan)) for name in metrics.SCORES},
        n=None if pd.isna(row["n"]) else int(row["n"]),
        **{name: row[name] for name in ("model", "crops", "gallery", "source", "also", "protocol", "how", "note")},
    )
