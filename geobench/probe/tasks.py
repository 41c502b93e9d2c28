"""A task of multi-label classification with positions, and the embedded one."""

from __future__ import annotations

from dataclasses import dataclass

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
ABOUT = (
    "Labels: continent, country and zone of climate by latitude, which follow from the position; land cover by colour, "
    "which follows from the pixels.",
    f"Blocks of S2 level {BLOCK_LEVEL} are on one side of the split, and training images within {APART_KM:g} km of a "
    "test image are left out.",
    "The images are overhead crops: the figures exercise the harness, and are no result on photos.",
)


@dataclass(frozen=True)
class Task:
    """Images with positions and labels.

    Attributes:
        name: of the task.
        coordinates: (n, 2) in degrees.
        labels: (n, c) which concepts each image shows.
        concepts: names (c,) of the labels.
        kinds: what each label (c,) is about, such as ``country``; the table has the measure of each kind.
        groups: (n,) images with the same number are near each other, and are resampled together.
        training: (n,) which images are trained on; ``testing``: which are tested on; some may be neither.
        visual: (n, d) visual features, None without.
        about: what a reader must know, a sentence each.
    """

    name: str
    coordinates: FloatArray
    labels: npt.NDArray[np.bool_]
    concepts: tuple[str, ...]
    kinds: tuple[str, ...]
    groups: npt.NDArray[np.intp]
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

    Raises:
        DatasetError: too few images for a label that both sides of the split have.
    """
    data = get_dataset(dataset)
    data.prepare("train", progress)
    table = data.table("train", limit)
    coordinates = np.ascontiguousarray(table[["latitude", "longitude"]].to_numpy(np.float64))
    found = _of_places(coordinates)
    with progress.track("land cover by colour", len(table), "images") as advance:
        covers = np.zeros((len(table), len(CLASSES)))
        for row, image in enumerate(table["image"]):
            counts = np.bincount(classes_by_colour(data.read_image(image, "train")).ravel(), minlength=len(CLASSES))
            covers[row] = counts / counts.sum()
            advance(1)
    for number, name in enumerate(CLASSES[:-1]):
        found["land cover", name] = covers[:, number] >= COVER_SHARE
    training, testing, blocks = spatial_split(coordinates, seed)
    kept = {key: of for key, of in found.items() if of[training].any() and of[testing].any()}
    if not kept:
        raise DatasetError(
            f"{len(table):,} images of {data.name} are too few: no label is on both sides of the split; use more."
        )
    visual = None
    if encoder is not None:
        from geobench.features.cache import extract

        features = extract(data, table, get_encoder(encoder), purpose="train", device=device, progress=progress)
        visual = np.array(features.array).mean(axis=1)
    kinds, concepts = zip(*kept, strict=True)
    labels = np.stack(list(kept.values()), axis=1)
    return Task(data.name, coordinates, labels, concepts, kinds, blocks, training, testing, visual, ABOUT)


def _of_places(coordinates: FloatArray) -> dict[tuple[str, str], npt.NDArray[np.bool_]]:
    """Return which images (n,) have each label that follows from the position, by kind and name."""
    places = find_places(coordinates)
    found: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
    for continent in sorted(set(places.continents) - {""}):
        found["continent", continent] = places.continents == continent
    for code in sorted(set(places.countries) - {""}):
        if (of := places.countries == code).sum() >= COUNTRY_IMAGES:
            found["country", f"in {country_name(code)}"] = of
    for name, low, high in CLIMATES:
        found["climate", name] = (np.abs(coordinates[:, 0]) >= low) & (np.abs(coordinates[:, 0]) < high)
    return found


def spatial_split(
    coordinates: FloatArray, seed: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Return which images (n,) are trained and which are tested on, no two of both sides near each other; their block.

    Raises:
        DatasetError: all images are in one block.
    """
    blocks, block = np.unique(parent_cells(leaf_cells(coordinates), BLOCK_LEVEL), return_inverse=True)
    if len(blocks) < 2:
        raise DatasetError(f"{len(coordinates):,} images within a block of about 600 km cannot be split; use more.")
    order = np.random.default_rng([seed, len(blocks)]).permutation(len(blocks))
    testing = np.isin(block, order[: max(1, round(TEST_SHARE * len(blocks)))])
    training = ~testing
    training[training] = nearest_km(coordinates[training], coordinates[testing]) > APART_KM
    return training, testing, block
