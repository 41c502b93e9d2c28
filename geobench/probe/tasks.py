"""Tasks of multi-label classification with positions: the embedded one, and NUS-WIDE's public files where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.cells import leaf_cells, parent_cells
from geobench.data.countries import country_name
from geobench.data.places import find_places
from geobench.errors import DatasetError
from geobench.geo import FloatArray, nearest_km
from geobench.images.semantic import CLASSES, classes_by_colour
from geobench.plugins import get_dataset, get_encoder
from geobench.progress import SILENT, Progress

BLOCK_LEVEL = 4
"""S2 level of the blocks that are on one side of the split: about 600 km across."""
APART_KM = 100.0
"""Training images nearer to a test image are left out."""
TEST_SHARE = 0.3
COVER_SHARE = 0.25
"""A class of land cover is a label of an image if this share of the pixels has it."""
COUNTRY_IMAGES = 30
"""A country is a label if so many images are in it."""
CLIMATES = (
    ("tropical", 0, 23.4),
    ("subtropical", 23.4, 35),
    ("temperate", 35, 55),
    ("cold", 55, 66.6),
    ("polar", 66.6, 90.1),
)
"""Zones of climate by latitude, for want of a map of climates."""


@dataclass(frozen=True)
class Task:
    """Images with positions and labels.

    Attributes:
        name: of the task.
        coordinates: (n, 2) in degrees.
        labels: (n, c) which concepts each image shows.
        concepts: names (c,) of the labels.
        training: (n,) which images are trained on; ``testing``: which are tested on; some may be neither.
        visual: (n, d) visual features, None without.
        about: what a reader must know, a sentence each.
    """

    name: str
    coordinates: FloatArray
    labels: npt.NDArray[np.bool_]
    concepts: tuple[str, ...]
    training: npt.NDArray[np.bool_]
    testing: npt.NDArray[np.bool_]
    visual: npt.NDArray[np.float32] | None
    about: tuple[str, ...] = ()


def embedded(
    limit: int | None = None,
    encoder: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = SILENT,
    dataset: str = "bluemarble",
) -> Task:
    """Return the task on embedded imagery: continent, country, climate by latitude, and land cover by colour.

    Args:
        limit: number of images.
        encoder: of the visual features; None for none.
        seed: of the split.
        device: of the encoder.
        progress: reports the work.
        dataset: whose training images are used.
    """
    data = get_dataset(dataset)
    data.prepare("train", progress)
    table = data.table("train", limit)
    coordinates = np.ascontiguousarray(table[["latitude", "longitude"]].to_numpy(np.float64))
    places = find_places(coordinates)
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for continent in sorted(set(places.continents) - {""}):
        found[continent] = places.continents == continent
    for code in sorted(set(places.countries) - {""}):
        if (of := places.countries == code).sum() >= COUNTRY_IMAGES:
            found[f"in {country_name(code)}"] = of
    for name, low, high in CLIMATES:
        found[name] = (np.abs(coordinates[:, 0]) >= low) & (np.abs(coordinates[:, 0]) < high)
    covers = np.zeros((len(table), len(CLASSES)))
    with progress.track("land cover by colour", len(table), "images") as advance:
        for row, image in enumerate(table["image"]):
            counts = np.bincount(classes_by_colour(data.read_image(image, "train")).ravel(), minlength=len(CLASSES))
            covers[row] = counts / counts.sum()
            advance(1)
    for number, name in enumerate(CLASSES[:-1]):
        found[name] = covers[:, number] >= COVER_SHARE
    training, testing = spatial_split(coordinates, seed)
    kept = {name: of for name, of in found.items() if of[training].any() and of[testing].any()}
    visual = None
    if encoder is not None:
        from geobench.features.cache import extract

        features = extract(data, table, get_encoder(encoder), purpose="train", device=device, progress=progress)
        visual = np.array(features.array).mean(axis=1)
    about = (
        "Labels: continent, country, zone of climate by latitude, land cover by colour. Blocks of S2 level "
        f"{BLOCK_LEVEL} are on one side of the split, and training images within {APART_KM:g} km of a test image are "
        "left out.",
        "The images are overhead crops: the figures exercise the harness, and are no result on photos.",
    )
    labels = np.stack(list(kept.values()), axis=1)
    return Task(data.name, coordinates, labels, tuple(kept), training, testing, visual, about)


def spatial_split(coordinates: FloatArray, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which images (n,) are trained and which are tested on, with no two of either side close to each other."""
    blocks, block = np.unique(parent_cells(leaf_cells(coordinates), BLOCK_LEVEL), return_inverse=True)
    order = np.random.default_rng([seed, len(blocks)]).permutation(len(blocks))
    testing = np.isin(block, order[: max(1, round(TEST_SHARE * len(blocks)))])
    training = ~testing
    training[training] = nearest_km(coordinates[training], coordinates[testing]) > APART_KM
    return training, testing


