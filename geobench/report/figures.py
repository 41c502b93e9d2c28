"""The figures of a paper: error maps, curves of errors, the gallery's frontier, accuracy by group.

Each is written as SVG, PDF and PNG, as wide as a column (3.35 inches) or a page (7 inches), with text of 6 to 8 points
at that size: include it without scaling. Text is outlines in SVG and TrueType in PDF. Colours are safe for colour-blind
readers, and no two lines differ by colour alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from geobench.analysis.groupings import scene_column
from geobench.errors import ResultError
from geobench.metrics import thresholds_of
from geobench.pictures.bars import draw_breakdown
from geobench.pictures.canvas import save, styled
from geobench.pictures.curves import draw_cdf, draw_frontier
from geobench.pictures.error_maps import draw_error_map
from geobench.pictures.hits import draw_hits
from geobench.progress import SILENT, Progress
from geobench.report.rows import Row, rows
from geobench.results import Result, read_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing: TypeAlias = "Callable[[], Figure]"

SUFFIXES = (".svg", ".pdf", ".png")
STYLE: dict[str, Any] = {
    "svg__fonttype": "path",  # outlines: the same on every machine
    "axes__titlesize": 8,
    "axes__labelsize": 7.5,
    "xtick__labelsize": 7,
    "ytick__labelsize": 7,
    "legend__fontsize": 7,
    "axes__linewidth": 0.6,
    "axes__spines__top": False,
    "axes__spines__right": False,
}


def draw_folder(
    results: Path,
    output: Path,
    datasets: Sequence[str] | None = None,
    progress: Progress = SILENT,
    thresholds_km: Sequence[float] | None = None,
) -> list[Path]:
    """Draw the undamaged results in the folder ``results``, only those on ``datasets``, into the folder ``output``."""
    found, _ = read_results(results)
    chosen = [result for result in found if not datasets or result.dataset in datasets]
    return draw(chosen, output, progress, thresholds_km)


def draw(
    results: Sequence[Result],
    folder: Path,
    progress: Progress = SILENT,
    thresholds_km: Sequence[float] | None = None,
) -> list[Path]:
    """Draw ``results`` into ``folder``; return the files.

    A figure is drawn if there is something to show: errors of results with predictions, scenes if the test set has
    labels, the frontier of a model that was run with galleries of at least two sizes.

    Args:
        results: with predictions, see :func:`geobench.results.read_results`.
        folder: is created if necessary; figures of the same names are replaced.
        progress: reports how many are drawn.
        thresholds_km: distances of the accuracies, in place of the test sets' own.

    Raises:
        ResultError: there is nothing to draw.
        SettingError: a threshold is not a distance.
    """
    written: list[Path] = []
    with styled(**STYLE):
        found = list(_figures(rows(results, "none", thresholds_km=thresholds_km)))
        if not found:
            raise ResultError(
                "there is nothing to draw: no result has its predictions next to it; run the models again: geobench run"
            )
        with progress.track("figures", len(found), "figures") as advance:
            for name, drawing in found:
                figure = _settled(drawing())
                stem = re.sub(r"[^A-Za-z0-9.+]+", "-", name.replace(",", "")).strip("-")
                for suffix in SUFFIXES:
                    path = folder / f"{stem}{suffix}"
                    save(figure, path, tight=False)
                    written.append(path)
                advance(1)
    return written


def _settled(figure: Figure) -> Figure:
    """Return ``figure`` with its layout fixed; otherwise every drawing recomputes it, a little differently."""
    for _ in range(2):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _figures(found: Sequence[Row]) -> Iterator[tuple[str, Drawing]]:
    """Yield the name of each figure and the function that draws it."""
    for prefix, group in _on_same_images(found):
        named = dict(zip(labels(group), group, strict=True))
        answered = {label: row for label, row in named.items() if not row.recorded_only}
        if answered:
            extra = next(iter(answered.values())).results[0].extra
            scenes = extra is not None and scene_column(extra.columns) is not None
            yield f"{prefix}-cdf", partial(draw_cdf, answered)
            for by in ("continent", "scene") if scenes else ("continent",):
                yield f"{prefix}-{by}", partial(draw_breakdown, answered, by)
        for label, row in answered.items():
            limits = thresholds_of(row.metrics)
            yield f"{prefix}-map-{label}", partial(draw_error_map, row.results[0], label, limits)
            yield f"{prefix}-hits-{label}", partial(draw_hits, row.results[0], label, limits)
        for model, sizes in frontiers(group):
            yield f"{prefix}-frontier-{model}", partial(draw_frontier, sizes, model)


def _on_same_images(found: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield rows on one version of a test set with the stem of their figures.

    Records of which the version is not known join a version of their n.
    """
    stated = sorted(found, key=lambda row: row.results[0].test_hash)  # unknown ones first
    versions = {(row.dataset, row.results[0].subset, row.results[0].n): row.results[0].test_hash for row in stated}
    groups: dict[tuple[str, str, int, str], list[Row]] = {}
    for row in found:
        place = row.dataset, row.results[0].subset, row.results[0].n
        groups.setdefault((*place, row.results[0].test_hash or versions[place]), []).append(row)
    for (dataset, subset, n, version), group in groups.items():
        parts = [dataset, *([subset] if subset else [])]
        parts += [f"n{n}"] if len({key[2] for key in groups if key[:2] == (dataset, subset)}) > 1 else []
        parts += [version[:4]] if len([key for key in groups if key[:3] == (dataset, subset, n)]) > 1 else []
        yield "-".join(parts), group


def labels(found: Sequence[Row]) -> list[str]:
    """Return a short unique name for each row: the model, with gallery, checkpoint or crops if these differ."""
    parts = [_parts(row) for row in found]
    chosen = [part[0] for part in parts]
    for position in range(1, len(parts[0])):
        column = [part[position] for part in parts]
        for name in [name for name in set(chosen) if chosen.count(name) > 1]:
            same = [index for index, other in enumerate(chosen) if other == name]
            if len({column[index] for index in same}) > 1:
                for index in same:
                    chosen[index] = f"{name}, {column[index]}" if column[index] else name
    return [
        f"{name} ({chosen[:index].count(name) + 1})" if chosen.count(name) > 1 else name
        for index, name in enumerate(chosen)
    ]


def _parts(row: Row) -> tuple[str, ...]:
    first = row.results[0]
    gallery = f"{first.gallery.rpartition(':')[0] or 'gallery'} {first.gallery_size:,}" if first.gallery else ""
    checkpoint = row.model.removeprefix(first.model).lstrip("@ ")  # and what tells it apart from others
    return (
        first.model + first.partial,
        gallery,
        checkpoint,
        f"{first.crops} crops",
        f"seed {first.seed}",
    )


def frontiers(found: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield each model that was run with galleries of several sizes, and its rows, the smallest gallery first.

    A gallery that holds the true positions, or has changed since, is none of these.
    """
    models: dict[tuple[Any, ...], list[Row]] = {}
    for row in found:
        first = row.results[0]
        if first.gallery and not (row.oracle or row.outdated):
            source = first.gallery.rpartition(":")[0]
            models.setdefault((first.model, row.model, source, first.crops), []).append(row)
    models = {key: rows for key, rows in models.items() if len({row.results[0].gallery_size for row in rows}) > 1}
    for key, several in models.items():
        alone = sum(other[0] == key[0] for other in models) == 1
        name = key[0] if alone else ", ".join(str(part) for part in key[1:4]) + " crops"
        yield name, sorted(several, key=lambda row: row.results[0].gallery_size)
