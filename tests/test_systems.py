"""The five other systems of Table 1: their rules by hand, what is trained, and that each can learn."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from geobench import SettingError, TrainingError, evaluate, get_dataset, get_encoder, get_model, train
from geobench.cells import adaptive_cells, cell_centres, leaf_cells
from geobench.checkpoints import find_checkpoint
from geobench.data.land import sample_land
from geobench.geo import haversine_km, unit_vectors
from geobench.models import TrainingSet
from geobench.plugins import get_model_class
from geobench.progress import Progress
from geobench.scenes import pooled_features, scenes_of
from geobench.settings import configure
from geobench_plugins.cplanet import merging
from geobench_plugins.cplanet.merging import mean_looks, merged, neighbours
from geobench_plugins.cplanet.network import VotingHeads
from geobench_plugins.geodecoder import GeoDecoderConfig
from geobench_plugins.geodecoder.network import Decoder
from geobench_plugins.isn.network import SceneNetworks
from geobench_plugins.planet import PlanetConfig
from geobench_plugins.translocator import TranslocatorConfig
from geobench_plugins.translocator.network import FusedBranches

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {
    "planet": {"min_images": 2, "max_images": 30},
    "cplanet": {"cell_images": 4, "classes": [12, 20], "min_images": 2, "max_images": 30},
    "isn": {"min_images": 1, "max_images": [60, 30], "scene_labels": "kmeans", "scenes": 2, "scene_epochs": 2},
    "translocator": {
        "min_images": 1, "max_images": [60, 30], "scene_labels": "kmeans", "scenes": 2, "loss_weights": [0.6, 0.4],
        "dim": 32, "depth": 1, "attention_heads": 2,
    },
    "geodecoder": {
        "min_images": 1, "max_images": [60, 30], "scene_labels": "kmeans", "scenes": 2, "dim": 32, "shared_layers": 1,
        "own_layers": 1, "attention_heads": 2, "feed_forward": 32,
    },
}  # fmt: skip
COMMON = {"batch_size": 32, "epochs": 2, "lr": 3e-3}


class Listening(Progress):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def trained(name, limit=160, **settings):
    how = {"encoder": "efficientnet_lite0", "limit": limit, "device": "cpu", "workers": 0}
    return train(name, settings=COMMON | SMALL[name] | settings, **how)


@pytest.mark.parametrize("name", SMALL)
def test_each_system_trains_is_restored_and_answers_on_land_or_near_it(name):
    checkpoint = trained(name)
    model = get_model(checkpoint.spec)
    result = evaluate(model, "bluemarble", limit=20)
    assert result.failed == 0
    assert result.encoder == checkpoint.encoder
    suffix = {"translocator": ":tokens+map", "geodecoder": ":tokens"}.get(name, "")
    assert checkpoint.encoder == f"efficientnet_lite0{suffix}"
    found = result.predictions
    assert np.isfinite(found.coordinates).all()
    again = get_model(checkpoint.spec)
    assert {n: a.tobytes() for n, a in again.state().items()} == {n: a.tobytes() for n, a in model.state().items()}


@pytest.mark.parametrize("name", SMALL)
def test_each_system_learns_a_batch_by_heart(name):
    rate = {"translocator": 3e-3, "geodecoder": 3e-3}.get(name, 2e-2)
    fine = {"max_images": 2, "min_images": 1} if name == "planet" else {}
    checkpoint = trained(name, limit=64, epochs=40, batch_size=32, lr=rate, lr_decay=1.0, **fine)
    model = get_model(checkpoint.spec)
    dataset = get_dataset("bluemarble")
    table = dataset.table("train", 64)
    encoder = get_encoder(checkpoint.encoder)
    encoder.load()
    with torch.no_grad():
        pixels = torch.stack([encoder.preprocess(dataset.read_image(image, "train")) for image in table["image"]])
        features = encoder.encode_images(pixels).numpy()
    found = model.locate(features, None).coordinates[:, 0]
    errors = haversine_km(table[["latitude", "longitude"]].to_numpy(), found)
    assert np.median(errors) < 1200, np.median(errors)


# PlaNet


def test_planet_divides_and_drops_by_its_thresholds_and_answers_with_centres():
    points = sample_land(2000, np.random.default_rng(1))
    model = get_model_class("planet")(configure(PlanetConfig, {"max_images": 100, "min_images": 20}, "planet"))
    parts = model.partition(points)
    counts = np.bincount(parts.labels[parts.labels >= 0])
    assert counts.min() >= 20 and counts.max() <= 100
    _, cells = adaptive_cells(points, 20, 100, "inclusive")
    np.testing.assert_allclose(parts.centres, cell_centres(cells))
    inside = leaf_cells(parts.centres)
    assert len(set(inside.tolist())) == len(cells)
    mean = get_model_class("planet")(
        configure(PlanetConfig, {"max_images": 100, "min_images": 20, "answer": "mean"}, "planet")
    ).partition(points)
    assert (haversine_km(mean.centres, parts.centres) > 1).any()
    with pytest.raises(SettingError, match="min_images must be at most max_images, 10, not 20"):
        configure(PlanetConfig, {"max_images": 10, "min_images": 20}, "planet")


# CPlaNet


def reached_from_first(near):
    reached, waiting = {0}, [0]
    while waiting:
        waiting += (new := near[waiting.pop()] - reached)
        reached |= new
    return reached


def test_neighbours_on_the_sphere_are_mutual_and_join_everything():
    points = unit_vectors(sample_land(80, np.random.default_rng(2)))
    near = neighbours(points)
    assert all(a in near[b] for a in range(80) for b in near[a])
    assert reached_from_first(near) == set(range(80))
    assert sum(map(len, near)) // 2 == 3 * len(ConvexHull(points).vertices) - 6  # Euler, for a triangulated sphere


def test_the_lightest_cell_joins_the_neighbour_that_is_nearest_and_most_alike():
    places = np.array([[0.0, 0], [0, 10], [0, -22], [40, 100], [-40, 200], [60, -100], [-60, -60]])
    weights = [1, 5, 5, 9, 9, 9, 9]
    initial = np.repeat(np.arange(7), weights)
    looks = np.zeros((len(initial), 2))
    looks[:, 0] = 1.0
    rows = np.arange(len(initial))
    cells = mean_looks(looks[:, None], rows, initial, 7)
    one_less = merged(initial, 7, places[initial], cells, 6, 0.0, np.random.default_rng(0))
    assert one_less[0] == one_less[1]  # 10° away, not 22°
    assert len(set(one_less.tolist())) == 6
    looks[initial == 0] = looks[initial == 2] = [0, 1]  # the first looks like the third, whose way is longer
    cells = mean_looks(looks[:, None], rows, initial, 7)
    by_looks = merged(initial, 7, places[initial], cells, 6, 100.0, np.random.default_rng(0))
    assert by_looks[0] == by_looks[2] != by_looks[1]


def test_what_cells_look_like_is_the_mean_of_unit_features_whatever_the_blocks(monkeypatch):
    features = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    rows, initial = np.arange(0, 50, 2), np.arange(25) % 4
    whole = mean_looks(features, rows, initial, 4)
    pooled = features[rows].mean(axis=1)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(whole, [unit[initial == cell].mean(axis=0) for cell in range(4)], rtol=1e-5)
    monkeypatch.setattr(merging, "ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(mean_looks(features, rows, initial, 4), whole)


def test_cells_that_almost_coincide_have_neighbours_too():
    rng = np.random.default_rng(0)
    towns = sample_land(60, rng)
    points = unit_vectors(np.repeat(towns, 8, axis=0) + rng.normal(scale=1e-9, size=(480, 2)))  # 0.1 mm apart
    near = neighbours(points)
    assert reached_from_first(near) == set(range(480))
    assert all(node in near[other] and node != other for node in range(480) for other in near[node])


def test_sets_differ_and_every_class_holds_whole_cells():
    points = sample_land(1500, np.random.default_rng(3))
    initial, cells = adaptive_cells(points, 1, 10, "inclusive")
    looks = mean_looks(np.random.default_rng(4).normal(size=(1500, 1, 8)), np.arange(1500), initial, len(cells))
    sets = [merged(initial, len(cells), points, looks, n, 1.0, np.random.default_rng([0, n])) for n in (40, 40, 60)]
    assert [len(set(s.tolist())) for s in sets] == [40, 40, 60]
    assert (merged(initial, len(cells), points, looks, 40, 1.0, np.random.default_rng([1, 40])) != sets[0]).any()
    np.testing.assert_array_equal(
        merged(initial, len(cells), points, looks, 40, 1.0, np.random.default_rng([0, 40])), sets[0]
    )


def test_votes_are_added_up_by_hand():
    heads = VotingHeads(3, [2, 2], [1, 4, 2, 2], normalised=True)
    simple = VotingHeads(3, [2, 2], [1, 4, 2, 2], normalised=False)
    simple.load_state_dict(heads.state_dict())
    features, ancestors = torch.randn(5, 1, 3), torch.tensor([[0, 1, 1], [0, 0, 1]])
    with torch.no_grad():
        first, second = (logits.softmax(-1)[:, 0] for logits in heads(features))
        by_hand = torch.stack([first[:, 0] + second[:, 0] / 2, first[:, 1] / 4 + second[:, 0] / 2,
                               first[:, 1] / 4 + second[:, 1] / 2], dim=1)  # fmt: skip
        torch.testing.assert_close(heads.scores(features, ancestors), by_hand)
        plain = torch.stack([first[:, 0] + second[:, 0], first[:, 1] + second[:, 0], first[:, 1] + second[:, 1]], dim=1)
        torch.testing.assert_close(simple.scores(features, ancestors), plain)


def test_intersections_are_more_than_any_set_has_classes():
    model = find_checkpoint(trained("cplanet").spec).restored()
    parts = model.parts
    assert parts.ancestors.shape[1] > max(parts.sizes)
    assert len(np.unique(parts.ancestors, axis=1).T) == parts.ancestors.shape[1]
    assert len(parts.sizes) == 3  # two merged sets, and PlaNet's


def test_more_classes_than_cells_are_said():
    told = Listening()
    settings = COMMON | SMALL["cplanet"] | {"classes": [9000, 12]}
    train("cplanet", settings=settings, encoder="efficientnet_lite0", limit=100, device="cpu", workers=0, progress=told)
    assert any(
        "initial cells, fewer than the 9,000 classes of a set: such a set has a class for" in s for s in told.said
    )


# ISNs


def test_the_scene_picks_the_network_and_crops_take_the_maximum():
    torch.manual_seed(0)
    network = SceneNetworks(4, [2, 3], 2, "product", "max")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    features, ancestors = torch.randn(6, 2, 4), torch.tensor([[0, 0, 1], [0, 1, 2]])
    with torch.no_grad():
        scene = network.scene(features)[0].softmax(-1).mean(1).argmax(1)
        assert set(scene.tolist()) == {0, 1}
        scores = network.scores(features, ancestors)
        for row in range(6):
            coarse, fine = (each.softmax(-1).amax(1)[row] for each in network.of_scene[scene[row]](features))
            by_hand = torch.stack([coarse[0] * fine[0], coarse[0] * fine[1], coarse[1] * fine[2]])
            torch.testing.assert_close(scores[row], by_hand)


def test_the_classifier_of_scenes_leaves_the_features_alone():
    network = SceneNetworks(4, [2], 2, "product", "max")
    features = torch.randn(6, 1, 4, requires_grad=True)
    network.loss(features, torch.tensor([[-1, 0], [-1, 1]] * 3), torch.Generator()).backward()
    assert features.grad is None or not features.grad.any()
    assert network.scene.heads[0].weight.grad.any()
    assert all(p.grad is None for heads in network.of_scene for p in heads.parameters())


def test_scene_networks_start_from_the_base_and_learn_from_their_own_images():
    model = find_checkpoint(trained("isn", limit=160).spec).restored()
    base = model.network.base.state_dict()
    moved = [any((base[n] != t).any() for n, t in heads.state_dict().items()) for heads in model.network.of_scene]
    assert moved == [True, True]
    alone = find_checkpoint(trained("isn", scene_networks=False).spec).restored()
    assert alone.network.scene is None and len(alone.network.of_scene) == 0
    for name, tensor in alone.network.base.state_dict().items():
        assert tensor.shape == base[name].shape


def test_a_scene_without_enough_images_keeps_the_base_network_and_says_so():
    told = Listening()
    train("isn", settings=COMMON | SMALL["isn"] | {"scenes": 30}, encoder="efficientnet_lite0", limit=100, device="cpu",
          workers=0, progress=told)  # fmt: skip
    assert any("too few for a network of its own: it keeps the base's" in line for line in told.said)


# TransLocator


def test_the_papers_branches_have_the_parameters_of_two_vit_b_16_and_its_fusions():
    config = configure(TranslocatorConfig, {"dim": 768, "depth": 12, "attention_heads": 12}, "translocator")
    with torch.device("meta"):
        network = FusedBranches(768, 196, [3298, 7202, 12893], config)
    layer = 4 * (768 * 768 + 768) + 2 * 4 * 768 * 768 + 5 * 768 + 4 * 768  # attention, feed-forward, two norms
    assert sum(p.numel() for p in network.layers.parameters()) == 2 * 12 * layer == 2 * 85_054_464
    fusion = 2 * 4 * (768 * 768 + 768) + (2 * 768 * 768 + 768) + 2 * 768
    assert sum(p.numel() for p in network.fusions.parameters()) == 12 * fusion
    heads = sum(p.numel() for p in network.heads.parameters())
    assert heads == sum(769 * n for n in (3298, 7202, 12893, 3))


def test_the_map_changes_the_answer_only_where_it_is_used():
    features = torch.randn(3, 1, 2 * 4 * 6)
    other = features.clone()
    other[..., 24:] += 1  # the tokens of the map
    small = {"dim": 16, "depth": 1, "attention_heads": 2, "max_images": [60, 30], "loss_weights": [0.6, 0.4]}
    small["min_images"] = 1
    for use_map in (True, False):
        torch.manual_seed(0)
        config = configure(TranslocatorConfig, small | {"use_map": use_map}, "translocator")
        network = FusedBranches(6, 4, [3, 5], config).eval()
        with torch.no_grad():
            same = all(torch.equal(a, b) for a, b in zip(network(features), network(other), strict=True))
        assert same != use_map


def test_losses_are_weighted_as_the_public_code_does():
    config = configure(TranslocatorConfig, {"dim": 16, "depth": 1, "attention_heads": 2}, "translocator")
    torch.manual_seed(0)
    network = FusedBranches(6, 4, [2, 3, 5], config)
    features, targets = torch.randn(4, 2, 48), torch.tensor([[0, 1, 2, 0], [1, -1, 4, 1], [0, 2, -1, 2], [1, 0, 0, 0]])
    logits = network(features)
    by_hand = sum(
        weight * torch.nn.functional.cross_entropy(each, label, ignore_index=-1, reduction="sum") / 4
        for weight, each, label in zip((0.5, 0.3, 0.2, 1.0), logits, targets.T, strict=True)
    )
    torch.testing.assert_close(network.loss(features, targets, torch.Generator()), by_hand)
    with pytest.raises(SettingError, match="loss_weights must have a weight for each of the 2 partitions, not 3"):
        configure(TranslocatorConfig, {"max_images": [100, 50]}, "translocator")


# GeoDecoder


def small_decoder(**changes):
    values = {"dim": 16, "shared_layers": 1, "own_layers": 1, "attention_heads": 2, "feed_forward": 16, "scenes": 3}
    config = configure(GeoDecoderConfig, values | {"max_images": [60, 30], "min_images": 1} | changes, "geodecoder")
    torch.manual_seed(0)
    return Decoder(6, [2, 4], config)


def test_the_scene_with_the_highest_first_channel_is_classified():
    network, features = small_decoder().eval(), torch.randn(8, 1, 30)
    with torch.no_grad():
        queries = network.decoded(features)
        assert queries.shape == (8, 2, 3, 16)
        chosen = queries[..., 0].mean(1).argmax(1)
        coarse, fine, scenes = network(features)
        torch.testing.assert_close(scenes, queries[..., 0].mean(1))
        for row in range(8):
            torch.testing.assert_close(coarse[row], network.classifiers[0](queries[row, 0, chosen[row]]))
            torch.testing.assert_close(fine[row], network.classifiers[1](queries[row, 1, chosen[row]]))
        ancestors = torch.tensor([[0, 0, 1, 1], [0, 1, 2, 3]])
        product = coarse.softmax(-1)[:, [0, 0, 1, 1]] * fine.softmax(-1)
        torch.testing.assert_close(network.scores(features, ancestors), product)


def test_hierarchy_dependent_layers_keep_hierarchies_apart():
    network, features = small_decoder().eval(), torch.randn(2, 1, 30)
    with torch.no_grad():
        before = network.decoded(features)
        own = copy.deepcopy(network)
        for parameter in own.own[0][1].parameters():
            parameter.add_(0.1)
        after = own.decoded(features)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_the_papers_decoder_has_112_queries_of_7_hierarchies():
    config = configure(GeoDecoderConfig, get_model_class("geodecoder").variants["paper"], "geodecoder")
    assert len(config.max_images) * config.scenes == 112
    with torch.device("meta"):
        network = Decoder(768, [684, 1744, 3298, 7202, 12893, 16150, 21673], config)
    assert len(network.shared) == 8 and len(network.own) == 2 and len(network.own[0]) == 7


# Scenes


def table_of(**columns):
    import pandas as pd

    n = len(next(iter(columns.values())))
    return pd.DataFrame({"image": [str(i) for i in range(n)], "latitude": 0.0, "longitude": 0.0, **columns})


def test_scenes_come_from_the_table_with_everybody_above_the_threshold_a_member():
    table = table_of(
        S3_Label=["0", "2", "1", ""], Prob_indoor=["0.9", "0.4", "0.0", "0"], Prob_natural=["0.05", "0.1", "0.65", "0"],
        Prob_urban=["0.05", "0.5", "0.35", "0"],
    )  # fmt: skip
    found = scenes_of(TrainingSet(get_dataset("bluemarble"), table, lambda: None), 3, "column", None, 0)
    assert found.labels.tolist() == [0, 2, 1, -1]
    assert found.members.tolist() == [[True, False, False], [True, False, True], [False, True, True], [False] * 3]
    assert found.source == "the column S3_Label"
    more = TrainingSet(get_dataset("bluemarble"), table_of(S16_Label=["15", "0"]), lambda: None)
    sixteen = scenes_of(more, 16, "column", None, 0)
    assert sixteen.labels.tolist() == [15, 0]


@pytest.mark.parametrize(
    ("columns", "k", "says"),
    [
        ({"x": ["1"]}, 3, r"no labels of 3 scenes \(looked for S3_Label, scene\); set scene_labels=kmeans"),
        ({"S3_Label": ["7"]}, 3, "has the scene 7; labels of 3 scenes are 0 to 2"),
        ({"S3_Label": ["?"]}, 3, "names no scene"),
        ({"S3_Label": ["1"]}, 5, "no labels of 5 scenes; set"),
    ],
)
def test_scenes_that_are_not_there_are_one_line(columns, k, says):
    with pytest.raises(TrainingError, match=says):
        scenes_of(TrainingSet(get_dataset("bluemarble"), table_of(**columns), lambda: None), k, "column", None, 0)


def test_a_model_of_scenes_without_labels_says_what_to_set():
    with pytest.raises(
        TrainingError, match="the table of bluemarble has no labels of 2 scenes; set scene_labels=kmeans"
    ):
        trained("isn", scene_labels="column")


def test_features_of_tokens_are_pooled_over_those_of_the_image_alone():
    array = np.arange(2 * 1 * 4 * 3, dtype=np.float32).reshape(2, 1, 12)
    pooled = pooled_features(array, (2, 4))
    np.testing.assert_allclose(pooled, array.reshape(2, 4, 3)[:, :2].mean(axis=1))
    np.testing.assert_allclose(pooled_features(array), array[:, 0])


def test_a_map_by_colour_tells_water_from_land_on_the_embedded_map():
    from geobench.images.semantic import CLASSES, classes_by_colour

    dataset = get_dataset("bluemarble")
    sahara = dataset.read_image("+23.00000+10.00000", "train")
    congo = dataset.read_image("-01.00000+22.00000", "train")
    share = [np.bincount(classes_by_colour(image).ravel(), minlength=len(CLASSES)) for image in (sahara, congo)]
    assert CLASSES[int(share[0].argmax())] == "bare ground"
    assert CLASSES[int(share[1].argmax())] == "vegetation"
    assert math.isclose(sum(share[0]), sahara.size[0] * sahara.size[1])
