"""From rows to the page: tables, charts and cards in one file, with everything that it needs inside."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.metrics import LEVELS_KM
from geobench.progress import SILENT, Progress
from geobench.report.html.blocks import Blocks, as_json
from geobench.report.html.thumbnails import MOST
from geobench.report.latex import WORDS
from geobench.report.text import HEADS, tables

if TYPE_CHECKING:
    from geobench.report.html.explorer import ImageSet
    from geobench.report.rows import Row

FOLDER = Path(__file__).parent
SCRIPTS = ("tables.js", "sphere.js", "charts.js", "cards.js", "map.js", "regions.js", "explorer.js")
"""Run in this order as one script."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}"
"""Nothing but the page's own scripts runs, and no request leaves it."""


def html_page(
    rows: Sequence[Row], damaged: Sequence[str] = (), thumbnails: int = MOST, progress: Progress = SILENT
) -> str:
    """Return ``rows`` as an HTML page that is complete in itself.

    Args:
        rows: see :func:`geobench.report.rows.rows`.
        damaged: a line for each result that was left out.
        thumbnails: at most so many small pictures of the test set's images, where these are on this machine.
        progress: told of the work.
    """
    from jinja2 import Environment, FileSystemLoader

    from geobench.report.html.explorer import explorer, image_sets

    sets, blocks = image_sets(rows), Blocks()
    data = explorer(sets, blocks, thumbnails, progress) if sets else None
    charts = _charts(sets, data["sets"], blocks) if data else []
    scripts = [*([_plotting_library()] if data else []), "\n".join(_own(name) for name in SCRIPTS)]
    page = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("page.html").render(
        policy=POLICY.format(hashes=" ".join(_hash(script) for script in scripts)),
        style=_own("page.css"),
        tables=_tables(rows, damaged),
        words=WORDS,
        levels=[(level, km, f"acc_{km}km") for level, km in LEVELS_KM.items()],
        data=data,
        data_json=as_json(data),
        charts=charts,
        blocks=list(blocks),
        scripts=scripts,
        written=_written(rows),
    )


def _own(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def _plotting_library() -> str:
    """Return Bokeh's script; it holds nothing that would end the element it stands in."""
    from bokeh.resources import Resources

    script = "\n".join(Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw)
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _written(rows: Sequence[Row]) -> str:
    """Return which version and when the newest result is of: the same results give the same page."""
    from importlib.metadata import version

    newest = max((result.created for row in rows for result in row.results), default="")
    return f"geobench {version('geobench-geolocalization')}, newest result of {newest[:16].replace('T', ' ')} UTC"


def _tables(rows: Sequence[Row], damaged: Sequence[str]) -> list[dict[str, Any]]:
    """Return title, heads, notes and rows of each table; the cells of scores know them unrounded, to sort by."""
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row.dataset)]
    names = {head: name for name, head in HEADS.items()}
    made = []
    for group, table in zip(groups, tables(rows, damaged), strict=True):
        lines = [
            [(head, cell, _value(row.scores, names.get(head))) for head, cell in cells.items()]
            for row, cells in zip(group, table.rows, strict=True)
        ]
        made.append(
            {
                "title": table.title,
                "heads": list(table.rows[0]),
                "notes": table.notes,
                "ours": table.ours,
                "rows": lines,
            }
        )
    return made


def _value(scores: dict[str, float], name: str | None) -> str:
    """Return the score called ``name`` with all its digits, empty where there is none."""
    return "" if name is None or math.isnan(scores[name]) else repr(scores[name])


def _charts(sets: Sequence[ImageSet], found: Sequence[dict[str, Any]], blocks: Blocks) -> list[dict[str, Any]]:
    """Return the charts of each image set: the block that each is drawn from, and what its legend says."""
    from geobench.pictures.figures import frontiers
    from geobench.report.html.charts import error_curves, frontier, item, line_look

    blocks.add("map", _map())
    made = []
    for number, images in enumerate(sets):
        sizes = list(frontiers(list(images.named.values())))
        curves = blocks.json(f"set-{number}-curves", item(error_curves(images.named)))
        found[number]["looks"] = [line_look(row) for row in range(len(images.named))]
        frontiers_of = [
            (model, blocks.json(f"set-{number}-frontier-{index}", item(frontier(several))))
            for index, (model, several) in enumerate(sizes)
        ]
        legend = [(label, *line_look(row)) for row, label in enumerate(images.named)]
        made.append({"title": images.title, "curves": curves, "legend": legend, "frontiers": frontiers_of})
    return made


@cache
def _map() -> str:
    from geobench.report.html.charts import item, world_map

    return as_json(item(world_map()))
