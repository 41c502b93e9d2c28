"""Every model of the package ``timm`` as an encoder: ``timm/NAME``, with released, local or random weights."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from textwrap import shorten

from geobench import Encoder, EncoderError, file_key, hookimpl, unknown_name

PREFIX = "timm/"
RANDOM = "random"
SEED = 0
"""Of random weights: the same for everybody."""


class TimmEncoder(Encoder):
    """A network of timm without its classifier: its pooled features, its tokens, and its weights to train.

    The name is ``timm/NAME`` (weights as timm finds them, which may download), ``timm/NAME/PATH`` of a local file
    (``.safetensors``, or ``.pth`` that holds tensors alone) or ``timm/NAME/random``, to train from scratch; ``@SIDE``
    at the end sets the side of the images. Preprocessing is what timm states of the model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        body, at, side = name.removeprefix(PREFIX).rpartition("@")
        if not at or not side.isdigit():
            body, side = name.removeprefix(PREFIX), ""
        self.model, _, self.source = body.partition("/")
        self.side = int(side) if side else None

    @cached_property
    def _stated(self):
        """Return what timm states of the model: size, mean, standard deviation, interpolation, share of the crop."""
        import timm

        if not timm.is_model(self.model.partition(".")[0]):
            raise unknown_name("model of timm", self.model, timm.list_models(), "Write timm/NAME.")
        try:
            stated = timm.get_pretrained_cfg(self.model)
        except RuntimeError:
            stated = None
        if stated is None:
            tags = timm.list_pretrained(f"{self.model.partition('.')[0]}*")
            raise unknown_name("model of timm", self.model, tags)
        return stated

    @property
    def normalisation(self):
        """Return mean and standard deviation of each channel."""
        return tuple(self._stated.mean), tuple(self._stated.std)

    @property
    def _size(self):
        return self.side or int(self._stated.input_size[-1])

    def describe(self) -> str:
        """Return the preprocessing."""
        stated = self._stated
        scaled = round(self._size / stated.crop_pct)
        return (
            f"shorter side to {scaled} px ({stated.interpolation}), centre {self._size}×{self._size}, mean "
            f"{tuple(stated.mean)}, std {tuple(stated.std)}"
        )

    def weights_key(self) -> str:
        """Return the tag of released weights, digits for a local file, or that they are random."""
        if self.source == RANDOM:
            import timm

            return f"random-{SEED}-timm-{timm.__version__}"
        return file_key(self._file()) if self.source else f"{self._stated.architecture}.{self._stated.tag}"

    def caveat(self) -> str:
        """Return that weights are random, if they are: no result of a frozen one means much."""
        return f"the weights of {self.name} are random, drawn with a fixed seed." if self.source == RANDOM else ""

    def downloads(self) -> bool:
        """Return whether timm is to find the weights: released ones, which it downloads unless they are cached."""
        return not self.source

    def check(self) -> None:
        """Raise if the model is unknown or its weights are not here; released ones are downloaded."""
        self.describe()
        if self.source and self.source != RANDOM:
            self._file()
        elif not self.source:
            self.load()

    def _file(self) -> Path:
        path = Path(self.source).expanduser()
        if not path.is_file():
            raise EncoderError(f"{self.name}: there is no weights file {path}.")
        return path

    def load(self, device: str = "cpu") -> None:
        """Build the network and fill it."""
        import timm
        import torch

        self.describe()
        sized = {"img_size": self.side} if self.side else {}
        with self._explained(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            build = {"pretrained": not self.source, "num_classes": 0}
            try:
                network = timm.create_model(self.model, **build, **sized)
            except TypeError:  # a convolutional network takes any size
                network = timm.create_model(self.model, **build)
            if self.source and self.source != RANDOM:
                self._fill(network)
        self.network, self.device, self.dim = network.eval().to(device), device, int(network.num_features)
        with torch.no_grad():
            blank = torch.zeros(1, 3, self._size, self._size, device=device)
            self.dim = int(self.network(blank).shape[1])

    def _fill(self, network) -> None:
        """Fill the network from the local file; a classifier in it is left out."""
        import torch
        from safetensors.torch import load_file

        path = self._file()
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        weights = weights.get("state_dict", weights.get("model", weights))
        other = f"it holds weights of another model than {self.model}"
        try:
            missing, unexpected = network.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise EncoderError(f"{path}: {other} ({str(error).splitlines()[-1].strip()}).") from error
        others = [name for name in unexpected if not name.startswith(("head", "fc", "classifier"))]
        if missing or others:
            what = f"has no {missing[0]}" if missing else f"has {others[0]}, which the model has not"
            raise EncoderError(f"{path} {what}: {other}.")

    @contextmanager
    def _explained(self):
        """Turn whatever timm and its libraries raise into an ``EncoderError`` of one line."""
        logging.disable(logging.ERROR)
        try:
            yield
        except EncoderError:
            raise
        except Exception as error:  # errors of hub, network and files of several libraries
            reason = shorten(str(error), 300, placeholder=" …")
            raise EncoderError(
                f"the weights of {self.name} are not available ({type(error).__name__}: {reason}); without a network, "
                f"name a file with them: {PREFIX}{self.model}/PATH.safetensors"
            ) from error
        finally:
            logging.disable(logging.NOTSET)

    @cached_property
    def _transform(self):
        from timm.data import create_transform

        stated = self._stated
        return create_transform(
            input_size=(3, self._size, self._size), interpolation=stated.interpolation, mean=stated.mean,
            std=stated.std, crop_pct=stated.crop_pct, is_training=False,
        )  # fmt: skip

    def preprocess(self, image):
        """Return (3, side, side)."""
        return self._transform(image)

    def encode_images(self, batch):
        """Return (n, d), pooled as the network does."""
        return self.network(batch).float()

    def encode_tokens(self, batch):
        """Return (n, t, d): the patch tokens of a transformer, or the positions of the last feature map."""
        found = self.network.forward_features(batch)
        if found.ndim == 3:  # (n, t, d), with class tokens first
            return found[:, getattr(self.network, "num_prefix_tokens", 0) :].float()
        last = getattr(self.network, "num_features", None)
        if found.shape[1] != last and found.shape[-1] == last:  # (n, h, w, d), as Swin has it
            found = found.permute(0, 3, 1, 2)
        return found.flatten(2).transpose(1, 2).float()

    def trainable_network(self):
        """Return timm's network."""
        return self.network


@hookimpl
def register_encoders(register):
    """Register every model of timm by pattern."""
    register(f"{PREFIX}*", TimmEncoder)
