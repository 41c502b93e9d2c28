"""GeoDecoder (Clark et al.; CVPR 2023): queries for hierarchies and scenes over the tokens of an image."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from geobench import hookimpl
from geobench.classification import CellClassifier, SceneConfig
from geobench.settings import setting, settings


@settings
class GeoDecoderConfig(SceneConfig):
    """Hyper-parameters of GeoDecoder."""

    max_images: tuple[Annotated[int, Ge(1)], ...] = setting(
        (25_000, 10_000, 5_000, 2_000, 1_000, 750, 500), "a cell with more training images is divided, by hierarchy",
        source="the paper's 7 hierarchies",
    )  # fmt: skip
    scenes: int = setting(16, "scenes that have queries of their own", ge=1, source="the paper: S16")
    dim: int = setting(256, "width of the decoder", ge=8, source="that of the backbone in the paper")
    shared_layers: int = setting(2, "hierarchy-independent layers", ge=1, source="N = 8 in the paper")
    own_layers: int = setting(1, "hierarchy-dependent layers", ge=0, source="E = 2 in the paper")
    attention_heads: int = setting(4, "of each attention; they divide dim", ge=1, source="12 in the precursor's code")
    feed_forward: int = setting(512, "width of the feed-forward networks", ge=1, source="1024 in the precursor's code")
    scene_weight: float = setting(1.0, "of the scenes' cross entropy beside those of the hierarchies", ge=0)
    smoothing: float = setting(0.0, "label smoothing", ge=0, lt=1, source="0.1 in the precursor's code")

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if self.dim % self.attention_heads:
            raise ValueError(f"attention_heads must divide dim, {self.dim}; {self.attention_heads} does not.")


VARIANTS = {
    "paper": {
        "backbone": "whole", "backbone_lr": 1.0, "dim": 768, "shared_layers": 8, "own_layers": 2, "attention_heads": 12,
        "feed_forward": 1024, "optimiser": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "lr_decay": 0.5,
        "lr_step": 5, "batch_size": 512,
    },
}  # fmt: skip


class GeoDecoder(CellClassifier):
    """Places a photo at the mean position of its most probable fine cell, by the queries of its scene.

    Section 3: a learnt query for each hierarchy and scene attends to the image's tokens. The scene whose queries are
    most confident, by the mean over hierarchies of their first channel, is the photo's; its queries are classified, and
    the probabilities of coarser hierarchies multiply those of the finest.
    """

    name = "geodecoder"
    summary = "a query for each hierarchy and scene over image tokens (Clark et al., CVPR 2023)"
    Config = GeoDecoderConfig
    variants = VARIANTS
    reads = "tokens"

    def learn_from(self, training_set, targets, seed):
        """Add the scene of each image; a single scene needs no labels."""
        if self.config.scenes == 1:
            return np.concatenate([targets, np.zeros((len(targets), 1), dtype=targets.dtype)], axis=1)
        return np.concatenate([targets, self.scenes_for(training_set, seed).labels[:, None]], axis=1)

    def build(self, width, arrays):
        """Return the decoder with its classifiers."""
        from .network import Decoder

        return Decoder(width // int(arrays["tokens"][1]), [int(size) for size in arrays["sizes"]], self.config)


@hookimpl
def register_models(register):
    """Register GeoDecoder."""
    register(GeoDecoder)
