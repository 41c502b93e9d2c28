"""Geo-localization as classification of cells: what every such model shares. A subclass is partitions and a network.

The family: PlaNet (Weyand et al. 2016), CPlaNet (Seo et al. 2018), ISNs (Müller-Budack et al. 2018), Translocator
(Pramanick et al. 2022), GeoDecoder (Clark et al. 2023).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from geobench import files, search
from geobench.cells import Rule
from geobench.geo import FloatArray
from geobench.models import Model, TrainingSet
from geobench.partitions import Labels, Partitions, given, nested
from geobench.predictions import Predictions
from geobench.progress import SILENT, Progress
from geobench.scenes import Scenes, Source, pooled_features, scenes_of
from geobench.settings import setting, settings
from geobench.training.backbones import FineTuning

if TYPE_CHECKING:
    from torch import nn

    from geobench.features.loaders import FeatureLoader
    from geobench.gallery import Gallery


@settings
class CellConfig(FineTuning):
    """Settings of nested adaptive partitions, coarse to fine."""

    lr: float = setting(3e-4, "learning rate in the first epoch", gt=0, source="GeoCLIP: its cell classifiers")
    min_images: int = setting(50, "a cell with as few training images, or fewer, is left out", ge=0, source="ISNs")
    max_images: tuple[Annotated[int, Ge(1)], ...] = setting(
        (5000, 2000, 1000), "a cell with more training images is divided: coarse, middle, fine", source="ISNs"
    )
    rule: Rule = setting(
        "isn",
        "isn: division begins at S2 level 2, cells of more than min_images; inclusive: at level 0, min_images and more",
        source="ISNs: their released code",
    )
    cells: tuple[str, ...] = setting(
        (), "files of cells, coarse to fine, in place of the rule: tables with a column hex_id"
    )
    cells_digest: str = setting("", "what the files hold; found out when they are named")

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if not self.max_images or list(self.max_images) != sorted(set(self.max_images), reverse=True):
            raise ValueError(
                f"max_images must fall from coarse to fine, such as [5000, 2000, 1000], not {list(self.max_images)}."
            )
        if self.min_images > self.max_images[-1]:
            raise ValueError(
                f"min_images must be at most {self.max_images[-1]}, the finest max_images, not {self.min_images}."
            )
        if self.cells and not self.cells_digest:
            missing = [name for name in self.cells if not Path(name).expanduser().is_file()]
            if missing:
                raise ValueError(f"cells must be files; there is no {missing[0]}.")
            digests = [files.file_digest(Path(name).expanduser()) for name in self.cells]
            object.__setattr__(self, "cells_digest", files.digest(digests))

    @property
    def partitions(self) -> int:
        """Return the number of partitions."""
        return len(self.cells) or len(self.max_images)


@settings
class SceneConfig(CellConfig):
    """Settings of models that learn scenes beside cells."""

    scenes: int = setting(
        3, "scenes told apart: 3, 16 or 365 of Places365, or any number of groups", ge=2, source="ISNs"
    )
    scene_labels: Source = setting(
        "column",
        "column: of the training table, such as S3_Label; text: the nearest of three texts to a CLIP encoder; "
        "kmeans: groups of the features",
    )


class CellClassifier(Model):
    """Places a photo at the position that stands for its most probable fine class.

    A subclass has a ``Config`` that extends :class:`~geobench.training.backbones.FineTuning` and ``build``; it may
    override ``partition``, ``targets`` and ``train``. The network that ``build`` returns has ``loss(features, targets,
    generator)``, a scalar, and ``scores(features, ancestors)``, (n, fine classes), of features (n, views, d).

    Attributes:
        parts: the partitions that it was trained on.
        tokens: of a model that reads tokens, how many an image has, and how many in all, with those of its map.
        network: the head; the backbone belongs to the encoder.
    """

    Config: ClassVar[type[Any]] = CellConfig
    uses_gallery = False
    parts: Partitions
    network: nn.Module
    tokens: tuple[int, int] | None = None

    @abstractmethod
    def build(self, width: int, arrays: Mapping[str, npt.NDArray[Any]]) -> nn.Module:
        """Return the untrained network for features of ``width``.

        Args:
            width: d of the features.
            arrays: those of a checkpoint but for the weights, such as ``sizes`` (p,), classes of each partition.
        """

    def partition(self, coordinates: FloatArray) -> Partitions:
        """Return the partitions of training images at ``coordinates`` (n, 2); nested and adaptive by default."""
        config = self.config
        if config.cells:
            return given(coordinates, [Path(name).expanduser() for name in config.cells])
        return nested(coordinates, config.max_images, config.min_images, config.rule)

    def learn_from(self, training_set: TrainingSet, targets: Labels, seed: int) -> Labels:
        """Return ``targets`` (n, p) with what else the network learns, such as scenes, as further columns."""
        return targets

    def scenes_for(self, training_set: TrainingSet, seed: int, least: float = 0.3) -> Scenes:
        """Return the scenes of the training images, as ``scenes`` and ``scene_labels`` of the config say."""
        config = self.config
        pooled = None
        if config.scene_labels != "column":
            pooled = pooled_features(training_set.features.array, None if self.tunes_encoder else self.tokens)
        return scenes_of(training_set, config.scenes, config.scene_labels, pooled, seed, least)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a checkpoint holds besides weights."""
        return self.parts.arrays | ({"tokens": np.array(self.tokens)} if self.tokens is not None else {})

    def fit(
        self, training_set: TrainingSet, *, seed: int = 0, scratch: Path | None = None, progress: Progress = SILENT
    ) -> None:
        """Partition the training coordinates, then train the network."""
        import torch

        rows = training_set.readable
        if self.reads != "pooled":
            self.tokens = _tokens_of(training_set, self.device, self.reads == "tokens+map")
        self.parts = self.partition(training_set.coordinates[rows])
        targets = self.learn_from(training_set, self.parts.targets(len(training_set), rows), seed)
        loader = training_set.source(self)
        torch.manual_seed(seed)
        self._width = loader.width
        self.network = self.build(self._width, self.arrays()).to(self.device)
        self.train(training_set, loader, targets, seed=seed, scratch=scratch, progress=progress)

    def train(self, training_set: TrainingSet, loader: FeatureLoader, targets: Labels, **how: Any) -> None:
        """Train the network on all readable images, with its backbone if the settings say so.

        Args:
            training_set, loader, targets: what to learn from.
            how: seed, scratch, progress.
        """
        from geobench.training.joined import train_jointly

        train_jointly(self, self.network, training_set, loader, targets, **how)

    def locate(self, features: npt.NDArray[np.float32], gallery: Gallery | None = None, top_k: int = 1) -> Predictions:
        """Return the positions of the most probable fine classes; views' probabilities are averaged."""
        import torch

        with torch.inference_mode():
            network: Any = self.network
            given = torch.tensor(features).to(self.device)
            ancestors = torch.from_numpy(self.parts.ancestors).to(self.device)
            scores = search.in_tiles(lambda tile: network.scores(tile, ancestors), given)
            values, classes = search.largest(scores, min(top_k, scores.shape[1]))
        return Predictions.of(self.parts.centres[classes.cpu().numpy()], values.double().cpu().numpy())

    @property
    def feature_width(self) -> int:
        """Return d of the features that it was trained on."""
        return self._width

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights and the partitions."""
        weights = {f"{NETWORK}{name}": tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        return weights | self.arrays() | {"width": np.array([self._width])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Rebuild the network."""
        import torch

        arrays = {name: array for name, array in state.items() if not name.startswith(NETWORK)}
        weights = {n.removeprefix(NETWORK): torch.tensor(a) for n, a in state.items() if n.startswith(NETWORK)}
        self.parts = Partitions.restored(arrays)
        self._width = int(arrays["width"][0])
        if "tokens" in arrays:
            own, total = arrays["tokens"].tolist()
            self.tokens = own, total
        self.network = self.build(self._width, arrays).to(self.device).eval()
        self.network.load_state_dict(weights)


def _tokens_of(training_set: TrainingSet, device: str, has_map: bool) -> tuple[int, int]:
    """Return how many tokens an image has, and how many in all, with those of its semantic map."""
    encoder: Any = training_set.encoder
    assert encoder is not None
    if not hasattr(encoder, "tokens"):
        encoder.load(device)
    return encoder.tokens // 2 if has_map else encoder.tokens, encoder.tokens


NETWORK = "network."
"""What the names of a network's weights begin with in a checkpoint."""
