"""GeoCLIP: projection, networks, noise, queue and loss against numbers worked out by hand."""

import math
import shutil

import numpy as np
import pytest
import torch

from geobench import FeatureError, Gallery, SettingError
from geobench.geo import haversine_km
from geobench_plugins.geoclip import GeoClipModel
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.contrast import Contrast, add_noise, info_nce, start_queue
from geobench_plugins.geoclip.network import GeoClip, LocationEncoder, equal_earth


def test_the_projection_has_the_corners_that_its_authors_state():
    # Equal Earth: the map is 2.0458 times as wide as high; the poles are lines 0.59247 of the equator's length.
    corners = torch.tensor([[0.0, 180.0], [90.0, 0.0], [90.0, 180.0], [0.0, 0.0]], dtype=torch.float64)
    projected = equal_earth(corners, scale=180.0)
    assert projected[0].tolist() == pytest.approx([2.70663, 0.0], abs=1e-5)
    assert projected[1].tolist() == pytest.approx([0.0, 1.31737], abs=1e-5)
    assert float(projected[2, 0] / projected[0, 0]) == pytest.approx(0.59247, abs=1e-4)
    assert projected[3].tolist() == [0, 0]


def test_the_default_scale_puts_longitude_180_at_one():
    assert float(equal_earth(torch.tensor([[0.0, 180.0]]), GeoClipConfig().projection_scale)[0, 0]) == pytest.approx(1)


def test_sigmas_are_spaced_evenly_in_log2():
    assert GeoClipConfig().sigmas == [1, 16, 256]
    assert GeoClipConfig(hierarchies=5).sigmas == [1, 4, 16, 64, 256]
    assert GeoClipConfig(hierarchies=1, sigma_min=16).sigmas == [16]


def test_the_location_encoder_is_named_and_sized_like_the_released_one():
    shapes = {name: tuple(t.shape) for name, t in LocationEncoder(GeoClipConfig()).state_dict().items()}
    assert len(shapes) == 27
    assert shapes["LocEnc2.capsule.0.b"] == (256, 2)
    assert shapes["LocEnc0.capsule.1.weight"] == (1024, 512)
    assert shapes["LocEnc1.capsule.5.weight"] == (1024, 1024)
    assert shapes["LocEnc1.head.0.weight"] == (512, 1024)


@pytest.mark.parametrize("latitude", [0.0, 60.0, 89.0])
@pytest.mark.parametrize("longitude", [10.0, 179.9999])
def test_noise_has_its_sigma_in_metres_everywhere(latitude, longitude):
    n, sigma_m = 20_000, 1000.0
    points = torch.tensor([[latitude, longitude]], dtype=torch.float64).repeat(n, 1)
    moved = add_noise(points, sigma_m, torch.Generator().manual_seed(0)).numpy()
    assert np.abs(moved[:, 1]).max() <= 180
    # Two independent components: the mean square distance is 2σ².
    distance_m = 1000 * haversine_km(moved, points.numpy())
    assert math.sqrt((distance_m**2).mean() / 2) == pytest.approx(sigma_m, rel=0.02)
    north_m = 1000 * haversine_km(np.stack([moved[:, 0], points[:, 1]], axis=1), points.numpy())
    assert math.sqrt((north_m**2).mean()) == pytest.approx(sigma_m, rel=0.03)
    if longitude > 179:
        assert (moved[:, 1] < 0).any() and (moved[:, 1] > 0).any()


def test_noise_over_the_pole_stays_on_the_sphere():
    points = torch.tensor([[90.0, 0.0]]).repeat(5000, 1)
    moved = add_noise(points, 1000.0, torch.Generator().manual_seed(0)).double().numpy()
    assert moved[:, 0].max() <= 90
    assert np.ptp(moved[:, 1]) > 300
    assert math.sqrt(((1000 * haversine_km(moved, points.double().numpy())) ** 2).mean() / 2) == pytest.approx(
        1000, rel=0.03
    )


