"""The training loop: resumes exactly, stops without loss, and says clearly why it cannot continue."""

import json
import os
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from geobench import CheckpointError, SettingError, TrainingError
from geobench.features import loaders
from geobench.features.loaders import MappedFeatures, ResidentFeatures, feature_loader
from geobench.progress import Progress
from geobench.training.engine import Schedule, Training
from geobench.training.steps import GraphedStep


class Killed(Exception):  # noqa: N818
    """Stands for a kill: nothing in the library catches it."""


class KillAfter(Progress):
    """Calls ``how`` after the given number of steps."""

    def __init__(self, steps, how):
        self.left, self.how, self.said = steps, how, []

    def say(self, message):
        self.said.append(message)

    def track(self, what, total, unit, done=0):
        from contextlib import contextmanager

        @contextmanager
        def tracking():
            def advance(n, **figures):
                self.left -= n
                if self.left == 0 and n:
                    self.how()

            yield advance

        return tracking()


def training(
    tmp_path, progress=None, epochs=4, batch=8, n=50, lr=1e-2, loss=None, seed=0, loader=ResidentFeatures, **schedule
):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    rng = np.random.default_rng(0)

    def noisy(features, targets, generator):
        noise = torch.randn(targets.shape, generator=generator) * 0.1
        return ((network(features.mean(dim=1)) - targets - noise) ** 2).mean()

    return Training(
        what="train toy",
        network=network,
        loss=loss or noisy,
        loader=loader(rng.normal(size=(n, 2, 6)).astype(np.float32), "cpu"),
        indices=np.arange(n)[5:],
        targets=torch.tensor(rng.normal(size=(n, 2)), dtype=torch.float32),
        schedule=Schedule(batch, epochs, lr, 1e-6, 0.9, **schedule),
        seed=seed,
        device="cpu",
        scratch=tmp_path / "scratch",
        progress=progress or Progress(),
    )


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def test_training_lowers_the_loss_and_the_same_seed_gives_the_same_weights(tmp_path):
    first, second = training(tmp_path / "a", epochs=30), training(tmp_path / "b", epochs=30)
    first.run()
    second.run()
    assert torch.equal(weights(first), weights(second))
    log = [json.loads(line) for line in (tmp_path / "a/scratch/log.jsonl").read_text().splitlines()]
    assert np.mean([r["loss"] for r in log[-20:]]) < 0.95 * np.mean([r["loss"] for r in log[:5]])
    assert log[-1]["step"] == 30 * 5
    assert log[-1]["lr"] == pytest.approx(1e-2 * 0.9**29)


def test_a_training_of_a_few_dozen_steps_says_so_and_every_one_says_how_the_loss_fell(tmp_path):
    short, long = KillAfter(-1, None), KillAfter(-1, None)
    run = training(tmp_path / "short", short, epochs=3)
    run.run()
    log = [json.loads(line)["loss"] for line in (tmp_path / "short/scratch/log.jsonl").read_text().splitlines()]
    assert short.said == [
        "train toy: it ends after 15 steps (epochs=3, 5 batches of 8), too few to learn much; raise epochs, or lower "
        "batch_size.",
        f"train toy: loss {log[0]:.3f} at step 1, {log[-1]:.3f} at step 15.",
    ]
    training(tmp_path / "long", long, epochs=20).run()
    (line,) = long.said
    assert line.startswith("train toy: loss ") and line.endswith(" at step 100.")


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 13, 19])
def test_training_that_was_killed_and_resumed_ends_with_the_same_weights(tmp_path, steps):
    whole = training(tmp_path / "whole")
    whole.run()

    def kill():
        raise Killed

    with pytest.raises(Killed):
        training(tmp_path / "killed", KillAfter(steps, kill)).run()
    again = training(tmp_path / "killed", seed=0)
    again.run()
    assert torch.equal(weights(whole), weights(again))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_current_step_and_training_resumes_from_it(tmp_path, number):
    whole = training(tmp_path / "whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "stopped", KillAfter(7, lambda: os.kill(os.getpid(), number))).run()
    progress = KillAfter(10**6, lambda: None)
    again = training(tmp_path / "stopped", progress)
    again.run()
    assert progress.said[0] == "train toy: resuming from step 7."
    assert torch.equal(weights(whole), weights(again))


def test_a_truncated_state_is_named_with_what_to_do(tmp_path):
    def kill():
        raise Killed

    with pytest.raises(Killed):
        training(tmp_path, KillAfter(12, kill)).run()
    state = tmp_path / "scratch/state.safetensors"
    state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=r"damaged .*delete it and start again"):
        training(tmp_path).run()


