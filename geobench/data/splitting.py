"""Divide a set of photos into images to train on and images to test on, so that neither side gives the other away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.data.bad_rows import write_exact
from geobench.data.dataset import NO_PHOTOS, Dataset
from geobench.data.definitions import as_toml
from geobench.data.registration import new_folder
from geobench.data.tables.columns import AXES
from geobench.data.tables.photographers import PHOTOGRAPHER, is_nobody
from geobench.errors import DatasetError, SettingError, unknown_name
from geobench.geo import EARTH_RADIUS_KM, FloatArray, nearest_km, unit_vectors
from geobench.images.digests import read_digests
from geobench.plugins import get_dataset
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

DISTANCES = {"distance": 1.0, "cluster": 25.0}
"""The ways to group by position, and their km: the field's distances of a street and of a city."""
OFF = 0.25
"""A test side that differs from what was asked for by more than this share of it is remarked on."""
Groups = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """A data set that was divided.

    Attributes:
        dataset: the new data set, with the splits ``train`` and ``test``.
        train, test: number of images.
        rules: a line for each rule that kept images together.
        groups: number of groups of images that were kept together.
        nearest_km: (n,) for each test image the distance to the nearest training image.
        notes: lines on what a reader may not expect.
    """

    dataset: Dataset
    train: int
    test: int
    rules: list[str]
    groups: int
    nearest_km: FloatArray
    notes: list[str] = field(default_factory=list)


def split_dataset(
    name: str,
    test: float = 0.2,
    by: Sequence[str] = ("distance",),
    *,
    km: float | None = None,
    new_name: str = "",
    seed: int = 0,
    replace: bool = False,
    progress: Progress = SILENT,
) -> Sides:
    """Divide the images of ``name`` into the splits ``train`` and ``test`` of a new data set; nothing is copied.

    Images that belong together are on one side: by each of ``by``, and if their files are the same bytes.

    Args:
        name: of a data set of photos without splits of its own.
        test: share of the images to test on, from 0 to 1.
        by: names of columns of the table, such as a photographer's; ``distance``, for images that are within ``km`` of
            one another, or linked by others that are; ``cluster``, for images within ``km`` of the middle of a cluster.
        km: of ``distance`` (1 km if None) or ``cluster`` (25 km).
        new_name: of the new data set; ``NAME-split`` if empty.
        seed: of the draw; the same images, rules and seed give the same sides, whatever the order of the table.
        replace: replace a data set of the user that has the new name.
        progress: reports progress.

    Raises:
        SettingError: a share or a distance out of range.
        UnknownNameError: no such data set or column.
        DatasetError: the set is not on this machine, has splits already, or is of one piece by these rules.
    """
    if not 0 < test < 1:
        raise SettingError(f"test must be a share of the images between 0 and 1, such as 0.2, not {test:g}.")
    if km is not None and (not 0 < km < 20_000 or not set(by) & set(DISTANCES)):
        raise SettingError(f"km must be a distance above 0 for by={' or '.join(DISTANCES)}, not {km:g}.")
    dataset = get_dataset(name)
    _refuse_unsuited(dataset)
    again = f"geobench datasets split {name} … --replace, or give the new set another name: --name"
    folder = new_folder(new_name or f"{name}-split", replace, again)
    table = dataset.table("test")
    order = np.argsort(table["image"].to_numpy(str), kind="stable")
    parts, rules, notes = [], [], []
    for rule in dict.fromkeys(by):
        groups, text, note = _grouped(table, rule, km)
        parts.append(groups)
        rules.append(text)
        notes += [note] if note else []
    parts.append(_same_files(dataset, table, progress))
    groups = _joined(parts)
    rows = _draw(groups[order], test, seed, rules)
    tested = np.zeros(len(table), dtype=np.bool_)
    tested[order] = rows
    if abs(tested.mean() - test) > OFF * test:
        notes.append(
            f"{100 * tested.mean():.1f} % instead of {100 * test:g} % are to test on: the largest of the "
            f"{groups.max() + 1:,} groups has {np.bincount(groups).max():,} images"
        )
    notes += _hint(table, by)
    new = _write(dataset, folder.name, table, tested)
    coordinates = table[list(AXES)].to_numpy(np.float64)
    nearest = nearest_km(coordinates[tested], coordinates[~tested])
    return Sides(new, int((~tested).sum()), int(tested.sum()), rules, int(groups.max()) + 1, nearest, notes)


