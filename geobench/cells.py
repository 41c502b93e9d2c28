"""Adaptive S2 partitions: cells as small as the training images allow (Weyand 2016; Müller-Budack 2018)."""

from __future__ import annotations

import numpy as np

from geobench.geo import FloatArray

LEAF_LEVEL = 30


def leaf_cells(coordinates: FloatArray) -> np.ndarray:
    """Return the S2 leaf cell id (n,) uint64 of each coordinate (n, 2)."""
    import s2cell

    return np.array([s2cell.lat_lon_to_cell_id(*point) for point in coordinates.tolist()], dtype=np.uint64)


def parent_cells(cells: np.ndarray, level: int) -> np.ndarray:
    """Return the ids of the ancestors at ``level`` (0 to 30) of leaf ``cells``: the lowest bit set marks the level."""
    lowest = np.uint64(1 << 2 * (LEAF_LEVEL - level))
    return (cells & ~(lowest - np.uint64(1))) | lowest


def adaptive_cells(coordinates: FloatArray, min_images: int, max_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the sphere into S2 cells of at least ``min_images`` and, down to leaf cells, at most ``max_images``.

    Returns:
        The label (n,) of each image, −1 if its cell has fewer than ``min_images``; and the sorted ids (c,) of the
        cells.
    """
    leaves = leaf_cells(coordinates)
    cell_of = np.zeros(len(leaves), dtype=np.uint64)
    open_rows = np.arange(len(leaves))
    for level in range(LEAF_LEVEL + 1):
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
    kept = counts >= min_images
    numbers = np.where(kept, np.cumsum(kept) - 1, -1)
    return numbers[inverse], cells[kept]


def ancestors_of(fine: np.ndarray, coarse: np.ndarray, n_fine: int) -> np.ndarray:
    """Return for each fine cell the coarse cell (n_fine,) that contains its images, −1 if that cell was dropped.

    A fine cell never spans two coarse ones, since both partitions divide the same tree.
    """
    ancestors = np.full(n_fine, -1)
    ancestors[fine[fine >= 0]] = coarse[fine >= 0]
    return ancestors
