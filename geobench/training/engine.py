"""The training loop of every model with a network: trains on features, resumes exactly, stops without loss."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geobench import distributed
from geobench.errors import TrainingError
from geobench.features.loaders import FeatureLoader, Indices
from geobench.progress import SILENT, Progress
from geobench.settings import setting, settings
from geobench.training.log import TrainingLog
from geobench.training.state import TrainingState
from geobench.training.steps import EagerStep, GraphedStep, Loss, is_compiler_error

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FEW_STEPS = 100  # below which a training is said to be too short to learn much
REPORT_EVERY = 20  # steps between two readings of the loss, each of which synchronises with the device
SAVE_EVERY_S = 600.0  # an epoch may take hours; the state is also saved after each
EPOCH_STRIDE = 1_000_003  # no two seeds share the order of an epoch
OPTIMISATION = "GeoCLIP, section 4.1"


@settings
class Schedule:
    """How long and how fast to train: Adam with a step decay per epoch. Configs of models with a network extend it."""

    batch_size: int = setting(512, "images per step, of all processes together", ge=1, source=OPTIMISATION)
    epochs: int = setting(10, "passes over the training images", ge=1)
    lr: float = setting(3e-5, "learning rate of Adam in the first epoch", gt=0, source=OPTIMISATION)
    weight_decay: float = setting(1e-6, "weight decay of Adam", ge=0, source=OPTIMISATION)
    lr_decay: float = setting(0.87, "factor on the learning rate after each epoch", gt=0, source=OPTIMISATION)
    holdout: float = setting(0.0, "share of the images whose loss decides when to stop", ge=0, lt=1)
    patience: int = setting(
        0, "epochs without a lower held-out loss after which training stops; 0 trains all epochs", ge=0
    )
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "auto: bf16 on a GPU, fp32 elsewhere")
    compiled: Literal["auto", "yes", "no"] = setting(
        "auto", "torch.compile, and a CUDA graph of the whole step; auto: on a GPU only"
    )

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        if self.patience and not self.holdout:
            raise ValueError("patience needs held-out images: set holdout as well, such as holdout=0.05.")

    def compiles(self, device: str) -> bool:
        """Return whether the step is compiled on ``device``."""
        return self.compiled == "yes" or (self.compiled == "auto" and device.startswith("cuda"))

    @property
    def parts(self) -> int:
        """Return in how many parts, one after the other, a batch is computed."""
        return 1

    def lr_at(self, step: int, per_epoch: int) -> float:
        """Return the learning rate of ``step``, counted from 0, with ``per_epoch`` steps an epoch."""
        return self.lr * self.lr_decay ** (step // per_epoch)

    def optimiser_of(self, groups: list[dict[str, Any]], device: str, capturable: bool) -> torch.optim.Optimizer:
        """Return the optimiser of parameter ``groups``; of each, ``lr_scale`` is a factor on the learning rate."""
        import torch

        lr = torch.tensor(self.lr, device=device) if device.startswith("cuda") else self.lr
        return torch.optim.Adam(groups, lr=lr, weight_decay=self.weight_decay, fused=True, capturable=capturable)


@dataclass
class Training:
    """One training run of one network.

    Attributes:
        what: name of the task in progress and errors, such as ``train geoclip``.
        network: its parameters are trained; its buffers are part of the saved state.
        loss: maps features (b, views, d), targets (b, ...) and a generator to a scalar, the mean over the batch.
        loader: features by image index.
        indices: (r,) of the images to train on.
        targets: (n, ...) of all images, on the device.
        scratch: folder of the training state; None saves none.
        groups: of parameters, with a factor ``lr_scale`` on the learning rate; None takes all parameters at 1.
        step: how many steps were taken.
        losses: the first step of this process, its loss and that of the last step; None before any.
    """

    what: str
    network: nn.Module
    loss: Loss
    loader: FeatureLoader
    indices: Indices
    targets: Tensor
    schedule: Schedule
    seed: int
    device: str
    scratch: Path | None = None
    progress: Progress = SILENT
    groups: list[dict[str, Any]] | None = None
    step: int = field(default=0, init=False)
    losses: tuple[int, float, float] | None = field(default=None, init=False)

    def run(self) -> None:
        """Train to the last epoch or to convergence, resuming from the state in ``scratch`` if there is one.

        Raises:
            TrainingError: fewer images than a batch, a loss that is not finite, or a device out of memory.
            CheckpointError: the state in ``scratch`` is damaged.
            KeyboardInterrupt: on SIGINT or SIGTERM, after the state has been saved.
        """
        self._prepare()
        total = self.per_epoch * self.schedule.epochs
        if total < FEW_STEPS:
            self.progress.say(
                f"{self.what}: it ends after {total} steps (epochs={self.schedule.epochs}, {self.per_epoch} batches of "
                f"{self.schedule.batch_size}), too few to learn much; raise epochs, or lower batch_size."
            )
        with _stop_signal() as stop, self.progress.track(self.what, total, "steps", self.step) as advance:
            try:
                while self.step < total and not self._converged():
                    self._epoch(stop, advance)
            except RuntimeError as error:
                remedy = _remedy(error)
                if remedy is None:
                    raise
                raise TrainingError(f"{self.what} on {self.device}: {remedy}; {self._saved()}.") from error
        if self.losses is not None:
            began, first, last = self.losses
            self.progress.say(f"{self.what}: loss {first:.3f} at step {began:,}, {last:.3f} at step {self.step:,}.")
        self.network.eval()

    def _prepare(self) -> None:
        import torch

        schedule, group = self.schedule, distributed.current()
        order = np.random.default_rng([self.seed, len(self.indices)]).permutation(self.indices)
        held_out = round(schedule.holdout * len(order))
        self.held_out, self.training_indices = order[:held_out], np.sort(order[held_out:])
        if len(self.training_indices) < schedule.batch_size:
            raise TrainingError(
                f"{self.what}: {len(self.training_indices)} training images are fewer than one batch of "
                f"{schedule.batch_size}; lower it, for example batch_size={_power_of_two(len(self.training_indices))}."
            )
        self.per_epoch = len(self.training_indices) // schedule.batch_size
        on_gpu = self.device.startswith("cuda")
        each = schedule.batch_size // group.size
        if each % schedule.parts:
            raise TrainingError(
                f"{self.what}: the {each} images of each process cannot be divided into accumulate={schedule.parts} "
                "equal parts; choose one that divides them."
            )
        graphed = on_gpu and group.size == 1 and schedule.compiles(self.device)
        precision = ("bf16" if on_gpu else "fp32") if schedule.precision == "auto" else schedule.precision
        groups = self.groups or [{"params": list(self.network.parameters()), "lr_scale": 1.0}]
        optimiser = schedule.optimiser_of(groups, self.device, graphed)
        generator = torch.Generator(self.device).manual_seed(self.seed)
        kind = GraphedStep if graphed else EagerStep
        self.take_step = kind(self.network, self.loss, optimiser, generator, precision, schedule.parts)
        self.state = TrainingState(self.network, optimiser, generator, self.scratch)
        self.step, self.saved_at = self.state.resume(), time.monotonic()
        self.log = TrainingLog(self.scratch if group.main else None, self.step)
        if self.step:
            self.progress.say(f"{self.what}: resuming from step {self.step:,}.")

    def _epoch(self, stop: threading.Event, advance: Callable[..., None]) -> None:
        """Take the remaining steps of an epoch, then save the state."""
        import torch

        self.network.train()
        epoch, first = divmod(self.step, self.per_epoch)
        losses: list[Tensor] = []
        started, waited, stopping = time.monotonic(), Waiting(), False
        batches = self._indices_of(epoch)[first:]
        given = waited.over(self.loader.batches(batches, epoch))
        for targets, features in zip(self._targets_of(batches), given, strict=True):
            lr = self.schedule.lr_at(self.step, self.per_epoch)
            self.state.set_lr(lr)
            losses.append(self.take_step(features, targets).clone())
            self.step += 1
            advance(1)
            last = self.step % self.per_epoch == 0
            stopping = stop.is_set() if distributed.current().size == 1 else False
            if len(losses) == REPORT_EVERY or last or stopping:
                stopping = distributed.current().any(stop.is_set())
                values = distributed.current().means(torch.stack(losses))  # waits for the device
                seconds = max(time.monotonic() - started, 1e-9)
                rate = len(values) * self.schedule.batch_size / seconds
                value = self._report(values, lr, rate, waited.share(seconds))
                advance(0, epoch=f"{epoch + 1}/{self.schedule.epochs}", loss=f"{value:.3f}", images=f"{rate:,.0f}/s")
                losses, started = [], time.monotonic()
                if not (last or stopping) and started - self.saved_at > SAVE_EVERY_S:
                    self._save()
            if stopping and not last:
                break
        if self.step % self.per_epoch == 0 and len(self.held_out):  # if it is stopped here, too
            self._evaluate_held_out(epoch)
        self._save()
        if stopping:
            raise KeyboardInterrupt

    def _indices_of(self, epoch: int) -> Indices:
        """Return the image indices (batches, b) of ``epoch``: this process's part of each batch."""
        import torch

        size = self.schedule.batch_size
        generator = torch.Generator().manual_seed(EPOCH_STRIDE * self.seed + epoch)
        order = torch.randperm(len(self.training_indices), generator=generator).numpy()
        return _parts(self.training_indices[order], size)

    def _targets_of(self, batches: Indices) -> Iterator[Tensor]:
        """Yield the targets of each batch; all indices go to the device at once, so that no step waits for them."""
        import torch

        for chosen in torch.from_numpy(batches).to(self.targets.device):
            yield self.targets.index_select(0, chosen)

    def _report(self, losses: list[float], lr: float, rate: float, waited: float) -> float:
        """Log the losses of the last steps; raise ``TrainingError`` if one is not finite."""
        first = self.step - len(losses)
        for number, value in enumerate(losses, first + 1):
            if not np.isfinite(value):
                raise self._diverged(f"the loss is {value} at step {number}")
        self.log.steps(first, losses, lr, rate, waited)
        began, at_first, _ = self.losses or (first + 1, losses[0], 0.0)
        self.losses = began, at_first, losses[-1]
        return losses[-1]

    def _save(self) -> None:
        """Save the state; raise ``TrainingError`` if a parameter is not finite, which the last loss need not reveal."""
        import torch

        with torch.no_grad():
            finite = torch.stack([parameter.isfinite().all() for parameter in self.network.parameters()])
        if not bool(finite.all()):
            raise self._diverged(f"weights are no longer finite after step {self.step}")
        self.state.save(self.step)
        self.saved_at = time.monotonic()

    def _diverged(self, how: str) -> TrainingError:
        return TrainingError(
            f"{self.what}: {how}; {self._saved()}. Lower the learning rate, for example lr={self.schedule.lr / 10:g}."
        )

    def _saved(self) -> str:
        last = self.state.saved_step
        return f"the state after step {last} is saved in {self.scratch}" if last else "no earlier state was saved"

    def _evaluate_held_out(self, epoch: int) -> None:
        """Compute the held-out loss, log it, and update the early-stopping state."""
        import torch

        self.network.eval()
        batches = _parts(self.held_out, min(self.schedule.batch_size, len(self.held_out)))
        generator = torch.Generator(self.device).manual_seed(self.seed)
        total = 0.0
        with torch.inference_mode():
            for targets, features in zip(self._targets_of(batches), self.loader.batches(batches, epoch), strict=True):
                total += float(self.loss(features, targets, generator))
        value = distributed.current().mean(total / len(batches))
        if not np.isfinite(value):
            raise self._diverged(f"the held-out loss is {value} after step {self.step}")
        self.state.note_held_out(value)
        self.log.held_out(self.step, value)

    def _converged(self) -> bool:
        patience = self.schedule.patience
        converged = bool(patience) and self.state.epochs_without_progress >= patience
        if converged:
            self.progress.say(f"{self.what}: the held-out loss has not decreased for {patience} epochs; stopping.")
        return converged


