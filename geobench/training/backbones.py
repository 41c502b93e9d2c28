"""Fine-tuning: which parts of an encoder's network are trained with a head, how fast, and the settings that say so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from geobench.errors import SettingError
from geobench.settings import setting, settings
from geobench.training.engine import Schedule

if TYPE_CHECKING:
    import torch
    from torch import nn

    from geobench.features.encoders import Encoder


@settings
class FineTuning(Schedule):
    """A schedule for heads that may be trained together with their backbone, from pixels.

    Normalisation layers of the backbone keep the statistics of their pre-training, and dropout in it is off: the
    result depends neither on how a batch is divided nor on the number of processes.
    """

    backbone: Literal["frozen", "last", "whole"] = setting(
        "frozen", "frozen: train on cached features; last, whole: train these blocks of the encoder too, from pixels"
    )
    blocks: int = setting(1, "blocks that backbone=last trains, from the last; with 0 none, but from pixels", ge=0)
    backbone_lr: float = setting(0.1, "factor on the learning rate for the last block of the backbone", gt=0)
    layer_decay: float = setting(
        1.0, "factor on it from each block to the one before", gt=0, le=1, source="layer-wise decay: Clark et al. 2020"
    )
    accumulate: int = setting(1, "parts that a batch is computed in, one after the other, to save memory", ge=1)
    checkpointing: bool = setting(False, "compute activations of the backbone twice instead of keeping them")
    optimiser: Literal["adam", "adamw", "sgd", "adagrad"] = setting(
        "adam", "adamw: decoupled weight decay; sgd: with momentum"
    )
    momentum: float = setting(0.9, "of optimiser=sgd", ge=0, lt=1)
    lr_schedule: Literal["step", "cosine"] = setting("step", "step: lr_decay; cosine: to 0 over all epochs")
    lr_step: int = setting(1, "epochs between two steps of lr_decay", ge=1)
    warm_up: float = setting(0.0, "epochs over which the learning rate rises linearly from 0", ge=0)

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch_size, {self.batch_size}, into equal parts; {self.accumulate} does not."
            )
        if self.warm_up >= self.epochs:
            raise ValueError(f"warm_up must be shorter than the training, {self.epochs} epochs, not {self.warm_up:g}.")

    @property
    def tunes(self) -> bool:
        """Return whether the network reads pixels, with its backbone as a part of it."""
        return self.backbone != "frozen"

    def compiles(self, device: str) -> bool:
        """Return whether the step is compiled: that of a backbone only on request."""
        return self.compiled == "yes" if self.tunes else super().compiles(device)

    @property
    def parts(self) -> int:
        """Return in how many parts a batch is computed."""
        return self.accumulate

    def lr_at(self, step: int, per_epoch: int) -> float:
        """Return the learning rate of ``step``, counted from 0, with ``per_epoch`` steps an epoch."""
        epoch = step / per_epoch
        if epoch < self.warm_up:
            return self.lr * (step + 1) / (self.warm_up * per_epoch)
        if self.lr_schedule == "cosine":
            share = (epoch - self.warm_up) / (self.epochs - self.warm_up)
            return self.lr * (1 + math.cos(math.pi * share)) / 2
        return self.lr * self.lr_decay ** (step // per_epoch // self.lr_step)

    def optimiser_of(self, groups: list[dict[str, Any]], device: str, capturable: bool) -> torch.optim.Optimizer:
        """Return the optimiser of parameter ``groups``."""
        import torch

        if self.optimiser == "adam":
            return super().optimiser_of(groups, device, capturable)
        decay = {"weight_decay": self.weight_decay, "fused": True}
        if self.optimiser == "sgd":
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, **decay)  # type: ignore[arg-type]
        if self.optimiser == "adagrad":
            return torch.optim.Adagrad(groups, lr=self.lr, weight_decay=self.weight_decay)
        lr: Any = torch.tensor(self.lr, device=device) if device.startswith("cuda") else self.lr
        return torch.optim.AdamW(groups, lr=lr, capturable=capturable, **decay)  # type: ignore[arg-type]


def trained_layers(encoder: Encoder, config: FineTuning) -> list[list[nn.Parameter]]:
    """Return the parameters of the backbone that are trained, block by block, the last block first.

    Raises:
        SettingError: the encoder has fewer blocks.
    """
    layers = layers_of(encoder.trainable_network())[::-1]
    if config.backbone == "last":
        if config.blocks > len(layers):
            raise SettingError(
                f"{encoder.name} has {len(layers)} blocks, fewer than blocks={config.blocks}; "
                "backbone=whole trains all of them."
            )
        layers = layers[: config.blocks]
    return layers


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of ``network`` in blocks, from its input to its output.

    Networks of timm say themselves which parameters belong to which block; of others, the blocks of a transformer
    (``transformer.resblocks``) or, failing that, the direct children count.
    """
    import torch

    from geobench.features.two_networks import TwoNetworks

    if isinstance(network, TwoNetworks):
        pairs = zip(layers_of(network.image), layers_of(network.semantic), strict=True)
        return [image + semantic for image, semantic in pairs]
    trunk: Any = getattr(network, "trunk", None)
    if trunk is not None:  # open_clip's wrapper of a timm network, with a head of its own
        head = [p for name, p in network.named_parameters() if not name.startswith("trunk.")]
        return [*layers_of(trunk), *([head] if head else [])]
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is not None:
        from timm.models import group_parameters

        named = dict(network.named_parameters())
        names = group_parameters(network, matcher(coarse=False))
        return [[named[name] for name in names[layer]] for layer in sorted(names)]
    blocks = getattr(getattr(network, "transformer", None), "resblocks", None)
    parts = list(blocks) if isinstance(blocks, (torch.nn.ModuleList, torch.nn.Sequential)) else None
    if parts is None:
        layers = [list(child.parameters()) for child in network.children()]
        direct = list(network.parameters(recurse=False))
        return [layer for layer in [direct, *layers] if layer]
    inner = {id(p) for part in parts for p in part.parameters()}
    others = [(name, p) for name, p in network.named_parameters() if id(p) not in inner]
    last = [p for name, p in others if name.startswith(AFTER_BLOCKS)]
    first = [p for name, p in others if not name.startswith(AFTER_BLOCKS)]
    return [layer for layer in [first, *(list(part.parameters()) for part in parts), last] if layer]


AFTER_BLOCKS = ("ln_post", "proj", "head", "attn_pool", "norm", "fc_norm")
"""Parameters of a vision transformer that come after its blocks."""
