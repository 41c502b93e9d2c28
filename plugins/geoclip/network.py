"""GeoCLIP's networks. Parameters are named as in the released weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import GeoClipConfig

P1, P2, P3, P4 = 1.340264, -0.081106, 0.000893, 0.003796


def equal_earth(coordinates: Tensor, scale: float) -> Tensor:
    """Return the Equal Earth projection (n, 2) of latitude, longitude in degrees, times ``scale`` / 180.

    Source: Šavrič, Patterson, Jenny 2018; supplement of the paper.
    """
    latitude, longitude = torch.deg2rad(coordinates).unbind(1)
    theta = torch.asin(math.sqrt(3.0) / 2 * torch.sin(latitude))
    slope = 3 * (9 * P4 * theta**8 + 7 * P3 * theta**6 + 3 * P2 * theta**2 + P1)
    x = 2 * math.sqrt(3.0) * longitude * torch.cos(theta) / slope
    y = P4 * theta**9 + P3 * theta**7 + P2 * theta**3 + P1 * theta
    return torch.stack([x, y], dim=1) * scale / 180


class FourierFeatures(nn.Module):
    """Random Fourier features [cos 2πRx, sin 2πRx]; R is drawn from N(0, σ²) once and frozen (equation 2)."""

    def __init__(self, sigma: float, rows: int) -> None:
        super().__init__()
        self.register_buffer("b", torch.randn(rows, 2) * sigma)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 2 · rows) for ``x`` (n, 2)."""
        # Never in half precision: a phase of σ = 256 needs all the bits of a float32.
        with torch.autocast(x.device.type, enabled=False):
            phase = 2 * math.pi * x @ self.b.T
            return torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)


class Capsule(nn.Module):
    """One hierarchy: Fourier features of one σ, then an MLP."""

    def __init__(self, config: GeoClipConfig, sigma: float) -> None:
        super().__init__()
        width = 2 * config.fourier_rows if config.fourier else 2
        layers: list[nn.Module] = [FourierFeatures(sigma, config.fourier_rows) if config.fourier else nn.Identity()]
        for _ in range(config.hidden_layers):
            layers += [nn.Linear(width, config.hidden_dim), nn.ReLU(inplace=True)]
            width = config.hidden_dim
        self.capsule = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(width, config.dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, dim) for ``x`` (n, 2)."""
        return self.head(self.capsule(x))


class LocationEncoder(nn.Module):
    """L: projected coordinates through every hierarchy, added up (section 3.2)."""

    def __init__(self, config: GeoClipConfig) -> None:
        super().__init__()
        self.projection, self.scale = config.projection, config.projection_scale
        for index, sigma in enumerate(config.sigmas):
            self.add_module(f"LocEnc{index}", Capsule(config, sigma))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Return embeddings (n, dim), not normalised, of latitude, longitude (n, 2) in degrees."""
        if self.projection == "equal_earth":
            x = equal_earth(coordinates, self.scale)
        else:
            x = torch.stack([coordinates[:, 0] / 90, coordinates[:, 1] / 180], dim=1)
        return torch.stack([capsule(x) for capsule in self.children()]).sum(dim=0)


class GeoClip(nn.Module):
    """The two encoders and the temperature."""

    def __init__(self, config: GeoClipConfig, feature_dim: int) -> None:
        super().__init__()
        self.location_encoder = LocationEncoder(config)
        activation = [nn.ReLU()] if config.head_relu else [nn.Identity()]
        self.image_head = nn.Sequential(
            nn.Linear(feature_dim, config.head_dim), *activation, nn.Linear(config.head_dim, config.dim)
        )
        self.logit_scale = nn.Parameter(
            torch.tensor(math.log(1 / config.temperature)), requires_grad=config.temperature_learnable
        )

    def embed_images(self, features: Tensor) -> Tensor:
        """Return unit embeddings (..., dim) of backbone features (..., d)."""
        return functional.normalize(self.image_head(features), dim=-1)

    def embed_locations(self, coordinates: Tensor) -> Tensor:
        """Return unit embeddings (n, dim) of coordinates (n, 2) in degrees."""
        return functional.normalize(self.location_encoder(coordinates), dim=-1)
