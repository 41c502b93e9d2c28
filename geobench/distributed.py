"""Several processes, started by ``torchrun``: who am I, and what do all of us know together. Alone, it is free."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from geobench.errors import TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


PATIENCE = timedelta(days=7)
"""One process may wait for the others' images, or for a lock, for hours; a dead one is noticed by torchrun."""


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: number of this one.
        size: number of all.
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Return whether this process writes and speaks for all."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Return the main process's ``value``, in every process."""
        if self.size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, in the order of their ranks; gradients find their way back.

        Args:
            rows: (n, ...) with the same n in every process.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _gather()(rows, self)
        return gathered

    def part(self, n: int) -> slice:
        """Return this process's part of ``n`` rows that all processes hold alike."""
        if n % self.size:
            below = n - n % self.size
            raise TrainingError(
                f"{n} rows cannot be divided among {self.size} processes; choose a batch_size and a queue_length that "
                f"can, such as {f'{below} or ' if below else ''}{below + self.size}."
            )
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient with its mean over the processes, in one message."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is set in any process."""
        return bool(self.mean(float(flag)) > 0)

    def mean(self, value: float) -> float:
        """Return the mean of ``value`` over the processes."""
        if self.size == 1:
            return value
        import torch

        (mean,) = self.means(torch.tensor([value], dtype=torch.float64, device=_message_device()))
        return mean

    def means(self, values: Tensor) -> list[float]:
        """Return the mean of each of ``values`` (n,) over the processes; waits for the device."""
        if self.size > 1:
            from torch import distributed

            values = values.double()
            distributed.all_reduce(values)
            values /= self.size
        found: list[float] = values.tolist()
        return found

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            from torch import distributed

            distributed.barrier()


_current = Group()


def current() -> Group:
    """Return the group of this process; a group of one outside :func:`joined`."""
    return _current


def local_device(device: str) -> str:
    """Return the GPU of this process where ``device`` is ``cuda`` and torchrun started several."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Join the processes that torchrun started, if it did, and yield the group."""
    global _current  # noqa: PLW0603  one process has one group, as torch.distributed has
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _current.size > 1:
        yield _current
        return
    import torch
    from torch import distributed

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    _current = Group(distributed.get_rank(), distributed.get_world_size())
    try:
        yield _current
    finally:
        _current = Group()
        distributed.destroy_process_group()


def _message_device() -> torch.device:
    import torch
    from torch import distributed

    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


def _gather() -> Any:
    """Return the differentiable gather: forward all rows, backward the sum of everyone's gradient for mine."""
    import torch
    from torch import distributed

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: Tensor, group: Group) -> Tensor:
            ctx.group, ctx.n = group, len(rows)
            parts = [torch.empty_like(rows) for _ in range(group.size)]
            distributed.all_gather(parts, rows.contiguous())
            return torch.cat(parts)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
            total = gradient.contiguous()
            distributed.all_reduce(total)
            return total[ctx.group.rank * ctx.n : (ctx.group.rank + 1) * ctx.n], None

    return Gather.apply
