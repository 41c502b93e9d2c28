"""Adaptive S2 partitions: cells as small as the training images allow (Weyand 2016; Müller-Budack 2018)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from geobench.geo import FloatArray

LEAF_LEVEL = 30
ISN_LEVEL = 2
"""Where the ISN authors' code begins to divide (TIBHannover/GeoEstimation, ``create_cells.py``)."""
Rule = Literal["isn", "inclusive"]


def leaf_cells(coordinates: FloatArray) -> np.ndarray:
    """Return the S2 leaf cell id (n,) uint64 of each coordinate (n, 2)."""
    import s2cell

    return np.array([s2cell.lat_lon_to_cell_id(*point) for point in coordinates.tolist()], dtype=np.uint64)


def parent_cells(cells: np.ndarray, level: int) -> np.ndarray:
    """Return the ids of the ancestors at ``level`` (0 to 30) of leaf ``cells``: the lowest bit set marks the level."""
    lowest = np.uint64(1 << 2 * (LEAF_LEVEL - level))
    return (cells & ~(lowest - np.uint64(1))) | lowest


def adaptive_cells(
    coordinates: FloatArray, min_images: int, max_images: int, rule: Rule = "isn"
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the sphere into S2 cells that hold enough training images and, down to leaf cells, not too many.

    Args:
        coordinates: (n, 2) of the training images.
        min_images, max_images: a cell with fewer is left out, one with more is divided into its four children.
        rule: ``isn``, that of the ISN authors' code: division begins at level 2 and a cell is kept if it holds *more
            than* ``min_images``, so that their files hold 51 and more. ``inclusive`` begins with the six faces of the
            cube, level 0, and keeps cells of ``min_images``.

    Returns:
        The label (n,) of each image, −1 if its cell was left out; and the sorted ids (c,) of the cells.
    """
    first, least = (ISN_LEVEL, min_images + 1) if rule == "isn" else (0, min_images)
    leaves = leaf_cells(coordinates)
    cell_of = np.zeros(len(leaves), dtype=np.uint64)
    open_rows = np.arange(len(leaves))
    for level in range(first, LEAF_LEVEL + 1):
        parents = parent_cells(leaves[open_rows], level)
        _, inverse, counts = np.unique(parents, return_inverse=True, return_counts=True)
        small = counts[inverse] <= max_images
        if level == LEAF_LEVEL:
            small[:] = True
        cell_of[open_rows[small]] = parents[small]
        open_rows = open_rows[~small]
        if not len(open_rows):
            break
    cells, inverse, counts = np.unique(cell_of, return_inverse=True, return_counts=True)
    kept = counts >= least
    numbers = np.where(kept, np.cumsum(kept) - 1, -1)
    return numbers[inverse], cells[kept]


def labels_in(coordinates: FloatArray, cells: np.ndarray) -> np.ndarray:
    """Return which of the disjoint ``cells`` (c,) each coordinate (n, 2) lies in: a label (n,), −1 for none."""
    leaves = leaf_cells(coordinates)
    labels = np.full(len(leaves), -1)
    order = np.argsort(cells, kind="stable")
    lowest = cells & (~cells + np.uint64(1))  # the lowest bit set; a cell's leaves are within it of the id
    for level_bit in np.unique(lowest):
        rows = order[lowest[order] == level_bit]
        ancestors = (leaves & ~(level_bit - np.uint64(1))) | level_bit
        place = np.searchsorted(cells[rows], ancestors)
        place[place == len(rows)] = 0
        found = cells[rows][place] == ancestors
        labels[found] = rows[place[found]]
    return labels


def cell_centres(cells: np.ndarray) -> FloatArray:
    """Return the centres (c, 2) of S2 ``cells`` (c,), in degrees."""
    import s2cell

    return np.array([s2cell.cell_id_to_lat_lon(int(cell)) for cell in cells], dtype=np.float64).reshape(-1, 2)


def ancestors_of(fine: np.ndarray, coarse: np.ndarray, n_fine: int) -> np.ndarray:
    """Return for each fine cell the coarse cell (n_fine,) that contains its images, −1 if that cell was dropped.

    A fine cell never spans two coarse ones, since both partitions divide the same tree.
    """
    ancestors = np.full(n_fine, -1)
    ancestors[fine[fine >= 0]] = coarse[fine >= 0]
    return ancestors
