"""Nearest training images that vote with a Gaussian kernel around their positions: [L]kNN (Vo, Jacobs, Hays 2017)."""

from __future__ import annotations

import numpy as np

from geobench import Features, Model, Predictions, hookimpl, search
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
        """Refer to the features of the training images, and keep their positions."""
        self._refer_to(training_set.features)
        self.coordinates = training_set.coordinates[training_set.readable]

    def _refer_to(self, features):
        self.reference = features.reference()
        self.features = in_memory_if_small(UnitFeatures(features.array, np.flatnonzero(features.ok)))

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
        """Return a reference to the features, and the positions."""
        return {"features": self.reference, "coordinates": self.coordinates}

    def restore(self, state):
        """Take them back; the features of an earlier version are in the checkpoint."""
        self.coordinates = state["coordinates"]
        if state["features"].ndim == 1:
            self._refer_to(Features.referred(state["features"]))
        else:
            self.reference = self.features = state["features"]


class UnitFeatures:
    """Unit features (n, d), views averaged, worked out of (m, views, d) as slices of them are asked for.

    Attributes:
        rows: (n,) those of the m images that count, in order.
    """

    def __init__(self, features, rows):
        self.source, self.rows = features, rows
        self.shape = len(rows), features.shape[2]
        self.nbytes = 4 * self.shape[0] * self.shape[1]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, chosen):
        rows = self.rows[chosen]
        if not len(rows):
            return np.empty((0, self.shape[1]), dtype=np.float32)
        span = self.source[rows[0] : rows[-1] + 1]  # read in one go, with those between that could not be read
        return _unit(span if len(span) == len(rows) else span[rows - rows[0]])


def in_memory_if_small(features):
    """Return ``features`` as an array if they fit into the memory that a gallery may take, else as they are."""
    if features.nbytes > search.MAX_RESIDENT_BYTES:
        return features
    whole = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), search.BLOCK):
        whole[start : start + search.BLOCK] = features[start : start + search.BLOCK]
    return whole


def _unit(features):
    """Return the unit mean (n, d) of the unit views of ``features`` (n, views, d)."""
    views = features / np.maximum(np.linalg.norm(features, axis=2, keepdims=True), 1e-12)
    mean = views.mean(axis=1)
    return (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)).astype(np.float32)


@hookimpl
def register_models(register):
    """Register [L]kNN."""
    register(Knn)
