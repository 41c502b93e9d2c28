"""A softmax layer per set of classes; each votes for the intersections that its classes contain."""

from __future__ import annotations

import torch

from geobench.training.heads import LinearHeads, combined, mean_probabilities


class VotingHeads(LinearHeads):
    """Linear heads whose probabilities are added up over sets."""

    def __init__(self, width, sizes, cells_in, normalised):
        super().__init__(width, sizes, combine="sum")
        self.sizes, self.normalised = [int(size) for size in sizes], normalised
        self.register_buffer("cells_in", torch.as_tensor(cells_in, dtype=torch.float32))

    def scores(self, features, ancestors):
        """Return the sums (n, fine classes), of probabilities or, normalised, of probabilities per initial cell."""
        probabilities = [mean_probabilities(logits) for logits in self(features)]
        if self.normalised:
            counts = self.cells_in.split(self.sizes)
            probabilities = [each / count for each, count in zip(probabilities, counts, strict=True)]
        return combined(probabilities, ancestors, "sum")
