"""Where the countries lie on the page's map: runs of cells along its rows, small enough to be sent with every page."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from geobench.analysis.breakdown import SMALLEST
from geobench.data.countries import country_name
from geobench.data.land import is_land
from geobench.data.places import ANTARCTIC, find_places
from geobench.geo import FloatArray
from geobench.pictures.palette import error_colours
from geobench.pictures.worldmap import X_MAX, Y_MAX, land_grid
from geobench.report.html.page_data import PageData

COLUMNS = 720  # cells of 56 km, under two pixels of a map of 1,300
SHARES = (10, 25, 50, 75)
"""Shares in % that part the colours of countries: narrower where most models are."""


def atlas(data: PageData) -> dict[str, Any]:
    """Return the names of the countries and what the page draws them with; their runs are added to ``data``."""
    names, rows, runs = _countries()
    return {
        "names": names,
        "runs": data.array("atlas", runs, "<u2"),
        "columns": COLUMNS,
        "rows": rows,
        "size": [X_MAX, Y_MAX],
        "shares": SHARES,
        "colours": error_colours(len(SHARES))[::-1],
        "few": SMALLEST,
    }


@cache
def _countries() -> tuple[list[str], int, FloatArray]:
    """Return the countries with land, the number of rows, and the runs (m, 2): cells, and 1 + country or 0 for none.

    The first row is in the north, and no run goes beyond the end of its row.
    """
    grid = land_grid(COLUMNS)
    land = is_land(grid.coordinates)
    codes = np.full(len(land), "", dtype=object)
    codes[land] = find_places(grid.coordinates[land]).countries
    codes[land & (grid.coordinates[:, 0] < ANTARCTIC)] = "AQ"  # not the countries whose stations keep their time
    known, which = np.unique(codes.astype(str), return_inverse=True)  # the first is "": at sea
    cells = np.zeros(grid.cells.shape, dtype=np.int64)
    cells[grid.cells] = which
    starts = np.flatnonzero(np.diff(cells, axis=1, prepend=-1))
    lengths = np.diff(starts, append=cells.size)
    return (
        [country_name(code) for code in known[1:].tolist()],
        len(cells),
        np.stack([lengths, cells.ravel()[starts]], 1),
    )
