"""Where a model fails: its scores by continent, country, scene, distance to the training set, or any column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.analysis.details import DetailedResult
from geobench.analysis.groupings import GROUPINGS, PARTS, group_labels, is_continuous, labels_of
from geobench.analysis.weights import CELL_KM2, Weights, weighted_mean, weighted_share, weights
from geobench.geo import FloatArray
from geobench.metrics import Metric, image_values, ordered
from geobench.plugins import get_metric, get_metrics
from geobench.statistics.intervals import Clusters, Interval, applicable, intervals

SMALLEST = 30
OTHERS = " others"
ALWAYS = ("country", "region")
"""Metrics that every breakdown has, even if the tables of the test set do not."""

OF_POSITIONS = {"continent": "continents", "country": "countries", "region": "regions"}
"""Groupings that follow from the true positions, whatever columns the set has."""
Values = Mapping[str, FloatArray]


@dataclass(frozen=True)
class GroupScores:
    """A line of a breakdown.

    Attributes:
        name: of the group.
        n: images in it.
        scores: by the name of the metric, in its unit; None if it applies to no image of the group.
        intervals: 95 % confidence intervals of the scores; None if all images are of one photographer or place.
    """

    name: str
    n: int
    scores: dict[str, float | None]
    intervals: dict[str, Interval | None]


@dataclass(frozen=True)
class Breakdown:
    """A test set in groups.

    Attributes:
        detailed: the result.
        by: what the images of a group share.
        metrics: those of the test set, and those of ``ALWAYS``; shares first.
        groups: the largest first, or in their own order; joined groups come last.
        overall: all images; all images weighted by area, and by population.
        notes: what a reader must know, a sentence each.
    """

    detailed: DetailedResult
    by: str
    metrics: list[Metric]
    groups: list[GroupScores]
    overall: list[GroupScores]
    notes: list[str]


def breakdown(
    detailed: DetailedResult,
    by: str = "continent",
    smallest: int = SMALLEST,
    thresholds_km: Sequence[float] | None = None,
) -> Breakdown:
    """Return the scores of a result by group.

    Args:
        detailed: see :func:`geobench.analysis.details.load_detailed`.
        by: ``continent``, ``country``, ``region``, ``scene``, ``training-distance`` or a column of the test set.
        smallest: smaller groups are joined, and their line says how many they are; bins of distance are not joined.
        thresholds_km: distances of the accuracies, in place of the test set's own.

    Raises:
        UnknownNameError: no such grouping, and no such column.
        ResultError: the grouping needs scene labels or the training set's coordinates, and there are none.
        SettingError: a threshold is not a distance.
    """
    metrics = ordered([*get_metrics(detailed.result.dataset, thresholds_km), *map(get_metric, ALWAYS)])
    metrics.sort(key=lambda metric: metric.kind != "share")
    values = image_values(detailed.scored, metrics)
    groups = [_group(name, detailed, values, rows, metrics) for name, rows in groups_of(detailed, by, smallest)]
    both = [weights(detailed.truth, kind) for kind in ("area", "population")]
    overall = [_group("all images", detailed, values, np.ones(len(detailed), dtype=np.bool_), metrics)]
    overall += [_weighted(detailed.clusters, values, weight, metrics) for weight in both]
    return Breakdown(detailed, by, metrics, groups, overall, _notes(detailed, by, groups, smallest, both))


def groups_of(detailed: DetailedResult, by: str, smallest: int) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return name and images (n,) of each group.

    Those of fewer than ``smallest`` images are joined into the last one, unless the groups have an order.
    """
    labels, order = group_labels(detailed, by)
    names, counts = np.unique(labels.astype(str), return_counts=True)
    size = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if order:
        return [(name, labels == name) for name in order if name in size]
    by_size = sorted(size, key=lambda name: (-size[name], name))
    large = [name for name in by_size if size[name] >= smallest]
    small = [name for name in by_size if size[name] < smallest]
    groups = [(name, labels == name) for name in large]
    if small:
        joined = f"{len(small):,}{OTHERS}" if len(small) > 1 else small[0]
        groups.append((joined, np.isin(labels.astype(str), small)))
    return groups


def _group(
    name: str, detailed: DetailedResult, values: Values, rows: npt.NDArray[np.bool_], metrics: Sequence[Metric]
) -> GroupScores:
    part = {metric: of_images[rows] for metric, of_images in values.items()}
    clusters = detailed.clusters.among(rows)
    several = [m for m in metrics if m.name in part and len(applicable(part[m.name], clusters)[1].sizes) > 1]
    ends = intervals(part, clusters, several)
    scores = {
        m.name: m.summary(part[m.name]) if m.name in part else m.score(detailed.scored.take(rows)) for m in metrics
    }
    known = {metric: None if math.isnan(score) else score for metric, score in scores.items()}
    return GroupScores(name, int(rows.sum()), known, {metric: ends.get(metric) for metric in known})