def test_a_loss_that_is_not_finite_stops_with_the_step(tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1; .*for example lr=0.001"):
        training(tmp_path, loss=lambda f, t, g: (f.mean() * torch.nan).requires_grad_()).run()


def test_fewer_images_than_a_batch_is_an_error_that_suggests_a_smaller_batch(tmp_path):
    with pytest.raises(TrainingError, match=r"45 training images are fewer than one batch of 64.*batch_size=32"):
        training(tmp_path, batch=64).run()


def test_features_that_do_not_fit_in_memory_train_to_the_same_weights(tmp_path):
    resident, mapped = training(tmp_path / "a"), training(tmp_path / "b", loader=MappedFeatures)
    resident.run()
    mapped.run()
    assert torch.equal(weights(resident), weights(mapped))


@pytest.mark.parametrize(("free", "kind"), [(320, ResidentFeatures), (319, MappedFeatures)])
def test_features_of_up_to_half_of_the_free_memory_are_loaded_and_others_are_mapped(free, kind, monkeypatch):
    monkeypatch.setattr(loaders, "free_bytes", lambda device: free)
    assert type(feature_loader(np.zeros((10, 1, 4), np.float32), "cpu")) is kind  # 160 bytes


def test_a_schedule_out_of_range_is_refused():
    with pytest.raises(SettingError, match=r"epochs must be an integer of at least 1, not 0"):
        Schedule(epochs=0)
    with pytest.raises(SettingError, match=r"lr must be a number above 0, not 0.0"):
        Schedule(lr=0.0)
    with pytest.raises(SettingError, match=r"patience needs held-out images"):
        Schedule(patience=2)


def test_training_stops_when_the_held_out_loss_no_longer_decreases(tmp_path):
    progress = KillAfter(10**6, lambda: None)
    run = training(tmp_path, progress, epochs=500, lr=0.1, n=60, holdout=0.3, patience=3)
    run.run()
    assert run.step < 500 * run.per_epoch
    assert progress.said[:-1] == ["train toy: the held-out loss has not decreased for 3 epochs; stopping."]
    records = [json.loads(line) for line in (tmp_path / "scratch/log.jsonl").read_text().splitlines()]
    held_out = [record["held_out_loss"] for record in records if "held_out_loss" in record]
    assert min(held_out) == held_out[-4] < min(held_out[-3:])


def test_the_held_out_images_are_never_trained_on(tmp_path):
    run = training(tmp_path, epochs=1, holdout=0.3)
    run.run()
    trained = np.concatenate([batch for epoch in range(20) for batch in run._indices_of(epoch)])
    assert not set(trained) & set(run.held_out)
    assert set(trained) | set(run.held_out) == set(range(5, 50))


def test_the_log_has_a_line_for_every_step_whatever_happened(tmp_path):
    def kill():
        raise Killed

    with pytest.raises(Killed):
        training(tmp_path, KillAfter(8, kill)).run()
    training(tmp_path).run()
    records = [json.loads(line) for line in (tmp_path / "scratch/log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 21))


def test_training_that_diverges_keeps_the_last_good_state_and_says_where(tmp_path):
    run = training(tmp_path)
    plain, steps = run.loss, []

    def loss(features, targets, generator):
        steps.append(1)
        return plain(features, targets, generator) * (float("nan") if len(steps) == 13 else 1)

    run.loss = loss
    with pytest.raises(TrainingError, match=r"loss is nan at step 13; the state after step 10 is saved in .*scratch"):
        run.run()
    again = training(tmp_path)
    again._prepare()
    assert again.step == 10 and torch.isfinite(weights(again)).all()


def test_weights_that_the_last_step_of_an_epoch_made_infinite_are_never_saved(tmp_path):
    run = training(tmp_path)
    plain, steps = run.loss, []

    def loss(features, targets, generator):
        steps.append(1)
        if len(steps) == 5:
            run.state.set_lr(float("inf"))  # after this loss was taken
        return plain(features, targets, generator)

    run.loss = loss
    with pytest.raises(TrainingError, match=r"weights are no longer finite after step 5; no earlier state was saved"):
        run.run()
    assert not (tmp_path / "scratch/state.safetensors").exists()


def test_out_of_memory_says_what_to_lower(tmp_path):
    def loss(features, targets, generator):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    with pytest.raises(TrainingError, match=r"out of memory .*lower batch_size, queue_length or hidden_dim"):
        training(tmp_path, loss=loss).run()


def test_a_step_that_cannot_be_compiled_says_how_to_do_without(tmp_path):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    run = training(tmp_path)
    plain = run.loss
    run.loss = torch.compile(plain, backend=broken)
    with pytest.raises(TrainingError, match=r"could not compile the step \(.*no compiler here.*; set compiled=no"):
        run.run()


def test_an_error_of_the_model_itself_is_passed_on_unchanged(tmp_path):
    def loss(features, targets, generator):
        return features @ targets

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        training(tmp_path, loss=loss).run()


@pytest.fixture
def no_cuda_needed(monkeypatch):
    """Replace CUDA streams and graphs, which need a GPU: a replay runs the captured step again."""

    class Stream:
        def wait_stream(self, other):
            pass

    class Graph:
        def register_generator_state(self, generator):
            self.generator = generator

        def replay(self):
            self.step.result = self.step._captured_step()

    capture = GraphedStep._capture

    def capturing(step, features, targets):
        capture(step, features, targets)
        step.graph.step = step

    monkeypatch.setattr(GraphedStep, "_capture", capturing)
    for name, value in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "graph": lambda graph, **options: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


def captured(run):
    """Return ``run`` with the captured step, as on a GPU."""
    run._prepare()
    eager = run.take_step
    run.take_step = GraphedStep(eager.network, eager.loss, eager.optimiser, eager.generator, eager.precision)
    run._prepare = lambda: None
    return run


@pytest.mark.usefixtures("no_cuda_needed")
def test_the_effects_of_warming_up_for_a_capture_are_undone_also_on_resuming(tmp_path):
    whole = training(tmp_path / "eager")
    whole.run()
    run = captured(training(tmp_path / "whole"))
    run.run()
    assert torch.equal(weights(run), weights(whole))

    def kill():
        raise Killed

    with pytest.raises(Killed):
        captured(training(tmp_path / "stopped", KillAfter(8, kill))).run()
    again = captured(training(tmp_path / "stopped"))
    assert 0 < again.step < 20
    again.run()
    assert torch.equal(weights(again), weights(whole))


def test_a_step_that_cannot_be_captured_says_how_to_do_without(tmp_path):
    run = captured(training(tmp_path))
    with pytest.raises(TrainingError, match=r"the step cannot be captured .*; set compiled=no"):
        run.run()  # there is no GPU here, or the tensors are not on it
