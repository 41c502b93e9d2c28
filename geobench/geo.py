"""Distances and positions on the sphere. Coordinates are float64 arrays (n, 2): latitude, longitude, degrees WGS-84."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from geobench.errors import GeobenchError

FloatArray = npt.NDArray[np.float64]
Array = TypeVar("Array", bound=npt.NDArray[Any])


def read_only(array: Array) -> Array:
    """Return a view of ``array`` that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


EARTH_RADIUS_KM = 6371.0088
"""Mean Earth radius of the ``haversine`` package (IUGG)."""
FARTHEST_KM = float(np.pi * EARTH_RADIUS_KM)
"""Half the circumference, 20,015.1 km: the error of a failed image, as if it had been placed at the antipode."""
METRES_PER_DEGREE = float(np.pi * EARTH_RADIUS_KM * 1000 / 180)
PLACES_PER_DEGREE = 1_000_000
"""Coordinates that agree on this grid (11 cm) are the same place."""
QUERY_BLOCK = 262_144  # coordinates per nearest-neighbour query: about 20 MiB


def haversine_km(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Return the great-circle distances in km between the rows of ``a`` and ``b``, both (n, 2), by ``haversine``.

    >>> haversine_km([[45.7597, 4.8422]], [[48.8567, 2.3508]]).round(3)
    array([392.217])
    """
    from haversine import Unit, haversine_vector

    a, b = as_coordinates(a), as_coordinates(b)
    if not len(a):
        return np.empty(0)
    return np.asarray(haversine_vector(a, b, Unit.KILOMETERS), dtype=np.float64).reshape(-1)


def errors_km(predicted: FloatArray, truth: FloatArray, failed: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the error (n,) in km of each image; a failed image counts as placed at the antipode.

    Args:
        predicted: (n, 2) coordinates; rows of failed images are ignored and may be NaN.
        truth: (n, 2) coordinates.
        failed: (n,), True where no prediction was made.
    """
    errors = np.full(len(truth), FARTHEST_KM)
    errors[~failed] = haversine_km(predicted[~failed], truth[~failed])
    return errors


def as_coordinates(values: npt.ArrayLike) -> FloatArray:
    """Return ``values`` as float64 (n, 2); raise ``GeobenchError`` naming the first invalid rows."""
    try:
        coordinates = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise GeobenchError(f"coordinates must be numbers of shape (n, 2): latitude, longitude; {error}.") from None
    if coordinates.ndim != 2 or coordinates.shape[1] != 2:
        raise GeobenchError(f"coordinates must have the shape (n, 2): latitude, longitude; got {coordinates.shape}.")
    bad = invalid_rows(coordinates)
    if len(bad):
        rows = "; ".join(f"row {row}: {tuple(coordinates[row].tolist())}" for row in bad[:3])
        swapped = (
            "; latitude comes first: swapping the columns makes all rows valid" if valid_if_swapped(coordinates) else ""
        )
        raise GeobenchError(
            f"{len(bad)} coordinates are out of range (latitude ±90, longitude ±180), such as {rows}{swapped}."
        )
    return coordinates


def invalid_rows(coordinates: FloatArray) -> npt.NDArray[np.intp]:
    """Return the indices of rows that are not finite or outside latitude ±90, longitude ±180."""
    latitude, longitude = np.abs(coordinates).T
    return np.flatnonzero(~((latitude <= 90) & (longitude <= 180)))  # NaN is not


def valid_if_swapped(coordinates: FloatArray) -> bool:
    """Return whether some of ``coordinates`` (n, 2) are out of range, but none are with the columns swapped."""
    return bool(len(invalid_rows(coordinates))) and not len(invalid_rows(coordinates[:, ::-1]))


def unit_vectors(coordinates: FloatArray) -> FloatArray:
    """Return the points (n, 3) on the unit sphere of ``coordinates`` (n, 2)."""
    latitude, longitude = np.radians(coordinates).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )


def from_vectors(vectors: FloatArray) -> FloatArray:
    """Return the coordinates (n, 2) of ``vectors`` (n, 3) of any positive length."""
    x, y, z = vectors.T
    degrees: FloatArray = np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=1))
    return degrees


def place_keys(coordinates: FloatArray) -> npt.NDArray[np.int64]:
    """Return an integer key (n,) for each of ``coordinates`` (n, 2), equal for coordinates of the same place.

    Coordinates that agree to six decimals (11 cm) are the same place, because files may write one position both as
    40.445379 and as 40.445378999999996. The longitudes 180 and −180 are equivalent.
    """
    latitude, longitude = np.rint((coordinates + (90.0, 180.0)) * PLACES_PER_DEGREE).astype(np.int64).T
    around = 360 * PLACES_PER_DEGREE
    keys: npt.NDArray[np.int64] = latitude * around + longitude % around
    return keys


def mean_position(coordinates: FloatArray) -> FloatArray:
    """Return the spherical mean (2,) of ``coordinates`` (n, 2), which unlike the plain mean is correct across ±180°."""
    mean: FloatArray = from_vectors(unit_vectors(coordinates).mean(axis=0, keepdims=True))[0]
    return mean


def two_nearest_km(coordinates: FloatArray, points: FloatArray, within: float) -> FloatArray:
    """Return the distances (n, 2) in km of each of ``coordinates`` (n, 2) to the nearest two of ``points`` (m, 2).

    A distance of more than ``within`` km is infinite, as is that to a point that does not exist.
    """
    from scipy.spatial import cKDTree

    if not len(points):
        return np.full((len(coordinates), 2), np.inf)
    tree, reach = cKDTree(unit_vectors(points)), 2 * np.sin(within / EARTH_RADIUS_KM / 2)
    chords, _ = tree.query(unit_vectors(coordinates), k=2, distance_upper_bound=reach)
    found: FloatArray = np.where(np.isinf(chords), np.inf, 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chords / 2, 1)))
    return found


def nearest_km(coordinates: FloatArray, points: FloatArray) -> FloatArray:
    """Return the distance (n,) in km of each of ``coordinates`` (n, 2) to the nearest of ``points`` (m, 2).

    The search is exact: on the unit sphere the shortest chord is the shortest arc. Memory grows with m, by about 60
    bytes per point, not with n × m.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(points))
    found = np.empty(len(coordinates))
    for start in range(0, len(coordinates), QUERY_BLOCK):
        block = coordinates[start : start + QUERY_BLOCK]
        _, nearest = tree.query(unit_vectors(block))
        found[start : start + QUERY_BLOCK] = haversine_km(points[nearest], block)
    return found


def sample_sphere(n: int, rng: np.random.Generator, south: float = -90.0, north: float = 90.0) -> FloatArray:
    """Return ``n`` coordinates (n, 2), uniform by area between the latitudes ``south`` and ``north`` (degrees)."""
    low, high = np.sin(np.radians([south, north]))
    latitude = np.degrees(np.arcsin(rng.uniform(low, high, n)))
    return np.stack([latitude, rng.uniform(-180.0, 180.0, n)], axis=1)