def _weighted(clusters: Clusters, values: Values, weight: Weights, metrics: Sequence[Metric]) -> GroupScores:
    """Return weighted shares and means; medians, and scores without a value per image, are None."""
    row = GroupScores(f"weighted by {weight.kind}", round(weight.effective), {}, {})
    for metric in metrics:
        row.scores[metric.name], row.intervals[metric.name] = None, None
        if metric.kind in ("share", "mean") and metric.name in values:
            rows = ~np.isnan(values[metric.name]) & (weight.values > 0)
            found = _weighted_score(metric, values[metric.name][rows], weight.values[rows], clusters.among(rows))
            row.scores[metric.name], row.intervals[metric.name] = found
    return row


def _weighted_score(
    metric: Metric, values: FloatArray, weight: FloatArray, clusters: Clusters
) -> tuple[float | None, Interval | None]:
    """Return the weighted score of ``values`` (n,) and its interval, which one cluster alone does not have."""
    if not len(values):
        return None, None
    score, ends = (weighted_share if metric.kind == "share" else weighted_mean)(values, weight, clusters)
    if metric.kind == "mean":
        ends = max(metric.low, ends[0]), min(metric.high, ends[1])
    return score, ends if len(clusters.sizes) > 1 else None


def mean_scores(
    values: Sequence[Values], rows: npt.NDArray[np.bool_], clusters: Clusters, metrics: Sequence[Metric]
) -> dict[str, FloatArray]:
    """Return score and ends of its interval (3,) by the name of the metric, the mean over results of the same images.

    Args:
        values: of each result, such as those of several seeds, from :func:`geobench.metrics.image_values`.
        rows: (n,), the images that count.
        clusters: of these; if there is only one, the ends are NaN.
        metrics: with a value per image.
    """
    nothing = (np.nan, np.nan)
    each: dict[str, list[tuple[float, ...]]] = {metric.name: [] for metric in metrics}
    for one in values:
        part = {metric.name: one[metric.name][rows] for metric in metrics}
        ends = intervals(part, clusters, metrics) if len(clusters.sizes) > 1 else {}
        for metric in metrics:
            each[metric.name].append((metric.summary(part[metric.name]), *ends.get(metric.name, nothing)))
    return {name: np.mean(found, axis=0) for name, found in each.items()}


def _notes(
    detailed: DetailedResult, by: str, groups: Sequence[GroupScores], smallest: int, both: Sequence[Weights]
) -> list[str]:
    share = "Share of images in % within the distance, with its 95 % confidence interval; images of one "
    notes = [f"{share}{detailed.clusters.by} count as one draw. A failed image is a miss."]
    at_sea = int((detailed.places.countries == "").sum())
    notes.append(
        "Country, region: share placed in the right one, by time zone polygons and the nearest GeoNames place"
        + (f"; {at_sea:,} images at sea have none and are left out there." if at_sea else ".")
    )
    area, population = both
    notes.append(
        f"Weighted by area: each of the {area.cells:,} cells of {CELL_KM2:,.0f} km² with images counts the same "
        f"({area.covered:.0%} of the land is in such a cell). By population: each cell counts by its inhabitants "
        f"({population.covered:.0%} of the world's population; images in cells without any: "
        f"{population.unweighted:,}). Their n is the effective number of equally weighted images."
    )
    if groups[-1].name.endswith(OTHERS):
        notes.append(f"{groups[-1].name.removesuffix(OTHERS)} groups of fewer than {smallest:,} images are joined.")
    column = next((str(c) for c in detailed.extra.columns if str(c).lower() == by.lower()), None)
    if by in OF_POSITIONS and column is not None:
        notes.append(f"These are {OF_POSITIONS[by]} of the positions; the set's own column {column} is not used.")
    if by not in GROUPINGS and column is not None and is_continuous(labels_of(detailed.extra[column])):
        notes.append(f"{column} is continuous: its values are in {PARTS} bins of about as many images each.")
    if by == "training-distance":
        images = detailed.result.training_images
        notes.append(f"Distance: from the true position to the nearest of {images:,} training images.")
    return notes


def to_rows(found: Breakdown) -> list[dict[str, Any]]:
    """Return flat rows: ``group``, ``n``, each score, and its interval as ``…_low`` and ``…_high``."""
    rows = []
    for row in [*found.groups, *found.overall]:
        flat: dict[str, Any] = found.detailed.identity() | {"by": found.by, "group": row.name, "n": row.n}
        for name, value in row.scores.items():
            low, high = row.intervals[name] or (None, None)
            flat |= {name: value, f"{name}_low": low, f"{name}_high": high}
        rows.append(flat)
    return rows
