"""Features in half precision: half the disk, the same numbers, and single precision for whoever reads them."""

import json

import numpy as np
import pytest

from geobench import Dataset, Features, evaluate, extract, get_model, train
from geobench.features import shards as feature_shards
from geobench.features.half import HalfArray, halved
from geobench.features.loaders import MappedFeatures, ResidentFeatures, feature_loader
from geobench.features.shards import ShardRecord, Shards
from geobench.plugins import registry


@pytest.fixture
def mine(photos, own_home, monkeypatch):
    photos(10, own_home / "data" / "mine")
    dataset = Dataset("mine", "My photos", default_encoder="half")
    monkeypatch.setitem(registry().datasets, "mine", dataset)
    return dataset


@pytest.fixture
def half_encoder(tiny_encoder, monkeypatch):
    """An encoder that computes in half precision, as CLIP does on a GPU, and says so."""

    class Half(type(tiny_encoder)):
        name = "half"

        def encode_images(self, batch):
            return super().encode_images(batch).half().float()

        def precision(self, device):
            return "float16"

    encoder = Half()
    monkeypatch.setitem(registry().encoders, "half", lambda name: encoder)
    return encoder


def test_features_of_an_encoder_in_half_precision_take_half_the_disk_and_read_as_float32(mine, half_encoder):
    features = extract(mine, mine.table("test"), half_encoder)
    stored = np.load(features.folder / "features.npy", mmap_mode="r")
    assert stored.dtype == np.float16 and isinstance(features.array.stored, np.memmap)
    assert features.array.nbytes == 2 * 10 * 48 and features.array.shape == (10, 1, 48) and len(features.array) == 10
    for part in (features.array[3], features.array[[1, 4]], features.array[2:5], np.asarray(features.array)):
        assert part.dtype == np.float32
    np.testing.assert_array_equal(features.array[2:5], stored[2:5].astype(np.float32))
    assert [row.shape for row in features.array] == [(1, 48)] * 10


def test_features_in_half_and_in_single_precision_have_one_key_and_give_the_same_answers(mine, half_encoder):
    few = {"min_images": 0, "batch_size": 4}
    specs = [
        train("knn", "mine", encoder="half").spec,
        train("classifier", "mine", encoder="half", settings=few, epochs=2).spec,
    ]

    def answers():
        return [evaluate(get_model(spec, "cpu"), "mine").predictions.coordinates for spec in specs]

    before = answers()
    features = extract(mine, mine.table("test"), half_encoder)
    np.save(features.folder / "features.npy", np.asarray(features.array))  # as an earlier version stored them
    single = extract(mine, mine.table("test"), half_encoder)
    assert single.key == features.key and isinstance(single.array, np.memmap) and single.array.dtype == np.float32
    for now, then in zip(answers(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_training_reads_half_and_single_precision_alike():
    half = np.random.default_rng(0).normal(size=(20, 2, 8)).astype(np.float16)
    rows = np.array([[3, 1, 19], [4, 4, 0]])
    wanted = half.astype(np.float32)[rows]
    for loader in (ResidentFeatures(HalfArray(half), "cpu"), MappedFeatures(HalfArray(half), "cpu")):
        assert loader.width == 8
        found = np.stack([batch.numpy() for batch in loader.batches(rows, 0)])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)
    resident = feature_loader(HalfArray(half), "cpu")
    assert resident.features.element_size() == 2  # 7.2 GB of GPU memory for 4.72 million photos, and not 14.5


def test_what_half_precision_does_not_hold_stays_in_single_precision():
    exact = np.array([[0.5, -1.25, 0.0, 65504.0]], dtype=np.float32)
    assert halved(exact).dtype == np.float16
    for value in (0.1, 1e6, np.inf, np.nan):
        features = np.array([[0.5, value]], dtype=np.float32)
        if np.isinf(value):
            assert halved(features)[0, 1] == np.inf
        else:
            assert halved(features) is features


def test_an_encoder_in_single_precision_keeps_it_even_where_half_would_hold_its_numbers(
    mine, tiny_encoder, monkeypatch
):
    import torch

    monkeypatch.setattr(type(tiny_encoder), "encode_images", lambda self, batch: torch.ones(len(batch), self.dim))
    assert isinstance(extract(mine, mine.table("test"), tiny_encoder).array, np.memmap)


def test_shards_of_both_kinds_are_joined_in_single_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_shards, "SHARD_ROWS", 4)
    shards = Shards(tmp_path / "shards", (8, 1, 3))
    whole = np.random.default_rng(0).normal(size=shards.shape).astype(np.float32)
    whole[:4] = whole[:4].astype(np.float16)
    for rows in shards.ranges():  # the second as an earlier version wrote it
        features = whole[rows.start : rows.stop]
        arrays = {"features": halved(features), "ok": np.ones(4, bool), "digests": np.ones((4, 2), np.uint64)}
        shards.write(rows, arrays, ShardRecord())
    list(shards.join(tmp_path))
    joined = np.load(tmp_path / "features.npy")
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, whole)


def test_a_reference_is_to_the_features_by_what_they_hold(mine, tiny_encoder):
    features = extract(mine, mine.table("test"), tiny_encoder)
    reference = features.reference()
    np.testing.assert_array_equal(Features.referred(reference).array, features.array)
    assert json.loads(reference.tobytes())["key"] == features.key
