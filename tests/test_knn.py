"""[L]kNN on points whose winner one can read off the map."""

import numpy as np
import pytest

from geobench import SettingError
from geobench_plugins.knn import Knn, KnnConfig


def knn(coordinates, **settings):
    model = Knn(KnnConfig(**settings))
    n = len(coordinates)
    # Training image i lies at the angle i degrees from the query, so the neighbours come in the order of the list.
    angles = np.radians(np.arange(n))
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    model.restore({"features": features, "coordinates": np.array(coordinates, dtype=np.float64)})
    return model


QUERY = np.array([[[1.0, 0.0]]], dtype=np.float32)
PARIS, NEAR_PARIS, TOKYO = (48.85, 2.35), (48.86, 2.36), (35.68, 139.69)


def test_the_densest_neighbour_wins_over_the_nearest():
    predictions = knn([TOKYO, PARIS, NEAR_PARIS], k=3, sigma_km=4).locate(QUERY, top_k=3)
    assert tuple(predictions.coordinates[0, 0]) in (PARIS, NEAR_PARIS)
    assert tuple(predictions.coordinates[0, 2]) == TOKYO
    assert predictions.scores[0, 2] == pytest.approx(1)


def test_among_equally_dense_neighbours_the_nearest_wins():
    predictions = knn([TOKYO, PARIS], k=2, sigma_km=4).locate(QUERY)
    assert tuple(predictions.coordinates[0, 0]) == TOKYO


def test_the_density_is_the_gaussian_kernel_of_the_distance():
    # 0.1° of latitude are 11.119 km; a kernel of that σ gives exp(−1/2) for the other point.
    predictions = knn([(0.0, 0.0), (0.1, 0.0)], k=2, sigma_km=11.1195).locate(QUERY)
    assert predictions.scores[0, 0] == pytest.approx(1 + np.exp(-0.5), rel=1e-4)


def test_neighbours_beyond_k_have_no_vote():
    predictions = knn([TOKYO, PARIS, NEAR_PARIS], k=1).locate(QUERY, top_k=5)
    assert predictions.coordinates.shape == (1, 1, 2)
    assert tuple(predictions.coordinates[0, 0]) == TOKYO


def test_no_neighbours_and_no_width_are_refused():
    with pytest.raises(SettingError, match="k must be an integer of at least 1, not 0"):
        KnnConfig(k=0)
    with pytest.raises(SettingError, match="sigma_km must be a number above 0, not 0"):
        KnnConfig(sigma_km=0)
