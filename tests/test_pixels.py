"""Training from pixels: a backbone with its head, resumed exactly, the same however a batch is divided."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from geobench import (
    DatasetError,
    Encoder,
    EncoderError,
    ImageError,
    SettingError,
    TestSet,
    TrainingError,
    evaluate,
    get_dataset,
    get_encoder,
    get_model,
    train,
)
from geobench.checkpoints import find_checkpoint
from geobench.evaluate import encoder_for
from geobench.features.live import PixelLoader
from geobench.features.wrappers import TunedEncoder
from geobench.plugins import registry
from geobench.progress import Progress
from geobench.settings import configure
from geobench.training.backbones import FineTuning, layers_of
from geobench.training.engine import Training
from geobench.training.heads import LinearHeads
from geobench.training.joined import Joined

SMALL = {"min_images": 1, "max_images": [40, 20], "batch_size": 16, "epochs": 3, "lr": 0.01, "backbone_lr": 1.0}
DATA = {"encoder": "small", "limit": 96, "device": "cpu", "workers": 0}


class SmallEncoder(Encoder):
    """A convolutional network with batch norm, in ``channels_last`` as timm's on a CPU; fixed random weights."""

    name = "small"
    dim = 12

    def load(self, device="cpu"):
        state = torch.get_rng_state()
        torch.manual_seed(5)
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        middle = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.network = nn.Sequential(stem, middle, nn.Conv2d(12, 12, 1)).eval()
        torch.set_rng_state(state)
        self.network.to(memory_format=torch.channels_last)
        self.device = device

    def describe(self):
        return "8×8 pixels"

    def weights_key(self):
        return "small-1"

    def preprocess(self, image):
        small = image.resize((8, 8))
        return torch.from_numpy(np.array(small, dtype=np.float32)).permute(2, 0, 1) / 255 - 0.5

    def encode_images(self, batch):
        return self.network(batch).mean(dim=(2, 3))

    def encode_tokens(self, batch):
        return self.network(batch).flatten(2).transpose(1, 2)

    def trainable_network(self):
        return self.network


@pytest.fixture(autouse=True)
def small_encoder(monkeypatch, one_thread):
    """Register the encoder ``small``: a new one each time it is asked for."""
    monkeypatch.setitem(registry().encoders, "small", lambda name: SmallEncoder())


def trained(progress=None, seed=0, force=False, **settings):
    how = {"progress": progress} if progress is not None else {}
    return train("classifier", settings=SMALL | settings, seed=seed, force=force, **DATA, **how)


def arrays(checkpoint):
    return load_file(checkpoint.folder / "weights.safetensors")