def _refuse_unsuited(dataset: Dataset) -> None:
    """Raise ``DatasetError`` if ``dataset`` cannot be divided."""
    if not dataset.stored:
        raise DatasetError(f"{dataset.name} has no image files: it makes its images, to train and to test on, itself.")
    if len(dataset.splits) > 1:
        raise DatasetError(f"{dataset.name} already has splits: {', '.join(dataset.splits)}; use it as it is.")
    if not dataset.has_photos(dataset.split_for("test")):
        raise DatasetError(f"{dataset.name} is a table of positions, without photos to train on; nothing to divide.")


def _grouped(table: pd.DataFrame, rule: str, km: float | None) -> tuple[Groups, str, str]:
    """Return the group (n,) of each image by a rule, a line on the rule, and a note. A column precedes a way."""
    if rule in table.columns[3:]:
        values = table[rule].astype(str).str.strip()
        unknown = np.array([is_nobody(value) for value in values])
        number = np.unique(values.mask(unknown, ""), return_inverse=True)[1].astype(np.int64)
        several = f"{unknown.sum():,} images have no {rule} and are kept on one side" if unknown.any() else ""
        return number, f"images with the same {rule} (a column of the table)", several
    if rule not in DISTANCES:
        valid = [*table.columns[3:], *DISTANCES]
        raise unknown_name("column or way to divide", rule, valid, "A column of the table, distance or cluster.")
    reach = DISTANCES[rule] if km is None else km
    coordinates = table[list(AXES)].to_numpy(np.float64)
    if rule == "distance":
        return _linked(coordinates, reach), f"images within {reach:g} km of one another, or linked by others", ""
    return _clusters(coordinates, reach), f"images of a cluster, up to {reach:g} km from its middle", ""


def _linked(coordinates: FloatArray, km: float) -> Groups:
    """Return the groups (n,) of ``coordinates`` that are linked by steps of at most ``km``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    places, of_place = np.unique(coordinates, axis=0, return_inverse=True)
    pairs = cKDTree(unit_vectors(places)).query_pairs(_chord(km), output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), dtype=np.bool_), tuple(pairs.T)), shape=(len(places), len(places)))
    groups: Groups = connected_components(graph, directed=False)[1][of_place.ravel()].astype(np.int64)
    return groups


def _clusters(coordinates: FloatArray, km: float) -> Groups:
    """Return the clusters (n,) of ``coordinates``: around the place that has most others within ``km``, and so on."""
    from scipy.spatial import cKDTree

    places, of_place, counts = np.unique(coordinates, axis=0, return_inverse=True, return_counts=True)
    tree = cKDTree(unit_vectors(places))
    near = tree.query_ball_point(tree.data, _chord(km), return_length=True)
    label = np.full(len(places), -1, dtype=np.int64)
    for place in np.lexsort((-counts, -near)).tolist():
        if label[place] < 0:
            around = np.array(tree.query_ball_point(tree.data[place], _chord(km)))
            label[around[label[around] < 0]] = place
    groups: Groups = label[of_place.ravel()]
    return groups


def _chord(km: float) -> float:
    """Return the length of the chord of an arc of ``km`` on the unit sphere."""
    return float(2 * np.sin(km / EARTH_RADIUS_KM / 2))


def _same_files(dataset: Dataset, table: pd.DataFrame, progress: Progress) -> Groups:
    """Return the groups (n,) of images whose files have the same bytes; an image that is not there is alone."""
    digests = read_digests(dataset, list(table["image"]), "test", progress)
    groups: Groups = np.unique(digests, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    absent = np.flatnonzero(~digests.any(axis=1))
    groups[absent] = len(table) + np.arange(len(absent))
    return groups


def _joined(parts: Sequence[Groups]) -> Groups:
    """Return the groups (n,), numbered from 0, of images that are together in any of ``parts``, or linked so."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(parts[0])
    firsts = np.concatenate([np.unique(groups, return_index=True)[1][_numbered(groups)] for groups in parts])
    rows = np.tile(np.arange(n), len(parts))
    graph = coo_array((np.ones(len(rows), dtype=np.bool_), (rows, firsts)), shape=(n, n))
    found: Groups = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _numbered(groups: Groups) -> Groups:
    numbers: Groups = np.unique(groups, return_inverse=True)[1].ravel().astype(np.int64)
    return numbers


