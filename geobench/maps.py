"""Maps of the world: how similar every place is to a query, where the images of a data set are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import SettingError
from geobench.geo import EARTH_RADIUS_KM, FloatArray
from geobench.worldmap import LAKE, LAND_KINDS, X_MAX, Y_MAX, Grid, borders, coastlines, equal_earth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from PIL import Image

    from geobench.datasets import Dataset

SUFFIXES = (".png", ".pdf", ".svg")
WIDTH_INCHES = 7.0  # of the text of a page
DPI = 200
MOST_PANELS = 40
MOST_POINTS = 3000  # more positions are counted instead of drawn one by one
HEXAGONS = 150  # side by side along the equator
OTHER_SCRIPTS = ("Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Microsoft YaHei", "Noto Sans", "Arial Unicode MS")
"""Fonts for letters that matplotlib's own has not; those that are installed are used, in this order."""
SEA, LAND, LINE = "#e9eef2", "#d4d4d4", "#3c3c3c"
COLOURS = "YlOrBr"  # from light to dark, readable with every colour vision and in grey
MARK = "#08519c"
SMALLEST_KM2 = 1000  # islands and lakes below are less than a pixel or two
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,  # fonts that journals accept
    "svg.fonttype": "none",
    "svg.hashsalt": "geobench",
    "text.parse_math": False,  # a query is shown as it was typed, dollar signs too
}


@dataclass(frozen=True)
class Panel:
    """One query on the map.

    Attributes:
        title: the query.
        similarity: (m,) of the query to the grid's places.
        places: (k, 2) predictions, best first.
        photo: shown beside the map.
    """

    title: str
    similarity: npt.NDArray[np.floating]
    places: FloatArray
    photo: Image.Image | None = None


def check_map(output: Path, panels: int = 1) -> None:
    """Raise ``SettingError`` where no map of so many ``panels`` can be written to ``output``."""
    if output.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a map is written to a file that ends in {', '.join(SUFFIXES)}, not to {output.name!r}.")
    if panels > MOST_PANELS:
        raise SettingError(f"a map has room for {MOST_PANELS} queries, not for {panels}; draw them a few at a time.")


