"""Heads and losses that classifiers of cells share: linear heads, cross entropies, answers from several partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class LinearHeads(nn.Module):
    """One linear layer per partition on the normalised features, all trained together."""

    def __init__(
        self, width: int, sizes: Sequence[int], combine: Literal["product", "sum", "fine"] = "product"
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.heads = nn.ModuleList([nn.Linear(width, size) for size in sizes])
        self.combine = combine

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return per partition the logits (..., classes) of ``features`` (..., d)."""
        features = self.norm(features)
        return [head(features) for head in self.heads]

    def loss(self, features: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return the sum over partitions of the mean cross entropy.

        Args:
            features: (b, views, d).
            labels: (b, partitions), −1 for no class.
            generator: unused, part of the engine's contract.
        """
        return sum_of_losses(self(features), labels)

    def scores(self, features: Tensor, ancestors: Tensor) -> Tensor:
        """Return the scores (n, fine classes) of ``features`` (n, views, d); views' probabilities are averaged."""
        return combined([mean_probabilities(logits) for logits in self(features)], ancestors, self.combine)


def mean_probabilities(logits: Tensor) -> Tensor:
    """Return the probabilities (n, classes), the mean over views of the softmax of ``logits`` (n, views, classes)."""
    return logits.softmax(dim=-1).mean(dim=1)


def greatest_probabilities(logits: Tensor) -> Tensor:
    """Return the greatest probability (n, classes) of each class over the views of ``logits`` (n, views, classes).

    Source: the ISN authors' evaluation, over three or five crops.
    """
    return logits.softmax(dim=-1).amax(dim=1)


def sum_of_losses(
    logits: Sequence[Tensor], labels: Tensor, weights: Sequence[float] | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the weighted sum over tasks of the mean cross entropy; an image without a class there adds nothing.

    Args:
        logits: of each task, (b, views, classes).
        labels: (b, tasks), −1 for no class.
        weights: of the tasks; None weighs them alike.
        smoothing: share of the probability that is spread over all classes (Szegedy et al. 2016, section 7).
    """
    total = labels.new_zeros((), dtype=logits[0].dtype)
    for task, (each, label) in enumerate(zip(logits, labels.T, strict=True)):
        target = label[:, None].expand(-1, each.shape[1])  # (b, views)
        entropy = functional.cross_entropy(
            each.flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum", label_smoothing=smoothing
        )
        total = total + (1.0 if weights is None else weights[task]) * entropy / target.numel()
    return total


def combined(
    probabilities: Sequence[Tensor], ancestors: Tensor, how: Literal["product", "sum", "fine"] = "product"
) -> Tensor:
    """Return the score (n, c) of each fine class from the probabilities of its ancestors.

    Args:
        probabilities: (n, classes) of each partition.
        ancestors: (p, c) the class of each fine class in every partition.
        how: ``product`` up the hierarchy (ISNs: f*), ``sum`` over partitions that cross (CPlaNet: simple sum),
            ``fine`` takes the last partition alone.
    """
    if how == "fine":
        return probabilities[-1][:, ancestors[-1]]
    found = probabilities[0][:, ancestors[0]]
    for each, ancestor in zip(probabilities[1:], ancestors[1:], strict=True):
        found = found * each[:, ancestor] if how == "product" else found + each[:, ancestor]
    return found
