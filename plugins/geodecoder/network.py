"""The decoder: layers over all queries, then layers within each hierarchy, and a classifier per hierarchy."""

from __future__ import annotations

import torch
from torch import nn

from geobench.training.heads import combined, sum_of_losses


class DecoderLayer(nn.Module):
    """Self-attention among queries, cross-attention to the image's tokens, and a feed-forward network."""

    def __init__(self, config):
        super().__init__()
        dim, heads = config.dim, config.attention_heads
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(3)])
        self.among = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.to_image = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, config.feed_forward), nn.GELU(), nn.Linear(config.feed_forward, dim)
        )

    def forward(self, queries, image):
        """Return the queries (b, q, dim) after the layer; ``image`` are its tokens (b, t, dim)."""
        given = self.norms[0](queries)
        queries = queries + self.among(given, given, given, need_weights=False)[0]
        given = self.norms[1](queries)
        queries = queries + self.to_image(given, image, image, need_weights=False)[0]
        return queries + self.feed_forward(self.norms[2](queries))


class Decoder(nn.Module):
    """Queries (hierarchies × scenes) over the tokens of an image."""

    def __init__(self, width, sizes, config):
        super().__init__()
        self.width, self.config, self.hierarchies = width, config, len(sizes)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.project = nn.Linear(width, config.dim)
        self.queries = nn.Parameter(torch.rand(len(sizes), config.scenes, config.dim))  # U[0, 1), as the precursor's
        self.shared = nn.ModuleList([DecoderLayer(config) for _ in range(config.shared_layers)])
        self.own = nn.ModuleList(
            [nn.ModuleList([DecoderLayer(config) for _ in sizes]) for _ in range(config.own_layers)]
        )
        self.last = nn.LayerNorm(config.dim)
        self.classifiers = nn.ModuleList([nn.Linear(config.dim, size) for size in sizes])

    def decoded(self, features):
        """Return the decoded queries (b · views, hierarchies, scenes, dim) of ``features`` (b, views, t · width)."""
        flat = features.reshape(features.shape[0] * features.shape[1], -1, self.width)
        image = self.project(self.norm(flat))
        queries = self.queries.flatten(0, 1).expand(len(image), -1, -1)
        for layer in self.shared:
            queries = layer(queries, image)
        queries = queries.reshape(len(image), self.hierarchies, self.config.scenes, -1)
        for layers in self.own:
            each = [layer(queries[:, number], image) for number, layer in enumerate(layers)]
            queries = torch.stack(each, dim=1)
        return self.last(queries)

    def forward(self, features):
        """Return the logits of each hierarchy by the queries of the predicted scene, then those of the scenes.

        Each is (b, classes), the mean over views.
        """
        b, views = features.shape[:2]
        queries = self.decoded(features)
        scenes = queries[..., 0].mean(dim=1)  # (b · views, scenes): the first channel, the mean over hierarchies
        chosen = scenes.argmax(dim=1)
        of_scene = queries[
            torch.arange(len(queries), device=queries.device), :, chosen
        ]  # (b · views, hierarchies, dim)
        logits = [classify(of_scene[:, number]) for number, classify in enumerate(self.classifiers)]
        return [each.reshape(b, views, -1).mean(dim=1) for each in (*logits, scenes)]

    def loss(self, features, targets, generator):
        """Return the sum of the hierarchies' cross entropies, and that of the scenes."""
        logits = [each[:, None] for each in self(features)]
        weights = [1.0] * self.hierarchies + [self.config.scene_weight]
        return sum_of_losses(logits, targets, weights, self.config.smoothing)

    def scores(self, features, ancestors):
        """Return the products (n, fine classes) up the hierarchy; logits are averaged over views before the softmax."""
        return combined([each.softmax(dim=-1) for each in self(features)[:-1]], ancestors)
