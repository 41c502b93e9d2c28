import math

import numpy as np
import pytest
from haversine import haversine
from hypothesis import assume, given
from hypothesis import strategies as st

from geobench import GeobenchError
from geobench.geo import (
    EARTH_RADIUS_KM,
    FARTHEST_KM,
    METRES_PER_DEGREE,
    as_coordinates,
    from_vectors,
    haversine_km,
    invalid_rows,
    mean_position,
    sample_sphere,
    unit_vectors,
)

POINTS = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(POINTS, POINTS)
def test_distances_agree_with_the_haversine_package(a, b):
    judged = haversine(a, b)
    assume(judged < 19_900)  # at the antipode the arcsine amplifies the last bit of its argument: the next test
    assert haversine_km([a], [b])[0] == pytest.approx(judged, abs=1e-9)


@given(POINTS)
def test_distances_to_the_antipode_are_finite_and_right_to_a_metre(a):
    antipode = (-a[0], a[1] - math.copysign(180, a[1]))
    assert haversine_km([a], [antipode])[0] == pytest.approx(FARTHEST_KM, abs=1e-3)


@given(POINTS, POINTS)
def test_distances_are_symmetric_and_never_beyond_half_the_circumference(a, b):
    there, back = haversine_km([a], [b])[0], haversine_km([b], [a])[0]
    assert there == back
    assert 0 <= there <= FARTHEST_KM * (1 + 1e-15)


def test_the_length_of_a_degree_of_latitude_agrees_with_a_calculation_by_hand():
    # 2 · 3.14159265358979 · 6371.0088 km / 360
    assert haversine_km([[0, 0]], [[1, 0]])[0] == pytest.approx(111.195080234)
    assert pytest.approx(111195.080234) == METRES_PER_DEGREE


def test_pole_to_pole_is_half_the_circumference():
    assert haversine_km([[90, 0]], [[-90, 77]])[0] == pytest.approx(20015.114442)
    assert pytest.approx(20015.114442) == FARTHEST_KM


def test_crossing_the_date_line_adds_no_distance():
    assert haversine_km([[10, 180]], [[10, -180]])[0] == pytest.approx(0, abs=1e-9)
    assert haversine_km([[0, 179.5]], [[0, -179.5]])[0] == pytest.approx(EARTH_RADIUS_KM * math.pi / 180)


def test_every_longitude_at_a_pole_is_the_same_place():
    assert haversine_km([[90, 10]], [[90, -120]])[0] == pytest.approx(0, abs=1e-9)


def test_no_rows_have_no_distances():
    assert haversine_km(np.empty((0, 2)), np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("row", [(91, 0), (-90.0001, 0), (0, 180.5), (0, -181), (math.nan, 0), (0, math.inf)])
def test_an_invalid_row_is_named(row):
    with pytest.raises(GeobenchError, match=r"1 coordinates are out of range .* row 1: "):
        as_coordinates([(1, 2), row, (3, 4)])
    assert invalid_rows(np.array([(1, 2), row, (3, 4)], dtype=float)).tolist() == [1]


def test_coordinates_of_the_wrong_shape_are_refused():
    with pytest.raises(GeobenchError, match=r"latitude, longitude; got \(3,\)"):
        as_coordinates([1, 2, 3])


@given(POINTS)
def test_unit_vectors_have_length_one_and_convert_back(point):
    vectors = unit_vectors(np.array([point]))
    assert np.linalg.norm(vectors) == pytest.approx(1)
    assert haversine(tuple(from_vectors(5 * vectors)[0]), point) < 1e-8


def test_the_axes_follow_the_convention():
    axes = unit_vectors(np.array([(0.0, 0.0), (0.0, 90.0), (90.0, 0.0)]))
    np.testing.assert_allclose(axes, np.eye(3), atol=1e-15)


def test_the_mean_across_the_date_line_is_on_it():
    latitude, longitude = mean_position(np.array([(10.0, 179.0), (10.0, -179.0)]))
    assert abs(longitude) == pytest.approx(180)
    assert latitude == pytest.approx(10, abs=0.01)


def test_points_on_the_sphere_are_uniform_by_area():
    points = sample_sphere(20_000, np.random.default_rng(1))
    assert not len(invalid_rows(points))
    # Archimedes: the zone between 30° south and 30° north is half of the sphere. Standard error: 0.35 %.
    assert np.mean(np.abs(points[:, 0]) < 30) == pytest.approx(0.5, abs=0.015)
    assert np.mean(points[:, 0] > 0) == pytest.approx(0.5, abs=0.015)
    assert np.mean(points[:, 1] > 90) == pytest.approx(0.25, abs=0.015)
    assert np.abs(unit_vectors(points).mean(axis=0)).max() < 0.02


def test_points_stay_between_two_latitudes():
    points = sample_sphere(5_000, np.random.default_rng(2), south=-60, north=0)
    assert points[:, 0].min() >= -60
    assert points[:, 0].max() <= 0
    # The zone from 30° to 0° holds sin 30° / sin 60° = 57.7 % of it.
    assert np.mean(points[:, 0] > -30) == pytest.approx(0.577, abs=0.03)


def test_values_that_are_not_numbers_are_refused_as_coordinates():
    for values in ("x", [[1.0], [2.0, 3.0]], None, [1.0, 2.0]):
        with pytest.raises(GeobenchError, match=r"coordinates must (be numbers of|have the) shape \(n, 2\)"):
            as_coordinates(values)


def test_coordinates_that_are_valid_if_swapped_are_reported_as_such():
    with pytest.raises(
        GeobenchError,
        match=r"2 coordinates are out of range.*latitude comes first: swapping the columns makes all rows valid",
    ):
        as_coordinates([[139.7, 35.7], [-120.0, 40.0], [10.0, 50.0]])
    with pytest.raises(GeobenchError, match=r"such as row 0: \(139.7, 95.0\)\.$"):
        as_coordinates([[139.7, 95.0], [10.0, 50.0]])