def draw_similarity(panels: Sequence[Panel], grid: Grid, output: Path, title: str) -> None:
    """Draw a map for each of ``panels``, under one ``title``, to ``output`` (PNG, PDF or SVG)."""
    check_map(output, len(panels))
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    with _styled():
        height = 3.25 if columns == 1 else 1.65
        figure = _figure(rows * height + 0.55)
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, ax in zip(panels, axes, strict=False):
            _similarity_panel(figure, ax, panel, grid, small=columns > 1)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        if columns == 1:
            axes[0].set_title(f"{title}\n{axes[0].get_title()}")
        else:
            figure.suptitle(title, fontsize=9)
        most = max(range(len(panels)), key=lambda number: len(panels[number].places))
        figure.legend(*axes[most].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        _save(figure, output)


def draw_dataset(dataset: Dataset, purpose: str, output: Path) -> None:
    """Draw where the images are that ``dataset`` has to ``train`` or to ``test``."""
    check_map(output)
    table = dataset.table(purpose)
    title = f"{dataset.title}, {dataset.split_for(purpose)}: {len(table):,} images"
    draw_positions(table[["latitude", "longitude"]].to_numpy(np.float64), output, title)


def draw_positions(coordinates: FloatArray, output: Path, title: str) -> None:
    """Draw where ``coordinates`` (n, 2) are to ``output``: each of a few, of many their number per cell of one area."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    check_map(output)
    x, y = equal_earth(coordinates).T
    with _styled():
        figure = _figure(3.4)
        ax = figure.subplots()
        _world(ax)
        if len(coordinates) <= MOST_POINTS:
            ax.scatter(x, y, s=4, color=MARK, alpha=0.6, linewidth=0, zorder=6)
        else:
            side = 2 * X_MAX / HEXAGONS  # width of a hexagon; a regular one is √3 × as far from the next but one above
            size, extent = (HEXAGONS, round(2 * Y_MAX / side / np.sqrt(3))), (-X_MAX, X_MAX, -Y_MAX, Y_MAX)
            cells: Any = ax.hexbin(x, y, gridsize=size, extent=extent, mincnt=1, cmap=COLOURS, linewidths=0.1, zorder=3)
            cells.set_norm(LogNorm(1, max(2, cells.get_array().max())))
            area_km2 = round(np.prod(np.array([2 * X_MAX, 2 * Y_MAX]) / size) / 2 * EARTH_RADIUS_KM**2, -3)
            ticks = {"ticks": LogLocator(subs=(1, 2, 5)), "format": StrMethodFormatter("{x:,.0f}")}
            _colour_bar(figure, ax, cells, f"images per cell of {area_km2:,.0f} km²", **ticks).minorticks_off()
        ax.set_title(title)
        _save(figure, output)


def _similarity_panel(figure: Figure, ax: Axes, panel: Panel, grid: Grid, small: bool) -> None:
    land = _world(ax, small)
    values = panel.similarity
    low, high = float(np.median(values)), float(values.max())
    image = ax.imshow(
        grid.image(values),
        extent=(-X_MAX, X_MAX, -Y_MAX, Y_MAX),
        cmap=COLOURS,
        vmin=low,
        vmax=high,
        interpolation="nearest",
        zorder=2,
    )
    image.set_clip_path(land)
    _colour_bar(figure, ax, image, "cosine similarity", extend="min")
    _mark(ax, panel.places, small)
    ax.set_title(_shortened(panel.title, 45 if small else 90), fontsize=8 if small else 9)
    if panel.photo is not None:
        inset = ax.inset_axes((0.0, 0.02, 0.16, 0.3), zorder=8)
        inset.imshow(panel.photo)
        inset.set(xticks=[], yticks=[], anchor="SW")


def _colour_bar(figure: Figure, ax: Axes, drawn: Any, label: str, **options: Any) -> Any:
    bar: Any = figure.colorbar(drawn, ax=ax, shrink=0.75, pad=0.02, aspect=25, **options)
    bar.set_label(label, fontsize=7)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(width=0.4, length=2, labelsize=6.5)
    return bar


def _mark(ax: Axes, places: FloatArray, small: bool) -> None:
    """Mark the predictions, the best with a star."""
    x, y = equal_earth(places).T
    size = 0.6 if small else 1.0
    star: Any = {"marker": "*", "facecolor": MARK, "edgecolor": "white", "linewidth": 0.6}
    ring: Any = {"marker": "o", "facecolor": "white", "edgecolor": MARK, "linewidth": 0.9 * size}
    ax.scatter(x[:1], y[:1], s=120 * size, zorder=6, label="best prediction", **star)
    if len(places) > 1:
        label = f"predictions 2 to {len(places)}" if len(places) > 2 else "prediction 2"
        ax.scatter(x[1:], y[1:], s=12 * size, zorder=7, label=label, **ring)


def _world(ax: Axes, small: bool = False) -> PathPatch:
    """Draw sea, land, coasts, borders and graticule on ``ax``; return the land, to clip other things by."""
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
    shores = [equal_earth(part) for line in coastlines(LAND_KINDS, SMALLEST_KM2) for part in _shore(line)]
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


def _shore(line: FloatArray) -> list[FloatArray]:
    """Return the parts of a closed ``line`` that are coast, without where it was cut at ±180°, 0° and the pole."""
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


def _shortened(title: str, letters: int) -> str:
    title = " ".join(title.split())
    return title if len(title) <= letters else title[: letters - 1].rstrip() + "…"


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib
    from matplotlib.font_manager import get_font_names

    there = set(get_font_names())
    families = ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in there)]
    with matplotlib.rc_context(STYLE | {"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # a letter that no font has is drawn as a box
        yield


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.03)
    return figure


def _save(figure: Figure, output: Path) -> None:
    """Write ``figure`` to ``output``; the same figure gives the same file."""
    suffix = output.suffix.lower()
    metadata: dict[str, Any] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix, {})
    options: Any = {"pil_kwargs": {"optimize": True}} if suffix == ".png" else {}
    with files.replacing(output) as temporary:
        figure.savefig(temporary, metadata=metadata, bbox_inches="tight", pad_inches=0.05, **options)
