"""The base network, a classifier of scenes on the same features, and a copy of the base for each scene."""

from __future__ import annotations

import torch
from torch import nn

from geobench.training.heads import LinearHeads, combined, greatest_probabilities, mean_probabilities, sum_of_losses


class SceneNetworks(nn.Module):
    """Heads of the partitions: ``base``, and ``of_scene`` one copy per scene, chosen by ``scene``."""

    def __init__(self, width, sizes, scenes, answer, crops):
        super().__init__()
        self.base = LinearHeads(width, sizes)
        self.scene = LinearHeads(width, [scenes]) if scenes else None
        self.of_scene = nn.ModuleList([LinearHeads(width, sizes) for _ in range(scenes)])
        self.answer, self.crops = answer, crops
        for heads in self.of_scene:
            heads.load_state_dict(self.base.state_dict())

    def loss(self, features, targets, generator):
        """Return the loss of the base network, and of the classifier of scenes, which leaves the features alone.

        Args:
            features: (b, views, d).
            targets: (b, partitions), followed by the scene if scenes are learnt.
            generator: unused, part of the engine's contract.
        """
        if self.scene is None:
            return self.base.loss(features, targets, generator)
        scene = sum_of_losses(self.scene(features.detach()), targets[:, -1:])
        return self.base.loss(features, targets[:, :-1], generator) + scene

    def begin_scene(self, scene):
        """Return the heads of ``scene``, with the weights of the base network."""
        self.of_scene[scene].load_state_dict(self.base.state_dict())
        return self.of_scene[scene]

    def scores(self, features, ancestors):
        """Return the scores (n, fine classes) by the network of each photo's scene."""
        if self.scene is None:
            return self._of(self.base, features, ancestors)
        chosen = mean_probabilities(self.scene(features)[0]).argmax(dim=1)  # (n,)
        each = torch.stack([self._of(heads, features, ancestors) for heads in self.of_scene], dim=1)
        return each[torch.arange(len(features), device=features.device), chosen]

    def _of(self, heads, features, ancestors):
        probability = greatest_probabilities if self.crops == "max" else mean_probabilities
        return combined([probability(logits) for logits in heads(features)], ancestors, self.answer)
