"""Partitions of the training images into classes of places: what every classifier of cells learns to tell apart.

A model has one partition or several, all of the same images. Its answers are *fine classes*: with nested partitions the
cells of the finest (a hierarchy, as in ISNs), with partitions that cross each other their intersections (combinatorial,
as in CPlaNet). Either way each fine class lies in one class of every partition, its ancestor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.cells import Rule, ancestors_of, cell_centres, divided, labels_in, sorted_leaves
from geobench.data.tables.cell_files import read_cells
from geobench.errors import TrainingError
from geobench.geo import FloatArray, mean_position

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partitions:
    """p partitions of n training images, and the fine classes that a model answers with.

    Attributes:
        labels: (n, p) the class of each image in each partition, −1 for none.
        sizes: classes in each partition.
        ancestors: (p, c) the class of each fine class in each partition, −1 if that was left out there.
        centres: (c, 2) the position that stands for each fine class, in degrees.
    """

    labels: Labels
    sizes: tuple[int, ...]
    ancestors: Labels
    centres: FloatArray

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what answers need, for a checkpoint: ``ancestors``, ``centres`` and ``sizes``."""
        return {"ancestors": self.ancestors, "centres": self.centres, "sizes": np.array(self.sizes)}

    @classmethod
    def restored(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Partitions:
        """Return the partitions of a checkpoint, without the labels of its training images."""
        ancestors = arrays["ancestors"]
        return cls(
            np.empty((0, len(ancestors)), np.int64), tuple(arrays["sizes"].tolist()), ancestors, arrays["centres"]
        )

    def targets(self, n: int, rows: npt.NDArray[np.intp]) -> Labels:
        """Return the labels as (n, p) of all ``n`` images of a training set, −1 beside the ``rows`` partitioned."""
        targets = np.full((n, len(self.sizes)), -1, dtype=np.int64)
        targets[rows] = self.labels
        return targets


def nested(
    coordinates: FloatArray,
    max_images: Sequence[int],
    min_images: int,
    rule: Rule = "isn",
    answer: str = "mean",
) -> Partitions:
    """Return adaptive S2 partitions, coarse to fine; the fine classes are the cells of the last.

    Args:
        coordinates: (n, 2) of the training images.
        max_images: of each partition, falling.
        min_images: a cell with fewer, by the ``rule`` of :func:`geobench.cells.adaptive_cells`, is left out.
        rule: see there.
        answer: ``mean`` places a photo at the mean position of its cell's training images (ISNs), ``centre`` at the
            centre of the cell (PlaNet).

    Raises:
        TrainingError: a partition has no cell.
    """
    leaves = sorted_leaves(coordinates)
    found = [divided(*leaves, min_images, most, rule) for most in max_images]
    if not all(len(cells) for _, cells in found):
        more = "more than " if rule == "isn" else ""
        raise TrainingError(
            f"no cell holds {more}{min_images} of the {len(coordinates)} images; lower it, such as "
            f"min_images={min_images // 10}."
        )
    labels = np.stack([label for label, _ in found], axis=1)
    return of_hierarchy(labels, coordinates, found[-1][1] if answer == "centre" else None)


def given(coordinates: FloatArray, paths: Sequence[Path]) -> Partitions:
    """Return the nested partitions in files of cells, coarse to fine, such as the ISN authors'.

    A fine cell without a training image is never learnt; it stands for its centre.

    Raises:
        DatasetError: a file cannot be used.
        TrainingError: a fine cell lies in no cell of a coarser partition, or no training image lies in any.
    """
    files = [read_cells(path) for path in paths]
    labels = np.stack([labels_in(coordinates, cells) for cells in files], axis=1)
    fine, centres = labels[:, -1], cell_centres(files[-1])
    if (fine < 0).all():
        raise TrainingError(f"none of the {len(coordinates):,} training images lies in a cell of {paths[-1]}.")
    ancestors = np.stack([labels_in(centres, cells) for cells in files])
    for of_fine, cells in zip(ancestors, files, strict=True):  # a finer cell may hold the centre of a larger one
        is_smaller = (of_fine >= 0) & (_lowest_bits(cells)[of_fine] < _lowest_bits(files[-1]))
        of_fine[is_smaller] = -1
    for partition, (path, of_fine) in enumerate(zip(paths, ancestors, strict=True)):
        if (of_fine < 0).any() and partition < len(paths) - 1:
            raise TrainingError(
                f"{int((of_fine < 0).sum()):,} of the {len(centres):,} cells of {paths[-1]} lie in no cell of {path}; "
                "name files of one hierarchy, coarse to fine."
            )
    inside = np.unique(fine[fine >= 0])
    numbers = np.searchsorted(inside, fine[fine >= 0])
    centres[inside] = mean_positions(numbers, coordinates[fine >= 0], len(inside))
    return Partitions(labels, tuple(map(len, files)), ancestors, centres)


def _lowest_bits(cells: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the lowest bit of each S2 id, which is higher the larger the cell is."""
    return cells & (~cells + np.uint64(1))


def of_hierarchy(labels: Labels, coordinates: FloatArray, cells: np.ndarray | None = None) -> Partitions:
    """Return nested partitions from ``labels`` (n, p), coarse to fine.

    Args:
        labels: −1 for an image without a class in a partition.
        coordinates: (n, 2) of the images.
        cells: S2 ids of the fine classes whose centres are the answers; None answers with mean positions.
    """
    sizes = tuple(int(column.max()) + 1 for column in labels.T)
    fine = labels[:, -1]
    ancestors = np.stack([ancestors_of(fine, coarse, sizes[-1]) for coarse in labels.T])
    centres = cell_centres(cells) if cells is not None else mean_positions(fine, coordinates, sizes[-1])
    return Partitions(labels, sizes, ancestors, centres)


def crossed(labels: Labels, coordinates: FloatArray) -> Partitions:
    """Return partitions that cross each other; the fine classes are their intersections that hold images.

    Source: combinatorial partitioning, Seo et al. 2018 (CPlaNet), section 3.

    Args:
        labels: (n, p); an image without a class in a partition (−1) is in no fine class.
        coordinates: (n, 2) of the images; a fine class stands for the mean position of its images.
    """
    inside = (labels >= 0).all(axis=1)
    combinations, fine = np.unique(labels[inside], axis=0, return_inverse=True)
    sizes = tuple(int(column.max()) + 1 for column in labels.T)
    centres = mean_positions(fine.reshape(-1), coordinates[inside], len(combinations))
    return Partitions(labels, sizes, np.ascontiguousarray(combinations.T), centres)


def mean_positions(labels: npt.NDArray[Any], coordinates: FloatArray, n: int) -> FloatArray:
    """Return the mean position (n, 2) on the sphere of the images of each of ``n`` classes."""
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(n + 1))
    return np.stack([mean_position(coordinates[order[a:b]]) for a, b in pairwise(bounds.tolist())])
