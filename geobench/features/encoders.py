"""Encoders map images to feature vectors. An encoder owns its preprocessing and its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geobench.errors import EncoderError
from geobench.files import file_digest
from geobench.images.semantic import STAND_IN, map_by_colour

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn


Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

SAME_FEATURES = 1e-3
"""Features of one image whose difference has at most this share of their norm count as the same."""


class Encoder(ABC):
    """The contract of an encoder. ``load`` is called once, before anything is encoded.

    Cached features are reused as long as name, ``weights_key``, ``describe``, ``normalisation``, precision and code
    (:mod:`geobench.features.code`) are the same. All of these are asked for before ``load``.

    Attributes:
        name: such as ``ViT-L-14/openai``.
        dim: feature width d; known after ``load``.
        device: that it computes on.
        normalisation: mean and standard deviation of each channel by which ``preprocess`` scales pixels in [0, 1]; None
            if it does something else. Known before ``load``.
        tile: images that a CPU encodes together, always exactly so many, the last ones padded: the choice of kernels,
            and with it the last bit of every feature, then does not depend on the batch size. One photo costs as much
            as a tile, so a large network has a small one. In no key: another tile changes no more than the last bits.
    """

    name: str
    dim: int
    device: str = "cpu"
    normalisation: Normalisation | None = None
    tile: int = 4

    @abstractmethod
    def load(self, device: str = "cpu") -> None:
        """Read the weights and move them to ``device``; raise ``EncoderError`` if they are not available."""

    @abstractmethod
    def describe(self) -> str:
        """Return the preprocessing in one line, with every setting that changes it: it is recorded with each result."""

    @abstractmethod
    def weights_key(self) -> str:
        """Return a hash of the weights, or the name of released weights that never change."""

    def check_weights(self, key: str, user: str) -> None:
        """Raise ``EncoderError`` unless these are the weights that ``user``, such as ``knn@ID``, was trained with.

        Args:
            key: their ``weights_key``.
            user: named in the error.
        """
        if key != self.weights_key():
            raise EncoderError(
                f"{user} was trained on features of {self.name} with other weights ({key}, here {self.weights_key()}); "
                f"use those, or train again."
            )

    def caveat(self) -> str:
        """Return what must be known to read its results, as one sentence; empty if there is nothing to say.

        Such as weights that may not be those its name stands for.
        """
        return ""

    def check(self) -> None:
        """Raise ``EncoderError`` if the weights are not available or not usable: before any work, without loading them.

        Weights that ``load`` would download are best downloaded here.
        """
        self.weights_key()

    def downloads(self) -> bool:
        """Return whether ``check`` or ``load`` would fetch weights from a network; known without asking it."""
        return False

    @abstractmethod
    def preprocess(self, image: Image.Image) -> Tensor:
        """Return the input (3, height, width) for an RGB ``image``, of the same shape for every image."""

    @abstractmethod
    def encode_images(self, batch: Tensor) -> Tensor:
        """Return the features (n, d) in float32 of a preprocessed ``batch`` (n, 3, height, width)."""

    def precision(self, device: str) -> str:
        """Return the precision of ``encode_images`` on ``device``: ``float32``, or the dtype to autocast to."""
        return "float32"

    def encode_tokens(self, batch: Tensor) -> Tensor:
        """Return the tokens (n, t, d) of a preprocessed ``batch``: a vector for each patch, before they are pooled.

        Raises:
            EncoderError: the encoder has none.
        """
        raise EncoderError(
            f"the encoder {self.name} gives one vector for an image and no tokens; use efficientnet_lite0, a vision "
            "transformer of open_clip, or timm/NAME."
        )

    def semantic_map(self, image: Image.Image) -> Image.Image:
        """Return a picture of what is where in ``image``: a colour for each class of a segmentation.

        Here it is a stand-in. An encoder that has a segmentation network overrides this and ``map_source``.
        """
        return map_by_colour(image)

    @property
    def map_source(self) -> str:
        """Return in a few words what ``semantic_map`` is: it is part of what a result states of its features."""
        return STAND_IN

    def trainable_network(self) -> nn.Module:
        """Return the network that ``encode_images`` and ``encode_tokens`` compute with, to be fine-tuned.

        Raises:
            EncoderError: the encoder cannot be fine-tuned.
        """
        raise EncoderError(f"the encoder {self.name} cannot be fine-tuned; set backbone=frozen.")

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the features (n, d) of ``texts``; raise ``EncoderError`` if there is no text tower."""
        raise EncoderError(f"the encoder {self.name} has no text tower; use a CLIP model such as ViT-L-14/openai.")


def encode(encoder: Encoder, batch: Tensor) -> Tensor:
    """Return features (n, d) float32 of a preprocessed ``batch``, computed on the encoder's device in its precision.

    Raises:
        EncoderError: the encoder returned another number of rows or columns.
    """
    import torch

    kind, precision = torch.device(encoder.device).type, encoder.precision(encoder.device)
    with torch.no_grad(), torch.autocast(kind, getattr(torch, precision), enabled=precision != "float32"):
        features = encoder.encode_images(batch.to(encoder.device, non_blocking=True)).float()
    if features.shape != (len(batch), encoder.dim):
        raise EncoderError(
            f"the encoder {encoder.name} returned features of the shape {tuple(features.shape)}; for {len(batch)} "
            f"images they must be ({len(batch)}, {encoder.dim}), a row for each image and as many columns as its dim."
        )
    return features


def refuse_dependence(encoder: Encoder, batch: Tensor, features: Tensor) -> None:
    """Raise ``EncoderError`` if the first image of ``batch`` has other ``features`` among blank images.

    It has where the network is in training mode or draws at random. Every score would then depend on the batch size.
    """
    import torch

    alone = torch.zeros_like(batch)
    alone[0] = batch[0]
    first, again = features[0], encode(encoder, alone)[0]
    if bool((first - again).norm() > SAME_FEATURES * first.norm()):
        raise EncoderError(
            f"the encoder {encoder.name} gives an image other features if the other images of its batch are others: "
            "its network may be in training mode (call eval() in load) or draw at random; scores would depend on the "
            "batch size."
        )


def file_key(path: Path) -> str:
    """Return 16 digits that stand for the content of a weights file."""
    return file_digest(path)[:16]
