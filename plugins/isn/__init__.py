"""ISNs (Müller-Budack, Pustu-Iren, Ewerth; ECCV 2018): a hierarchy of partitions, and a network for each scene."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from geobench import TrainingError, hookimpl
from geobench.classification import CellClassifier, SceneConfig
from geobench.settings import setting, settings


@settings
class IsnConfig(SceneConfig):
    """Hyper-parameters of the ISNs: base(L, m) has one partition, base(M, ·) three, ISN(M, f*, S3) three scenes."""

    scene_networks: bool = setting(True, "false: the base network alone", source="ISN(M, f*, S3); base(M, f*)")
    answer: Literal["product", "fine"] = setting(
        "product", "f*: the product of probabilities up the hierarchy; fine: the finest partition alone", source="f*, f"
    )
    crops: Literal["max", "mean"] = setting("max", "of the probabilities over crops", source="their evaluation code")
    member: float = setting(0.3, "an image belongs to each scene of a higher probability", ge=0, lt=1, source="ISNs")
    scene_lr: float = setting(1e-4, "learning rate of the scene networks", gt=0)
    scene_epochs: int = setting(5, "epochs of each scene network", ge=1, source="ISNs")


VARIANTS = {
    "paper": {
        "backbone": "whole", "backbone_lr": 1.0, "optimiser": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4,
        "lr_decay": 0.5, "lr_step": 4, "batch_size": 128, "epochs": 15, "scene_lr": 0.001,
    },
    "base-L": {"max_images": [2000], "scene_networks": False},
    "base-M": {"scene_networks": False},
}  # fmt: skip


class Isn(CellClassifier):
    """Places a photo by the network of its scene, at the mean position of its most probable fine cell.

    Section 3: coarse, middle and fine partitions are learnt together, with a linear layer each and the sum of their
    cross entropies; the fine cells' probabilities are multiplied with those of the cells that contain them. Individual
    scene networks start from the base network and are trained further on the photos of their scene.
    """

    name = "isn"
    summary = "hierarchy of partitions, a network for each scene (Müller-Budack et al., ECCV 2018)"
    Config = IsnConfig
    variants = VARIANTS

    def learn_from(self, training_set, targets, seed):
        """Add the scene of each image."""
        if not self.config.scene_networks:
            return targets
        self.scenes = self.scenes_for(training_set, seed, self.config.member)
        return np.concatenate([targets, self.scenes.labels[:, None]], axis=1)

    def build(self, width, arrays):
        """Return the base network, the classifier of scenes, and a copy for each scene."""
        from .network import SceneNetworks

        config = self.config
        scenes = config.scenes if config.scene_networks else 0
        return SceneNetworks(width, arrays["sizes"], scenes, config.answer, config.crops)

    def train(self, training_set, loader, targets, **how):
        """Train the base network with the classifier of scenes, then each scene network from it."""
        from geobench.training.joined import train_jointly

        scratch, progress = how.pop("scratch"), how["progress"]
        steps = self.network, training_set, loader, targets
        train_jointly(self, *steps, **how, scratch=scratch and scratch / "base", what=", base")
        config = self.config
        later = replace(config, lr=config.scene_lr, epochs=config.scene_epochs, warm_up=0.0)
        if config.tunes:  # the scene networks share the backbone of the base network, which is trained by now
            later = replace(later, backbone="last", blocks=0)
        for scene in range(config.scenes if config.scene_networks else 0):
            rows = training_set.readable[self.scenes.members[training_set.readable, scene]]
            network = self.network.begin_scene(scene)
            if len(rows) < MINIMUM:
                progress.say(
                    f"scene {scene} has {len(rows)} images, too few for a network of its own: it keeps the base's."
                )
                continue
            schedule = replace(later, batch_size=_fitting(later, len(rows)))
            named = {"scratch": scratch and scratch / f"scene-{scene}", "what": f", scene {scene}"}
            labels = targets[:, : len(self.parts.sizes)]
            train_jointly(self, network, training_set, loader, labels, **how, **named, rows=rows, schedule=schedule)
        for log in ("log.jsonl",):
            if scratch is not None and (scratch / "base" / log).exists():
                (scratch / log).write_bytes((scratch / "base" / log).read_bytes())


MINIMUM = 16
"""Images of a scene below which it has no network of its own."""


def _fitting(schedule, n):
    """Return a batch of at most ``n`` images that ``accumulate`` divides."""
    size = min(schedule.batch_size, n - round(schedule.holdout * n))
    size -= size % schedule.accumulate
    if not size:
        raise TrainingError(f"a scene has {n} images, fewer than accumulate={schedule.accumulate}; lower it.")
    return size


@hookimpl
def register_models(register):
    """Register the ISNs."""
    register(Isn)
