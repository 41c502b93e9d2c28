"""Geo-localization as classification of cells: one linear head per partition, probabilities multiplied up the tree."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from geobench import Model, Predictions, TrainingError, hookimpl, search
from geobench.cells import adaptive_cells, ancestors_of
from geobench.geo import mean_position
from geobench.settings import setting, settings
from geobench.training.engine import Schedule, Training


@settings
class ClassifierConfig(Schedule):
    """Hyper-parameters; partitions as in ISNs (Müller-Budack et al. 2018), optimisation as GeoCLIP's baseline."""

    lr: float = setting(3e-4, "learning rate of Adam in the first epoch", gt=0, source="GeoCLIP: its cell classifiers")
    min_images: int = setting(50, "a cell with fewer training images is left out", ge=1, source="ISNs")
    max_images: tuple[Annotated[int, Ge(1)], ...] = setting(
        (5000, 2000, 1000), "a cell with more training images is divided: coarse, middle, fine", source="ISNs"
    )

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if not self.max_images or list(self.max_images) != sorted(set(self.max_images), reverse=True):
            raise ValueError(
                f"max_images must fall from coarse to fine, such as [5000, 2000, 1000], not {list(self.max_images)}."
            )
        if self.min_images > self.max_images[-1]:
            raise ValueError(
                f"min_images must be at most {self.max_images[-1]}, the finest max_images, not {self.min_images}."
            )


class Classifier(Model):
    """Places a photo at the mean position of the training images of its most probable fine cell."""

    name = "classifier"
    summary = "adaptive S2 cells, a linear head per partition, hierarchical product (as ISNs, PlaNet)"
    Config = ClassifierConfig
    uses_gallery = False

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Build the partitions from the training coordinates, then train the heads together."""
        import torch

        config, rows = self.config, training_set.readable
        coordinates = training_set.coordinates[rows]
        labels, cells = zip(
            *(adaptive_cells(coordinates, config.min_images, most) for most in config.max_images), strict=True
        )
        if not all(map(len, cells)):
            raise TrainingError(
                f"no cell holds {config.min_images} of the {len(rows)} images; lower it, such as min_images=2."
            )
        fine = labels[-1]
        self.ancestors = np.stack([ancestors_of(fine, coarse, len(cells[-1])) for coarse in labels])
        self.centres = np.stack([mean_position(coordinates[fine == cell]) for cell in range(len(cells[-1]))])
        targets = np.full((len(training_set), len(cells)), -1)
        targets[rows] = np.stack(labels, axis=1)
        loader = training_set.loader(self.device)
        torch.manual_seed(seed)
        self.heads = _Heads(loader.width, [len(ids) for ids in cells]).to(self.device)
        Training(
            what=f"train {self.name}",
            network=self.heads,
            loss=self.heads.loss,
            loader=loader,
            indices=rows,
            targets=torch.tensor(targets, device=self.device),
            schedule=config,
            seed=seed,
            device=self.device,
            scratch=scratch,
            progress=progress,
        ).run()

    def locate(self, features, gallery=None, top_k=1):
        """Return the mean positions of the most probable fine cells; views' probabilities are averaged."""
        import torch

        with torch.inference_mode():
            given = torch.tensor(features).to(self.device)
            ancestors = torch.from_numpy(self.ancestors).to(self.device)
            scores = search.in_tiles(lambda tile: self.heads.hierarchical(tile, ancestors), given)
            values, cells = search.largest(scores, min(top_k, scores.shape[1]))
        return Predictions.of(self.centres[cells.cpu().numpy()], values.double().cpu().numpy())

    @property
    def feature_width(self):
        """Return d of the heads' input."""
        return self.heads.heads[0].in_features

    def state(self):
        """Return the heads, the ancestors of each fine cell, and the cells' mean positions."""
        heads = {f"heads.{name}": tensor.cpu().numpy() for name, tensor in self.heads.state_dict().items()}
        return heads | {"ancestors": self.ancestors, "centres": self.centres}

    def restore(self, state):
        """Rebuild the heads."""
        import torch

        self.ancestors, self.centres = state["ancestors"], state["centres"]
        weights = {n.removeprefix("heads."): torch.tensor(a) for n, a in state.items() if n.startswith("heads.")}
        sizes = [len(weights[f"heads.{i}.bias"]) for i in range(len(self.ancestors))]
        self.heads = _Heads(weights["heads.0.weight"].shape[1], sizes).to(self.device).eval()
        self.heads.load_state_dict(weights)


def _Heads(width, sizes):  # noqa: N802  a class whose module imports torch
    from .heads import Heads

    return Heads(width, sizes)


@hookimpl
def register_models(register):
    """Register the classifier."""
    register(Classifier)
