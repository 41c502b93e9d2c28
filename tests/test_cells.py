"""S2 leaf cells by vector: those of the package s2cell, to the last bit."""

import itertools

import numpy as np
import pytest
import s2cell

from geobench import cells
from geobench.cells import leaf_cells
from geobench.geo import from_vectors, sample_sphere


def alone(coordinates):
    """The package's own, one point at a time."""
    return [s2cell.lat_lon_to_cell_id(*point) for point in coordinates.tolist()]


def test_leaf_cells_of_points_all_over_the_sphere_are_those_of_the_package():
    points = sample_sphere(20_000, np.random.default_rng(0))
    assert leaf_cells(points).tolist() == alone(points)


def test_leaf_cells_do_not_depend_on_the_blocks_they_are_worked_out_in(monkeypatch):
    points = sample_sphere(1000, np.random.default_rng(1))
    monkeypatch.setattr(cells, "ROWS_AT_ONCE", 7)
    assert leaf_cells(points).tolist() == alone(points)


@pytest.mark.parametrize("step", [0.0, 1e-13, -1e-13, 1e-7, -1e-7])
def test_leaf_cells_at_poles_the_antimeridian_and_edges_of_the_faces_are_those_of_the_package(step):
    latitudes = [-90, -60, -45, -1e-300, -0.0, 0, 1e-300, 30, 45, 60, 90]
    longitudes = [*range(-180, 181, 45), -0.0, 1e-300, -1e-300, 179.9999999999, -179.9999999999]
    grid = np.array(list(itertools.product(latitudes, longitudes)), dtype=np.float64)
    points = np.clip(grid + step, (-90.0, -180.0), (90.0, 180.0))
    assert leaf_cells(points).tolist() == alone(points)


def test_leaf_cells_along_the_edges_and_at_the_corners_of_the_faces_are_those_of_the_package():
    along = np.linspace(-1, 1, 41)  # of the third axis, where two are the largest
    edges = [np.insert([a, b], axis, x) for axis in range(3) for a in (1, -1) for b in (1, -1) for x in along]
    corners = list(itertools.product((1, -1), repeat=3))
    points = from_vectors(np.array([*edges, *corners], dtype=np.float64))
    assert leaf_cells(points).tolist() == alone(points)


def test_there_may_be_no_point():
    assert leaf_cells(np.empty((0, 2))).shape == (0,)
