"""The world map of errors: every image at its true position, coloured by the error of its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.analysis.details import DetailedResult
from geobench.pictures.canvas import WIDTH_INCHES, draw_world, new_figure
from geobench.pictures.curves import PRINT_DPI
from geobench.pictures.maps import HEXAGONS, MOST_POINTS
from geobench.pictures.palette import error_colours
from geobench.pictures.worldmap import X_MAX, Y_MAX, equal_earth
from geobench.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_COLUMNS = 6


def draw_error_map(result: Result, label: str, thresholds_km: Sequence[float]) -> Figure:
    """Draw the images of ``result`` at their true positions, coloured by error; of many the median per hexagon.

    The rising ``thresholds_km`` separate the levels of error.
    """
    figure = new_figure(3.75, WIDTH_INCHES, PRINT_DPI)
    ax = figure.subplots()
    draw_world(ax)
    detailed = DetailedResult(result)
    levels = np.searchsorted(np.asarray(thresholds_km), detailed.errors)
    many = len(detailed) > MOST_POINTS
    (_draw_hexagons if many else _draw_points)(
        ax, equal_earth(detailed.truth), levels, error_colours(len(thresholds_km))
    )
    _legend(figure, levels, thresholds_km, many)
    test_set = f"{result.dataset} ({result.subset})" if result.subset else result.dataset
    failed = f", {result.failed:,} failed" if result.failed else ""
    ax.set_title(f"{label} on {test_set}: error at the true position, n = {result.n:,}{failed}")
    return figure


def _draw_points(ax: Axes, places: Any, levels: Any, colours: Sequence[str]) -> None:
    """Draw each image, in an order that favours neither small nor large errors."""
    order = np.random.default_rng(0).permutation(len(levels))
    x, y = places[order].T
    chosen = [colours[level] for level in levels[order]]
    ax.scatter(x, y, s=12 if len(levels) <= 1000 else 7, c=chosen, edgecolors="black", linewidths=0.15, zorder=6)


def _draw_hexagons(ax: Axes, places: Any, levels: Any, colours: Sequence[str]) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    side = 2 * X_MAX / HEXAGONS
    size, extent = (HEXAGONS, round(2 * Y_MAX / side / np.sqrt(3))), (-X_MAX, X_MAX, -Y_MAX, Y_MAX)
    x, y = places.T
    options: Any = {"gridsize": size, "extent": extent, "linewidths": 0.1, "zorder": 3, "cmap": ListedColormap(colours)}
    drawn = ax.hexbin(x, y, C=levels, reduce_C_function=np.median, **options)
    drawn.set_norm(BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours)))


def _legend(figure: Figure, levels: Any, thresholds_km: Sequence[float], many: bool) -> None:
    from matplotlib.lines import Line2D

    colours = error_colours(len(thresholds_km))
    share = 100 * np.bincount(levels, minlength=len(colours)) / len(levels)
    names = [f"≤ {km:,g} km" for km in thresholds_km] + [f"> {max(thresholds_km):,g} km"]
    shape: Any = {"linestyle": "", "marker": "h" if many else "o", "markersize": 5.5}
    handles = [
        Line2D(
            [], [], color=colour, label=f"{name} ({part:.1f} %)", markeredgecolor="black", markeredgewidth=0.2, **shape
        )
        for colour, name, part in zip(colours, names, share, strict=True)
    ]
    title = "Median error in the hexagon (share of images)" if many else "Error (share of images)"
    spacing = {"handletextpad": 0.0, "columnspacing": 0.7, "handlelength": 1.6}
    figure.legend(
        handles=handles,
        title=title,
        title_fontsize=7,
        fontsize=6.5,
        loc="outside lower center",
        ncols=min(LEGEND_COLUMNS, len(names)),
        frameon=False,
        **spacing,
    )
