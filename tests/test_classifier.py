"""Adaptive S2 partitions and the hierarchical product."""

import numpy as np
import pytest
import torch

from geobench import SettingError
from geobench.cells import adaptive_cells, ancestors_of, leaf_cells, parent_cells
from geobench.data.land import sample_land
from geobench_plugins.classifier import ClassifierConfig
from geobench_plugins.classifier.heads import Heads


@pytest.fixture(scope="module")
def points():
    return sample_land(3000, np.random.default_rng(0))


def test_parents_are_those_of_the_s2_library(points):
    import s2cell

    leaves = leaf_cells(points[:200])
    for level in (0, 1, 5, 17, 30):
        expected = [s2cell.cell_id_to_parent_cell_id(int(leaf), level) for leaf in leaves]
        assert parent_cells(leaves, level).tolist() == expected


def test_every_cell_keeps_its_bounds_and_every_other_image_has_none(points):
    labels, cells = adaptive_cells(points, 20, 200)
    counts = np.bincount(labels[labels >= 0], minlength=len(cells))
    assert counts.min() >= 20 and counts.max() <= 200
    assert labels.max() == len(cells) - 1
    assert 0 < (labels < 0).sum() < 300
    assert (np.diff(cells.astype(object)) > 0).all()


def test_identical_points_end_in_one_leaf_cell_however_many_they_are():
    labels, cells = adaptive_cells(np.tile([[48.85, 2.35]], (50, 1)), 1, 10)
    assert set(labels) == {0} and len(cells) == 1


def test_every_fine_cell_has_the_coarse_cell_that_its_images_lie_in(points):
    fine, fine_cells = adaptive_cells(points, 10, 50)
    coarse, _ = adaptive_cells(points, 10, 400)
    ancestors = ancestors_of(fine, coarse, len(fine_cells))
    inside = fine >= 0
    assert (ancestors >= 0).all()
    np.testing.assert_array_equal(ancestors[fine[inside]], coarse[inside])


def test_the_score_is_the_product_up_the_tree_with_views_averaged():
    heads = Heads(4, [2, 3])
    features = torch.randn(5, 2, 4)
    ancestors = torch.tensor([[0, 0, 1], [0, 1, 2]])
    coarse, fine = (logits.softmax(-1).mean(1) for logits in heads(features))
    expected = torch.stack([coarse[:, 0] * fine[:, 0], coarse[:, 0] * fine[:, 1], coarse[:, 1] * fine[:, 2]], dim=1)
    torch.testing.assert_close(heads.hierarchical(features, ancestors), expected)


def test_images_without_a_cell_add_nothing_to_the_loss():
    heads = Heads(4, [3])
    features, labels = torch.randn(4, 1, 4), torch.tensor([[0], [-1], [2], [-1]])
    expected = torch.nn.functional.cross_entropy(heads(features[::2])[0].squeeze(1), labels[::2, 0])
    torch.testing.assert_close(heads.loss(features, labels, torch.Generator()), expected * 2 / 4)


def test_partitions_must_fall_from_coarse_to_fine():
    with pytest.raises(SettingError, match="must fall from coarse to fine"):
        ClassifierConfig(max_images=(100, 200))
    with pytest.raises(SettingError, match="min_images must be at most 1000, the finest max_images, not 2000"):
        ClassifierConfig(min_images=2000)
    with pytest.raises(SettingError, match="patience needs held-out images"):
        ClassifierConfig(patience=2)
