"""Bars with confidence intervals: accuracy by group, the models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geobench.analysis.breakdown import SMALLEST, groups_of, mean_scores
from geobench.analysis.details import DetailedResult
from geobench.metrics import Metric, accuracies, image_values
from geobench.pictures.canvas import LINE, WIDTH_INCHES, new_figure
from geobench.pictures.curves import GRID, PRINT_DPI, legend_columns
from geobench.pictures.palette import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geobench.report.rows import Row

Groups: TypeAlias = "Sequence[tuple[str, npt.NDArray[np.bool_]]]"

PANELS = 3  # in the middle of the accuracies: at 1 km, groups of some hundred images say little
HATCHES = ("", "////", "....")  # from the eighth model on
THICKNESS = 0.8  # of the bars of a group, as a share of the distance between groups


def draw_breakdown(named: Mapping[str, Row], by: str) -> Figure:
    """Draw the three accuracies in the middle by group, a bar for each row by its name; seeds are averaged.

    Args:
        named: rows on the same images.
        by: a grouping that does not depend on the model, such as ``continent`` or ``scene``.
    """
    row = next(iter(named.values()))
    first, shown = DetailedResult(row.results[0]), accuracies(row.metrics)
    shown = shown[max(0, len(shown) - PANELS) // 2 :][:PANELS]
    groups = [*groups_of(first, by, SMALLEST), ("all images", np.ones(len(first), dtype=np.bool_))]
    columns = legend_columns(named, WIDTH_INCHES)
    height = 0.6 + 0.14 * -(-len(named) // columns) + len(groups) * max(0.3, 0.11 * len(named) + 0.09)
    figure = new_figure(height, WIDTH_INCHES, PRINT_DPI)
    engine: Any = figure.get_layout_engine()
    engine.set(wspace=0.06)
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    handles, *_ = [_panel(ax, named, groups, metric) for ax, metric in zip(axes, shown, strict=True)]
    axes[0].set_yticks(range(len(groups)), [f"{name} ({int(rows.sum()):,})" for name, rows in groups])
    axes[0].set_ylim(len(groups) - 0.5, -0.5)
    result = first.result
    test_set = f"{result.dataset} ({result.subset})" if result.subset else result.dataset
    figure.suptitle(f"{test_set} by {by}, with 95 % confidence intervals (images in brackets)", fontsize=8)
    figure.legend(handles, list(named), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _panel(ax: Axes, named: Mapping[str, Row], groups: Groups, metric: Metric) -> list[Any]:
    """Draw the bars of ``metric``; return those of each row, for the legend."""
    handles, highest = [], 0.0
    for number, row in enumerate(named.values()):
        clusters = DetailedResult(row.results[0]).clusters
        values = [image_values(result.scored, [metric]) for result in row.results]
        scores = [mean_scores(values, rows, clusters.among(rows), [metric])[metric.name] for _, rows in groups]
        ends = np.stack(scores)
        place = np.arange(len(groups)) + THICKNESS * ((number + 0.5) / len(named) - 0.5)
        handles.append(_bars(ax, place, ends, number, len(named)))
        highest = max(highest, float(np.nanmax(ends)))
    ax.set(xlim=(0, min(100, 10 * np.ceil(highest / 10 + 0.1))), xlabel=f"Within {metric.threshold_km:,g} km (%)")
    ax.grid(axis="x", **GRID)
    ax.set_axisbelow(True)
    ax.axhline(len(groups) - 1.5, color=LINE, linewidth=0.5)
    ax.tick_params(axis="y", length=0)
    return handles


def _bars(ax: Axes, place: Any, ends: Any, number: int, of: int) -> Any:
    """Draw bars at ``place`` (groups,): lengths in the first column of ``ends``, intervals in the other two."""
    share, low, high = ends.T
    whiskers = np.stack([share - low, high - share])
    error = {"elinewidth": 0.8, "ecolor": "black", "capsize": min(1.5, 4 / of)}
    look: Any = {
        "color": OKABE_ITO[number % len(OKABE_ITO)],
        "alpha": 0.6,
        "hatch": HATCHES[number // len(OKABE_ITO) % 3],
    }
    return ax.barh(
        place, share, THICKNESS / of, xerr=whiskers, error_kw=error, edgecolor="white", linewidth=0.4, **look
    )
