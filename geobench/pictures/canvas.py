"""What all pictures share: style and size, the base map of the world, how they are saved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench import files
from geobench.geo import FloatArray
from geobench.pictures.worldmap import LAKE, LAND_KINDS, X_MAX, Y_MAX, borders, coastlines, equal_earth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch

WIDTH_INCHES = 7.0  # of the text of a page
DPI = 200
OTHER_SCRIPTS = ("Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Microsoft YaHei", "Noto Sans", "Arial Unicode MS")
"""Fallback fonts for characters that matplotlib's default font does not have, in this order, if installed."""
SEA, LAND, LINE = "#e9eef2", "#d4d4d4", "#3c3c3c"
COLOURS = "YlOrBr"  # from light to dark, safe for colour-blind readers and in greyscale
MARK = "#08519c"
SMALLEST_KM2 = 1000  # smaller islands and lakes are less than a pixel or two
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,  # TrueType, which journals accept
    "svg.fonttype": "none",
    "svg.hashsalt": "geobench",
    "text.parse_math": False,  # a query is shown as typed, including dollar signs
}


@contextmanager
def styled(**changes: Any) -> Iterator[None]:
    """Draw with ``STYLE``, updated by ``changes`` (matplotlib's names, ``__`` for a dot), inside the block."""
    import matplotlib
    from matplotlib.font_manager import get_font_names

    there = set(get_font_names())
    families = ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in there)]
    style = STYLE | {"font.family": families} | {name.replace("__", "."): value for name, value in changes.items()}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # a character that no font has is drawn as a box
        yield


def new_figure(height: float, width: float = WIDTH_INCHES, dpi: int = DPI) -> Figure:
    """Return an empty figure of ``width`` × ``height`` inches whose parts do not overlap."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.03)
    return figure


def save(figure: Figure, output: Path, *, tight: bool = True) -> None:
    """Save ``figure`` to ``output``, without margins if ``tight``; the same figure gives the same file."""
    suffix = output.suffix.lower()
    metadata: dict[str, Any] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix, {})
    options: Any = {"pil_kwargs": {"optimize": True}} if suffix == ".png" else {}
    with files.replacing(output) as temporary:
        cut: Any = {"bbox_inches": "tight", "pad_inches": 0.05} if tight else {}
        figure.savefig(temporary, metadata=metadata, **cut, **options)


def colour_bar(figure: Figure, ax: Axes, drawn: Any, label: str, **options: Any) -> Any:
    """Add a thin colour bar for ``drawn`` on ``ax``; return it."""
    bar: Any = figure.colorbar(drawn, ax=ax, shrink=0.75, pad=0.02, aspect=25, **options)
    bar.set_label(label, fontsize=7)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(width=0.4, length=2, labelsize=6.5)
    return bar


def draw_world(ax: Axes, small: bool = False) -> PathPatch:
    """Draw sea, land, coasts, borders and graticule on ``ax``; return the land, to clip other artists."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import PathPatch, Polygon

    thin = 0.6 if small else 1.0
    edge = equal_earth(_edge())
    outline = Polygon(edge, facecolor=SEA, edgecolor="none", zorder=0)
    ax.add_patch(outline)
    land = PathPatch(_path(coastlines(LAND_KINDS, SMALLEST_KM2)), facecolor=LAND, edgecolor="none", zorder=1)
    ax.add_patch(land)
    lakes = PathPatch(
        _path(coastlines((LAKE,), SMALLEST_KM2)), facecolor=SEA, edgecolor=LINE, linewidth=0.2 * thin, zorder=3
    )
    ax.add_patch(lakes)
    shores = [equal_earth(part) for line in coastlines(LAND_KINDS, SMALLEST_KM2) for part in shore(line)]
    ax.add_collection(LineCollection(shores, colors=LINE, linewidths=0.35 * thin, zorder=4))
    countries = [equal_earth(line) for line in borders()]
    ax.add_collection(LineCollection(countries, colors=LINE, linewidths=0.2 * thin, alpha=0.6, zorder=4))
    _graticule(ax, small)
    ax.add_patch(Polygon(edge, facecolor="none", edgecolor=LINE, linewidth=0.6 * thin, zorder=5))
    ax.set(xlim=(-X_MAX * 1.01, X_MAX * 1.01), ylim=(-Y_MAX * 1.01, Y_MAX * 1.01), aspect="equal")
    ax.set_axis_off()
    return land


def _edge() -> FloatArray:
    latitude = np.linspace(-90, 90, 181)
    east = np.stack([latitude, np.full(181, 180.0)], axis=1)
    return np.concatenate([east, (east * (1, -1))[::-1]])


def _path(lines: Sequence[FloatArray]) -> Any:
    from matplotlib.path import Path as Outline

    return Outline.make_compound_path(*(Outline(equal_earth(line), closed=True) for line in lines))


def shore(line: FloatArray) -> list[FloatArray]:
    """Return the parts of a closed ``line`` that are coast, without the cuts at ±180°, 0° and the pole."""
    latitude, longitude = line.T
    south = latitude < -60
    cut = (np.abs(longitude) == 180) | (latitude == -90) | (south & (longitude == 0))
    return [part for part in np.split(line, np.flatnonzero(cut[1:] & cut[:-1]) + 1) if len(part) > 1]


def _graticule(ax: Axes, small: bool) -> None:
    from matplotlib.collections import LineCollection

    fine = np.linspace(-1, 1, 181)
    lines = []
    for latitude in range(-60, 61, 30):
        lines.append(equal_earth(np.stack([np.full(181, float(latitude)), 180 * fine], axis=1)))
        x, y = equal_earth(np.array([[latitude, 180.0]]))[0]
        ax.text(x + 0.04, y, _degrees(latitude, "N", "S"), ha="left", va="center", fontsize=5 if small else 7)
    for longitude in range(-120, 121, 60):
        lines.append(equal_earth(np.stack([90 * fine, np.full(181, float(longitude))], axis=1)))
        x, y = equal_earth(np.array([[-90.0, longitude]]))[0]
        if longitude % 120 == 0 or not small:
            ax.text(x, y - 0.04, _degrees(longitude, "E", "W"), ha="center", va="top", fontsize=5 if small else 7)
    ax.add_collection(LineCollection(lines, colors=LINE, linewidths=0.25, alpha=0.35, zorder=3))


def _degrees(value: int, positive: str, negative: str) -> str:
    return f"{abs(value)}°" + (f" {positive if value > 0 else negative}" if value else "")
