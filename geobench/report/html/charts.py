"""The page's charts, made with Bokeh: the empty map that scripts fill, the curves of errors, the gallery's frontier.

Bokeh draws on a plain canvas, so neither a network nor WebGL is needed. Colours that depend on the light or dark theme
are set by the page: whatever is named ``paint-…`` gets the colour of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.geo import FARTHEST_KM, FloatArray
from geobench.metrics import Metric, accuracies, thresholds_of
from geobench.pictures.canvas import SMALLEST_KM2, shore
from geobench.pictures.curves import SMALLEST_KM
from geobench.pictures.palette import OKABE_ITO
from geobench.pictures.worldmap import LAKE, LAND_KINDS, X_MAX, Y_MAX, borders, coastlines, equal_earth
from geobench.report.rows import Row

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812  it is a class

DASHES = ("solid", "dashed", "dotdash", "dotted", "dashdot")
MARKERS = {
    "circle": "●",
    "square": "■",
    "triangle": "▲",
    "diamond": "◆",
    "inverted_triangle": "▼",
    "hex": "⬢",
    "star": "★",
}
"""Bokeh's names of markers, and the characters that stand for them in a legend."""
FRONTIER = OKABE_ITO[:4] + OKABE_ITO[5:6]
"""Without black: a line must be visible on light and on dark; five colours and seven markers make 35 pairs."""
LINES = tuple("#7f7f7f" if colour == "#000000" else colour for colour in OKABE_ITO)
POINTS = 240  # of a curve: a step is 5 % of the distance
MAP_TIPS = [("image", "@name"), ("truly in", "@country"), ("error", "@error{0,0.0} km")]
COUNTRY_TIPS = [("country", "@name"), ("images", "@n"), ("within", "@share"), ("median", "@median")]


def line_look(number: int) -> tuple[str, str]:
    """Return colour and dashes of the row ``number``: 35 pairs before any is repeated."""
    return LINES[number % len(LINES)], DASHES[number % len(DASHES)]


def frontier_look(metrics: Sequence[Metric]) -> list[tuple[str, str, str]]:
    """Return distance, colour and marker of the line of each accuracy among ``metrics``."""
    return [
        (f"{km:,g} km", FRONTIER[number % len(FRONTIER)], list(MARKERS)[number % len(MARKERS)])
        for number, km in enumerate(thresholds_of(metrics))
    ]


def item(figure: Figure) -> dict[str, Any]:
    """Return ``figure`` in the form that ``Bokeh.embed.embed_item`` takes."""
    from bokeh.embed import json_item

    return dict(json_item(figure))


def world_map() -> Figure:
    """Return the world map with empty sources: countries, truth, prediction, lines and the chosen image."""
    from bokeh.models import BoxZoomTool, HoverTool, PanTool, Range1d, ResetTool, TapTool, WheelZoomTool
    from bokeh.plotting import figure

    plot = figure(
        name="map",
        x_range=Range1d(start=-X_MAX * 1.01, end=X_MAX * 1.01),
        y_range=Range1d(start=-Y_MAX * 1.01, end=Y_MAX * 1.01),
        aspect_ratio=X_MAX / Y_MAX,
        sizing_mode="stretch_width",
        tools=[PanTool(), WheelZoomTool(), BoxZoomTool(match_aspect=True), ResetTool(), TapTool()],
        toolbar_location="above",
        min_border=0,
        lod_threshold=4000,
    )
    plot.toolbar.logo = None  # it links to another site
    plot.axis.visible = False
    plot.grid.visible = False
    plot.update(background_fill_color=None, border_fill_color=None, outline_line_color=None)
    countries = _land(plot)
    countries.append(_country(plot.scatter, "small-countries", ("x", "y"), size=9, line_width=3))
    plot.add_tools(HoverTool(renderers=countries, tooltips=COUNTRY_TIPS, visible=False))
    _line(plot, "lines", line_width=0.8, line_alpha=0.55)
    points: dict[str, Any] = {"color": "colour", "line_width": 0.5, "line_alpha": 0.7}
    drawn = [
        _scatter(plot, "prediction", marker="diamond", size=7, **points),
        _scatter(plot, "truth", marker="circle", size=6, **points),
    ]
    _line(plot, "hover", line_width=2)
    plot.add_tools(HoverTool(renderers=drawn, tooltips=MAP_TIPS, name="tip", visible=False))
    _line(plot, "chosen-lines", line_color="colour", line_width=2.5)
    _scatter(plot, "chosen", marker="marker", size=15, fill_color="colour", line_width=1.5)
    return plot


def _land(plot: Figure) -> list[Any]:
    """Draw sea, land, countries, lakes and coasts; return what draws the countries."""
    edge = np.stack([np.linspace(-90, 90, 91), np.full(91, 180.0)], axis=1)
    outline = _joined([np.concatenate([edge, (edge * (1, -1))[::-1]])])
    land, lakes = (coastlines(kinds, SMALLEST_KM2) for kinds in (LAND_KINDS, (LAKE,)))
    _patch(plot, "sea", outline)
    _patch(plot, "land", _joined(land))
    countries = _country(plot.quad, "countries", ("left", "right", "top", "bottom"), line_width=0.5)
    _patch(plot, "sea", _joined(lakes))
    shores = _joined([part for line in land for part in shore(line)])
    for parts, width in ((shores, 0.6), (_joined(borders()), 0.3), (outline, 0.8)):
        plot.line(*parts, line_color="#888888", line_width=width, name="paint-coast")
    return [countries]


def _patch(plot: Figure, name: str, parts: tuple[Any, Any]) -> None:
    plot.patch(*parts, fill_color="#888888", line_color=None, name=f"paint-{name}")


