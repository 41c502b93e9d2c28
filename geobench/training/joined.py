"""A head and its backbone as one network that is trained on pixels, or the head alone on cached features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geobench.errors import SettingError
from geobench.progress import Progress
from geobench.training.backbones import FineTuning, trained_layers
from geobench.training.engine import Training

if TYPE_CHECKING:
    import numpy.typing as npt

    from geobench.features.encoders import Encoder
    from geobench.features.loaders import FeatureLoader
    from geobench.models import Model, TrainingSet


class Joined(nn.Module):
    """An encoder's network under a head: from pixels (b, views, 3, h, w) to the head's loss."""

    def __init__(self, encoder: Encoder, head: nn.Module, config: FineTuning) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.backbone = encoder.trainable_network()
        layers = trained_layers(encoder, config)
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(False)
        for parameter in (each for layer in layers for each in layer):
            parameter.requires_grad_(True)
        if config.checkpointing:
            keep_few_activations(self.backbone, encoder.name)
        scales = [config.backbone_lr * config.layer_decay**depth for depth in range(len(layers))]
        pairs = zip(layers, scales, strict=True)
        self.groups = [{"params": list(head.parameters()), "lr_scale": 1.0}]
        self.groups += [{"params": layer, "lr_scale": scale} for layer, scale in pairs]

    def train(self, mode: bool = True) -> Joined:
        """Set the mode of the head; the backbone keeps its statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def loss(self, pixels: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Return the head's loss of the features of ``pixels`` (b, views, 3, h, w)."""
        features = self.encoder.encode_images(pixels.flatten(0, 1))
        head: Any = self.head
        loss: Tensor = head.loss(features.float().reshape(*pixels.shape[:2], -1), targets, generator)
        return loss


def keep_few_activations(backbone: nn.Module, name: str) -> None:
    """Turn on gradient checkpointing, which networks of timm and open_clip have."""
    if not hasattr(backbone, "set_grad_checkpointing"):
        raise SettingError(f"the network of {name} has no gradient checkpointing; set checkpointing=false.")
    backbone.set_grad_checkpointing(True)  # type: ignore[operator]


def train_jointly(
    model: Model,
    head: nn.Module,
    training_set: TrainingSet,
    loader: FeatureLoader,
    targets: npt.NDArray[Any],
    *,
    seed: int,
    scratch: Path | None,
    progress: Progress,
    rows: npt.NDArray[Any] | None = None,
    what: str = "",
    schedule: FineTuning | None = None,
) -> None:
    """Train ``head`` on cached features, or with the encoder's network on pixels, as ``model.config`` says.

    What the encoder's network has learnt is then in ``model.tuned``.

    Args:
        model: its config extends :class:`FineTuning`.
        head: with ``loss(features, targets, generator)`` for features (b, views, d).
        training_set: its images are trained on.
        loader: what ``training_set.source(model)`` returned.
        targets: (n, ...) of all its images.
        seed: of the order of the images.
        scratch: folder of the state of the training.
        progress: reports the steps.
        rows: images to train on; None takes all that are readable.
        what: added to the name of the task.
        schedule: in place of the config, for a model that trains in several steps.
    """
    network: nn.Module = head
    groups: list[dict[str, Any]] | None = None
    config = schedule or model.config
    if config.tunes:
        assert training_set.encoder is not None
        network = joined = Joined(training_set.encoder, head, config)
        groups = joined.groups
    Training(
        what=f"train {model.name}{what}",
        network=network,
        loss=network.loss,  # type: ignore[arg-type]
        loader=loader,
        indices=training_set.readable if rows is None else rows,
        targets=torch.tensor(targets, device=model.device),
        schedule=config,
        seed=seed,
        device=model.device,
        scratch=scratch,
        progress=progress,
        groups=groups,
    ).run()
    if config.tunes:
        assert training_set.encoder is not None
        learnt = training_set.encoder.trainable_network().state_dict()
        model.tuned = {name: tensor.detach().cpu().numpy() for name, tensor in learnt.items()}
