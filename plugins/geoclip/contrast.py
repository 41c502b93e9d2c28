"""GeoCLIP's training objective: images against the locations of the batch and of a queue (equation 4)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from geobench import distributed
from geobench.geo import METRES_PER_DEGREE

from .config import GeoClipConfig
from .network import GeoClip

Move = Callable[[Tensor, Tensor], Tensor]
COMPILE_MODE = "default"
"""Of torch.compile. "max-autotune-no-cudagraphs" tries more kernels, for minutes, before the first step. The CUDA graph
is not its business: geobench.training.steps captures the whole step."""


def add_noise(coordinates: Tensor, noise_m: float, generator: torch.Generator, move: Move | None = None) -> Tensor:
    """Return ``coordinates`` (n, 2) moved by Gaussian noise of ``noise_m`` metres to the north and to the east.

    ``move`` stands in for :func:`displaced`: the same, compiled.
    """
    if noise_m == 0:
        return coordinates
    metres = torch.randn(coordinates.shape, generator=generator, device=coordinates.device, dtype=torch.float32)
    return (move or displaced)(coordinates, metres.double() * noise_m)


def displaced(coordinates: Tensor, metres: Tensor) -> Tensor:
    """Return ``coordinates`` (n, 2) in degrees moved by ``metres`` (n, 2) to the north and to the east.

    The step is taken in the tangent plane, so a metre is a metre at every latitude, over the poles and across ±180°.
    """
    latitude, longitude = torch.deg2rad(coordinates.double()).unbind(1)
    north, east = (metres * (math.pi / 180 / METRES_PER_DEGREE)).unbind(1)  # radians
    # In the meridian plane of the point: ``out`` from the axis, ``up`` along it, ``east`` across.
    out = torch.cos(latitude) - north * torch.sin(latitude)
    up = torch.sin(latitude) + north * torch.cos(latitude)
    moved_latitude = torch.atan2(up, torch.hypot(out, east))
    moved_longitude = torch.rad2deg(longitude + torch.atan2(east, out))
    wrapped = torch.remainder(moved_longitude + 180, 360) - 180
    return torch.stack([torch.rad2deg(moved_latitude), wrapped], dim=1).to(coordinates.dtype)


def start_queue(config: GeoClipConfig, generator: torch.Generator) -> Tensor:
    """Return the coordinates (queue_length, 2) that the queue holds before the first step."""
    n = config.queue_length
    if config.queue_start == "origin":
        return functional.normalize(torch.randn(n, 2, generator=generator), dim=1)
    return (torch.rand(n, 2, generator=generator) - 0.5) * torch.tensor([180.0, 360.0])


class Contrast(nn.Module):
    """The networks with their queue: what is trained, and all of its state."""

    def __init__(self, network: GeoClip, config: GeoClipConfig, seed: int) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.register_buffer("queue", start_queue(config, torch.Generator().manual_seed(seed)))
        self.embed_in_training, self.move, self.nce = self.embed, displaced, info_nce

    def loss(self, features: Tensor, coordinates: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch; in training, let the queue take its coordinates.

        Of several processes each has its part of the batch and embeds its part of the locations; all are gathered, so
        that the negatives are those of the whole batch.

        Args:
            features: (b, views, d).
            coordinates: (b, 2) degrees.
            generator: of the noise, in the same state in every process.
        """
        config, group = self.config, distributed.current()
        everyone = group.gather(coordinates)  # (B, 2), B of all processes
        move, embed = (self.move, self.embed_in_training) if self.training else (displaced, self.embed)
        near = add_noise(everyone, config.batch_noise_m, generator, move)
        far = add_noise(self.queue, config.queue_noise_m, generator, move)
        own, mine = group.part(len(near)), group.part(len(far))
        images, batch, queue = embed(features, near[own], far[mine])
        locations = torch.cat([group.gather(batch), group.gather(queue)])  # (B + |Q|, dim)
        scale = self.network.logit_scale.exp()
        loss = (self.nce if self.training else info_nce)(images, locations, scale, own.start)
        if config.symmetric:
            everyones = group.gather(images)  # (B, P, dim)
            loss = (loss + location_nce(everyones, batch, scale, own.start)) / 2
        if self.training:
            self.enqueue(everyone)
        return loss

    def compile_for_training(self) -> None:
        """Compile embeddings, noise and loss; random numbers, the queue and what joins processes stay as they are."""
        torch.compiler.reset()  # of other trainings in this process: torch gives up after eight of other sizes
        self.embed_in_training, self.move, self.nce = (
            torch.compile(function, mode=COMPILE_MODE, dynamic=False, fullgraph=True)
            for function in (self.embed, displaced, info_nce)
        )

    def embed(self, features: Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the unit embeddings of images (b, P, dim), batch (b, dim) and queue (q, dim): nearly all the work."""
        locations = self.network.embed_locations(torch.cat([near, far]))
        batch, queue = locations.split([len(near), len(far)])
        return self.network.embed_images(features), batch, queue

    @torch.no_grad()
    def enqueue(self, coordinates: Tensor) -> None:
        """Replace the oldest of the queue with ``coordinates`` (b, 2)."""
        if self.config.queue_dynamic and len(self.queue):
            self.queue.copy_(torch.cat([self.queue, coordinates])[-len(self.queue) :])


def info_nce(images: Tensor, locations: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """Return equation 4: the mean over images of the sum over views of −log softmax of its own location.

    Args:
        images: (b, P, dim) unit embeddings.
        locations: (m, dim) unit embeddings of batch and queue; row ``first`` + i belongs to image i.
        scale: 1/τ.
        first: rank × b with several processes.
    """
    batch, n_views, _ = images.shape
    logits = scale * images.flatten(0, 1) @ locations.T  # (b * P, m)
    own = torch.arange(first, first + batch, device=images.device).repeat_interleave(n_views)
    return functional.cross_entropy(logits, own) * n_views


def location_nce(images: Tensor, locations: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """Return the other direction: each location (b, dim) against the images (B, P, dim), summed over views."""
    own = torch.arange(first, first + len(locations), device=images.device)
    views = images.unbind(dim=1)
    return torch.stack([functional.cross_entropy(scale * locations @ view.T, own) for view in views]).sum()
