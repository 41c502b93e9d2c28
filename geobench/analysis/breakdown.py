"""Where a model fails: accuracy by continent, country, scene, distance to the training set, or any column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench import metrics
from geobench.analysis.details import Answers
from geobench.analysis.groupings import GROUPINGS, PARTS, group_labels, is_continuous, labels_of
from geobench.analysis.weights import CELL_KM2, Weights, weighted_share, weights
from geobench.geo import FloatArray
from geobench.metrics import LEVELS_KM
from geobench.results import Result
from geobench.statistics.intervals import Clusters, Interval, intervals, share_interval

SMALLEST = 30
OTHERS = " others"


@dataclass(frozen=True)
class Row:
    """A line of a breakdown.

    Attributes:
        name: of the group.
        n: images in it.
        scores: ``acc_1km`` … ``acc_2500km`` and ``median_km``; ``country`` and ``region``, the share of the images
            with one that were placed in the right one; all shares in percent. None where there is nothing to score.
        intervals: of the scores, 95 %; None where all images are of one photographer or place.
    """

    name: str
    n: int
    scores: dict[str, float | None]
    intervals: dict[str, Interval | None]


@dataclass(frozen=True)
class Breakdown:
    """A test set in groups.

    Attributes:
        by: what the groups share.
        groups: the fullest first, or in their own order; what is joined comes last.
        overall: all images; each again weighted by area and by inhabitants.
        notes: what a reader must know, a sentence each.
    """

    answers: Answers
    by: str
    groups: list[Row]
    overall: list[Row]
    notes: list[str]


def breakdown(answers: Answers, by: str = "continent", smallest: int = SMALLEST) -> Breakdown:
    """Return the scores of ``answers`` by group.

    Args:
        answers: see :func:`geobench.analysis.details.load_answers`.
        by: ``continent``, ``country``, ``region``, ``scene``, ``training-distance`` or a column of the test set.
        smallest: groups of fewer images are joined, and their line says how many these are; bins of distance are not.

    Raises:
        UnknownNameError: no such grouping, and no such column.
        ResultError: the grouping needs what is not there: scene labels, the training set's coordinates.
    """
    groups = [_row(name, answers, rows) for name, rows in groups_of(answers, by, smallest)]
    both = [weights(answers.truth, kind) for kind in ("area", "population")]
    overall = [_row("all images", answers, np.ones(len(answers), dtype=np.bool_))]
    overall += [_weighted_row(answers, weight) for weight in both]
    return Breakdown(answers, by, groups, overall, _notes(answers, by, groups, smallest, both))


def groups_of(answers: Answers, by: str, smallest: int) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return name and images (n,) of each group.

    Those of fewer than ``smallest`` images are joined to the last one, but not where the groups have an order.
    """
    labels, order = group_labels(answers, by)
    names, counts = np.unique(labels.astype(str), return_counts=True)
    size = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if order:
        return [(name, labels == name) for name in order if name in size]
    wanted = sorted(size, key=lambda name: (-size[name], name))
    large = [name for name in wanted if size[name] >= smallest]
    small = [name for name in wanted if size[name] < smallest]
    groups = [(name, labels == name) for name in large]
    if small:
        joined = f"{len(small):,}{OTHERS}" if len(small) > 1 else small[0]
        groups.append((joined, np.isin(labels.astype(str), small)))
    return groups


def _row(name: str, answers: Answers, rows: npt.NDArray[np.bool_]) -> Row:
    errors, clusters = answers.errors[rows], within(answers.clusters, rows)
    scored, shown = metrics.score(errors), [*metrics.ACCURACIES, "median_km"]
    between = intervals(errors, clusters) if len(clusters.sizes) > 1 else {}
    row = Row(name, len(errors), {s: scored[s] for s in shown}, {s: between.get(s) for s in shown})
    for kind, (known, hits) in answers.placed.items():
        row.scores[kind], row.intervals[kind] = _share(hits, answers.clusters, known & rows)
    return row