def test_the_loss_is_equation_4_worked_out_by_hand():
    # Batch 3, queue 2, P 2; embeddings chosen so that every inner product is a cosine one can read off.
    def unit(*degrees):
        radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        return torch.stack([radians.cos(), radians.sin()], dim=-1)

    images = torch.stack([unit(0.0, 10.0), unit(90.0, 80.0), unit(180.0, 200.0)])  # (3, 2, 2)
    locations = unit(0.0, 60.0, 180.0, 90.0, 270.0)  # three of the batch, two of the queue
    scale = 1 / 0.5
    loss = 0.0
    for i, views in enumerate([(0, 10), (90, 80), (180, 200)]):
        for view in views:
            terms = [math.exp(scale * math.cos(math.radians(view - at))) for at in (0, 60, 180, 90, 270)]
            loss += -math.log(terms[i] / sum(terms))
    assert float(info_nce(images, locations, torch.tensor(scale))) == pytest.approx(loss / 3, rel=1e-9)


def contrast(**settings):
    config = GeoClipConfig(
        **({"hidden_dim": 8, "head_dim": 8, "dim": 4, "fourier_rows": 4, "batch_size": 3} | settings)
    )
    return Contrast(GeoClip(config, 5), config, seed=0)


def test_the_queue_holds_exactly_the_last_coordinates():
    trained = contrast(queue_length=7)
    pushed = [torch.full((3, 2), float(i)) + torch.arange(3)[:, None] / 10 for i in range(1, 5)]
    for batch in pushed:
        trained.enqueue(batch)
    assert torch.equal(trained.queue, torch.cat(pushed)[-7:])


def test_a_static_queue_never_changes():
    trained = contrast(queue_length=7, queue_dynamic=False)
    before = trained.queue.clone()
    trained.enqueue(torch.ones(3, 2))
    assert torch.equal(trained.queue, before)


def test_the_queue_takes_the_batch_after_the_loss_was_worked_out():
    trained = contrast(queue_length=6, batch_noise_m=0.0, queue_noise_m=0.0)
    features, coordinates = torch.randn(3, 1, 5), torch.tensor([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
    locations = trained.network.embed_locations(torch.cat([coordinates, trained.queue]))
    expected = info_nce(trained.network.embed_images(features), locations, trained.network.logit_scale.exp())
    assert torch.equal(trained.loss(features, coordinates, torch.Generator()), expected)
    assert torch.equal(trained.queue[-3:], coordinates)


def test_the_queue_starts_uniform_over_latitude_and_longitude():
    start = start_queue(GeoClipConfig(), torch.Generator().manual_seed(0)).numpy()
    assert start.shape == (4096, 2)
    assert np.abs(start).max(axis=0) == pytest.approx([90, 180], rel=0.01)
    assert start.std(axis=0) == pytest.approx([180 / math.sqrt(12), 360 / math.sqrt(12)], rel=0.03)


def test_without_a_queue_the_negatives_are_those_of_the_batch():
    trained = contrast(queue_length=0)
    loss = trained.loss(torch.randn(3, 1, 5), torch.rand(3, 2), torch.Generator())
    assert loss.isfinite() and len(trained.queue) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection": "mercator"}, "projection must be equal_earth or none, not 'mercator'"),
        ({"hierarchies": 0}, "hierarchies must be an integer of at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be a number above 0, not 0.0"),
        ({"queue_length": 100}, "a queue of 100 cannot take a batch of 512"),
        ({"batch_noise_m": -1.0}, "batch_noise_m must be a number of at least 0, not -1.0"),
        ({"sigma_min": 20.0, "sigma_max": 8.0}, "sigma_max must be at least sigma_min, 20.0, not 8.0"),
        ({"sigma_list": (1.0, -1.0)}, r"sigma_list\[2\] must be a number above 0, not -1.0"),
        ({"compiled": "maybe"}, "compiled must be auto, yes or no, not 'maybe'"),
    ],
)
def test_settings_out_of_range_are_refused_with_what_is_valid(settings, message):
    with pytest.raises(SettingError, match=message):
        GeoClipConfig(**settings)


