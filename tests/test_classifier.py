"""Adaptive S2 partitions and the hierarchical product."""

import numpy as np
import pytest
import torch

from geobench import DatasetError, SettingError, TrainingError, get_dataset, get_model, train
from geobench.cells import adaptive_cells, ancestors_of, cell_centres, labels_in, leaf_cells, parent_cells
from geobench.classification import CellConfig
from geobench.data.land import sample_land
from geobench.data.tables.cell_files import read_cells
from geobench.geo import mean_position
from geobench.partitions import crossed, given, nested
from geobench.settings import configure
from geobench.training.heads import LinearHeads, combined
from geobench_plugins.classifier import Classifier


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


def by_hand(coordinates, least, most, first):
    """The rule in plain words, one cell at a time, by the S2 library alone."""
    import s2cell

    leaves = [s2cell.lat_lon_to_cell_id(*point) for point in coordinates.tolist()]
    kept, waiting = {}, [(first, range(len(leaves)))]
    while waiting:
        level, rows = waiting.pop()
        cells = {}
        for row in rows:
            cells.setdefault(s2cell.cell_id_to_parent_cell_id(leaves[row], level), []).append(row)
        for cell, inside in cells.items():
            if len(inside) > most and level < 30:
                waiting.append((level + 1, inside))
            elif len(inside) >= least:
                kept[cell] = inside
    return kept


@pytest.mark.parametrize(("rule", "first", "more"), [("isn", 2, 1), ("inclusive", 0, 0)])
@pytest.mark.parametrize(("least", "most"), [(0, 30), (5, 40), (20, 200), (50, 5000)])
def test_partitions_follow_their_rule(points, rule, first, more, least, most):
    labels, cells = adaptive_cells(points, least, most, rule)
    expected = by_hand(points, max(least + more, 1), most, first)
    assert sorted(expected) == cells.tolist()
    for number, cell in enumerate(cells.tolist()):
        assert np.flatnonzero(labels == number).tolist() == sorted(expected[cell])


def test_the_isn_rule_keeps_no_cell_of_exactly_the_minimum():
    points = np.concatenate([np.tile([[48.85, 2.35]], (50, 1)), np.tile([[-33.9, 151.2]], (51, 1))])
    assert len(adaptive_cells(points, 50, 5000)[1]) == 1
    assert len(adaptive_cells(points, 50, 5000, "inclusive")[1]) == 2


def test_coordinates_are_found_in_the_cells_that_hold_them(points):
    labels, cells = adaptive_cells(points, 20, 200)
    shuffled = np.random.default_rng(0).permutation(len(cells))
    found = labels_in(points, cells[shuffled])
    np.testing.assert_array_equal(np.where(found < 0, -1, shuffled[found]), labels)


def test_crossed_partitions_answer_with_their_intersections():
    labels = np.array([[0, 0], [0, 1], [1, 1], [1, 1], [-1, 0], [0, -1]])
    points = np.array([[0.0, 0], [10, 0], [20, 0], [20, 10], [5, 5], [5, 5]])
    parts = crossed(labels, points)
    assert parts.sizes == (2, 2)
    assert parts.ancestors.tolist() == [[0, 0, 1], [0, 1, 1]]
    np.testing.assert_allclose(parts.centres[:2], [[0, 0], [10, 0]], atol=1e-9)
    np.testing.assert_allclose(parts.centres[2], mean_position(points[2:4]), atol=1e-9)
    probabilities = [torch.tensor([[0.7, 0.3]]), torch.tensor([[0.4, 0.6]])]
    ancestors = torch.from_numpy(parts.ancestors)
    torch.testing.assert_close(combined(probabilities, ancestors, "sum"), torch.tensor([[1.1, 1.3, 0.9]]))
    torch.testing.assert_close(combined(probabilities, ancestors, "product"), torch.tensor([[0.28, 0.42, 0.18]]))
    torch.testing.assert_close(combined(probabilities, ancestors, "fine"), torch.tensor([[0.4, 0.6, 0.6]]))


def test_a_checkpoint_of_an_earlier_version_is_restored():
    rng = np.random.default_rng(0)
    state = {
        "heads.heads.0.weight": rng.normal(size=(2, 4)).astype(np.float32),
        "heads.heads.0.bias": np.zeros(2, dtype=np.float32),
        "heads.heads.1.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "heads.heads.1.bias": np.zeros(3, dtype=np.float32),
        "ancestors": np.array([[0, 0, 1], [0, 1, 2]]),
        "centres": np.array([[0.0, 0], [10, 10], [20, 20]]),
    }
    model = Classifier()
    model.restore(state)
    features = rng.normal(size=(5, 4)).astype(np.float32)
    found = model.locate(features, None, 3)
    heads = LinearHeads(4, [2, 3])
    heads.load_state_dict({n.removeprefix("heads."): torch.tensor(a) for n, a in state.items() if "heads." in n})
    scores = heads.scores(torch.tensor(features)[:, None], torch.tensor(state["ancestors"]))
    np.testing.assert_allclose(found.scores, scores.sort(descending=True).values.detach().numpy(), rtol=1e-5)
    again = Classifier()
    again.restore(model.state())
    np.testing.assert_array_equal(again.locate(features, None).coordinates, model.locate(features, None).coordinates)


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
    heads = LinearHeads(4, [2, 3])
    features = torch.randn(5, 2, 4)
    ancestors = torch.tensor([[0, 0, 1], [0, 1, 2]])
    coarse, fine = (logits.softmax(-1).mean(1) for logits in heads(features))
    expected = torch.stack([coarse[:, 0] * fine[:, 0], coarse[:, 0] * fine[:, 1], coarse[:, 1] * fine[:, 2]], dim=1)
    torch.testing.assert_close(heads.scores(features, ancestors), expected)


