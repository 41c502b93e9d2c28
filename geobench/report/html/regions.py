"""Accuracy by continent, country and scene, for every model on the same images, as the page's table takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.analysis.breakdown import SMALLEST, groups_of, mean_shares, within
from geobench.analysis.details import Answers
from geobench.analysis.groupings import SCENE_COLUMN
from geobench.metrics import LEVELS_KM
from geobench.report.rows import Row
from geobench.statistics.intervals import Clusters

EVERY = "all images"


def regions(rows: Sequence[Row], answers: Answers) -> dict[str, list[dict[str, Any]]]:
    """Return for each grouping its groups: ``name``, ``n`` and ``shares``, for each row and level [share, low, high].

    Shares are in percent, the mean over the seeds of a row; the ends of the interval are None in a group of one place
    or photographer.

    Args:
        rows: on the same images, with predictions.
        answers: of any of them: the groups are those of the true places.
    """
    scenes = any(str(column).lower() == SCENE_COLUMN for column in answers.extra.columns)
    found = {}
    for by in ("continent", "country", "scene") if scenes else ("continent", "country"):
        groups = [*groups_of(answers, by, SMALLEST), (EVERY, np.ones(len(answers), dtype=np.bool_))]
        found[by] = [_group(name, rows, images, within(answers.clusters, images)) for name, images in groups]
    return found


def _group(name: str, rows: Sequence[Row], images: npt.NDArray[np.bool_], clusters: Clusters) -> dict[str, Any]:
    return {"name": name, "n": int(images.sum()), "shares": [_shares(row, images, clusters) for row in rows]}


def _shares(row: Row, images: npt.NDArray[np.bool_], clusters: Clusters) -> list[list[float | None]]:
    """Return [share, low, high] at every level."""
    shares = mean_shares(row.results, images, clusters, tuple(LEVELS_KM.values())).round(2)
    return [[None if np.isnan(value) else float(value) for value in level] for level in shares]
