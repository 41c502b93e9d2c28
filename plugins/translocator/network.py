"""Two transformer branches whose class tokens are fused after every layer, and the heads on the fused token."""

from __future__ import annotations

import torch
from torch import nn

from geobench.training.heads import combined, sum_of_losses


class Layer(nn.Module):
    """A transformer layer with the norm first: self-attention, then a feed-forward network."""

    def __init__(self, dim, attention_heads):
        super().__init__()
        self.norm, self.norm_after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, attention_heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens):
        """Return the tokens (b, t, dim) after the layer."""
        given = self.norm(tokens)
        tokens = tokens + self.attention(given, given, given, need_weights=False)[0]
        return tokens + self.feed_forward(self.norm_after(tokens))


class Fusion(nn.Module):
    """Cross-attention of each branch's class token to the other branch; both outputs make the new token of both."""

    def __init__(self, dim, attention_heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.to_map = nn.MultiheadAttention(dim, attention_heads, batch_first=True)
        self.to_image = nn.MultiheadAttention(dim, attention_heads, batch_first=True)
        self.join = nn.Linear(2 * dim, dim)

    def forward(self, image, semantic):
        """Return both branches (b, 1 + t, dim) with the fused token in the place of their class tokens."""
        seen, mapped = self.norm(image), self.norm(semantic)
        from_map = self.to_map(seen[:, :1], mapped, mapped, need_weights=False)[0]
        from_image = self.to_image(mapped[:, :1], seen, seen, need_weights=False)[0]
        fused = image[:, :1] + semantic[:, :1] + self.join(torch.cat([from_map, from_image], dim=-1))
        return torch.cat([fused, image[:, 1:]], dim=1), torch.cat([fused, semantic[:, 1:]], dim=1)


class FusedBranches(nn.Module):
    """The branches on the tokens of an image and of its semantic map."""

    def __init__(self, width, tokens, sizes, config):
        super().__init__()
        dim, heads = config.dim, config.attention_heads
        self.width, self.tokens, self.config = width, tokens, config
        branches = 2 if config.use_map else 1
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.project = nn.ModuleList([nn.Linear(width, dim) for _ in range(branches)])
        self.token = nn.Parameter(0.02 * torch.randn(branches, 1, dim))
        self.position = nn.Parameter(0.02 * torch.randn(branches, tokens, dim))
        self.layers = nn.ModuleList(
            [nn.ModuleList([Layer(dim, heads) for _ in range(branches)]) for _ in range(config.depth)]
        )
        self.fusions = nn.ModuleList([Fusion(dim, heads) for _ in range(config.depth)] if config.use_map else [])
        self.last = nn.LayerNorm(dim)
        self.heads = nn.ModuleList([nn.Linear(dim, size) for size in (*sizes, config.scenes)])

    def forward(self, features):
        """Return the logits (b, classes) of each partition and of the scene, the mean over views.

        Args:
            features: (b, views, 2 · t · width): the tokens of the image, then those of its map.
        """
        b, views = features.shape[:2]
        given = features.reshape(b * views, 2, self.tokens, self.width)
        branches = []
        for number, project in enumerate(self.project):
            tokens = project(self.norm(given[:, number])) + self.position[number]
            token = self.token[number].expand(len(tokens), -1, -1)
            branches.append(torch.cat([token, tokens], dim=1))
        for depth, layers in enumerate(self.layers):
            branches = [layer(branch) for layer, branch in zip(layers, branches, strict=True)]
            if self.config.use_map:
                branches = list(self.fusions[depth](*branches))
        token = self.last(branches[0][:, 0])
        return [head(token).reshape(b, views, -1).mean(dim=1) for head in self.heads]

    def loss(self, features, targets, generator):
        """Return the weighted cross entropies of partitions and scene, on logits averaged over views."""
        logits = [each[:, None] for each in self(features)]
        return sum_of_losses(logits, targets, [*self.config.loss_weights, 1.0])

    def scores(self, features, ancestors):
        """Return the products (n, fine classes) up the hierarchy."""
        return combined([each.softmax(dim=-1) for each in self(features)[:-1]], ancestors)