def test_features_of_another_width_are_refused_with_both_widths():
    model = GeoClipModel(GeoClipConfig(hidden_dim=8, head_dim=8, dim=4, fourier_rows=4))
    model.network = GeoClip(model.config, 5)
    gallery = Gallery(np.zeros((3, 2)), "test")
    with pytest.raises(FeatureError, match="these features are 7-d, but geoclip was trained on 5-d features"):
        model.locate(np.zeros((2, 1, 7), dtype=np.float32), gallery)


def test_views_are_averaged_as_logits_over_the_gallery():
    torch.manual_seed(0)
    model = GeoClipModel(GeoClipConfig(hidden_dim=8, head_dim=8, dim=4, fourier_rows=4, sigma_max=2.0))
    model.network = GeoClip(model.config, 5).eval()
    gallery = Gallery(np.random.default_rng(0).uniform(-80, 80, (20, 2)), "test")
    features = np.random.default_rng(1).normal(size=(6, 10, 5)).astype(np.float32)
    found = model.locate(features, gallery, top_k=20)
    with torch.no_grad():
        places = model.network.embed_locations(torch.tensor(gallery.coordinates, dtype=torch.float32))
        logits = model.network.logit_scale.exp() * model.network.embed_images(torch.tensor(features)) @ places.T
    probabilities, rows = logits.mean(dim=1).softmax(dim=1).sort(descending=True)
    np.testing.assert_array_equal(found.coordinates, gallery.coordinates[rows.numpy()])
    np.testing.assert_allclose(found.scores, probabilities.numpy(), atol=1e-6)


def test_the_symmetric_loss_adds_the_other_direction():
    trained = contrast(queue_length=6, batch_noise_m=0.0, queue_noise_m=0.0, symmetric=True).eval()
    features, coordinates = torch.randn(3, 2, 5), torch.rand(3, 2) * 50
    network, scale = trained.network, trained.network.logit_scale.exp()
    places, images = network.embed_locations(torch.cat([coordinates, trained.queue])), network.embed_images(features)
    own = torch.arange(3)
    other = sum(torch.nn.functional.cross_entropy(scale * places[:3] @ images[:, view].T, own) for view in (0, 1))
    expected = (info_nce(images, places, scale) + other) / 2
    assert trained.loss(features, coordinates, torch.Generator()).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_embeddings_are_one_graph_and_give_the_loss_and_the_gradients_of_eager_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    config = GeoClipConfig(batch_size=8, queue_length=16, hidden_dim=32, dim=16, fourier_rows=8, head_dim=16)
    features, places = torch.randn(8, 2, 12), (torch.rand(8, 2) - 0.5) * 170
    found = {}
    for how in ("eager", "compiled"):
        torch.manual_seed(0)
        contrast = Contrast(GeoClip(config, 12), config, seed=0).train()
        if how == "compiled":
            contrast.compile_for_training()
        loss = contrast.loss(features, places, torch.Generator().manual_seed(0))
        loss.backward()
        gradients = {name: p.grad for name, p in contrast.named_parameters()}
        contrast.eval()  # what is held out takes the eager path: no second compilation
        held_out = contrast.loss(features[:3], places[:3], torch.Generator().manual_seed(0))
        found[how] = {"loss": loss.detach(), "held out": held_out.detach(), **gradients}
    assert found["compiled"].keys() == found["eager"].keys()
    for name, value in found["eager"].items():
        # The phases of σ = 256 make the last bits of an angle count.
        torch.testing.assert_close(found["compiled"][name], value, rtol=1e-3, atol=2e-4, msg=name)
