"""The state of a training run on disk: everything the next step depends on, so that it can be resumed exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geobench import disk, distributed, files
from geobench.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FILE = "state.safetensors"


@dataclass
class TrainingState:
    """Network, optimiser, generator, step, and the progress of the held-out loss.

    Attributes:
        folder: where the state is saved; None saves nothing.
        best: lowest held-out loss so far.
        epochs_without_progress: epochs since then.
        saved_step: of the state in the folder, 0 if there is none.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    folder: Path | None
    best: float = field(default=math.inf, init=False)
    epochs_without_progress: int = field(default=0, init=False)
    saved_step: int = field(default=0, init=False)

    def set_lr(self, lr: float) -> None:
        """Set the learning rate, in place if it is a tensor that a CUDA graph reads."""
        for group in self.optimiser.param_groups:
            scaled = lr * group["lr_scale"]
            if isinstance(group["lr"], float):
                group["lr"] = scaled
            else:
                group["lr"].fill_(scaled)

    def note_held_out(self, loss: float) -> None:
        """Update the best held-out loss and the number of epochs without progress."""
        self.epochs_without_progress = 0 if loss < self.best else self.epochs_without_progress + 1
        self.best = min(self.best, loss)

    def save(self, step: int) -> None:
        """Write everything to the folder atomically."""
        from safetensors.torch import save_file

        if self.folder is None or not distributed.current().main:
            return
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        tensors["generator"] = self.generator.get_state()
        about = {"step": str(step), "best": repr(self.best), "without_progress": str(self.epochs_without_progress)}
        with files.replacing(self.folder / FILE) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, about)
        self.saved_step = step

    def resume(self) -> int:
        """Restore the saved state and return its step, 0 if there is none.

        Raises:
            CheckpointError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / FILE if self.folder is not None else None
        if path is None or not path.exists():
            return 0
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
                about = file.metadata()
            self._restore(tensors)
            self.best, self.epochs_without_progress = float(about["best"]), int(about["without_progress"])
            self.saved_step = int(about["step"])
            return self.saved_step
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
            damaged = f"{path}: the state of the interrupted training is damaged ({error}); delete it and start again."
            raise CheckpointError(disk.not_readable(path, error, damaged)) from error

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        self.network.load_state_dict(
            {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self._lay_out_as_parameters()
        self.generator.set_state(tensors["generator"])

    def _lay_out_as_parameters(self) -> None:
        """Give moments the memory layout of their parameters, which a file does not keep.

        Fused optimisers go through both in the order of memory: with weights in ``channels_last``, contiguous moments
        would be those of other weights, without an error.
        """
        import torch

        for parameter, moments in self.optimiser.state.items():
            for name, value in moments.items():
                if value.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