class Waiting:
    """Measures how long the training waits for its batches: for decoding, if it reads pixels."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def over(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the ``batches``, with the time that each takes to arrive added up."""
        while True:
            began = time.monotonic()
            batch = next(batches, None)
            self.seconds += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def share(self, seconds: float) -> float:
        """Return which share of ``seconds`` was waited since this was last asked."""
        share, self.seconds = self.seconds / seconds, 0.0
        return min(share, 1.0)


def _remedy(error: RuntimeError) -> str | None:
    """Return what went wrong in torch and what to do; None if the user cannot do anything about it."""
    import torch

    inner = getattr(error, "inner_exception", error)  # a compiler error wraps the actual one
    reason = (str(inner).strip() or type(inner).__name__).splitlines()[0]
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of memory ({reason}); lower batch_size, queue_length or hidden_dim, or raise accumulate"
    if is_compiler_error(error):
        return f"torch could not compile the step ({reason}); set compiled=no"
    return None


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that a step is never interrupted half-way."""
    stop = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        if stop.is_set():  # a second signal: stop immediately
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _parts(indices: Indices, size: int) -> Indices:
    """Return this process's part (batches, b) of every full batch of ``size`` in ``indices``; drop the remainder."""
    whole = indices[: len(indices) - len(indices) % size].reshape(-1, size)
    return np.ascontiguousarray(whole[:, distributed.current().part(size)])


def _power_of_two(n: int) -> int:
    return 1 << max(0, n.bit_length() - 1)
