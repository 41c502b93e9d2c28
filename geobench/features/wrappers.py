"""Encoders made from encoders: one whose features are its tokens, one with a semantic map beside the image, one tuned.

The first two have names, ``NAME:tokens`` and ``NAME:tokens+map``, so that features and records state what they hold.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from geobench import files
from geobench.errors import EncoderError
from geobench.features.encoders import Encoder

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn


class Wrapper(Encoder):
    """An encoder that computes with another one, ``base``, and states what that does unless it says otherwise."""

    def __init__(self, base: Encoder, name: str) -> None:
        self.base, self.name = base, name
        self.normalisation, self.tile = base.normalisation, base.tile

    def load(self, device: str = "cpu") -> None:
        """Load the base."""
        self.base.load(device)
        self.device, self.dim = device, self.base.dim

    def describe(self) -> str:
        """Return the preprocessing of the base."""
        return self.base.describe()

    def weights_key(self) -> str:
        """Return the weights of the base."""
        return self.base.weights_key()

    def check_weights(self, key: str, user: str) -> None:
        """Check the weights of the base."""
        self.base.check_weights(key, user)

    def caveat(self) -> str:
        """Return what must be known of the base."""
        return self.base.caveat()

    def downloads(self) -> bool:
        """Return whether the base would fetch weights."""
        return self.base.downloads()

    def check(self) -> None:
        """Check that the base is available."""
        self.base.check()

    def preprocess(self, image: Image.Image) -> Tensor:
        """Return the input of the base."""
        return self.base.preprocess(image)

    def precision(self, device: str) -> str:
        """Return the precision of the base."""
        return self.base.precision(device)

    def encode_images(self, batch: Tensor) -> Tensor:
        """Return the features of the base."""
        return self.base.encode_images(batch)

    def trainable_network(self) -> nn.Module:
        """Return the network of the base."""
        return self.base.trainable_network()


class TokenEncoder(Wrapper):
    """The tokens of an encoder as features (n, t · d), one after the other.

    Attributes:
        tokens: t, known after ``load``.
    """

    tokens: int

    def load(self, device: str = "cpu") -> None:
        """Load the base and count its tokens."""
        import torch
        from PIL import Image

        super().load(device)
        blank = self.preprocess(Image.new("RGB", (64, 64)))[None].to(device)
        with torch.no_grad():
            shape = self.encode_tokens(blank).shape
        self.tokens, self.dim = int(shape[1]), int(shape[1] * shape[2])

    def encode_tokens(self, batch: Tensor) -> Tensor:
        """Return the tokens (n, t, d)."""
        return self.base.encode_tokens(batch)

    def encode_images(self, batch: Tensor) -> Tensor:
        """Return the tokens as (n, t · d)."""
        return self.encode_tokens(batch).flatten(1)

    def describe(self) -> str:
        """Return the preprocessing, and that these are tokens."""
        return f"{self.base.describe()}; tokens"


class TwoBranchEncoder(TokenEncoder):
    """The tokens of an image, then those of its semantic map, each by a network of its own with the same start.

    Source: the two branches of Translocator (Pramanick et al. 2022).
    """

    def load(self, device: str = "cpu") -> None:
        """Load the base twice: fine-tuning makes different networks of them."""
        self.base.load(device)
        self.of_map = copy.deepcopy(self.base)
        super().load(device)

    def preprocess(self, image: Image.Image) -> Tensor:
        """Return (6, h, w): the input for ``image`` and that for its semantic map."""
        import torch

        return torch.cat([self.base.preprocess(image), self.base.preprocess(self.base.semantic_map(image))])

    def encode_tokens(self, batch: Tensor) -> Tensor:
        """Return the tokens (n, 2 t, d) of both branches."""
        import torch

        image, semantic = batch.chunk(2, dim=1)
        return torch.cat([self.base.encode_tokens(image), self.of_map.encode_tokens(semantic)], dim=1)

    def trainable_network(self) -> nn.Module:
        """Return both networks."""
        from geobench.features.two_networks import TwoNetworks

        return TwoNetworks(self.base.trainable_network(), self.of_map.trainable_network())

    def describe(self) -> str:
        """Return the preprocessing, and where the semantic map comes from."""
        return f"{super().describe()} of the image and of its semantic map ({self.base.map_source})"


class TunedEncoder(Wrapper):
    """An encoder whose network was trained with a model: the same preprocessing, other weights."""

    def __init__(self, base: Encoder, weights: Mapping[str, npt.NDArray[Any]] | None, key: str = "") -> None:
        """Make it of ``base`` and the ``weights`` by name; ``key`` stands for them, where they are not loaded yet."""
        super().__init__(base, base.name)
        self.weights, self.key = weights, key
        self.name = f"{base.name} (tuned {self.weights_key()[:4]})"

    def load(self, device: str = "cpu") -> None:
        """Load the base and replace its weights."""
        import torch

        super().load(device)
        if self.weights is None:
            raise EncoderError(f"the weights that were trained with {self.name} are not loaded; restore the model.")
        tensors = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        try:
            self.base.trainable_network().load_state_dict(tensors)
        except RuntimeError as error:
            raise EncoderError(
                f"the weights trained on {self.name} do not fit its network ({str(error).splitlines()[-1].strip()}); "
                "the encoder is another one now: train again."
            ) from error

    def weights_key(self) -> str:
        """Return digits for the weights learnt, and for those they began with."""
        learnt = self.weights or {}
        key = self.key or files.digest(*(part for name in sorted(learnt) for part in (name, learnt[name])))
        return files.digest(self.base.weights_key(), key)

    def check_weights(self, key: str, user: str) -> None:
        """Accept: the weights come with the model."""


WRAPPERS: dict[str, Callable[[Encoder, str], Encoder]] = {"tokens": TokenEncoder, "tokens+map": TwoBranchEncoder}
"""What may follow the name of an encoder after a colon."""


def wrapped(encoder: Encoder, reads: str) -> Encoder:
    """Return ``encoder`` as a model ``reads`` it: ``pooled``, ``tokens`` or ``tokens+map``."""
    name = f"{encoder.name}:{reads}"
    return encoder if reads == "pooled" or encoder.name.endswith(f":{reads}") else WRAPPERS[reads](encoder, name)


def plain(encoder: Encoder) -> Encoder:
    """Return the encoder that ``encoder`` was made from: that of one vector for an image."""
    return plain(encoder.base) if isinstance(encoder, Wrapper) else encoder
