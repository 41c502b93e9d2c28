"""TransLocator (Pramanick et al.; ECCV 2022): an RGB branch and one on the semantic map, fused after every layer."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from geobench import hookimpl
from geobench.classification import CellClassifier, SceneConfig
from geobench.settings import setting, settings


@settings
class TranslocatorConfig(SceneConfig):
    """Hyper-parameters of TransLocator.

    The paper's branches are two ViT-B/16. Here both start from the tokens of the encoder, each with its own network if
    the backbone is trained; on them come fused layers. The semantic map is the encoder's: a segmentation network where
    it has one, else a stand-in by colour, which every record names.
    """

    dim: int = setting(256, "width of the fused layers", ge=8, source="768 in the paper")
    depth: int = setting(2, "fused layers", ge=1, source="12 in the paper")
    attention_heads: int = setting(4, "of each attention; they divide dim", ge=1, source="12 in the paper")
    use_map: bool = setting(True, "false: the RGB branch alone, as in the public code")
    loss_weights: tuple[Annotated[float, Ge(0)], ...] = setting(
        (0.5, 0.3, 0.2), "of the partitions' cross entropies, coarse to fine; the scene's is 1", source="public code"
    )

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if self.dim % self.attention_heads:
            raise ValueError(f"attention_heads must divide dim, {self.dim}; {self.attention_heads} does not.")
        if len(self.loss_weights) != self.partitions:
            raise ValueError(
                f"loss_weights must have a weight for each of the {self.partitions} partitions, not "
                f"{len(self.loss_weights)}."
            )


VARIANTS = {
    "paper": {
        "backbone": "whole", "backbone_lr": 1.0, "dim": 768, "depth": 12, "attention_heads": 12, "optimiser": "sgd",
        "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "lr_schedule": "cosine", "warm_up": 2.0, "batch_size": 256,
        "epochs": 40,
    },
    "rgb": {"use_map": False},
}  # fmt: skip


class Translocator(CellClassifier):
    """Places a photo at the mean position of its most probable fine cell; both branches and the scene are learnt."""

    name = "translocator"
    summary = "RGB and semantic-map branches, fused in every layer; cells and scene (Pramanick et al., ECCV 2022)"
    Config = TranslocatorConfig
    variants = VARIANTS
    reads = "tokens+map"

    def learn_from(self, training_set, targets, seed):
        """Add the scene of each image."""
        return np.concatenate([targets, self.scenes_for(training_set, seed).labels[:, None]], axis=1)

    def build(self, width, arrays):
        """Return the fused branches with their heads."""
        from .network import FusedBranches

        own, total = (int(n) for n in arrays["tokens"])
        return FusedBranches(width // total, own, [int(size) for size in arrays["sizes"]], self.config)


@hookimpl
def register_models(register):
    """Register TransLocator."""
    register(Translocator)
