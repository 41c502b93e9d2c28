"""Linear heads on the features, one per partition, coarse to fine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Heads(nn.Module):
    """One linear layer per partition."""

    def __init__(self, width: int, sizes: list[int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.heads = nn.ModuleList([nn.Linear(width, size) for size in sizes])

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return per partition the logits (..., cells) of ``features`` (..., d)."""
        features = self.norm(features)
        return [head(features) for head in self.heads]

    def loss(self, features: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return the sum over partitions of the mean cross entropy; an image without a cell there adds nothing.

        Args:
            features: (b, views, d).
            labels: (b, partitions), −1 for no cell.
            generator: unused, part of the engine's contract.
        """
        total = features.new_zeros(())
        for logits, label in zip(self(features), labels.T, strict=True):
            target = label[:, None].expand(-1, features.shape[1])  # (b, views)
            entropy = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum")
            total = total + entropy / target.numel()
        return total

    def hierarchical(self, features: Tensor, ancestors: Tensor) -> Tensor:
        """Return for each fine cell (n, cells) the product of its probability and its ancestors', views averaged.

        Args:
            features: (n, views, d).
            ancestors: (partitions, fine cells), the number of each fine cell's cell in every partition.
        """
        product = torch.ones((), device=features.device)
        for logits, ancestor in zip(self(features), ancestors, strict=True):
            probability = logits.softmax(dim=-1).mean(dim=1)  # (n, cells of this partition)
            product = product * probability[:, ancestor]
        return product