def losses(checkpoint):
    lines = (checkpoint.folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_a_frozen_backbone_from_pixels_learns_what_cached_features_teach():
    cached, pixels = trained(), trained(backbone="last", blocks=0)
    np.testing.assert_allclose(losses(pixels), losses(cached), atol=1e-5, rtol=0)
    heads = [{n: a for n, a in arrays(c).items() if n.startswith("network.")} for c in (cached, pixels)]
    for name, array in heads[0].items():
        np.testing.assert_allclose(heads[1][name], array, atol=1e-5, err_msg=name)
    model = find_checkpoint(pixels.spec).restored()
    fresh = SmallEncoder()
    fresh.load()
    for name, tensor in fresh.network.state_dict().items():
        np.testing.assert_array_equal(model.tuned[name], tensor.numpy())


def test_the_embedded_encoder_gives_the_same_losses_from_pixels_as_from_its_features():
    how = DATA | {"encoder": "efficientnet_lite0", "limit": 32}
    settings = SMALL | {"epochs": 1}
    cached = train("classifier", settings=settings, **how)
    pixels = train("classifier", settings=settings | {"backbone": "last", "blocks": 0}, **how)
    np.testing.assert_allclose(losses(pixels), losses(cached), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("backbone", "blocks", "moved"), [("last", 1, {"2"}), ("last", 2, {"1", "2"}), ("whole", 1, {"0", "1", "2"})]
)
def test_gradients_reach_the_blocks_that_are_trained_and_nothing_else(backbone, blocks, moved):
    model = find_checkpoint(trained(backbone=backbone, blocks=blocks).spec).restored()
    fresh = SmallEncoder()
    fresh.load()
    before = fresh.network.state_dict()
    changed = {name.partition(".")[0] for name, array in model.tuned.items() if (array != before[name].numpy()).any()}
    assert changed == moved
    statistics = [name for name in before if "running" in name or "num_batches" in name]
    assert statistics
    for name in statistics:
        np.testing.assert_array_equal(model.tuned[name], before[name].numpy())


OPTIMISERS = [
    {"optimiser": "adam"},
    {"optimiser": "adamw", "lr_schedule": "cosine", "warm_up": 0.5},
    {"optimiser": "sgd", "lr_step": 2},
    {"optimiser": "sgd", "layer_decay": 0.5, "accumulate": 4},
]


@pytest.mark.parametrize("number", range(20))
def test_a_training_stopped_at_a_random_step_ends_with_the_same_weights(number):
    rng = np.random.default_rng(number)
    settings = {"backbone": "whole"} | OPTIMISERS[number % 4]
    whole = trained(**settings)
    expected, logged = arrays(whole), losses(whole)
    step = int(rng.integers(1, len(logged)))

    def end():
        if number % 2:
            raise Killed  # nothing is saved: it goes on from the last epoch
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises((Killed, KeyboardInterrupt)):
        trained(KillAfterSteps(step, end), force=True, **settings)
    with pytest.raises((Killed, KeyboardInterrupt)):
        trained(KillAfterSteps(1, end), force=True, **settings)  # once more
    again = trained(force=True, **settings)
    assert_same(arrays(again), expected)
    assert losses(again) == logged


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


class KillAfterSteps(Progress):
    """Calls ``how`` after a number of steps of the training; those of the extraction before it do not count."""

    def __init__(self, steps, how):
        self.left, self.how, self.said = steps, how, []

    def say(self, message):
        self.said.append(message)

    @contextmanager
    def track(self, what, total, unit, done=0):
        def advance(n, **figures):
            self.left -= n if unit == "steps" else 0
            if self.left == 0 and n and unit == "steps":
                self.how()

        yield advance


def test_a_state_is_saved_within_a_long_epoch(monkeypatch):
    from geobench.training import engine

    expected = arrays(trained(backbone="whole"))
    monkeypatch.setattr(engine, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(engine, "REPORT_EVERY", 2)
    said = KillAfterSteps(5, lambda: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        trained(said, force=True, backbone="whole")
    resumed = KillAfterSteps(-1, lambda: None)
    assert_same(arrays(trained(resumed, force=True, backbone="whole")), expected)
    assert "train classifier: resuming from step 4." in resumed.said


def test_a_batch_in_parts_has_the_gradients_of_the_whole():
    whole, parts = (arrays(trained(backbone="whole", optimiser="sgd", accumulate=n)) for n in (1, 4))
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, atol=2e-6, err_msg=name)


def test_a_batch_is_divided_into_equal_parts_or_not_at_all():
    with pytest.raises(SettingError, match="accumulate must divide batch_size, 16, into equal parts; 3 does not"):
        trained(accumulate=3)


def test_learning_rates_follow_blocks_schedule_and_warm_up():
    encoder = SmallEncoder()
    encoder.load()
    config = configure(FineTuning, {"backbone": "whole", "backbone_lr": 0.5, "layer_decay": 0.1}, "x")
    joined = Joined(encoder, LinearHeads(12, [3]), config)
    scales = [group["lr_scale"] for group in joined.groups]
    assert scales == pytest.approx([1.0, 0.5, 0.05, 0.005])
    assert [len(group["params"]) for group in joined.groups] == [2, 2, 4, 4]
    steps = configure(FineTuning, {"lr": 1.0, "lr_decay": 0.5, "lr_step": 2, "epochs": 6}, "x")
    assert [steps.lr_at(step, 10) for step in (0, 19, 20, 45)] == [1.0, 1.0, 0.5, 0.25]
    cosine = configure(FineTuning, {"lr": 1.0, "lr_schedule": "cosine", "warm_up": 1.0, "epochs": 3}, "x")
    assert [cosine.lr_at(step, 10) for step in (0, 9, 10, 20)] == pytest.approx([0.1, 1.0, 1.0, 0.5])
    assert cosine.lr_at(29, 10) < 0.01
    with pytest.raises(SettingError, match="warm_up must be shorter than the training, 3 epochs, not 3"):
        configure(FineTuning, {"warm_up": 3.0, "epochs": 3}, "x")


def test_the_backbone_learns_as_much_slower_than_the_head_as_its_factor_says():
    fresh = SmallEncoder()
    fresh.load()
    before = fresh.network.state_dict()
    moved = []
    for factor in (1.0, 1e-3):
        model = find_checkpoint(
            trained(backbone="whole", optimiser="sgd", epochs=1, backbone_lr=factor).spec
        ).restored()
        moved.append(sum(float(np.abs(model.tuned[name] - before[name].numpy()).sum()) for name in before))
    assert 300 < moved[0] / moved[1] < 3000


def test_more_blocks_than_there_are_is_one_line():
    with pytest.raises(SettingError, match=r"small has 3 blocks, fewer than blocks=4; backbone=whole trains all"):
        trained(backbone="last", blocks=4)


def test_an_encoder_without_a_network_to_train_is_one_line():
    with pytest.raises(EncoderError, match=r"the encoder tiny cannot be fine-tuned; set backbone=frozen"):
        train("classifier", settings=SMALL | {"backbone": "whole"}, **(DATA | {"encoder": "tiny"}))


def test_crops_are_of_cached_features():
    with pytest.raises(
        SettingError, match=r"crops=5 are views of cached features, and backbone=whole trains on pixels"
    ):
        train("classifier", settings=SMALL | {"backbone": "whole"}, crops=5, **DATA)


def test_a_tuned_model_is_tested_on_features_of_its_own_weights():
    frozen, tuned = trained(), trained(backbone="whole", epochs=6)
    results = {c.id: evaluate(get_model(c.spec), "bluemarble", limit=24) for c in (frozen, tuned)}
    ours = results[tuned.id]
    assert ours.encoder_weights != results[frozen.id].encoder_weights == "small-1"
    assert ours.encoder.startswith("small (tuned ")
    model = get_model(tuned.spec)
    encoder = encoder_for(model, "small")
    encoder.load()
    dataset = get_dataset("bluemarble")
    names = ours.names[:5]
    pixels = torch.stack([encoder.preprocess(dataset.read_image(name, "test")) for name in names])
    network = SmallEncoder()
    network.load()
    network.network.load_state_dict({name: torch.tensor(array) for name, array in model.tuned.items()})
    with torch.no_grad():
        expected = network.encode_images(pixels).numpy()[:, None]
    found = model.locate(expected, None)
    np.testing.assert_allclose(found.coordinates, ours.predictions.coordinates[:5], atol=1e-6)


def test_what_was_tuned_counts_as_learnt_and_is_in_the_key_of_features():
    tuned = trained(backbone="whole")
    assert any(name.startswith("encoder/") for name in arrays(tuned))
    base = SmallEncoder()
    model = get_model(tuned.spec)
    keys = {TunedEncoder(base, model.tuned).weights_key(), base.weights_key()}
    other = {name: array + 1 for name, array in model.tuned.items()}
    keys.add(TunedEncoder(base, other).weights_key())
    assert len(keys) == 3


def test_weights_of_another_network_are_one_line():
    with pytest.raises(EncoderError, match=r"do not fit its network .*train again"):
        TunedEncoder(SmallEncoder(), {"0.weight": np.zeros(3, dtype=np.float32)}).load()


def test_views_are_drawn_anew_at_every_step_and_the_same_in_every_training():
    first = trained_with_views()
    again = trained_with_views(force=True)
    assert losses(first) == losses(again)
    assert first.augmentation["live"]
    assert losses(first) != losses(trained(backbone="whole", epochs=2))
    dataset, encoder = get_dataset("bluemarble"), SmallEncoder()
    encoder.load()
    from geobench.images.augmentation import Augmentation

    names = list(dataset.table("train", 8)["image"])
    loader = PixelLoader(dataset, names, encoder, Augmentation(2), "cpu")
    indices = np.arange(8).reshape(2, 4)
    epochs = [torch.cat(list(loader.batches(indices, epoch))) for epoch in (0, 0, 1)]
    assert epochs[0].shape == (8, 2, 3, 8, 8)
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])


