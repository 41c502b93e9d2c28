"""Nearest training images that vote with a Gaussian kernel around their positions: [L]kNN (Vo, Jacobs, Hays 2017)."""

from __future__ import annotations

import numpy as np

from geobench import Model, Predictions, hookimpl, search
from geobench.geo import EARTH_RADIUS_KM, unit_vectors
from geobench.settings import setting, settings

QUERIES = 1024  # per block: their k × k distances are in memory together


@settings
class KnnConfig:
    """Hyper-parameters of [L]kNN."""

    k: int = setting(50, "nearest neighbours that vote", ge=1, source="not stated in GeoCLIP's Table 1a")
    sigma_km: float = setting(
        4.0, "standard deviation of the kernel in km", gt=0, source='"σ = 4" in GeoCLIP\'s Table 1a, read as km'
    )


class Knn(Model):
    """Places a photo at the one of its k nearest training images (cosine) around which the neighbours are densest."""

    name = "knn"
    summary = "nearest training images, Gaussian kernel density over their positions ([L]kNN, Vo et al. 2017)"
    Config = KnnConfig
    uses_gallery = False

    def fit(self, training_set, *, seed=0, scratch=None, progress=None):
        """Keep the unit features (views averaged) and the positions of the training images."""
        rows = training_set.readable
        self.features = _unit(training_set.features.array[rows])
        self.coordinates = training_set.coordinates[rows]

    def locate(self, features, gallery=None, top_k=1):
        """Return the neighbours by density, then by similarity; the score is the density, 1 for a lone neighbour."""
        import torch

        with torch.inference_mode():
            queries = torch.from_numpy(_unit(features)).to(self.device)
            _, neighbours, _ = search.top_k(queries, self.features, self.config.k)
        parts = [self._vote(neighbours[start : start + QUERIES], top_k) for start in range(0, len(queries), QUERIES)]
        rows, density = (
            (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else (neighbours, neighbours)
        )
        return Predictions.of(self.coordinates[rows], density.astype(np.float64))

    @property
    def feature_width(self):
        """Return d of the training images' features."""
        return self.features.shape[1]

    def _vote(self, neighbours, top_k):
        """Return the best of ``neighbours`` (n, k) by kernel density, and the densities."""
        points = unit_vectors(self.coordinates)[neighbours]  # (n, k, 3)
        chord = np.linalg.norm(points[:, :, None] - points[:, None, :], axis=3)  # (n, k, k)
        distance_km = 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0, 1))
        # Rounded, so that equals are equal; stable: among these the nearest in feature space comes first.
        density = np.exp(-0.5 * (distance_km / self.config.sigma_km) ** 2).sum(axis=2).round(9)
        order = np.argsort(-density, axis=1, kind="stable")[:, :top_k]
        return np.take_along_axis(neighbours, order, axis=1), np.take_along_axis(density, order, axis=1)

    def state(self):
        """Return features and positions."""
        return {"features": self.features, "coordinates": self.coordinates}

    def restore(self, state):
        """Take them back."""
        self.features, self.coordinates = state["features"], state["coordinates"]


def _unit(features):
    """Return the unit mean (n, d) of the unit views of ``features`` (n, views, d)."""
    views = features / np.maximum(np.linalg.norm(features, axis=2, keepdims=True), 1e-12)
    mean = views.mean(axis=1)
    return (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)).astype(np.float32)


@hookimpl
def register_models(register):
    """Register [L]kNN."""
    register(Knn)