def nus_wide(folder: Path, positions: Path) -> Task:
    """Return the geotagged part of NUS-WIDE (Chua et al. 2009) from its public files in ``folder``.

    Args:
        folder: with ``ImageList/Imagelist.txt``, ``ConceptsList/Concepts81.txt``, ``Groundtruth/AllLabels`` and, for
            the split, ``ImageList/TrainImagelist.txt``; visual features, if they are there, are the 500 of bags of
            words in ``Low_Level_Features/BoW_int.dat``.
        positions: a table with the name of each image as in the list, latitude and longitude; the list of geotagged
            images is not public, and images without a row are left out.

    Raises:
        DatasetError: a file is missing, or has another number of rows.
    """
    from geobench.data.tables.rows import read_table

    images = _lines(folder / "ImageList" / "Imagelist.txt")
    concepts = _lines(folder / "ConceptsList" / "Concepts81.txt")
    trained = set(map(_name, _lines(folder / "ImageList" / "TrainImagelist.txt")))
    table = read_table(positions)
    place_of = dict(zip(map(_name, table["image"]), table[["latitude", "longitude"]].to_numpy(np.float64), strict=True))
    rows = np.array([row for row, image in enumerate(images) if _name(image) in place_of], dtype=np.intp)
    if not len(rows):
        raise DatasetError(f"{positions}: none of its images is in {folder / 'ImageList' / 'Imagelist.txt'}.")
    labels = np.stack(
        [_column(folder / "Groundtruth" / "AllLabels" / f"Labels_{c}.txt", len(images))[rows] for c in concepts], axis=1
    ).astype(np.bool_)
    coordinates = np.stack([place_of[_name(images[row])] for row in rows])
    training = np.array([_name(images[row]) in trained for row in rows])
    bags, visual = folder / "Low_Level_Features" / "BoW_int.dat", None
    if bags.is_file():
        visual = np.loadtxt(bags, dtype=np.float32, ndmin=2)
        if len(visual) != len(images):
            raise DatasetError(f"{bags} has {len(visual):,} rows for {len(images):,} images.")
        visual = visual[rows]
    about = (f"{len(rows):,} of {len(images):,} images have a position in {positions.name}; the paper has 68,574.",)
    return Task("NUS-WIDE", coordinates, labels, tuple(concepts), training, ~training, visual, about)


def _name(image: str) -> str:
    """Return what the lists call an image, whatever folder and slashes stand before it."""
    return str(image).replace("\\", "/").rpartition("/")[2].strip()


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; NUS-WIDE's public files belong into its folder.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _column(path: Path, n: int) -> npt.NDArray[Any]:
    values = np.array(_lines(path))
    if len(values) != n or not np.isin(values, ("0", "1")).all():
        raise DatasetError(f"{path}: {len(values):,} labels for {n:,} images, or others than 0 and 1.")
    is_positive: npt.NDArray[Any] = values == "1"
    return is_positive
