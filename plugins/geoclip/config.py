"""All settings of GeoCLIP. Defaults: the released architecture, trained as in the paper."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt

from geobench.settings import setting, settings
from geobench.training.engine import Schedule


@settings
class GeoClipConfig(Schedule):
    """Hyper-parameters of GeoCLIP (Vivanco Cepeda, Nayak, Shah; NeurIPS 2023; arXiv 2309.16020).

    Where the paper and the released code (package ``geoclip`` 1.3.0) differ, the source says which the default follows.
    The optimisation of section 4.1 is that of ``Schedule``.
    """

    # Location encoder L (section 3.2, equation 3)
    projection: Literal["equal_earth", "none"] = setting(
        "equal_earth", "none: latitude / 90 and longitude / 180 as they are", source="paper and released code"
    )
    projection_scale: float = setting(
        66.50336, "projected coordinates are multiplied by it / 180", gt=0, source="released code; none in the paper"
    )
    fourier: bool = setting(
        True,
        "random Fourier features; false feeds the two projected numbers to the MLPs",
        source="paper and released code",
    )
    fourier_rows: int = setting(256, "rows of R; the encoding is twice as wide", ge=1, source="released code")
    sigma_min: float = setting(2.0**0, "σ of the coarsest hierarchy", gt=0, source="released code")
    sigma_max: float = setting(2.0**8, "σ of the finest hierarchy, at least sigma_min", gt=0, source="released code")
    hierarchies: int = setting(
        3, "number of σ_i, equally spaced in log2 from sigma_min to sigma_max: 1, 16, 256", ge=1, source="released code"
    )
    sigma_list: tuple[Annotated[float, Gt(0)], ...] = setting(
        (), "the σ_i themselves, in place of the three settings above"
    )
    hidden_dim: int = setting(1024, "width of the MLPs", ge=1, source="released code")
    hidden_layers: int = setting(3, "hidden layers of each MLP", ge=1, source="released code; the paper says four")
    dim: int = setting(512, "dimension of the space shared by images and locations", ge=1, source="released code")

    # Image encoder V: two linear layers on the frozen backbone's features
    head_dim: int = setting(768, "width between the two layers of the image head", ge=1, source="released code")
    head_relu: bool = setting(True, "a ReLU between the two layers", source="released code; the paper does not say")

    # Contrastive loss (equation 4)
    queue_length: int = setting(
        4096,
        "coordinates of earlier batches kept as additional negatives: 0, or at least batch_size",
        ge=0,
        source="released code; varied in table S3",
    )
    queue_start: Literal["uniform", "origin"] = setting(
        "uniform", "uniform over latitude and longitude, or within 1° of (0, 0)", source="paper; released code: origin"
    )
    queue_dynamic: bool = setting(
        True, "the coordinates of each batch replace the oldest ones", source="paper; compared in table S5"
    )
    batch_noise_m: float = setting(
        150.0, "σ_η of the noise on the coordinates of the batch, in metres", ge=0, source="paper; varied in table S4"
    )
    queue_noise_m: float = setting(
        1000.0, "σ_η′ of the noise on the coordinates of the queue, in metres", ge=0, source="paper; varied in table S5"
    )
    temperature: float = setting(0.07, "initial τ", gt=0, source="released code")
    temperature_learnable: bool = setting(True, "τ is trained with the rest", source="paper and released code")
    symmetric: bool = setting(
        False, "contrast locations against images as well, as CLIP does", source="paper: images against locations only"
    )

    def __post_init__(self) -> None:
        """Refuse settings that do not go together."""
        super().__post_init__()
        if self.sigma_max < self.sigma_min:
            raise ValueError(f"sigma_max must be at least sigma_min, {self.sigma_min}, not {self.sigma_max}.")
        if 0 < self.queue_length < self.batch_size:
            raise ValueError(
                f"a queue of {self.queue_length} cannot take a batch of {self.batch_size}: "
                f"set queue_length to 0 or to at least batch_size."
            )

    @property
    def sigmas(self) -> list[float]:
        """Return σ_i = 2^(log2 σmin + (i − 1)(log2 σmax − log2 σmin)/(M − 1)) of the M hierarchies (equation 3)."""
        if self.sigma_list:
            return list(self.sigma_list)
        if self.hierarchies == 1:
            return [self.sigma_min]
        ratio = self.sigma_max / self.sigma_min
        return [self.sigma_min * ratio ** (i / (self.hierarchies - 1)) for i in range(self.hierarchies)]


VARIANTS = {
    # The paper to the letter: no scale, four hidden layers, two linear layers with nothing between them.
    "paper": {"projection_scale": 180.0, "hidden_layers": 4, "head_relu": False},
    # What the released code (package geoclip 1.3.0) does: no noise, a queue that starts within 1° of (0, 0).
    "official": {"queue_start": "origin", "batch_noise_m": 0.0, "queue_noise_m": 0.0},
}
"""Settings by name of the variant; all others keep their defaults. The default is neither: the released architecture,
trained as in the paper."""

FRACTIONS = {0.2: {"batch_size": 256}, 0.1: {"batch_size": 256}, 0.05: {"batch_size": 128}}
"""The paper's batch sizes with a part of the training data (supplement)."""
