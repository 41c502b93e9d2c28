"""From rows to the page: tables, charts and cards in one self-contained file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.progress import SILENT, Progress
from geobench.report.html.page_data import PageData, as_json
from geobench.report.html.thumbnails import MOST
from geobench.report.tables import CONDITIONS, NO_REMARKS, TEXTUAL, conditions, tables

if TYPE_CHECKING:
    from geobench.report.html.explorer import ImageSet
    from geobench.report.rows import Row

FOLDER = Path(__file__).parent
SCRIPTS = (
    "tables.js", "downloads.js", "sphere.js", "charts.js", "cards.js", "map.js", "countries.js", "regions.js",
    "explorer.js", "permalink.js",
)  # fmt: skip
"""Concatenated in this order to one script."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}"
"""Only the page's own scripts run, and it makes no requests."""


def html_page(
    rows: Sequence[Row],
    damaged: Sequence[str] = (),
    thumbnails: int = MOST,
    progress: Progress = SILENT,
    remarks: Mapping[str, Sequence[str]] = NO_REMARKS,
) -> str:
    """Return ``rows`` as a self-contained HTML page.

    Args:
        rows: see :func:`geobench.report.rows.rows`.
        damaged: a line for each result that was left out.
        thumbnails: at most so many small pictures of the test set's images, if these are on this machine.
        progress: reports the reading of pictures.
        remarks: notes to begin with, by test set.
    """
    from jinja2 import Environment, FileSystemLoader

    from geobench.report.html.explorer import explorer, image_sets, statuses

    sets, data = image_sets(rows), PageData()
    start = explorer(sets, data, thumbnails, progress) if sets else None
    charts = _charts(sets, start["sets"], data) if start else []
    scripts = [*([_plotting_library()] if start else []), "\n".join(_file(name) for name in SCRIPTS)]
    page = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("page.html").render(
        policy=POLICY.format(hashes=" ".join(_hash(script) for script in scripts)),
        style=_file("page.css"),
        tables=tables(rows, damaged, remarks=remarks),
        textual=TEXTUAL,
        folds=CONDITIONS,
        folded=conditions,
        start=start,
        statuses=statuses(sets),
        start_json=as_json(start),
        charts=charts,
        data=list(data),
        scripts=scripts,
        written=_written(rows),
    )


def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _plotting_library() -> str:
    """Return Bokeh's script, without anything that could end the element around it."""
    from bokeh.resources import Resources

    script = "\n".join(Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _written(rows: Sequence[Row]) -> str:
    """Return the version and the time of the newest result, so that the same results give the same page."""
    from importlib.metadata import version

    newest = max((result.created for row in rows for result in row.results), default="")
    return f"geobench {version('geobench-geolocalization')}, newest result of {newest[:16].replace('T', ' ')} UTC"


def _charts(sets: Sequence[ImageSet], found: Sequence[dict[str, Any]], data: PageData) -> list[dict[str, Any]]:
    """Return the charts of each image set: the names of their data, and what their legends say."""
    from geobench.report.figures import frontiers
    from geobench.report.html.charts import MARKERS, error_curves, frontier, frontier_look, item, line_look

    data.add("map", _map())
    charts = []
    for number, images in enumerate(sets):
        sizes = list(frontiers(list(images.named.values())))
        curves = data.json(f"set-{number}-curves", item(error_curves(images.named)))
        found[number]["looks"] = [line_look(row) for row in range(len(images.named))]
        frontiers_of = [
            (model, data.json(f"set-{number}-frontier-{index}", item(frontier(several))))
            for index, (model, several) in enumerate(sizes)
        ]
        charts.append(
            {
                "title": images.title,
                "curves": curves,
                "legend": [(label, *line_look(row)) for row, label in enumerate(images.named)],
                "frontiers": frontiers_of,
                "levels": [(text, colour, MARKERS[marker]) for text, colour, marker in frontier_look(images.metrics)],
            }
        )
    return charts


@cache
def _map() -> str:
    from geobench.report.html.charts import item, world_map

    return as_json(item(world_map()))