def test_images_without_a_cell_add_nothing_to_the_loss():
    heads = LinearHeads(4, [3])
    features, labels = torch.randn(4, 1, 4), torch.tensor([[0], [-1], [2], [-1]])
    expected = torch.nn.functional.cross_entropy(heads(features[::2])[0].squeeze(1), labels[::2, 0])
    torch.testing.assert_close(heads.loss(features, labels, torch.Generator()), expected * 2 / 4)


def test_partitions_must_fall_from_coarse_to_fine():
    with pytest.raises(SettingError, match="must fall from coarse to fine"):
        CellConfig(max_images=(100, 200))
    with pytest.raises(SettingError, match="min_images must be at most 1000, the finest max_images, not 2000"):
        CellConfig(min_images=2000)
    with pytest.raises(SettingError, match="patience needs held-out images"):
        CellConfig(patience=2)


def cell_file(path, cells, header="class_label,hex_id,imgs_per_cell,latitude_mean,longitude_mean"):
    import s2cell

    rows = (f"{n},{s2cell.cell_id_to_token(int(cell))},51,0.0,0.0" for n, cell in enumerate(cells))
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_cells_of_files_are_those_that_were_divided(points, tmp_path):
    coarse, fine = (adaptive_cells(points, 5, most)[1] for most in (400, 60))
    paths = [cell_file(tmp_path / f"{name}.csv", cells) for name, cells in (("coarse", coarse), ("fine", fine))]
    expected = nested(points, [400, 60], 5)
    found = given(points, paths)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.ancestors, expected.ancestors)
    np.testing.assert_allclose(found.centres, expected.centres)
    few = given(points[:50], paths)
    empty = np.setdiff1d(np.arange(len(fine)), few.labels[:, -1])
    np.testing.assert_allclose(few.centres[empty], cell_centres(fine[empty]))


def test_a_model_is_trained_on_given_cells_and_another_file_makes_another_model(tmp_path):
    dataset = get_dataset("bluemarble")
    places = dataset.table("train", 120)[["latitude", "longitude"]].to_numpy()
    path = cell_file(tmp_path / "cells.csv", adaptive_cells(places, 0, 40)[1])
    settings = {"cells": str(path), "batch_size": 40, "epochs": 1}
    how = {"encoder": "tiny", "limit": 120, "device": "cpu", "workers": 0}
    first = train("classifier", settings=settings, **how)
    assert first.config["cells"] == [str(path)] or first.config["cells"] == (str(path),)
    assert first.config["cells_digest"]
    cell_file(path, adaptive_cells(places, 0, 4)[1])
    second = train("classifier", settings=settings, **how)
    assert second.id != first.id
    path.unlink()
    assert get_model(first.spec).locate(np.zeros((1, 1, 48), dtype=np.float32), None).coordinates.shape == (1, 1, 2)


WRONG = {
    "no such file": (None, SettingError, "cells must be files; there is no"),
    "no tokens": ("latitude,longitude\n1,2\n", DatasetError, "no column with the tokens of S2 cells"),
    "no rows": ("hex_id\n", DatasetError, "has no cells below its header"),
    "a token that is none": ("hex_id\nxyz\n", DatasetError, "line 2: 'xyz' is not the token of an S2 cell"),
    "a token that a spreadsheet rounded": ("hex_id\n4.7E+06\n", DatasetError, "was made a number by a spreadsheet"),
    "a token twice": ("hex_id\n47a1\n47a1\n", DatasetError, "the cell 47a1 stands 2 times"),
    "a line that is cut off": ("class_label,hex_id\n0,47a1\n1\n2,47a3\n", DatasetError, "line 3: '' is not the token"),
    "a cell within another": ("hex_id\n47a1\n47a3\n47a1c\n", DatasetError, "47a1 and 47a1c overlap"),
}


@pytest.mark.reliability("cell files")
@pytest.mark.parametrize("what", WRONG)
def test_a_file_of_cells_that_cannot_be_used_is_one_line(what, tmp_path):
    content, error, says = WRONG[what]
    path = tmp_path / "cells.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=says) as told:
        config = configure(CellConfig, {"cells": str(path)}, "classifier")
        Classifier(config).partition(np.array([[48.8, 2.3]]))
    assert "\n" not in str(told.value)


def test_files_named_fine_to_coarse_are_refused(tmp_path):
    (tmp_path / "coarse.csv").write_text("hex_id\n47a1\n")
    (tmp_path / "fine.csv").write_text("hex_id\n47a04\n47a0c\n47a14\n47a1c\n")  # its four children
    inside = cell_centres(read_cells(tmp_path / "fine.csv"))
    assert given(inside, [tmp_path / "coarse.csv", tmp_path / "fine.csv"]).sizes == (1, 4)
    with pytest.raises(TrainingError, match="coarse to fine"):
        given(inside, [tmp_path / "fine.csv", tmp_path / "coarse.csv"])


def test_files_of_two_hierarchies_are_refused(points, tmp_path):
    coarse = cell_file(tmp_path / "coarse.csv", adaptive_cells(points, 5, 400)[1][:3])
    fine = cell_file(tmp_path / "fine.csv", adaptive_cells(points, 5, 60)[1])
    with pytest.raises(TrainingError, match=r"cells of .*fine.csv lie in no cell of .*coarse.csv; name files of one"):
        given(points, [coarse, fine])
