"""[L]kNN on points whose winner one can read off the map."""

import shutil

import numpy as np
import pytest

from geobench import Dataset, FeatureError, SettingError, evaluate, extract, get_model, search, train
from geobench.checkpoints import WEIGHTS
from geobench.plugins import registry
from geobench_plugins.knn import Knn, KnnConfig, UnitFeatures, in_memory_if_small


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


@pytest.fixture
def mine(photos, own_home, monkeypatch, tiny_encoder):
    photos(10, own_home / "data" / "mine")
    (own_home / "data" / "mine" / "images" / "photo-3.jpg").write_bytes(b"no photo")
    dataset = Dataset("mine", "My photos", default_encoder="tiny")
    monkeypatch.setitem(registry().datasets, "mine", dataset)
    return dataset


def test_a_checkpoint_refers_to_the_features_and_answers_as_a_copy_of_them_would(mine, tiny_encoder):
    checkpoint = train("knn", "mine")
    assert (checkpoint.folder / WEIGHTS).stat().st_size < 4000
    arrays = checkpoint.arrays()
    features = extract(mine, mine.table("train"), tiny_encoder, purpose="train")
    unit = features.array[features.ok][:, 0]
    copied = Knn(KnnConfig())
    copied.restore(
        {"features": unit / np.linalg.norm(unit, axis=1, keepdims=True), "coordinates": arrays["coordinates"]}
    )
    referring = get_model("knn", "cpu")
    queries = np.random.default_rng(0).normal(size=(5, 1, 48)).astype(np.float32)
    here, there = referring.locate(queries, top_k=3), copied.locate(queries, top_k=3)
    np.testing.assert_array_equal(here.coordinates, there.coordinates)
    assert (referring.feature_width, len(referring.features)) == (48, 9)
    assert evaluate(referring, "mine").failed == 1


def test_features_that_a_checkpoint_refers_to_and_that_are_gone_or_others_are_refused(mine, tiny_encoder):
    checkpoint = train("knn", "mine")
    features = extract(mine, mine.table("train"), tiny_encoder, purpose="train")
    moved = features.folder.with_name("moved")
    shutil.move(features.folder, moved)
    with pytest.raises(FeatureError, match=r"geobench features mine --split train --encoder tiny --limit [0-9]+$"):
        get_model(checkpoint.spec, "cpu")
    shutil.move(moved, features.folder)
    others = np.array(features.array)
    np.save(features.folder / "features.npy", others * (1 + 1e-4))  # as a GPU may round them after --force
    get_model(checkpoint.spec, "cpu")
    others[4] += 1
    np.save(features.folder / "features.npy", others)
    with pytest.raises(FeatureError, match=r"other features than it was trained on; train it again \(--force\)"):
        get_model(checkpoint.spec, "cpu")


def test_a_checkpoint_of_an_earlier_version_holds_its_features():
    model = knn([TOKYO, PARIS], k=2)
    again = Knn(model.config)
    again.restore(model.state())
    assert tuple(again.locate(QUERY).coordinates[0, 0]) == TOKYO


def test_large_features_are_searched_in_blocks_without_a_copy_of_them_all(monkeypatch):
    features = np.random.default_rng(0).normal(size=(100, 2, 8)).astype(np.float32)
    rows = np.flatnonzero(np.arange(100) % 7)
    units = UnitFeatures(features, rows)
    whole = in_memory_if_small(units)
    assert isinstance(whole, np.ndarray)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-6)
    views = features[rows[5]] / np.linalg.norm(features[rows[5]], axis=1, keepdims=True)
    np.testing.assert_allclose(whole[5], views.mean(axis=0) / np.linalg.norm(views.mean(axis=0)), rtol=1e-5)
    monkeypatch.setattr(search, "MAX_RESIDENT_BYTES", 100)
    monkeypatch.setattr(search, "BLOCK", 16)
    assert in_memory_if_small(units) is units
    model = knn(np.random.default_rng(1).uniform(-80, 80, (len(rows), 2)), k=9)
    queries = np.random.default_rng(2).normal(size=(5, 1, 8)).astype(np.float32)
    answers = []
    for model.features in (whole, units):
        answers.append(model.locate(queries, top_k=4))
    np.testing.assert_array_equal(answers[0].coordinates, answers[1].coordinates)
    np.testing.assert_array_equal(answers[0].scores, answers[1].scores)
