"""Exact search in blocks, compared with the unblocked computation."""

import warnings

import numpy as np
import pytest
import torch

from geobench import FeatureError, Gallery, search


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 100)


def test_blocked_search_equals_the_unblocked_computation(small_blocks):
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(45, 16, generator=generator))
    gallery = torch.nn.functional.normalize(torch.randn(1030, 16, generator=generator))
    products, rows, probabilities = search.top_k(queries, gallery.numpy(), 7, scale=3.0)
    whole = (queries.double() @ gallery.double().T).numpy()
    expected = np.argsort(-whole, axis=1)[:, :7]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(products, np.take_along_axis(whole, expected, 1), atol=1e-5)
    softmax = np.exp(3 * whole) / np.exp(3 * whole).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, np.take_along_axis(softmax, expected, 1), atol=1e-6)


def test_a_result_does_not_depend_on_the_other_queries(small_blocks):
    for seed in (*range(5), 48, 137, 194, 222, 278, 285):  # the last six had another last bit in sums of odd length
        generator = torch.Generator().manual_seed(seed)
        queries, gallery = torch.randn(70, 512, generator=generator), torch.randn(500, 512, generator=generator).numpy()
        together = search.top_k(queries, gallery, 3)
        alone = [search.top_k(queries[i : i + 7], gallery, 3) for i in range(0, 70, 7)]
        for part, whole in zip(zip(*alone, strict=True), together, strict=True):
            np.testing.assert_array_equal(np.concatenate(part), whole)


def test_more_neighbours_than_rows_returns_every_row():
    _, rows, probabilities = search.top_k(torch.randn(2, 4), torch.randn(3, 4).numpy(), 10)
    assert sorted(rows[0]) == [0, 1, 2]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_no_queries_give_no_rows():
    _, rows, _ = search.top_k(torch.empty(0, 4), torch.randn(3, 4).numpy(), 2)
    assert rows.shape == (0, 2)


def test_gallery_embeddings_are_kept_under_the_checkpoint_and_damage_is_named(own_home):
    gallery = Gallery(np.random.default_rng(0).uniform(-80, 80, (50, 2)), "test")
    calls = []

    def embed(coordinates):
        calls.append(len(coordinates))
        return coordinates.astype(np.float32)

    first = search.gallery_embeddings(gallery, embed, 2, "model@1")
    second = search.gallery_embeddings(gallery, embed, 2, "model@1")
    np.testing.assert_array_equal(first, second)
    assert calls == [50]
    search.gallery_embeddings(gallery, embed, 2, "model@2")
    assert calls == [50, 50]
    for path in (own_home / "galleries").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FeatureError, match=r"damaged .* delete it and run again"):
        search.gallery_embeddings(gallery, embed, 2, "model@1")


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_mapped_gallery_is_searched_like_one_in_memory(small_blocks, tmp_path, mode):
    queries, gallery = torch.randn(3, 16), np.random.default_rng(0).normal(size=(450, 16)).astype(np.float32)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode=mode)
    if mode != "r":  # what was changed in memory counts, whether it is in the file or not
        mapped[7] = gallery[7] = 5.0
    with warnings.catch_warnings(action="error"):
        found = search.top_k(queries, mapped, 4)
    for part, expected in zip(found, search.top_k(queries, gallery, 4), strict=True):
        np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(mapped, gallery)
