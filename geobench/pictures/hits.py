"""Where the right predictions lie: for each threshold, a map of the images placed within it, and of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.analysis.details import DetailedResult
from geobench.pictures.canvas import MARK, WIDTH_INCHES, draw_world, new_figure
from geobench.pictures.curves import PRINT_DPI
from geobench.pictures.worldmap import equal_earth
from geobench.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSED = "#6b6b6b"


def draw_hits(result: Result, label: str, thresholds_km: Sequence[float]) -> Figure:
    """Draw a map for each of ``thresholds_km``: images of ``result`` where they were taken, those within it marked."""
    rows = -(-len(thresholds_km) // 2)
    figure = new_figure(1.85 * rows + 0.55, WIDTH_INCHES, PRINT_DPI)
    axes = figure.subplots(rows, 2, squeeze=False).flatten()
    detailed = DetailedResult(result)
    x, y = equal_earth(detailed.truth).T
    size = float(np.clip(1500 / len(detailed), 0.4, 6))
    dots: Any = {"linewidth": 0, "rasterized": True}  # a vector file of 25,600 dots and more is slow to open
    for ax, km in zip(axes, thresholds_km, strict=False):
        draw_world(ax, small=True)
        within = np.asarray(detailed.errors <= km)
        ax.scatter(x[~within], y[~within], s=size / 2, color=MISSED, alpha=0.5, zorder=6, **dots)
        ax.scatter(x[within], y[within], s=size, color=MARK, zorder=7, **dots)
        ax.set_title(f"within {km:,g} km: {within.sum():,} of {len(within):,} ({100 * within.mean():.1f} %)")
    for ax in axes[len(thresholds_km) :]:
        ax.set_axis_off()
    test_set = f"{result.dataset} ({result.subset})" if result.subset else result.dataset
    failed = f", {result.failed:,} failed" if result.failed else ""
    figure.suptitle(f"{label} on {test_set}: where the images lie that are placed right{failed}", fontsize=8)
    return figure
