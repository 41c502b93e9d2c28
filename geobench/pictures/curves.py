"""Curves: the share of images within every distance, and accuracy, time and memory against the gallery size."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.geo import FARTHEST_KM
from geobench.metrics import accuracies, thresholds_of
from geobench.pictures.canvas import LINE, WIDTH_INCHES, new_figure
from geobench.pictures.palette import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geobench.report.rows import Row

COLUMN_INCHES = 3.35
PRINT_DPI = 300
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LABEL_RATIO = 3  # of the distances of two labels side by side, at least
SMALLEST_KM = 0.1
LETTER_INCHES = 0.05  # mean width of a letter at 7 points
GRID: Any = {"color": LINE, "alpha": 0.15, "linewidth": 0.5}


def line_style(number: int) -> dict[str, Any]:
    """Return colour and dashes of the line ``number``: 35 pairs before any is repeated."""
    return {"color": OKABE_ITO[number % len(OKABE_ITO)], "linestyle": DASHES[number % len(DASHES)]}


def draw_cdf(named: Mapping[str, Row]) -> Figure:
    """Draw the share of images within every distance, a curve for each row by its name; seeds are pooled."""
    columns = legend_columns(named, COLUMN_INCHES)
    rows = -(-len(named) // columns)
    figure = new_figure(2.45 + 0.14 * rows, COLUMN_INCHES, PRINT_DPI)
    ax = figure.subplots()
    distances = np.geomspace(SMALLEST_KM, FARTHEST_KM, 800)
    for number, (label, row) in enumerate(named.items()):
        errors = np.sort(np.concatenate([result.errors for result in row.results]))
        share = 100 * np.searchsorted(errors, distances, side="right") / len(errors)
        ax.plot(distances, share, linewidth=1.2, label=label, **line_style(number))
    ax.set(xscale="log", xlim=(SMALLEST_KM, FARTHEST_KM), ylim=(0, 100))
    ax.set(xlabel="Error (km)", ylabel="Images within (%)")
    row = next(iter(named.values()))
    _mark_levels(ax, thresholds_of(row.metrics))
    first = row.results[0]
    ax.set_title(f"{_test_set(first)}, n = {first.n:,}", pad=13)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6)
    return figure


def legend_columns(names: Collection[str], width_inches: float) -> int:
    """Return how many of ``names`` fit side by side in a legend with text of 7 points."""
    widest = 0.42 + LETTER_INCHES * max(map(len, names))
    return max(1, min(len(names), 4, int(width_inches / widest)))


def _mark_levels(ax: Axes, thresholds_km: Sequence[float]) -> None:
    """Mark each of the rising ``thresholds_km``, and label those that are far enough from the label before."""
    ax.set_xticks([0.1, 1, 10, 100, 1000, 10_000], ["0.1", "1", "10", "100", "1,000", "10,000"])
    ax.grid(axis="y", **GRID)
    ax.set_axisbelow(True)
    labelled = 0.0
    for km in thresholds_km:
        ax.axvline(km, **(GRID | {"alpha": 0.45, "linestyle": (0, (1, 1.5)), "linewidth": 0.7}))
        if km < labelled * LABEL_RATIO or km < SMALLEST_KM:
            continue
        labelled = km
        place: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{km:,g}", (km, 1), (0, 2), fontsize=6, **place)


def _test_set(result: Any) -> str:
    return f"{result.dataset} ({result.subset})" if result.subset else str(result.dataset)


def draw_frontier(rows: Sequence[Row], model: str) -> Figure:
    """Draw accuracy with its interval, run time and peak memory of ``rows`` against the gallery size."""
    from matplotlib.ticker import StrMethodFormatter

    figure = new_figure(2.5, WIDTH_INCHES, PRINT_DPI)
    engine: Any = figure.get_layout_engine()
    engine.set(wspace=0.06)
    accuracy, time, memory = figure.subplots(1, 3, width_ratios=(2.1, 1, 1))
    sizes = np.array([row.results[0].gallery_size for row in rows], dtype=np.float64)
    _accuracies(accuracy, rows, sizes)
    first = rows[0].results[0]
    for ax, name, label in ((time, "seconds", "Run time (s)"), (memory, "peak_memory_mb", "Peak memory (MB)")):
        values = [float(np.mean([getattr(result, name) for result in row.results])) for row in rows]
        ax.plot(sizes, values, color=OKABE_ITO[0], marker="o", markersize=3.5, linewidth=1.2)
        ax.set(ylim=(0, max(values) * 1.15 or 1), ylabel=label)
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    for ax in (accuracy, time, memory):
        ax.set(xscale="log", xlabel="Points in the gallery")
        ax.grid(axis="y", **GRID)
        _size_ticks(ax, sizes)
    source = first.gallery.rpartition(":")[0] or first.gallery
    figure.suptitle(f"{model} on {_test_set(first)}, n = {first.n:,}, galleries of {source} points", fontsize=8)
    return figure


def _accuracies(ax: Axes, rows: Sequence[Row], sizes: Any) -> None:
    import matplotlib

    shown = accuracies(rows[0].metrics)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(shown)))
    ends = []
    for metric, colour, marker in zip(shown, colours, cycle(MARKERS), strict=False):
        values = np.array([row.scores[metric.name] for row in rows])
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            continue
        ax.plot(sizes, values, color=colour, marker=marker, markersize=3.5, linewidth=1.2)
        bounds = [row.intervals.get(metric.name) for row in rows]
        if all(bounds):
            low, high = np.array(bounds).T
            ax.fill_between(sizes, low, high, color=colour, alpha=0.18, linewidth=0)
        ends.append((float(values[known[-1]]), sizes[known[-1]], f"{metric.threshold_km:,g} km", colour))
    ax.set(ylim=(0, 100), ylabel="Accuracy (%)")
    apart = min(6.5, 100 / max(1, len(ends) - 1))
    for height, (value, size, text, colour) in zip(_spread([end[0] for end in ends], apart), ends, strict=True):
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        place: Any = {"xytext": (1.04, height / 100), "textcoords": "axes fraction", "va": "center", "fontsize": 7}
        ax.annotate(text, (size, value), color=colour, arrowprops=line, **place)


def _spread(values: Sequence[float], apart: float) -> list[float]:
    """Return rising heights near the rising ``values``, each at least ``apart`` above the one before, up to 100."""
    heights = list(values)
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + apart)
    for index in reversed(range(len(heights))):
        ceiling = 100.0 if index == len(heights) - 1 else heights[index + 1] - apart
        heights[index] = min(heights[index], ceiling)
    return heights


def _size_ticks(ax: Axes, sizes: Any) -> None:
    """Label the sizes that were measured, without those too close to the one before."""
    from matplotlib.ticker import NullLocator

    span = np.log(sizes[-1] / sizes[0])
    room = 0.14 if ax.get_position().width > 0.3 else 0.26
    shown = [sizes[0]]
    for size in sizes[1:]:
        if np.log(size / shown[-1]) >= room * span:
            shown.append(size)
    ax.set_xticks(shown, [_short(size) for size in shown])
    ax.xaxis.set_minor_locator(NullLocator())


def _short(size: float) -> str:
    return f"{size / 1e6:g}M" if size >= 1e6 else f"{size / 1e3:g}k" if size >= 1e3 else f"{size:g}"