def _weighted_row(answers: Answers, weight: Weights) -> Row:
    """Return shares with ``weight``; a median is not given."""
    row = Row(f"weighted by {weight.kind}", round(weight.effective), {"median_km": None}, {"median_km": None})
    every = np.ones(len(answers), dtype=np.bool_)
    scored = {f"acc_{km}km": (every, answers.errors <= km) for km in LEVELS_KM.values()} | answers.placed
    for name, (known, hits) in scored.items():
        row.scores[name], row.intervals[name] = _share(
            hits, answers.clusters, known & (weight.values > 0), weight.values
        )
    return row


def _share(
    hits: npt.NDArray[np.bool_], clusters: Clusters, rows: npt.NDArray[np.bool_], values: FloatArray | None = None
) -> tuple[float | None, Interval | None]:
    """Return the share of ``hits`` (n,) among ``rows`` (n,), weighted by ``values`` (n,), and its interval, percent."""
    if not rows.any():
        return None, None
    alike = within(clusters, rows)
    chosen = values[rows] if values is not None else np.ones(int(rows.sum()))
    if len(alike.sizes) == 1:
        return 100 * float(np.average(hits[rows], weights=chosen)), None
    return weighted_share(hits[rows], chosen, alike)


def within(clusters: Clusters, rows: npt.NDArray[np.bool_]) -> Clusters:
    """Return the clusters of ``rows`` (n,) alone."""
    return Clusters(np.unique(clusters.labels[rows], return_inverse=True)[1], clusters.by)


def mean_shares(
    results: Sequence[Result], rows: npt.NDArray[np.bool_], clusters: Clusters, levels_km: Sequence[float]
) -> FloatArray:
    """Return share and ends of its interval, in percent (levels, 3), the mean over ``results`` of the same images.

    Args:
        results: with predictions, such as those of several seeds.
        rows: (n,), the images that count.
        clusters: of these; where there is one alone, the ends are NaN.
        levels_km: (levels,), distances.
    """
    each = []
    for result in results:
        hits = result.errors[rows][:, None] <= np.asarray(levels_km)
        several = len(clusters.sizes) > 1
        low, high = share_interval(hits, clusters) if several else np.full((2, len(levels_km)), np.nan)
        each.append(100 * np.stack([hits.mean(axis=0), low, high], axis=1))
    means: FloatArray = np.mean(each, axis=0)
    return means


def _notes(answers: Answers, by: str, groups: Sequence[Row], smallest: int, both: Sequence[Weights]) -> list[str]:
    share = f"Share of images in % within the distance, with its 95 % interval; images of one {answers.clusters.by} "
    notes = [f"{share}count as one draw. A failed image is a miss."]
    at_sea = int((answers.places.countries == "").sum())
    notes.append(
        "Country, region: share placed in the right one, by time zone polygons and the nearest GeoNames place"
        + (f"; {at_sea:,} images at sea have none and are left out there." if at_sea else ".")
    )
    area, population = both
    notes.append(
        f"Weighted by area: each of the {area.cells:,} cells of {CELL_KM2:,.0f} km² with images counts the same "
        f"({area.covered:.0%} of the land is in such a cell). By population: each cell counts by its inhabitants "
        f"({population.covered:.0%} of mankind; images in cells without any: {population.unweighted:,}). "
        "Their n is the number of equally weighted images that would be as sure."
    )
    if groups[-1].name.endswith(OTHERS):
        notes.append(f"{groups[-1].name.removesuffix(OTHERS)} groups of fewer than {smallest:,} images are joined.")
    column = next((str(c) for c in answers.extra.columns if str(c).lower() == by.lower()), None)
    if by not in GROUPINGS and column is not None and is_continuous(labels_of(answers.extra[column])):
        notes.append(f"{column} is measured: its values are in {PARTS} parts, each of about as many images.")
    if by == "training-distance":
        images = answers.result.training_images
        notes.append(f"Distance: of the true position to that of the nearest of {images:,} training images.")
    return notes


def to_rows(found: Breakdown) -> list[dict[str, Any]]:
    """Return flat rows: ``group``, ``n``, each score, and its interval as ``…_low`` and ``…_high``."""
    rows = []
    for row in [*found.groups, *found.overall]:
        flat: dict[str, Any] = found.answers.identity() | {"by": found.by, "group": row.name, "n": row.n}
        for name, value in row.scores.items():
            low, high = row.intervals[name] or (None, None)
            flat |= {name: value, f"{name}_low": low, f"{name}_high": high}
        rows.append(flat)
    return rows
