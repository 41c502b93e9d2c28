"""Everything that can be chosen about GeoCLIP. Defaults: the released architecture, the paper's training."""

from __future__ import annotations

from dataclasses import dataclass

from geobench import SettingError
from geobench.settings import check_ranges
from geobench.training.engine import Schedule


@dataclass(frozen=True)
class GeoClipConfig(Schedule):
    """Hyper-parameters of GeoCLIP (Vivanco Cepeda, Nayak, Shah; NeurIPS 2023; arXiv 2309.16020).

    Where paper and released code (package ``geoclip`` 1.3.0) differ, the comment says whose the default is.
    """

    # Location encoder L (section 3.2)
    projection: str = "equal_earth"  # or none: latitude / 90 and longitude / 180 as they are
    projection_scale: float = 66.50336  # projected coordinates × scale / 180: released code; the paper states none
    fourier: bool = True  # random Fourier features; False feeds the two projected numbers to the MLPs
    fourier_rows: int = 256  # rows of R; the encoding is twice as wide
    sigma_min: float = 2.0**0  # σ of the coarsest hierarchy
    sigma_max: float = 2.0**8  # σ of the finest
    hierarchies: int = 3  # σ_i lie between, equally spaced in log2: 1, 16, 256
    sigma_list: tuple[float, ...] = ()  # the σ_i themselves, in place of the three settings above
    hidden_dim: int = 1024  # width of the MLPs
    hidden_layers: int = 3  # released code; the paper says four
    dim: int = 512  # of the space shared by images and locations

    # Image encoder V: two linear layers on the frozen backbone's features
    head_dim: int = 768  # width between the two layers
    head_relu: bool = True  # a ReLU between the two layers: released code; the paper does not say

    # Contrastive loss (equation 4)
    queue_length: int = 4096  # coordinates of earlier batches, as more negatives; 0 for no queue
    queue_start: str = "uniform"  # over latitude and longitude: paper; or origin, within 1° of (0, 0): released code
    queue_dynamic: bool = True  # the oldest make room for the coordinates of each batch
    batch_noise_m: float = 150.0  # σ_η, of the noise on the coordinates of the batch, in metres
    queue_noise_m: float = 1000.0  # σ_η′, of the noise on those of the queue
    temperature: float = 0.07  # τ at the start
    temperature_learnable: bool = True  # τ is trained with the rest

    symmetric: bool = False  # locations against images as well, as CLIP does; the paper does not

    # The optimisation of section 4.1 is that of Schedule: batch 512, lr 3e-5, weight decay 1e-6, decay 0.87 per epoch.

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        at_least_one = ("fourier_rows", "hierarchies", "hidden_dim", "hidden_layers", "dim", "head_dim")
        above_zero = ("projection_scale", "sigma_min", "temperature")
        not_negative = ("queue_length", "batch_noise_m", "queue_noise_m")
        check_ranges(
            self,
            {
                "projection": (self.projection in ("equal_earth", "none"), "equal_earth or none"),
                "queue_start": (self.queue_start in ("uniform", "origin"), "uniform or origin"),
                "sigma_max": (self.sigma_max >= self.sigma_min, f"at least sigma_min, {self.sigma_min}"),
                "sigma_list": (all(sigma > 0 for sigma in self.sigma_list), "a list of numbers above 0"),
            }
            | {name: (getattr(self, name) >= 1, "at least 1") for name in at_least_one}
            | {name: (getattr(self, name) > 0, "above 0") for name in above_zero}
            | {name: (getattr(self, name) >= 0, "at least 0") for name in not_negative},
        )
        if 0 < self.queue_length < self.batch_size:
            raise SettingError(
                f"a queue of {self.queue_length} cannot take a batch of {self.batch_size}: "
                f"set queue_length to 0 or to at least the batch size."
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
    # What the paper says, to the letter: no scale, four hidden layers, two linear layers with nothing between them.
    "paper": {"projection_scale": 180.0, "hidden_layers": 4, "head_relu": False},
    # What the released code (package geoclip 1.3.0) does: no noise, a queue that starts within 1° of (0, 0).
    "official": {"queue_start": "origin", "batch_noise_m": 0.0, "queue_noise_m": 0.0},
}
"""Switches by name; what a variant does not name keeps its default. The default is neither: the released
architecture, trained as the paper says."""

FRACTIONS = {0.2: {"batch_size": 256}, 0.1: {"batch_size": 256}, 0.05: {"batch_size": 128}}
"""The paper's batch sizes with a part of the training data (supplement)."""
