"""Adaptive S2 partitions: cells as small as the training images allow (Weyand 2016; Müller-Budack 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geobench.geo import FloatArray

LEAF_LEVEL = 30
ISN_LEVEL = 2
"""Where the ISN authors' code begins to divide (TIBHannover/GeoEstimation, ``create_cells.py``)."""
Rule = Literal["isn", "inclusive"]


ROWS_AT_ONCE = 65_536
_CURVE = (  # by orientation (1: axes swapped, 2: both inverted) and quadrant 2 i + j: position on the curve, turn there
    ((0, 1), (1, 0), (3, 3), (2, 0)),
    ((0, 1), (3, 3), (1, 0), (2, 0)),
    ((2, 0), (3, 3), (1, 0), (0, 1)),
    ((2, 0), (1, 0), (3, 3), (0, 1)),
)
_LEVELS_AT_ONCE = 5


def leaf_cells(coordinates: FloatArray) -> npt.NDArray[np.uint64]:
    """Return the S2 leaf cell id (n,) of each coordinate (n, 2): what ``s2cell.lat_lon_to_cell_id`` returns.

    Sines and cosines are those of ``math``, as there: numpy's differ in the last bit, and a few cells of a million.
    """
    cells = np.empty(len(coordinates), dtype=np.uint64)
    for start in range(0, len(coordinates), ROWS_AT_ONCE):
        cells[start : start + ROWS_AT_ONCE] = _leaf_cells(coordinates[start : start + ROWS_AT_ONCE])
    return cells


def _leaf_cells(coordinates: FloatArray) -> npt.NDArray[np.uint64]:
    latitude, longitude = np.radians(coordinates).T
    flat = _each(math.cos, latitude)
    xyz = np.stack([flat * _each(math.cos, longitude), flat * _each(math.sin, longitude), _each(math.sin, latitude)])
    rows, axis = np.arange(len(coordinates)), np.abs(xyz).argmax(axis=0)
    face = axis + 3 * (xyz[axis, rows] < 0)
    # On the faces 0 to 5 the axes u and v are (y, z), (−x, z), (−x, −y), (z, y), (z, −x), (−y, −x), over the third.
    uv = np.stack([xyz[1 - ((face + 1) >> 1), rows], xyz[2 - (face >> 1), rows]]) / xyz[axis, rows]
    uv[0, np.isin(face, (1, 2, 5))] *= -1
    uv[1, np.isin(face, (2, 4, 5))] *= -1
    root = 0.5 * np.sqrt(1 + 3 * np.abs(uv))
    size = 1 << LEAF_LEVEL
    i, j = np.clip(np.floor(size * np.where(uv >= 0, root, 1 - root)), 0, size - 1).astype(np.int64)
    curve = (_along_curve(i, j, face & 1) << 1 | 1).astype(np.uint64)
    cells: npt.NDArray[np.uint64] = (face.astype(np.uint64) << np.uint64(61)) | curve
    return cells


def _each(function: Callable[[float], float], values: FloatArray) -> FloatArray:
    return np.fromiter(map(function, values.tolist()), np.float64, len(values))


def _along_curve(i: npt.NDArray[Any], j: npt.NDArray[Any], turn: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the position (n,) on S2's Hilbert curve of leaves with the indices ``i`` and ``j`` on their face."""
    position, turns = _curve_table()
    found, mask = np.zeros(len(i), dtype=np.int64), (1 << _LEVELS_AT_ONCE) - 1
    for shift in range(LEAF_LEVEL - _LEVELS_AT_ONCE, -1, -_LEVELS_AT_ONCE):
        at = (turn << 2 * _LEVELS_AT_ONCE) | ((i >> shift & mask) << _LEVELS_AT_ONCE) | (j >> shift & mask)
        found, turn = found << 2 * _LEVELS_AT_ONCE | position[at], turns[at]
    return found


@cache
def _curve_table() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return position and orientation after a few levels, by orientation, i and j before them, as bits of one index."""
    curve, size = np.array(_CURVE), 1 << _LEVELS_AT_ONCE
    turn, i, j = (axis.reshape(-1) for axis in np.indices((4, size, size)))
    position = np.zeros_like(turn)
    for shift in range(_LEVELS_AT_ONCE - 1, -1, -1):
        at = curve[turn, (i >> shift & 1) << 1 | j >> shift & 1]
        position, turn = position << 2 | at[:, 0], turn ^ at[:, 1]
    return position, turn


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
    return divided(*sorted_leaves(coordinates), min_images, max_images, rule)


def sorted_leaves(coordinates: FloatArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """Return the leaf cells (n,) of ``coordinates`` (n, 2) along the curve, and which image each is of."""
    leaves = leaf_cells(coordinates)
    order = np.argsort(leaves, kind="stable")
    return leaves[order], order


def divided(
    leaves: npt.NDArray[np.uint64],
    order: npt.NDArray[np.intp],
    min_images: int,
    max_images: int,
    rule: Rule = "isn",
) -> tuple[np.ndarray, np.ndarray]:
    """Return what :func:`adaptive_cells` does, for :func:`sorted_leaves`: several partitions share one sort.

    Cells of one level come along the curve in the order of their leaves, so that each is a run of them; so do cells of
    several levels that do not overlap.
    """
    first, least = (ISN_LEVEL, min_images + 1) if rule == "isn" else (0, min_images)
    cell_of = np.zeros(len(leaves), dtype=np.uint64)
    open_rows = np.arange(len(leaves))
    for level in range(first, LEAF_LEVEL + 1):
        parents = parent_cells(leaves[open_rows], level)
        small = _run_lengths(parents) <= max_images
        if level == LEAF_LEVEL:
            small[:] = True
        cell_of[open_rows[small]] = parents[small]
        open_rows = open_rows[~small]
        if not len(open_rows):
            break
    kept = _run_lengths(cell_of) >= least
    cells, numbers = np.unique(cell_of[kept], return_inverse=True)
    labels = np.full(len(leaves), -1)
    labels[order[kept]] = numbers
    return labels, cells


def _run_lengths(ordered: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Return for each element (n,) of ``ordered`` how many are equal to it; equal ones follow each other."""
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(ordered)), np.bool_), ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, len(ordered)))
    return np.repeat(lengths, lengths)


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
