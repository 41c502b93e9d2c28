"""Which images of a test set belong together: by continent, country, region, scene, distance to the training set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from geobench.analysis.details import DetailedResult
from geobench.checkpoints import find_checkpoint
from geobench.data.countries import country_name
from geobench.data.places import Texts
from geobench.errors import CheckpointError, ResultError, UnknownNameError, unknown_name
from geobench.geo import FloatArray, nearest_km

AT_SEA = "at sea"
SCENES = {"0": "indoor", "1": "natural", "2": "urban"}
"""The values of S3_Label in the GeoEstimation tables (Müller-Budack et al. 2018)."""
SCENE_COLUMNS = ("s3_label", "scene")
EDGES_KM = (0, 1, 25, 200, 750)
SAME_PLACE_KM = 1e-6
BLANK = "blank"
MANY_VALUES = 20
"""Numbers with fractions that take more distinct values are put into ``PARTS`` bins instead of a group each."""
PARTS = 5


def group_labels(detailed: DetailedResult, by: str) -> tuple[Texts, Sequence[str]]:
    """Return the group (n,) of each image, and the order of the groups if they have one."""
    if by in GROUPINGS:
        return GROUPINGS[by](detailed)
    columns = {str(column).lower(): str(column) for column in detailed.extra.columns}
    if by.lower() not in columns:
        raise _unknown(by, list(columns.values()))
    labels = labels_of(detailed.extra[columns[by.lower()]])
    return _in_parts(labels) if is_continuous(labels) else (labels, ())


def labels_of(column: Any) -> Texts:
    """Return the texts (n,) of a column of a test set, with a word for an empty one."""
    return np.array([str(value).strip() or BLANK for value in column], dtype=object)


def is_continuous(labels: Texts) -> bool:
    """Return whether ``labels`` (n,) are more than ``MANY_VALUES`` distinct numbers, some of them with fractions."""
    stated = set(labels.astype(str)) - {BLANK}
    try:
        numbers = np.array([float(text) for text in stated])
    except ValueError:
        return False
    return len(numbers) > MANY_VALUES and bool(np.isfinite(numbers).all() and (numbers % 1 != 0).any())


def _in_parts(labels: Texts) -> tuple[Texts, Sequence[str]]:
    """Return the bin (n,) of each number, of ``PARTS`` with about as many images each, and the order of the bins."""
    stated = labels != BLANK
    numbers = labels[stated].astype(np.float64)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, PARTS + 1)))
    part = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    names = [f"{numbers[part == i].min():.4g} to {numbers[part == i].max():.4g}" for i in range(len(edges) - 1)]
    names = [name if names.count(name) == 1 else f"{name} (part {i + 1})" for i, name in enumerate(names)]
    found = labels.copy()
    found[stated] = np.array(names, dtype=object)[part]
    return found, [*names, BLANK]


def _unknown(by: str, columns: Sequence[str]) -> UnknownNameError:
    hint = "" if columns else "The test set's table has no further columns."
    return unknown_name("grouping", by, [*GROUPINGS, *columns], hint)


def _by_continent(detailed: DetailedResult) -> tuple[Texts, Sequence[str]]:
    return _named(detailed.places.continents), ()


def _by_country(detailed: DetailedResult) -> tuple[Texts, Sequence[str]]:
    return _named(np.array([country_name(code) for code in detailed.places.countries], dtype=object)), ()


def _by_region(detailed: DetailedResult) -> tuple[Texts, Sequence[str]]:
    regions = [
        f"{region[len(code) :].strip() or 'no region'}, {country_name(code)}" if code else ""
        for code, region in zip(detailed.places.countries, detailed.places.regions, strict=True)
    ]
    return _named(np.array(regions, dtype=object)), ()


def _named(labels: Texts) -> Texts:
    return np.where(labels == "", AT_SEA, labels)


def scene_column(columns: Iterable[Any]) -> str | None:
    """Return which of the ``columns`` of a test set has labels of scenes; None if none has."""
    by_lower = {str(column).lower(): str(column) for column in columns}
    return next((by_lower[name] for name in SCENE_COLUMNS if name in by_lower), None)


def _by_scene(detailed: DetailedResult) -> tuple[Texts, Sequence[str]]:
    column = scene_column(detailed.extra.columns)
    if column is None:
        there = ", ".join(map(str, detailed.extra.columns)) or "none"
        raise ResultError(
            f"{detailed.name} has no scene labels: the test set's table has no column S3_Label (0 indoor, 1 natural, "
            f"2 urban) or scene. Its other columns: {there}; name one of them instead."
        )
    values = detailed.extra[column].to_numpy(object)
    return np.array([SCENES.get(str(value), str(value) or BLANK) for value in values], dtype=object), ()


def _by_training_distance(detailed: DetailedResult) -> tuple[Texts, Sequence[str]]:
    distances = nearest_km(detailed.truth, _training_coordinates(detailed))
    names = ["0 km: a training place", *(f"{a} to {b} km" for a, b in pairwise(EDGES_KM))]
    names[1], last = f"up to {EDGES_KM[1]} km", f"over {EDGES_KM[-1]} km"
    names.append(last)
    bins = np.searchsorted(EDGES_KM, np.where(distances < SAME_PLACE_KM, 0, distances))
    return np.array(names, dtype=object)[bins], names


def _training_coordinates(detailed: DetailedResult) -> FloatArray:
    result = detailed.result
    try:
        checkpoint = find_checkpoint(result.spec) if result.checkpoint else None
    except (CheckpointError, UnknownNameError) as error:
        raise ResultError(
            f"{result.spec} is not on this machine, and the distance to its training images needs their coordinates; "
            "group by continent, country, region, scene or a column, or copy the checkpoint into GEOBENCH_HOME."
        ) from error
    if checkpoint is None or checkpoint.own_gallery:
        raise ResultError(
            f"{detailed.name}: the coordinates it was trained on are unknown, and so is the distance to them; "
            "group by continent, country, region, scene or a column."
        )
    return checkpoint.coordinates


GROUPINGS: dict[str, Callable[[DetailedResult], tuple[Texts, Sequence[str]]]] = {
    "continent": _by_continent,
    "country": _by_country,
    "region": _by_region,
    "scene": _by_scene,
    "training-distance": _by_training_distance,
}
