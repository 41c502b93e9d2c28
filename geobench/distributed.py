"""Collective operations of the processes that ``torchrun`` started; in a single process they cost nothing."""

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


TIMEOUT = timedelta(days=7)
"""A process may wait for hours for the images of the others, or for a lock; torchrun notices a dead one."""


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Return whether this is the main process, the one that writes files and reports."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Return the ``value`` of the main process, in every process."""
        if self.size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, in the order of their ranks; differentiable.

        Args:
            rows: (n, ...) with the same n in every process.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _differentiable_gather()(rows, self)
        return gathered

    def part(self, n: int) -> slice:
        """Return the part of ``n`` rows, which every process holds, that this one processes.

        Raises:
            TrainingError: ``n`` is not a multiple of the number of processes.
        """
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
        """Return the mean of each of ``values`` (n,) over the processes; synchronises with the device."""
        if self.size > 1:
            from torch import distributed

            values = values.double()
            distributed.all_reduce(values)
            values /= self.size
        means: list[float] = values.tolist()
        return means

    def wait(self) -> None:
        """Wait until every process has reached this point."""
        if self.size > 1:
            from torch import distributed

            distributed.barrier()


_current = Group()


def current() -> Group:
    """Return the group of this process: a group of one outside :func:`joined`."""
    return _current


def local_device(device: str) -> str:
    """Return the GPU of this process if ``device`` is ``cuda`` and torchrun started it, else ``device``."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """Join the processes that torchrun started, if any, and yield the group."""
    global _current  # noqa: PLW0603  one process has one group, as torch.distributed has
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _current.size > 1:
        yield _current
        return
    import torch
    from torch import distributed

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=TIMEOUT)
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


def _differentiable_gather() -> Any:
    """Return an autograd function: forward, all rows; backward, the summed gradient of own rows."""
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
