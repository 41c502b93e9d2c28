"""Training on cached features, for every model that has a network: one loop, resumed exactly, stopped without loss."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import CheckpointError, SettingError, TrainingError
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

REPORT_EVERY = 20  # steps between two readings of the loss: each one makes the device wait
EPOCH_STRIDE = 1_000_003  # two seeds never share the order of an epoch
RESIDENT_BYTES = 4 << 30  # features up to this size are kept in memory, larger ones are read from the memory map


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train: Adam with a step decay per epoch (paper, section 4.1)."""

    batch_size: int
    epochs: int
    lr: float
    weight_decay: float
    lr_decay: float

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("lr", "lr_decay"):
            if getattr(self, name) <= 0:
                raise SettingError(f"{name} must be above 0, not {getattr(self, name)}.")


@dataclass
class Training:
    """One training of one network.

    Attributes:
        what: named in progress and errors, such as ``train geoclip``.
        network: its parameters are trained, its buffers are part of the state that is kept.
        loss: from features (b, views, d), targets (b, ...) and a generator to a scalar.
        features: (n, views, d), memory-mapped or not.
        rows: (r,) the rows of ``features`` to train on.
        targets: (r, ...), in the order of ``rows``.
        scratch: folder of the state; None keeps none.
    """

    what: str
    network: nn.Module
    loss: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    features: npt.NDArray[np.float32]
    rows: npt.NDArray[np.intp]
    targets: Tensor
    schedule: Schedule
    seed: int
    device: str
    scratch: Path | None = None
    progress: Progress = SILENT
    step: int = field(default=0, init=False)

    def run(self) -> None:
        """Train to the last epoch; from the state in ``scratch`` where there is one.

        Raises:
            TrainingError: fewer rows than a batch, or a loss that is not finite.
            CheckpointError: the state in ``scratch`` is damaged.
            KeyboardInterrupt: asked to stop by SIGINT or SIGTERM; the state is saved first.
        """
        import torch

        size = self.schedule.batch_size
        if len(self.rows) < size:
            raise TrainingError(
                f"{self.what}: {len(self.rows)} images to train on are fewer than the batch of {size}; "
                f"lower it with --set batch_size={_largest_power_of_two(len(self.rows))}."
            )
        self.per_epoch = len(self.rows) // size
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=self.schedule.lr, weight_decay=self.schedule.weight_decay, fused=True
        )
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self._resume()
        self.network.train()
        total = self.per_epoch * self.schedule.epochs
        with _stop_signal() as stop, self.progress.track(self.what, total, "steps", self.step) as advance:
            while self.step < total:
                self._epoch(stop, advance)
        self.network.eval()

    def _epoch(self, stop: threading.Event, advance: Callable[..., None]) -> None:
        """Take the steps of one epoch that are still to be taken, then keep the state."""
        import torch

        epoch, first = divmod(self.step, self.per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr * self.schedule.lr_decay**epoch
        order = torch.randperm(
            len(self.rows), generator=torch.Generator().manual_seed(EPOCH_STRIDE * self.seed + epoch)
        )
        started, reported = time.monotonic(), self.step
        for position in range(first, self.per_epoch):
            loss = self._step(order[position * self.schedule.batch_size :][: self.schedule.batch_size])
            self.step += 1
            advance(1)
            if self.step % REPORT_EVERY == 0 or position == self.per_epoch - 1:
                value = self._finite(loss)
                rate = (self.step - reported) * self.schedule.batch_size / max(time.monotonic() - started, 1e-9)
                advance(0, epoch=f"{epoch + 1}/{self.schedule.epochs}", loss=f"{value:.3f}", images=f"{rate:,.0f}/s")
                self._log(epoch, value, rate)
                started, reported = time.monotonic(), self.step
            if stop.is_set():
                self._finite(loss)
                self._keep()
                raise KeyboardInterrupt
        self._keep()

    def _step(self, chosen: Tensor) -> Tensor:
        features = self._gather(chosen.numpy())
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(features, self.targets[chosen.to(self.targets.device)], self.generator)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach()

    def _gather(self, chosen: npt.NDArray[np.intp]) -> Tensor:
        """Return the features (b, views, d) of the rows numbered ``chosen`` on the device."""
        import torch

        if self.features.nbytes <= RESIDENT_BYTES:
            if not hasattr(self, "_resident"):
                self._resident = torch.from_numpy(np.array(self.features[self.rows])).to(self.device)
            return self._resident[torch.from_numpy(chosen).to(self.device)]
        return torch.from_numpy(np.array(self.features[self.rows[chosen]])).to(self.device)

    def _finite(self, loss: Tensor) -> float:
        value = float(loss)
        if not np.isfinite(value):
            raise TrainingError(
                f"{self.what}: the loss is {value} at step {self.step}; the state of the last whole epoch is kept. "
                f"Lower the learning rate, such as --set lr={self.schedule.lr / 10:g}."
            )
        return value

    def _log(self, epoch: int, loss: float, rate: float) -> None:
        if self.scratch is not None:
            lr = self.schedule.lr * self.schedule.lr_decay**epoch
            record = {"step": self.step, "epoch": epoch, "loss": loss, "lr": lr, "images_per_s": round(rate, 1)}
            self.scratch.mkdir(parents=True, exist_ok=True)
            with (self.scratch / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def _keep(self) -> None:
        """Write network, optimiser, generator and step to ``scratch``: all that the next step depends on."""
        from safetensors.torch import save_file

        if self.scratch is None:
            return
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        tensors["generator"] = self.generator.get_state()
        with files.replacing(self.scratch / "state.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"step": str(self.step)})

    def _resume(self) -> None:
        from safetensors import SafetensorError, safe_open

        path = self.scratch / "state.safetensors" if self.scratch is not None else None
        if path is None or not path.exists():
            return
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
                self.step = int(file.metadata()["step"])
            self._take_back(tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: the state of the interrupted training is damaged ({error}); delete it and start again."
            ) from error
        self.progress.say(f"{self.what}: goes on from step {self.step:,}.")

    def _take_back(self, tensors: dict[str, Tensor]) -> None:
        self.network.load_state_dict(
            {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self.generator.set_state(tensors["generator"])


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that a step is never cut in the middle."""
    stop = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        if stop.is_set():  # asked twice: now
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


def _largest_power_of_two(n: int) -> int:
    return 1 << max(0, n.bit_length() - 1)
