"""One training step: eager on any device, or on a GPU a CUDA graph, so that the device never waits for Python."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geobench import distributed
from geobench.errors import TrainingError, is_out_of_memory

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Loss = Callable[["Tensor", "Tensor", "torch.Generator"], "Tensor"]
WARM_UP = 3  # steps on a side stream before the capture, as torch requires; their effects are undone


def is_compiler_error(error: BaseException) -> bool:
    """Return whether ``error`` comes from torch.compile, without importing its exceptions."""
    return any(parent.__module__ == "torch._dynamo.exc" for parent in type(error).__mro__)


@dataclass
class EagerStep:
    """One forward and backward pass and an update of the parameters.

    Attributes:
        network: its parameters are updated, and possibly its buffers.
        loss: maps features (b, views, d), targets (b, ...) and a generator to a scalar.
        optimiser: of the network's parameters.
        generator: source of all randomness in the loss.
        precision: ``fp32`` or ``bf16`` (autocast; parameters and optimiser stay in float32).
        parts: that a batch is computed in; gradients of a loss that is a mean over images add up to those of the batch.
    """

    network: nn.Module
    loss: Loss
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    precision: str
    parts: int = 1

    def __call__(self, features: Tensor, targets: Tensor) -> Tensor:
        """Take one step and return the loss of the batch."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.gradients(features, targets)
        distributed.current().average_gradients(self.network.parameters())
        self.optimiser.step()
        return loss

    def gradients(self, features: Tensor, targets: Tensor) -> Tensor:
        """Add up the gradients of the parts of a batch, and return its loss."""
        total = targets.new_zeros((), dtype=features.dtype)
        for some, wanted in zip(features.chunk(self.parts), targets.chunk(self.parts), strict=True):
            with self.autocast():
                loss = self.loss(some, wanted, self.generator) / self.parts
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context of the forward pass."""
        import torch

        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.generator.device.type, dtype=torch.bfloat16, cache_enabled=False)


class GraphedStep(EagerStep):
    """The same step, captured once as a CUDA graph and replayed; batches must have a fixed shape.

    Raises:
        TrainingError: the step cannot be captured.
    """

    graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, features: Tensor, targets: Tensor) -> Tensor:
        """Copy the batch into the tensors that the graph reads, and replay it."""
        if self.graph is None:
            try:
                self._capture(features, targets)
            except RuntimeError as error:
                if is_out_of_memory(error) or is_compiler_error(error):  # reported by the engine
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise TrainingError(
                    f"the step cannot be captured as a CUDA graph ({reason}); set compiled=no."
                ) from error
        assert self.graph is not None
        self.features.copy_(features)
        self.targets.copy_(targets)
        self.graph.replay()
        return self.result

    def _capture(self, features: Tensor, targets: Tensor) -> None:
        import torch

        self.features, self.targets = features.clone(), targets.clone()
        parameters = copy.deepcopy(self.network.state_dict())
        moments = copy.deepcopy(self.optimiser.state_dict())
        random = self.generator.get_state()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), warnings.catch_warnings(action="ignore"):  # Adam warns outside a capture
            for _ in range(WARM_UP):
                self._captured_step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.generator)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # another thread may pin memory
            self.result = self._captured_step()
        self._undo(parameters, moments, random)

    def _captured_step(self) -> Tensor:
        """Take the step that is captured; gradients are reallocated in the graph's own memory pool."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.gradients(self.features, self.targets)
        self.optimiser.step()
        return loss

    def _undo(self, parameters: dict[str, Tensor], moments: dict[str, Any], random: Tensor) -> None:
        """Undo the warm-up steps, in place: the graph refers to these addresses."""
        import torch

        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                tensor.copy_(parameters[name])
            before = moments["state"]
            for index, values in self.optimiser.state_dict()["state"].items():
                for name, value in values.items():
                    if index in before:
                        value.copy_(before[index][name])
                    else:
                        value.zero_()
        self.generator.set_state(random)
