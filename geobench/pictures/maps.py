"""Maps of the world: the similarity of every place to a query, and the positions of a data set's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import SettingError
from geobench.geo import EARTH_RADIUS_KM, FloatArray
from geobench.pictures.canvas import COLOURS, MARK, colour_bar, draw_world, new_figure, save, styled
from geobench.pictures.worldmap import X_MAX, Y_MAX, Grid, equal_earth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

    from geobench.data.dataset import Dataset

SUFFIXES = (".png", ".pdf", ".svg")
MOST_PANELS = 40
MOST_POINTS = 3000  # more positions are counted per hexagon instead of drawn one by one
HEXAGONS = 150  # side by side along the equator


@dataclass(frozen=True)
class Panel:
    """One query on the map.

    Attributes:
        title: the query.
        similarity: (m,) of the query to the grid's places.
        places: (k, 2) predictions, best first; (0, 2) for a map of similarity alone.
        photo: shown next to the map.
        label: what ``similarity`` is, at the colour bar.
    """

    title: str
    similarity: npt.NDArray[np.floating]
    places: FloatArray
    photo: Image.Image | None = None
    label: str = "cosine similarity"


def check_map(output: Path, panels: int = 1) -> None:
    """Raise ``SettingError`` if a map of so many ``panels`` cannot be saved as ``output``."""
    if output.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a map is saved as a file that ends in {', '.join(SUFFIXES)}, not as {output.name!r}.")
    if panels > MOST_PANELS:
        raise SettingError(f"a map has room for {MOST_PANELS} queries, not {panels}; draw fewer at a time.")
    files.check_writable(output)


def draw_similarity(panels: Sequence[Panel], grid: Grid, output: Path, title: str) -> None:
    """Draw a map for each of ``panels``, under one ``title``, and save it as ``output`` (PNG, PDF or SVG)."""
    check_map(output, len(panels))
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    with styled():
        height = 3.25 if columns == 1 else 1.65
        figure = new_figure(rows * height + 0.55)
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
        save(figure, output)


def draw_dataset(dataset: Dataset, purpose: str, output: Path) -> None:
    """Draw the positions of the images that ``dataset`` has to ``train`` or to ``test``."""
    check_map(output)
    table = dataset.positions(purpose)
    title = f"{dataset.title}, {dataset.split_for(purpose)}: {len(table):,} images"
    draw_positions(table[["latitude", "longitude"]].to_numpy(np.float64), output, title)


def draw_positions(coordinates: FloatArray, output: Path, title: str) -> None:
    """Draw ``coordinates`` (n, 2) and save the map as ``output``: a point each, or their number per hexagon if many."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    check_map(output)
    x, y = equal_earth(coordinates).T
    with styled():
        figure = new_figure(3.4)
        ax = figure.subplots()
        draw_world(ax)
        if len(coordinates) <= MOST_POINTS:
            ax.scatter(x, y, s=4, color=MARK, alpha=0.6, linewidth=0, zorder=6)
        else:
            side = 2 * X_MAX / HEXAGONS  # width of a hexagon; a regular one is √3 × as far from the next but one above
            size, extent = (HEXAGONS, round(2 * Y_MAX / side / np.sqrt(3))), (-X_MAX, X_MAX, -Y_MAX, Y_MAX)
            hexagons: Any = ax.hexbin(
                x, y, gridsize=size, extent=extent, mincnt=1, cmap=COLOURS, linewidths=0.1, zorder=3
            )
            hexagons.set_norm(LogNorm(1, max(2, hexagons.get_array().max())))
            area_km2 = round(np.prod(np.array([2 * X_MAX, 2 * Y_MAX]) / size) / 2 * EARTH_RADIUS_KM**2, -3)
            ticks = {"ticks": LogLocator(subs=(1, 2, 5)), "format": StrMethodFormatter("{x:,.0f}")}
            colour_bar(figure, ax, hexagons, f"images per hexagon of {area_km2:,.0f} km²", **ticks).minorticks_off()
        ax.set_title(title)
        save(figure, output)


def _similarity_panel(figure: Figure, ax: Axes, panel: Panel, grid: Grid, small: bool) -> None:
    land = draw_world(ax, small)
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
    colour_bar(figure, ax, image, panel.label, extend="min")
    _mark(ax, panel.places, small)
    ax.set_title(_shortened(panel.title, 45 if small else 90), fontsize=8 if small else 9)
    if panel.photo is not None:
        inset = ax.inset_axes((0.0, 0.02, 0.16, 0.3), zorder=8)
        inset.imshow(panel.photo)
        inset.set(xticks=[], yticks=[], anchor="SW")


def _mark(ax: Axes, places: FloatArray, small: bool) -> None:
    """Mark the predictions, the best one with a star."""
    if not len(places):
        return
    x, y = equal_earth(places).T
    size = 0.6 if small else 1.0
    star: Any = {"marker": "*", "facecolor": MARK, "edgecolor": "white", "linewidth": 0.6}
    ring: Any = {"marker": "o", "facecolor": "white", "edgecolor": MARK, "linewidth": 0.9 * size}
    ax.scatter(x[:1], y[:1], s=120 * size, zorder=6, label="best prediction", **star)
    if len(places) > 1:
        label = f"predictions 2 to {len(places)}" if len(places) > 2 else "prediction 2"
        ax.scatter(x[1:], y[1:], s=12 * size, zorder=7, label=label, **ring)


def _shortened(title: str, letters: int) -> str:
    title = " ".join(title.split())
    return title if len(title) <= letters else title[: letters - 1].rstrip() + "…"