def _country(draw: Callable[..., Any], name: str, where: Sequence[str], **look: Any) -> Any:
    """Draw countries, empty as yet, as shapes of the method ``draw`` whose columns are named like its arguments."""
    source = _source(name, *where, "fill", "colour", "country", "name", "n", "share", "median")
    columns = {column: column for column in where}
    drawn = draw(**columns, **look, fill_color="fill", line_color="colour", source=source, name=name)
    drawn.update(selection_glyph=None, nonselection_glyph=None)
    return drawn


def _joined(lines: Sequence[FloatArray]) -> tuple[Any, Any]:
    """Return x and y on the map of all ``lines``, NaN between them, accurate to half a kilometre."""
    gap = np.full((1, 2), np.nan)
    x, y = np.concatenate([part for line in lines for part in (equal_earth(line), gap)]).astype(np.float32).T
    return x, y


def _source(name: str, *columns: str) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource({column: [] for column in columns}, name=name)


def _line(plot: Figure, name: str, **look: Any) -> None:
    plot.multi_line("xs", "ys", source=_source(name, "xs", "ys", "colour"), name=f"paint-{name}", **look)


def _scatter(plot: Figure, name: str, **look: Any) -> Any:
    columns = ("x", "y", "colour", "marker", "image", "name", "country", "error")
    drawn = plot.scatter("x", "y", source=_source(name, *columns), name=name, **look)
    drawn.update(selection_glyph=None, nonselection_glyph=None)  # the page marks what is chosen
    return drawn


def error_curves(named: Mapping[str, Row]) -> Figure:
    """Return the share of images within every distance, a curve for each row in their order; seeds are pooled."""
    from bokeh.models import HoverTool
    from bokeh.models.annotations import Span

    plot = _plot("Error (km)", "Images within (%)", (SMALLEST_KM, FARTHEST_KM))
    distances = np.geomspace(SMALLEST_KM, FARTHEST_KM, POINTS)
    for km in thresholds_of(next(iter(named.values())).metrics):
        plot.add_layout(Span(location=km, dimension="height", line_width=1, line_dash="dotted", name="paint-grid"))
    for number, (label, row) in enumerate(named.items()):
        errors = np.sort(np.concatenate([result.errors for result in row.results]))
        share = 100 * np.searchsorted(errors, distances, side="right") / len(errors)
        colour, dash = line_look(number)
        data: Any = {"x": distances.astype(np.float32), "y": share.astype(np.float32)}
        line = plot.line("x", "y", source=data, line_color=colour, line_dash=dash, line_width=2, name=label)
        tips = [("model", "$name"), ("within", "@x{0,0.0} km"), ("images", "@y{0.0} %")]
        plot.add_tools(HoverTool(renderers=[line], tooltips=tips))
    return plot


def _plot(x: str, y: str, x_range: tuple[float, float]) -> Figure:
    from bokeh.models import FixedTicker, NumeralTickFormatter, Range1d
    from bokeh.plotting import figure

    plot = figure(
        x_axis_type="log",
        x_range=Range1d(start=x_range[0], end=x_range[1]),
        y_range=Range1d(start=0, end=100),
        x_axis_label=x,
        y_axis_label=y,
        height=320,
        sizing_mode="stretch_width",
        tools="",
        toolbar_location=None,
        min_border_right=18,
        min_border_top=8,
    )
    plot.xaxis.ticker = FixedTicker(ticks=[0.1, 1, 10, 100, 1_000, 10_000])
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    plot.xgrid.visible = False
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
    return plot


def frontier(rows: Sequence[Row]) -> Figure:
    """Return accuracy with its interval against the gallery size, in which ``rows`` differ, the smallest first."""
    from bokeh.models import FixedTicker, HoverTool

    sizes = [row.results[0].gallery_size for row in rows]
    plot = _plot("Gallery points", "Accuracy (%)", (sizes[0] / 1.15, sizes[-1] * 1.15))
    plot.xaxis.ticker = FixedTicker(ticks=_apart(sizes))
    measured = {
        "x": sizes,
        "seconds": [float(np.mean([result.seconds for result in row.results])) for row in rows],
        "memory": [float(np.mean([result.peak_memory_mb for result in row.results])) for row in rows],
    }
    shown = accuracies(rows[0].metrics)
    for metric, (distance, colour, marker) in zip(shown, frontier_look(shown), strict=True):
        ends = [row.intervals.get(metric.name, (np.nan, np.nan)) for row in rows]
        data: Any = measured | {"y": [row.scores[metric.name] for row in rows]}
        data |= {"low": [low for low, _ in ends], "high": [high for _, high in ends]}
        if not np.isnan(data["low"]).any():
            plot.varea("x", "low", "high", source=data, fill_color=colour, fill_alpha=0.15)
        plot.line("x", "y", source=data, line_color=colour, line_width=2)
        point = plot.scatter("x", "y", source=data, color=colour, marker=marker, size=8)
        tips = [(f"within {distance}", "@y{0.0} % [@low{0.0}, @high{0.0}]"), ("gallery", "@x{0,0} points")]
        tips += [("run time", "@seconds{0,0.0} s"), ("peak memory", "@memory{0,0} MB")]
        plot.add_tools(HoverTool(renderers=[point], tooltips=tips))
    return plot


def _apart(sizes: Sequence[int]) -> list[int]:
    """Return those of the rising ``sizes`` whose labels do not overlap."""
    shown = [sizes[0]]
    for size in sizes[1:]:
        if size / shown[-1] >= (sizes[-1] / sizes[0]) ** 0.15:
            shown.append(size)
    return shown