def _draw(groups: Groups, share: float, seed: int, rules: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return (n,) which images are to test on: whole groups in a random order, each that fits into the share.

    Args:
        groups: of the images in the order of their names, on which the draw depends.
        share: of the images.
        seed: of the order.
        rules: for the error.
    """
    firsts = np.unique(groups, return_index=True)[1]
    sizes = np.bincount(groups)
    if len(firsts) < 2:
        raise DatasetError(
            f"all {len(groups):,} images belong together by these rules ({'; '.join(rules)}), so that one side would "
            "be empty; divide by another column, or by a smaller distance (km)."
        )
    by_name = groups[np.sort(firsts)]  # numbered by the first name, not by the order of the table
    chosen: list[int] = []
    total, wanted = 0, share * len(groups)  # if no group fits, the smallest is taken
    for group in by_name[np.random.default_rng(seed).permutation(len(by_name))].tolist():
        if total + sizes[group] <= wanted + 0.5 and len(chosen) < len(firsts) - 1:
            chosen.append(group)
            total += int(sizes[group])
    chosen = chosen or [int(by_name[np.argmin(sizes[by_name])])]
    return np.isin(groups, chosen)


def _hint(table: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Return a note if the table names photographers, and images are not divided by them."""
    column = next((str(name) for name in table.columns[3:] if str(name).lower() in PHOTOGRAPHER), None)
    if column is None or column in by:
        return []
    return [f"a photographer may be on both sides; to keep each on one: --by {','.join([*by, column])}"]


def _write(dataset: Dataset, name: str, table: pd.DataFrame, tested: npt.NDArray[np.bool_]) -> Dataset:
    """Write the definition of the divided set; return it."""
    old = dataset.split_for("test")
    standard = {f.name: getattr(Dataset(name="", title=""), f.name) for f in fields(Dataset)}
    kept = ("default_gallery", "default_encoder", "thresholds", "metrics", "settings", "licence", "citation")
    values: dict[str, Any] = {"name": name, "title": f"{dataset.title}, divided", "status": "own"}
    values |= {key: value for key, value in asdict(dataset).items() if key in kept and value != standard[key]}
    images = dataset.folder / str(dataset.splits[old].get("images", "images"))
    keys = {"images": str(images), "exact": True}
    keys |= {"layout": layout} if (layout := dataset.splits[old].get("layout")) else {}
    assert keys["images"] != NO_PHOTOS
    folder = files.home() / "data" / name
    sides = {"train": table[~tested], "test": table[tested]}
    with files.replacing_folder(folder) as temporary:
        values["columns"] = write_exact(temporary, sides, dataset.columns)
        values["splits"] = {side: keys | {"metadata": str(folder / f"{side}.csv")} for side in sides}
        text = as_toml(values | {"count": int(tested.sum())})
        (temporary / "dataset.toml").write_text(text, encoding="utf-8")
    return Dataset.from_toml(folder / "dataset.toml")
