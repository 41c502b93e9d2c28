"""Ridge regression from a photo's features to a point in space, predicting the gallery coordinate nearest to it."""

import numpy as np

from geobench import Model, Predictions, hookimpl, search
from geobench.geo import unit_vectors
from geobench.settings import setting, settings


@settings
class RidgeConfig:
    """Hyper-parameters of the ridge regression."""

    penalty: float = setting(1.0, "on the weights, in units of the features' mean variance", gt=0)


class Ridge(Model):
    """Regresses the unit vector of a place and predicts the gallery coordinates closest to that direction."""

    name = "ridge"
    summary = "ridge regression onto the unit sphere, nearest gallery coordinate"
    Config = RidgeConfig

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Solve the normal equations; nothing here is random, so the seed is unused."""
        rows = training_set.readable
        features = training_set.features.array[rows].mean(axis=1, dtype=np.float64)  # (n, d)
        targets = unit_vectors(training_set.coordinates[rows])  # (n, 3)
        self.mean, self.bias = features.mean(axis=0), targets.mean(axis=0)
        centred = features - self.mean
        covariance = centred.T @ centred / len(rows)  # (d, d)
        damping = self.config.penalty * covariance.trace() / len(covariance) * np.eye(len(covariance))
        self.weights = np.linalg.solve(covariance + damping, centred.T @ (targets - self.bias) / len(rows))  # (d, 3)

    def locate(self, features, gallery, top_k=1):
        """Return the gallery coordinates closest to the regressed direction; the score is the inner product."""
        import torch

        centred = torch.from_numpy(features.mean(axis=1, dtype=np.float64) - self.mean)  # (n, d)
        weights, bias = torch.from_numpy(self.weights), torch.from_numpy(self.bias)
        points = search.in_tiles(lambda tile: tile @ weights + bias, centred)  # (n, 3)
        products, rows, _ = search.top_k(points, unit_vectors(gallery.coordinates), top_k)
        return Predictions.of(gallery.coordinates[rows], products)

    def state(self):
        """Return what was learnt."""
        return {"mean": self.mean, "bias": self.bias, "weights": self.weights}

    def restore(self, state):
        """Take it back."""
        self.mean, self.bias, self.weights = state["mean"], state["bias"], state["weights"]


@hookimpl
def register_models(register):
    """Tell geobench about the model."""
    register(Ridge)
