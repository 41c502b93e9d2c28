"""Augmented views, as in SimCLR or as in GeoCLIP's released code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geobench.errors import SettingError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from geobench.features.encoders import Encoder, Normalisation


ENCODERS_OWN = "the encoder's own"  # normalisation


@dataclass(frozen=True)
class Strength:
    """Strength of an augmentation: share of the area kept, colour jitter, blur, and normalisation of the pixels."""

    area: tuple[float, float]
    jitter: tuple[float, float, float, float]  # brightness, contrast, saturation, hue, with probability 0.8
    blur: float  # probability
    normalisation: str = ENCODERS_OWN


IMAGENET: Normalisation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

STRENGTHS = {
    "simclr": Strength((0.08, 1.0), (0.8, 0.8, 0.8, 0.2), 0.5),  # Chen et al. 2020, appendix A, strength 1
    "official": Strength((0.08, 1.0), (0.4, 0.4, 0.4, 0.1), 0.0, "imagenet"),  # package geoclip 1.3.0
}


@dataclass(frozen=True)
class Augmentation:
    """P views of each image.

    Attributes:
        views: P, at least 1.
        kind: ``simclr`` or ``official``.
        seed: the same image, seed and epoch always give the same views.
        normalisation: of the pixels; determined by ``kind``.
    """

    views: int
    kind: str = "simclr"
    seed: int = 0
    normalisation: str = field(default=ENCODERS_OWN, init=False)

    def __post_init__(self) -> None:
        if self.kind not in STRENGTHS or self.views < 1:
            raise SettingError(
                f"views must be at least 1 and the augmentation {' or '.join(STRENGTHS)}, "
                f"not {self.views} and {self.kind!r}."
            )
        object.__setattr__(self, "normalisation", STRENGTHS[self.kind].normalisation)

    def __call__(self, image: Image.Image, name: str, epoch: int = 0) -> list[Image.Image]:
        """Return the views of ``image``; its ``name`` is part of the seed."""
        import torch

        views = []
        for number in range(self.views):
            seed = hashlib.sha256(f"{self.seed} {epoch} {number} {name}".encode()).digest()[:8]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int.from_bytes(seed, "big") >> 1)
                views.append(_augmented(image, STRENGTHS[self.kind]))
        return views

    def inputs(self, image: Image.Image, name: str, encoder: Encoder, epoch: int = 0) -> Tensor:
        """Return the encoder's inputs (views, 3, h, w) for the views of ``image``.

        Raises:
            SettingError: the augmentation has a normalisation of its own, and that of the encoder is unknown.
        """
        import torch

        inputs = torch.stack([encoder.preprocess(view) for view in self(image, name, epoch)])
        if self.normalisation == ENCODERS_OWN:
            return inputs
        if encoder.normalisation is None:
            raise SettingError(
                f"the augmentation {self.kind} normalises pixels as for ImageNet, and the encoder {encoder.name} does "
                "not state its own normalisation; choose the augmentation simclr."
            )
        (mean, std), (new_mean, new_std) = (
            torch.tensor(n)[:, :, None, None] for n in (encoder.normalisation, IMAGENET)
        )
        scaled: Tensor = (inputs * std + mean - new_mean) / new_std
        return scaled


def _augmented(image: Image.Image, strength: Strength) -> Image.Image:
    """Return one view: a random crop, possibly mirrored, jittered, grey or blurred; the encoder resizes it."""
    import torch
    from torchvision import transforms

    top, left, height, width = transforms.RandomResizedCrop.get_params(image, strength.area, (3 / 4, 4 / 3))
    image = image.crop((left, top, left + width, top + height))
    kernel = max(3, min(height, width) // 10 | 1)
    steps = [
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(*strength.jitter)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
    ]
    if min(height, width) > kernel and float(torch.rand(())) < strength.blur:
        steps.append(transforms.GaussianBlur(kernel, sigma=(0.1, 2.0)))
    view: Image.Image = transforms.Compose(steps)(image)
    return view
