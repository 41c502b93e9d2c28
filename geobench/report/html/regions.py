"""Shares by continent, country and scene, for every model on the same images, as the page's table needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.analysis.breakdown import SMALLEST, Values, groups_of, mean_scores
from geobench.analysis.details import DetailedResult
from geobench.analysis.groupings import scene_column
from geobench.metrics import Metric, image_values
from geobench.report.rows import Row
from geobench.statistics.intervals import Clusters

EVERY = "all images"
EXACT = 10  # decimals of a share: fewer would be rounded twice, here and where it is shown


def shares_among(metrics: Sequence[Metric]) -> list[Metric]:
    """Return those of ``metrics`` that the page shows by region."""
    return [metric for metric in metrics if metric.kind == "share"]


def regions(rows: Sequence[Row], detailed: DetailedResult) -> dict[str, list[dict[str, Any]]]:
    """Return for each grouping its groups: ``name``, ``n`` and ``shares``, for each row and share [share, low, high].

    Shares are in percent, the mean over the seeds of a row; all three are None if the metric applies to no image of the
    group, and the ends of the interval are None in a group of one place or photographer.

    Args:
        rows: on the same images, with predictions.
        detailed: any of their results: the groups are those of the true positions.
    """
    metrics = shares_among(rows[0].metrics)
    values = [[image_values(result.scored, metrics) for result in row.results] for row in rows]
    scenes = scene_column(detailed.extra.columns) is not None
    found = {}
    for by in ("continent", "country", "scene") if scenes else ("continent", "country"):
        groups = [*groups_of(detailed, by, SMALLEST), (EVERY, np.ones(len(detailed), dtype=np.bool_))]
        found[by] = [_group(name, values, images, detailed.clusters.among(images), metrics) for name, images in groups]
    return found


def _group(
    name: str,
    values: Sequence[Sequence[Values]],
    images: npt.NDArray[np.bool_],
    clusters: Clusters,
    metrics: Sequence[Metric],
) -> dict[str, Any]:
    shares = [mean_scores(of_row, images, clusters, metrics) for of_row in values]
    rounded = [[_known(found[metric.name].round(EXACT)) for metric in metrics] for found in shares]
    return {"name": name, "n": int(images.sum()), "shares": rounded}


def _known(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
