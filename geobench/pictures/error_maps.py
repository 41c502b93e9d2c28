"""The world map of errors: every image where it truly is, coloured by how far off its prediction was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.analysis.details import Answers
from geobench.metrics import LEVELS_KM
from geobench.pictures.canvas import WIDTH_INCHES, draw_world, new_figure
from geobench.pictures.curves import PRINT_DPI
from geobench.pictures.maps import HEXAGONS, MOST_POINTS
from geobench.pictures.worldmap import X_MAX, Y_MAX, equal_earth
from geobench.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES_KM = (0.0, *map(float, LEVELS_KM.values()), np.inf)
COLOURS = ("#313695", "#4575b4", "#91bfdb", "#fee090", "#fc8d59", "#d73027")
"""From right to wrong: RdYlBu of ColorBrewer, which every colour vision tells apart."""


def draw_error_map(result: Result, label: str) -> Figure:
    """Draw the images of ``result`` at their true places, coloured by error; of many the median per cell."""
    figure = new_figure(3.75, WIDTH_INCHES, PRINT_DPI)
    ax = figure.subplots()
    draw_world(ax)
    answers = Answers(result)
    bins = np.clip(np.searchsorted(EDGES_KM, answers.errors) - 1, 0, len(COLOURS) - 1)
    many = len(answers) > MOST_POINTS
    (_draw_cells if many else _draw_points)(ax, equal_earth(answers.truth), bins)
    _legend(figure, bins, many)
    test_set = f"{result.dataset} ({result.subset})" if result.subset else result.dataset
    failed = f", {result.failed:,} failed" if result.failed else ""
    ax.set_title(f"{label} on {test_set}: error at the true place, n = {result.n:,}{failed}")
    return figure


def _draw_points(ax: Axes, places: Any, bins: Any) -> None:
    """Draw each image, in an order that favours neither right nor wrong."""
    order = np.random.default_rng(0).permutation(len(bins))
    x, y = places[order].T
    colours = [COLOURS[level] for level in bins[order]]
    ax.scatter(x, y, s=12 if len(bins) <= 1000 else 7, c=colours, edgecolors="black", linewidths=0.15, zorder=6)


def _draw_cells(ax: Axes, places: Any, bins: Any) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    side = 2 * X_MAX / HEXAGONS
    size, extent = (HEXAGONS, round(2 * Y_MAX / side / np.sqrt(3))), (-X_MAX, X_MAX, -Y_MAX, Y_MAX)
    x, y = places.T
    options: Any = {"gridsize": size, "extent": extent, "linewidths": 0.1, "zorder": 3, "cmap": ListedColormap(COLOURS)}
    drawn = ax.hexbin(x, y, C=bins, reduce_C_function=np.median, **options)
    drawn.set_norm(BoundaryNorm(np.arange(len(COLOURS) + 1) - 0.5, len(COLOURS)))


def _legend(figure: Figure, bins: Any, many: bool) -> None:
    from matplotlib.lines import Line2D

    share = 100 * np.bincount(bins, minlength=len(COLOURS)) / len(bins)
    names = [f"≤ {km:,.0f} km" for km in LEVELS_KM.values()] + [f"> {max(LEVELS_KM.values()):,} km"]
    shape: Any = {"linestyle": "", "marker": "h" if many else "o", "markersize": 5.5}
    handles = [
        Line2D(
            [], [], color=colour, label=f"{name} ({part:.1f} %)", markeredgecolor="black", markeredgewidth=0.2, **shape
        )
        for colour, name, part in zip(COLOURS, names, share, strict=True)
    ]
    title = "Median error in the cell (share of images)" if many else "Error (share of images)"
    spacing = {"handletextpad": 0.0, "columnspacing": 0.7, "handlelength": 1.6}
    figure.legend(
        handles=handles,
        title=title,
        title_fontsize=7,
        fontsize=6.5,
        loc="outside lower center",
        ncols=6,
        frameon=False,
        **spacing,
    )
