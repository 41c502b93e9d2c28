"""Tests that need a GPU: the captured step, its generator, feature loaders and search, compared with the CPU."""

import json
import threading

import numpy as np
import pytest
import torch

from geobench import extract, get_dataset, get_encoder, search, train
from geobench.features.loaders import MappedFeatures, ResidentFeatures
from geobench.training.engine import Schedule, Training
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.geoclip.contrast import Contrast, displaced, info_nce
from geobench_plugins.geoclip.network import GeoClip

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SIZES = {"batch_size": 64, "queue_length": 256, "hidden_dim": 128, "dim": 64, "head_dim": 64, "lr": 1e-3}


def training(scratch=None, loader=ResidentFeatures, n=1000, **settings):
    config = GeoClipConfig(**(SIZES | {"precision": "fp32", "epochs": 2} | settings))
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    contrast = Contrast(GeoClip(config, 32), config, seed=0).to("cuda")
    if config.compiles("cuda"):
        contrast.compile_for_training()
    return Training(
        what="train toy",
        network=contrast,
        loss=contrast.loss,
        loader=loader(rng.normal(size=(n, 2, 32)).astype(np.float16), "cuda"),
        indices=np.arange(n),
        targets=torch.tensor(rng.uniform(-80, 80, (n, 2)), dtype=torch.float32, device="cuda"),
        schedule=config,
        seed=0,
        device="cuda",
        scratch=scratch,
    )


def trained(**settings):
    run = training(**settings)
    run.run()
    return {name: tensor.detach().cpu() for name, tensor in run.network.state_dict().items()}


def assert_same(one, other, tolerance):
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=tolerance, atol=tolerance, msg=name)


def uncompiled(run):
    run.network.embed_in_training, run.network.move, run.network.nce = run.network.embed, displaced, info_nce
    return run


def captured(**settings):
    """Train with the step captured but not compiled: the same arithmetic as the eager one."""
    run = uncompiled(training(compiled="yes", **settings))
    run.run()
    return {name: tensor.detach().cpu() for name, tensor in run.network.state_dict().items()}


def test_a_captured_step_trains_like_an_eager_one_noise_and_queue_included():
    assert_same(captured(), trained(compiled="no"), 1e-4)


def test_captured_training_that_was_stopped_resumes_exactly(tmp_path):
    whole = captured(epochs=4)
    stopped = uncompiled(training(tmp_path, epochs=4, compiled="yes"))
    stopped._prepare()
    stopped._epoch(threading.Event(), lambda *given, **figures: None)
    assert_same(captured(scratch=tmp_path, epochs=4), whole, 1e-5)


def test_compiled_training_ends_close_to_eager_training():
    assert_same(trained(), trained(compiled="no"), 5e-2)


def test_bf16_lowers_the_loss_as_far_as_float32(tmp_path):
    ends = {}
    for precision in ("fp32", "bf16"):
        run = training(tmp_path / precision, epochs=10, precision=precision, compiled="no")
        run.run()
        lines = (tmp_path / precision / "log.jsonl").read_text().splitlines()
        ends[precision] = float(np.mean([json.loads(line)["loss"] for line in lines[-15:]]))
    assert ends["bf16"] == pytest.approx(ends["fp32"], rel=0.03)


def test_memory_mapped_features_train_like_resident_ones():
    assert_same(trained(loader=MappedFeatures, compiled="no"), trained(compiled="no"), 1e-5)


def test_search_on_a_gpu_finds_the_same_as_on_a_cpu():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40_000, 64)).astype(np.float32)
    queries = torch.tensor(rng.normal(size=(1500, 64)), dtype=torch.float32)
    ours, rows, shares = search.top_k(queries.to("cuda"), gallery, 5, scale=2.0)
    values, expected, probabilities = search.top_k(queries, gallery, 5, scale=2.0)
    assert np.abs(ours - values).max() < 1e-3
    assert np.abs(shares - probabilities).max() < 1e-4
    assert (rows == expected).mean() > 0.999  # near ties may swap ranks


@pytest.mark.parametrize("model", ["geoclip", "classifier"])
def test_the_command_trains_on_a_gpu(model, tmp_path):
    checkpoint = train(model, limit=1024, epochs=1, device="cuda")
    assert checkpoint.device.startswith("cuda")
    assert Schedule().compiles("cuda")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "ViT-S-32-alt"])
def test_features_from_a_gpu_are_those_from_a_cpu(name, tmp_path, monkeypatch, random_clip):
    if name.startswith("ViT"):
        name = f"{name}/{random_clip(tmp_path / 'random.safetensors', name)}"
    dataset = get_dataset("bluemarble")
    table, found = dataset.table("test", 600), {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("GEOBENCH_HOME", str(tmp_path / device))
        features = extract(dataset, table, get_encoder(name), device=device)
        assert features.ok.all() and features.about["encoder_busy"] > 0
        found[device] = torch.from_numpy(np.array(features.array[:, 0]))
    similarity = torch.nn.functional.cosine_similarity(found["cpu"], found["cuda"])
    assert similarity.min() > 0.999
