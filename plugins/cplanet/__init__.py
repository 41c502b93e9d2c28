"""CPlaNet (Seo, Weyand, Sim, Han; ECCV 2018): several coarse sets of classes, whose intersections are fine places."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from geobench import TrainingError, hookimpl
from geobench.cells import adaptive_cells
from geobench.classification import CellClassifier
from geobench.partitions import crossed
from geobench.progress import SILENT
from geobench.settings import setting, settings
from geobench.training.backbones import FineTuning

from .merging import mean_looks, merged


@settings
class CplanetConfig(FineTuning):
    """Hyper-parameters of CPlaNet. The weights of a set's merges are drawn with the seed: the paper's are not known."""

    lr: float = setting(3e-4, "learning rate in the first epoch", gt=0)
    cell_images: int = setting(100, "an initial S2 cell with more training images is divided", ge=1)
    classes: tuple[Annotated[int, Ge(2)], ...] = setting(
        (9_969, 9_969, 12_977, 12_333, 11_262),
        "classes of each set that is made by merging cells",
        source="the paper's sets 1 to 5",
    )
    with_planet: bool = setting(True, "PlaNet's set of S2 cells as one more", source='the paper\'s "[1-5, PlaNet]"')
    max_images: int = setting(10_000, "of PlaNet's set: a cell with more training images is divided", ge=1)
    min_images: int = setting(50, "of PlaNet's set: a cell with fewer training images is left out", ge=1)
    visual_weight: float = setting(
        1.0,
        "β1 against β2 = 1: how much it counts that the photos of two cells look alike; 0 merges by distance alone",
        ge=0,
    )
    answer: Literal["normalised", "simple"] = setting(
        "normalised", "simple: the sum over sets of a class's probability; normalised: each divided by the cells in it",
        source="the paper, where the normalised sum is better",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if not self.classes:
            raise ValueError("classes must name at least one set, such as [200, 250].")


VARIANTS = {"paper": {"backbone": "whole", "backbone_lr": 1.0}}


class Cplanet(CellClassifier):
    """Places a photo at the mean position of the images in its best intersection of classes.

    Sections 3.1 and 3.2: S2 cells with photos are the nodes of a graph; the lightest node is merged with the neighbour
    across the lightest edge until as many are left as a set has classes; sets differ by the weights of nodes and edges.
    Section 3.3: every set votes, with its class's probability, for the intersections that the class contains.
    """

    name = "cplanet"
    summary = "intersections of several coarse partitions, scores summed (Seo et al., ECCV 2018)"
    Config = CplanetConfig
    variants = VARIANTS

    def partition(self, coordinates):
        """Return the sets of classes and their intersections."""
        config = self.config
        initial, cells = adaptive_cells(coordinates, 1, config.cell_images, "inclusive")
        if len(cells) < max(config.classes):
            self.say(
                f"{self.name}: the {len(coordinates):,} training images are in {len(cells):,} initial cells, fewer "
                f"than the {max(config.classes):,} classes of a set: such a set has a class for each cell."
            )
        looks = mean_looks(*self.images, initial, len(cells))
        sets, cells_in = [], []
        for number, classes in enumerate(min(most, len(cells)) for most in config.classes):
            rng = np.random.default_rng([self.seed, number])
            of_cell = merged(initial, len(cells), coordinates, looks, classes, config.visual_weight, rng)
            sets.append(of_cell[initial])
            cells_in.append(np.bincount(of_cell, minlength=classes))
        if config.with_planet:
            labels, kept = adaptive_cells(coordinates, config.min_images, config.max_images, "inclusive")
            if not len(kept):
                raise TrainingError(f"no cell of PlaNet's set holds {config.min_images} images; lower min_images.")
            # An initial cell that reaches into two of PlaNet's counts for the one of its first image.
            firsts = np.unique(initial, return_index=True)[1]
            sets.append(labels)
            cells_in.append(np.maximum(np.bincount(labels[firsts][labels[firsts] >= 0], minlength=len(kept)), 1))
        self.cells_in = np.concatenate(cells_in)
        return crossed(np.stack(sets, axis=1), coordinates)

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Keep the seed of the merges and where it says what the images look like, then train."""
        self.seed, self.say = seed, progress.say if progress is not None else SILENT.say
        self.images = training_set.features.array, training_set.readable
        super().fit(training_set, seed=seed, scratch=scratch, progress=progress)
        del self.images, self.say

    def build(self, width, arrays):
        """Return a softmax layer per set."""
        from .network import VotingHeads

        return VotingHeads(width, arrays["sizes"], arrays["cells_in"], self.config.answer == "normalised")

    def arrays(self):
        """Return the partitions, and how many initial cells each class is made of."""
        return super().arrays() | {"cells_in": self.cells_in}

    def restore(self, state):
        """Rebuild the heads."""
        self.cells_in = state["cells_in"]
        super().restore(state)


@hookimpl
def register_models(register):
    """Register CPlaNet."""
    register(Cplanet)
