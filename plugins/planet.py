"""PlaNet (Weyand, Kostrikov, Philbin; ECCV 2016): one adaptive partition of the Earth, one softmax."""

from __future__ import annotations

from typing import Literal

from geobench import hookimpl
from geobench.classification import CellClassifier
from geobench.partitions import nested
from geobench.settings import setting, settings
from geobench.training.backbones import FineTuning


@settings
class PlanetConfig(FineTuning):
    """Hyper-parameters of PlaNet. Its thresholds are for 91 million photos: scale max_images with the data."""

    lr: float = setting(3e-4, "learning rate in the first epoch", gt=0)
    max_images: int = setting(10_000, "t1: a cell with more training images is divided", ge=1, source="the paper's t1")
    min_images: int = setting(50, "t2: a cell with fewer training images is left out", ge=1, source="the paper's t2")
    answer: Literal["centre", "mean"] = setting(
        "centre",
        "the centre of the most probable cell, or the mean position of its training images",
        source="the paper",
    )

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if self.min_images > self.max_images:
            raise ValueError(f"min_images must be at most max_images, {self.max_images}, not {self.min_images}.")


VARIANTS = {"paper": {"backbone": "whole", "backbone_lr": 1.0, "optimiser": "adagrad", "lr": 0.045}}


class Planet(CellClassifier):
    """Places a photo at the centre of its most probable cell.

    Section 3: the S2 quad-tree is descended from the faces of the cube, cells with more than t1 photos are divided,
    those with fewer than t2 are dropped; a network is trained with a softmax over the cells.
    """

    name = "planet"
    summary = "one adaptive partition, one softmax, the cell's centre (Weyand et al., ECCV 2016)"
    Config = PlanetConfig
    variants = VARIANTS

    def partition(self, coordinates):
        """Return the one partition, by PlaNet's rule."""
        config = self.config
        return nested(coordinates, [config.max_images], config.min_images, "inclusive", config.answer)

    def build(self, width, arrays):
        """Return the softmax layer."""
        from geobench.training.heads import LinearHeads

        return LinearHeads(width, arrays["sizes"])


@hookimpl
def register_models(register):
    """Register PlaNet."""
    register(Planet)
