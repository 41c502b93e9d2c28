"""The floor that every table needs: predictions that ignore the photo."""

from __future__ import annotations

import numpy as np

from geobench import Model, Predictions, hookimpl
from geobench.cells import adaptive_cells
from geobench.partitions import mean_positions
from geobench.settings import setting, settings


class Random(Model):
    """Predicts random gallery coordinates, drawn with the seeds of the gallery and of the training.

    A gallery that is not drawn, such as a file, has no seed; several trainings show how this floor varies against it.
    """

    name = "random"
    summary = "a gallery coordinate at random: the floor of retrieval"
    input = "none"
    probabilities = True

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Keep the seed: the checkpoint holds the training set's coordinates for its galleries."""
        self.seed = seed

    def locate(self, features, gallery, top_k=1):
        """Return random coordinates, each with the score 1/m."""
        # Each rank has draws of its own, so that neither top_k nor the number of images changes one. A 0 at the end of
        # such a list is as none: the first rank is drawn as in earlier versions.
        seed = [gallery.seed, len(gallery), self.seed]
        draws = [np.random.default_rng([*seed, rank]) for rank in range(min(top_k, len(gallery)))]
        rows = np.stack([rng.integers(len(gallery), size=len(features)) for rng in draws], axis=1)
        return Predictions.of(gallery.coordinates[rows], np.full(rows.shape, 1 / len(gallery)))

    def state(self):
        """Return the seed."""
        return {"seed": np.array([self.seed])}

    def restore(self, state):
        """Take it back; earlier versions did not keep it."""
        self.seed = int(state["seed"][0]) if "seed" in state else 0


@settings
class MostFrequentConfig:
    """How fine the cells are."""

    max_images: int = setting(1000, "a cell with more training images is divided", ge=1)


class MostFrequent(Model):
    """Predicts the same places for every photo: the mean positions of the fullest cells, the fullest first."""

    name = "most-frequent"
    summary = "the mean position of the fullest cell: the floor of classification"
    Config = MostFrequentConfig
    input = "none"
    uses_gallery = False

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Count the training images in adaptive S2 cells, and rank these by images per cell."""
        labels, cells = adaptive_cells(training_set.coordinates, 1, self.config.max_images, "inclusive")
        counts = np.bincount(labels, minlength=len(cells))
        order = np.argsort(-counts, kind="stable")
        self.centres = mean_positions(labels, training_set.coordinates, len(cells))[order]
        self.shares = counts[order] / counts.sum()

    def locate(self, features, gallery=None, top_k=1):
        """Return the fullest cells; the score is a cell's share of the training images."""
        n, k = len(features), min(top_k, len(self.centres))
        return Predictions.of(np.tile(self.centres[:k], (n, 1, 1)), np.tile(self.shares[:k], (n, 1)))

    def state(self):
        """Return the cells' mean positions and shares."""
        return {"centres": self.centres, "shares": self.shares}

    def restore(self, state):
        """Take them back."""
        self.centres, self.shares = state["centres"], state["shares"]


@hookimpl
def register_models(register):
    """Register both baselines."""
    register(Random)
    register(MostFrequent)