def trained_with_views(force=False):
    return train("classifier", settings=SMALL | {"backbone": "whole", "epochs": 2}, views=2, force=force, **DATA)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_arrive_in_order_whoever_decodes_them(workers, monkeypatch):
    from geobench.features import live

    monkeypatch.setattr(live, "IMAGES_AT_ONCE", 3)
    dataset, encoder = get_dataset("bluemarble"), SmallEncoder()
    encoder.load()
    names = list(dataset.table("train", 20)["image"])
    order = np.random.default_rng(0).permutation(20).reshape(2, 10)
    found = list(PixelLoader(dataset, names, encoder, None, "cpu", workers).batches(order, 0))
    for batch, rows in zip(found, order, strict=True):
        expected = torch.stack([encoder.preprocess(dataset.read_image(names[row], "train")) for row in rows])
        assert torch.equal(batch, expected[:, None])


def test_a_photo_that_goes_missing_during_training_ends_it_in_one_line(photos, cli):
    images, metadata = photos(24)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)

    class Remove(KillAfterSteps):
        def track(self, what, total, unit, done=0):
            if unit == "steps":
                for path in sorted(images.iterdir())[:12]:
                    path.unlink()
            return super().track(what, total, unit, done)

    settings = SMALL | {"backbone": "whole", "batch_size": 8}
    with pytest.raises((ImageError, DatasetError), match=r"photo-\d+\.jpg.*it was readable when training began"):
        train(
            "classifier", "mine", settings=settings, encoder="small", device="cpu", workers=0, progress=Remove(-1, None)
        )


