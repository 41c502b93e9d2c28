"""The contract of a model, and the training set it learns from."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from geobench.errors import GeobenchError
from geobench.features.loaders import FeatureLoader, feature_loader
from geobench.geo import FloatArray
from geobench.predictions import Predictions
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from geobench.checkpoints import Checkpoint
    from geobench.features.cache import Features
    from geobench.gallery import Gallery


@dataclass(frozen=True)
class TrainingSet:
    """Images with known positions.

    Attributes:
        name: of the data set.
        table: a row per image: ``image``, ``latitude``, ``longitude`` and extra columns.
    """

    name: str
    table: pd.DataFrame
    extract: Callable[[], Features]
    live: Callable[[], FeatureLoader] | None = None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def coordinates(self) -> FloatArray:
        """Return the positions (n, 2) in degrees, those of unreadable images too."""
        return np.asarray(self.table[["latitude", "longitude"]].to_numpy(np.float64))

    @cached_property
    def features(self) -> Features:
        """Return the features of the images, computed at the first use: a model that needs none costs none."""
        return self.extract()

    def loader(self, device: str) -> FeatureLoader:
        """Return the loader of training features: live ones, augmented at each step, if requested, else cached ones."""
        return self.live() if self.live is not None else feature_loader(self.features.array, device)

    @cached_property
    def readable(self) -> npt.NDArray[np.intp]:
        """Return the rows whose image could be read: the ones to train on."""
        return np.flatnonzero(self.features.ok)


@dataclass(frozen=True)
class NoConfig:
    """The configuration of a model without hyper-parameters."""


class Model(ABC):
    """A model. Subclass it, give it a ``name`` and a ``summary``, write ``fit`` and ``locate`` (or ``predict``).

    Making an instance is cheap: networks are built in ``fit`` or ``restore``.

    Attributes:
        Config: a frozen dataclass of its hyper-parameters.
        input: what it answers from: ``features`` (``locate``), ``images`` (``predict``) or ``none`` (``locate`` with
            features of width 0).
        uses_gallery: False for a model that answers with positions of its own.
        variants: named lists of settings, for ``--variant``.
        fraction_settings: settings that go with a part of the training data, for ``--fraction``.
        probabilities: True where the scores of an image's predictions are probabilities: they are calibrated then.
        trainable: False for one that has nothing to learn; ``fit``, ``state`` and ``restore`` are then never called.
        device: where to compute.
        checkpoint: what it was loaded from.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    Config: ClassVar[type[Any]] = NoConfig
    input: ClassVar[Literal["features", "images", "none"]] = "features"
    uses_gallery: ClassVar[bool] = True
    probabilities: ClassVar[bool] = False
    trainable: ClassVar[bool] = True
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    fraction_settings: ClassVar[Mapping[float, Mapping[str, Any]]] = {}

    def __init__(self, config: Any = None, device: str = "cpu") -> None:
        self.config = config if config is not None else self.Config()
        self.device = device
        self.checkpoint: Checkpoint | None = None

    def fit(
        self, training_set: TrainingSet, *, seed: int = 0, scratch: Path | None = None, progress: Progress = SILENT
    ) -> None:
        """Learn from ``training_set``.

        Args:
            training_set: features (n, views, d) and coordinates (n, 2).
            seed: the same seed gives the same model.
            scratch: a folder to keep the state of a long training in; the folder of a killed one is handed in again.
            progress: told of the work.
        """
        raise TypeError(f"{self.name} has no fit(); a model that learns nothing says trainable = False.")

    def locate(self, features: npt.NDArray[np.float32], gallery: Gallery | None, top_k: int = 1) -> Predictions:
        """Return predictions for ``features`` (n, views, d), at most ``top_k`` each, from ``gallery``.

        The result for an image must not depend on which others are asked with it.
        """
        raise TypeError(f'{self.name} has no locate(); a model on raw images says input = "images".')

    def predict(self, images: Sequence[Image.Image], gallery: Gallery | None, top_k: int = 1) -> Predictions:
        """Return predictions for raw RGB ``images``; only where ``input`` is ``images``."""
        raise TypeError(f"{self.name} has no predict(); it answers from features.")

    def embed(self, coordinates: FloatArray, *, normalise: bool = True) -> npt.NDArray[np.float32]:
        """Return location embeddings (n, dim) of ``coordinates`` (n, 2), of unit length unless ``normalise`` is False.

        A row must not depend on which others are asked with it.
        """
        raise GeobenchError(f"{self.name} has no location embeddings.")

    def similarity(self, features: npt.NDArray[np.float32], coordinates: FloatArray) -> npt.NDArray[np.float32]:
        """Return the cosine similarity (n, m) of ``features`` (n, views, d) to the places ``coordinates`` (m, 2)."""
        raise GeobenchError(f"{self.name} does not tell how similar a place is to a query.")

    @classmethod
    def importable(cls) -> Sequence[str]:
        """Return the names of released weights that are on this machine and that ``imported_checkpoint`` knows."""
        return ()

    @classmethod
    def imported_checkpoint(cls, identifier: str) -> Checkpoint | None:
        """Return weights that others released as a checkpoint; None where ``identifier`` stands for no such weights.

        Args:
            identifier: what ``MODEL@`` is followed by: a name, or the path of a folder.
        """
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything learnt, as named arrays: what a checkpoint keeps."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:  # noqa: B027  a model may have no state
        """Take back what ``state`` returned; ``config`` is that of the training."""
