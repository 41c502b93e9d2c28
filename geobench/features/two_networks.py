"""Two networks side by side, as one to fine-tune."""

from __future__ import annotations

from typing import Any

from torch import nn


class TwoNetworks(nn.Module):
    """The networks of two branches; blocks of the same depth are trained alike."""

    def __init__(self, image: nn.Module, semantic: nn.Module) -> None:
        super().__init__()
        self.image, self.semantic = image, semantic

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turn gradient checkpointing on in both, if both have it."""
        for network in (self.image, self.semantic):
            checkpointing: Any = network.set_grad_checkpointing
            checkpointing(enable)