def test_the_log_says_how_much_of_the_time_was_spent_waiting_for_pixels():
    tuned = trained(backbone="whole")
    lines = [json.loads(line) for line in (tuned.folder / "log.jsonl").read_text().splitlines()]
    assert all(0 <= line["waited"] <= 1 for line in lines)
    slow = PixelLoader.batches

    def delayed(self, indices, epoch):
        import time

        for batch in slow(self, indices, epoch):
            time.sleep(0.05)
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PixelLoader, "batches", delayed)
        again = trained(backbone="whole", force=True)
    lines = [json.loads(line) for line in (again.folder / "log.jsonl").read_text().splitlines()]
    assert min(line["waited"] for line in lines) > 0.5


def test_a_network_without_gradient_checkpointing_says_so():
    with pytest.raises(SettingError, match="the network of small has no gradient checkpointing"):
        trained(backbone="whole", checkpointing=True)


def test_gradient_checkpointing_changes_no_weight():
    how = DATA | {"encoder": "efficientnet_lite0", "limit": 32}
    settings = SMALL | {"epochs": 1, "backbone": "whole", "optimiser": "sgd", "lr": 1e-3}
    kept = train("classifier", settings=settings, **how)
    twice = train("classifier", settings=settings | {"checkpointing": True}, **how)
    for name, array in arrays(kept).items():
        np.testing.assert_allclose(arrays(twice)[name], array, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("architecture", "blocks"), [("ViT-S-32-alt", 12), ("RN50", 6)])
def test_blocks_of_open_clip_towers_go_from_input_to_output_and_hold_every_parameter_once(architecture, blocks):
    import open_clip

    network = open_clip.create_model(architecture).visual
    layers = layers_of(network)
    held = [id(parameter) for layer in layers for parameter in layer]
    assert sorted(held) == sorted(map(id, network.parameters()))
    assert len(layers) >= blocks
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert "conv1.weight" in [names[id(p)] for p in layers[0]]
    assert any(names[id(p)].startswith(("proj", "ln_post", "attnpool")) for p in layers[-1])


