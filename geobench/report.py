"""From results to tables: ours, and the papers' rows for the same test set beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geobench.errors import ResultError, unknown_name
from geobench.metrics import LEVELS_KM
from geobench.published import published_rows
from geobench.results import FOLDER, get_results

if TYPE_CHECKING:
    import pandas as pd

SCORES = [f"acc_{km}km" for km in LEVELS_KM.values()]
HEADS = dict(zip(SCORES, (f"{level.title()} {km} km" for level, km in LEVELS_KM.items()), strict=True))
"""The papers' column heads, Street 1 km … Continent 2500 km."""
NO_RESULTS = "no results in {folder}; make some: geobench demo, or geobench run --models geoclip --datasets bluemarble"


def report(
    format: str = "table",
    folder: Path | str = FOLDER,
    datasets: Sequence[str] | None = None,
    published: bool = True,
) -> str:
    """Return the results in ``folder`` as text.

    Args:
        format: ``table`` (terminal), ``markdown``, ``csv`` or ``json``; the last two hold one row per result and
            every column, percentages unrounded.
        folder: of results.
        datasets: only these test sets.
        published: put the papers' rows for the same test sets beside ours (``table`` and ``markdown``).

    Raises:
        ResultError: there are no results, or a file is damaged.
        UnknownNameError: no such format, or no results on one of ``datasets``.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    ours = get_results(folder)
    if ours.empty:
        raise ResultError(NO_RESULTS.format(folder=folder))
    for name in datasets or ():
        if name not in set(ours["dataset"]):
            raise unknown_name("data set among the results", name, set(ours["dataset"]))
    if datasets:
        ours = ours[ours["dataset"].isin(datasets)]
    return FORMATS[format](ours, published)


def _layout(ours: pd.DataFrame, published: bool, style: str) -> str:
    """Return one table per test set."""
    from tabulate import tabulate

    parts = []
    for dataset, rows in ours.groupby("dataset", sort=False):
        table = [_our_row(row) for row in rows.sort_values(_ORDER, kind="stable").to_dict("records")]
        if published:
            table += [_published_row(row) for row in published_rows(str(dataset)).to_dict("records")]
        heading = f"### {dataset}" if style == "github" else str(dataset)
        text = tabulate(table, headers="keys", tablefmt=style, disable_numparse=True, colalign=_ALIGN)
        parts.append(f"{heading}\n\n{text}\n\n{_footnote(rows)}")
    return "\n\n".join(parts)


_ORDER = ["model", "checkpoint", "gallery_size", "gallery", "seed", "created"]
_ALIGN = ["left", "left", *["right"] * 10]


def _our_row(row: Mapping[Any, Any]) -> dict[str, str]:
    accuracies = {HEADS[score]: f"{row[score]:.1f}" for score in SCORES}
    return {
        "Model": f"{row['model']}@{row['checkpoint']}" if row["checkpoint"] else row["model"],
        "Gallery": row["gallery"] or "–",
        "Seed": str(row["seed"]) if row["gallery"] else "–",
        "n": f"{row['n']:,}",
        "Failed": f"{row['failed']:,}",
        **accuracies,
        "Median km": f"{row['median_km']:,.0f}",
        "GeoScore": f"{row['geoscore']:,.0f}",
    }


def _published_row(row: Mapping[Any, Any]) -> dict[str, str]:
    accuracies = {HEADS[score]: "" if row[score] != row[score] else f"{row[score]:.4g}" for score in SCORES}
    blank = dict.fromkeys(("Seed", "n", "Failed"), "")
    tail = dict.fromkeys(("Median km", "GeoScore"), "")
    return {"Model": f"{row['model']} †", "Gallery": f"published: {row['source']}", **blank, **accuracies, **tail}


def _footnote(rows: pd.DataFrame) -> str:
    """Return what a reader must know about the table, a sentence each."""
    first = rows.iloc[0]
    notes = [
        f"Images: {first['images']}.",
        "Accuracy: share of all n images, in %, within the distance; a failed image is a miss.",
    ]
    short = rows[rows["expected"].notna() & (rows["n"] != rows["expected"])]
    if len(short):
        notes.append(
            f"n differs from the {int(short['expected'].iloc[0]):,} images that the set's authors describe: "
            "not comparable with published rows."
        )
    if not published_rows(str(first["dataset"])).empty:
        notes.append("† copied from the paper named, not run here.")
    return " ".join(notes)


def _csv(ours: pd.DataFrame, published: bool) -> str:
    return str(ours.to_csv(index=False)).rstrip("\n")


def _json(ours: pd.DataFrame, published: bool) -> str:
    return json.dumps(json.loads(ours.to_json(orient="records", double_precision=15)), indent=2, ensure_ascii=False)


FORMATS: dict[str, Callable[[Any, bool], str]] = {
    "table": lambda ours, published: _layout(ours, published, "simple"),
    "markdown": lambda ours, published: _layout(ours, published, "github"),
    "csv": _csv,
    "json": _json,
}
