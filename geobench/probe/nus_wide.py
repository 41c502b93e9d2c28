"""The geotagged part of NUS-WIDE from its public files, where they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geobench.data.tables.rows import read_table
from geobench.errors import DatasetError
from geobench.geo import FloatArray
from geobench.probe.tasks import Task
from geobench.statistics.intervals import clusters_of

IMAGES, TRAINING, TESTING = (f"ImageList/{name}.txt" for name in ("Imagelist", "TrainImagelist", "TestImagelist"))
CONCEPTS, BAGS = "ConceptsList/Concepts81.txt", "Low_Level_Features/BoW_int.dat"
PAPER = 41_173 + 27_401
"""Geotagged images of training and test in GPS2Vec's paper, section 3.1."""


def nus_wide(folder: Path, positions: Path, with_visual: bool = True) -> Task:
    """Return the geotagged part of NUS-WIDE (Chua et al. 2009) from its public files in ``folder``.

    Args:
        folder: with the lists of images and concepts, ``Groundtruth/AllLabels``, and for visual features the 500
            counts of ``Low_Level_Features/BoW_int.dat``, bags of SIFT words, if that is there.
        positions: a table with the name of each image as in the list, latitude and longitude; the list of geotagged
            images is not public, and images without a row are left out.
        with_visual: whether to read the visual features.

    Raises:
        DatasetError: a file is missing or not as expected, the lists of the split do not cover the images, a name
            stands for two images, or an image has two positions.
    """
    images = _images(folder / IMAGES)
    concepts = _lines(folder / CONCEPTS)
    place_of = _positions(positions)
    rows = np.array([row for row, image in enumerate(images) if image in place_of], dtype=np.intp)
    if not len(rows):
        raise DatasetError(f"{positions}: none of its images is in {folder / IMAGES}.")
    training, testing = _split(folder, [images[row] for row in rows])
    truth = folder / "Groundtruth" / "AllLabels"
    labels = np.stack([_column(truth / f"Labels_{concept}.txt", len(images))[rows] for concept in concepts], axis=1)
    coordinates = np.array([place_of[images[row]] for row in rows])
    visual = _visual(folder / BAGS, len(images)) if with_visual else None
    if with_visual and visual is None:
        seen = f"No visual features: there is no {folder / BAGS}."
    else:
        seen = "Visual features: bags of SIFT words." if with_visual else "No visual features."
    strangers = len(place_of) - len(rows)
    about = (
        f"{len(rows):,} of {len(images):,} images have a position in {positions.name}; the paper has {PAPER:,}."
        + (f" {strangers:,} of its {len(place_of):,} names are no image of NUS-WIDE." if strangers else ""),
        seen,
    )
    return Task(
        "NUS-WIDE", coordinates, labels, tuple(concepts), ("",) * len(concepts), clusters_of(coordinates).labels,
        training, testing, None if visual is None else visual[rows], about,
    )  # fmt: skip


def _images(path: Path) -> list[str]:
    """Return the names of the images, without folders."""
    images = list(map(_name, _lines(path)))
    name, count = Counter(images).most_common(1)[0]
    if count > 1:
        raise DatasetError(f"{path}: {count} images are called {name}, so a position cannot be told to be of which.")
    return images


def _positions(path: Path) -> dict[str, FloatArray]:
    """Return latitude and longitude by the name of the image."""
    table = read_table(path)
    found: dict[str, FloatArray] = {}
    for image, place in zip(table["image"], table[["latitude", "longitude"]].to_numpy(np.float64), strict=True):
        name = _name(image)
        if (found.setdefault(name, place) != place).any():
            raise DatasetError(f"{path}: {name} has two positions; keep the row of one.")
    return found


def _split(folder: Path, images: Sequence[str]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which ``images`` are in the list of training, and which in that of test; each is in one of them."""
    lists = [set(map(_name, _lines(folder / path))) for path in (TRAINING, TESTING)]
    training, testing = (np.array([image in names for image in images]) for names in lists)
    wrong = np.flatnonzero(training == testing)
    if len(wrong):
        where = "both" if training[wrong[0]] else "neither"
        raise DatasetError(
            f"{folder / TRAINING}: {len(wrong):,} images with a position are not in exactly one of the lists of "
            f"training and test; {images[wrong[0]]} is in {where}."
        )
    return training, testing


def _name(image: str) -> str:
    """Return what the lists call an image, whatever folder and slashes stand before it."""
    return str(image).replace("\\", "/").rpartition("/")[2].strip()


def _lines(path: Path) -> list[str]:
    """Return the lines of a file; blank ones may only be at its end, since rows of files belong together."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; NUS-WIDE's public files belong into its folder.")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as text: {error}") from error
    if not lines or "" in lines:
        where = f"line {lines.index('') + 1} is blank" if lines else "it is empty"
        raise DatasetError(f"{path}: {where}; rows would not match those of NUS-WIDE's other files.")
    return lines


def _column(path: Path, n: int) -> npt.NDArray[np.bool_]:
    values = np.array(_lines(path))
    if len(values) != n or not np.isin(values, ("0", "1")).all():
        raise DatasetError(f"{path}: {len(values):,} labels for {n:,} images, or others than 0 and 1.")
    is_positive: npt.NDArray[np.bool_] = values == "1"
    return is_positive


def _visual(path: Path, n: int) -> npt.NDArray[np.float32] | None:
    """Return the features (n, d), None if there is no such file."""
    if not path.is_file():
        return None
    try:
        visual: npt.NDArray[np.float32] = np.loadtxt(path, dtype=np.float32, ndmin=2)
    except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise DatasetError(f"{path} is not a table of numbers: {error}") from error
    if len(visual) != n or not np.isfinite(visual).all():
        raise DatasetError(f"{path} has {len(visual):,} rows for {n:,} images, or numbers that are not finite.")
    return visual
