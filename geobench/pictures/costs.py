"""Accuracy against cost: which model is worth its price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geobench.pictures.canvas import new_figure
from geobench.pictures.curves import COLUMN_INCHES, GRID, MARKERS, PRINT_DPI
from geobench.pictures.palette import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(points: Sequence[tuple[str, float, float]], km: float) -> Figure:
    """Draw a point for each model: its name, the cost of an image and its accuracy in %; a line joins the best.

    A model is on the line if none that costs as little is as accurate.
    """
    figure = new_figure(2.6 + 0.14 * len(points), COLUMN_INCHES, PRINT_DPI)
    ax = figure.subplots()
    best: list[tuple[float, float]] = []
    for _, cost, accuracy in sorted(points, key=lambda point: (point[1], -point[2])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    ax.step(*zip(*best, strict=True), where="post", color="0.6", linewidth=1, zorder=1)
    for number, (name, cost, accuracy) in enumerate(points):
        marker, colour = MARKERS[number % len(MARKERS)], OKABE_ITO[number % len(OKABE_ITO)]
        ax.scatter([cost], [accuracy], marker=marker, color=colour, s=22, label=name, zorder=2)
    ax.set(xscale="log", ylim=(0, 100), xlabel="Cost of an image", ylabel=f"Within {km:g} km (%)")
    ax.grid(axis="y", **GRID)
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return figure