def test_blocks_of_a_timm_network_are_those_it_states():
    encoder = get_encoder("efficientnet_lite0")
    encoder.load()
    network = encoder.trainable_network()
    layers = layers_of(network)
    assert sorted(id(p) for layer in layers for p in layer) == sorted(map(id, network.parameters()))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert names[id(layers[0][0])] == "conv_stem.weight"
    assert {names[id(p)].partition(".")[0] for p in layers[-1]} <= {"conv_head", "bn2", "blocks"}


THESE_TESTS = """
import importlib.util
import geobench
from geobench.devices import peak_memory_mb
from geobench.plugins import registry
spec = importlib.util.spec_from_file_location("pixels", {tests!r})
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
"""

ALL_STEPS = """
registry().encoders["small"] = lambda name: tests.SmallEncoder()
settings = tests.SMALL | {{"backbone": "whole", "optimiser": "sgd", "accumulate": 2}}
geobench.train("classifier", settings=settings, encoder="small", limit=96, device="cpu", workers=0)
"""


def test_two_processes_learn_from_pixels_what_one_learns(tmp_path):
    found = []
    for processes in (1, 2):
        script = tmp_path / "script.py"
        script.write_text((THESE_TESTS + ALL_STEPS).format(tests=__file__))
        launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-port=0", "--standalone"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GEOBENCH_HOME": str(tmp_path / str(processes))}
        command = [sys.executable, *(launch if processes > 1 else []), str(script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        (weights,) = (tmp_path / str(processes)).glob("checkpoints/classifier/*/weights.safetensors")
        found.append(load_file(weights))
    for name, array in found[0].items():
        assert np.abs(found[1][name] - array).max() <= 1e-5 * max(np.abs(array).max(), 1e-6), name


SIX_STEPS = """
def pixels(self, image):
    return tests.torch.from_numpy(tests.np.array(image.resize((64, 64)), dtype="float32")).permute(2, 0, 1) / 255

def stop():
    raise tests.Killed

tests.SmallEncoder.preprocess = pixels
registry().encoders["small"] = lambda name: tests.SmallEncoder()
settings = tests.SMALL | {{"backbone": "whole", "max_images": [200]}}
try:
    geobench.train("classifier", settings=settings, encoder="small", limit={images}, device="cpu", workers=0,
                   progress=tests.KillAfterSteps(6, stop))
except tests.Killed:
    print(peak_memory_mb())
"""


def test_memory_does_not_grow_with_the_set(tmp_path):
    many, allowed_mb = (100_000, 200) if "GEOBENCH_SLOW_TESTS" in os.environ else (3_000, 50)  # pixels: 47 KB an image
    peaks = []
    for images in (1_000, many):
        script = tmp_path / "script.py"
        script.write_text((THESE_TESTS + SIX_STEPS).format(tests=__file__, images=images))
        environment = os.environ | {"GEOBENCH_HOME": str(tmp_path / str(images))}
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < allowed_mb


def test_parts_that_processes_cannot_hold_are_refused():
    from geobench import distributed

    run = Training(
        what="t", network=LinearHeads(2, [2]), loss=None, loader=None, indices=np.arange(32), targets=None,
        schedule=configure(FineTuning, {"batch_size": 16, "accumulate": 16}, "x"), seed=0, device="cpu",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "_current", distributed.Group(0, 2))
        with pytest.raises(TrainingError, match=r"the 8 images of each process cannot be divided into accumulate=16"):
            run.run()


def test_test_set_of_a_tuned_model_is_not_mixed_with_that_of_another():
    first, second = trained(backbone="whole"), trained(backbone="whole", seed=1)
    test_set = TestSet.of(get_dataset("bluemarble"), 12)
    found = [evaluate(get_model(c.spec), test_set) for c in (first, second)]
    assert found[0].encoder_weights != found[1].encoder_weights
