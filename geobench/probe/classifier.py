"""The classifier of the probe: one hidden layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geobench.errors import SettingError
from geobench.settings import setting, settings


@settings
class ProbeConfig:
    """One hidden layer with dropout, a sigmoid for each concept, binary cross entropy (GeoCLIP, section 4.4)."""

    hidden: int = setting(2048, "units of the hidden layer", ge=1, source="GeoCLIP, section 4.4")
    dropout: float = setting(0.5, "share of the units left out in training; the paper states no value", ge=0, lt=1)
    lr: float = setting(1e-3, "learning rate of Adam", gt=0, source="GPS2Vec")
    epochs: int = setting(20, "passes over the training images", ge=1)
    batch_size: int = setting(256, "images per step", ge=1)


def predict(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.bool_],
    training: npt.NDArray[np.bool_],
    testing: npt.NDArray[np.bool_],
    config: ProbeConfig,
    seed: int,
    device: str = "cpu",
) -> npt.NDArray[np.float32]:
    """Return the scores (m, c) of the test images by a network trained on the others.

    Args:
        features: (n, d).
        labels: (n, c).
        training, testing: (n,) which images.
        config: of the network and its training.
        seed: of weights, order and dropout.
        device: torch device.

    Raises:
        SettingError: the training diverged, or the features are not finite.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(features.shape[1], config.hidden), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, labels.shape[1]),
        ).to(device)  # fmt: skip
        given, wanted = (
            torch.tensor(values[training], dtype=torch.float32, device=device) for values in (features, labels)
        )
        optimiser = torch.optim.Adam(network.parameters(), lr=config.lr)
        for _ in range(config.epochs):
            for chosen in torch.randperm(len(given)).split(config.batch_size):  # type: ignore[no-untyped-call]
                optimiser.zero_grad(set_to_none=True)
                loss = nn.functional.binary_cross_entropy_with_logits(network(given[chosen]), wanted[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        network.eval()
        with torch.no_grad():
            scores: npt.NDArray[np.float32] = network(torch.tensor(features[testing], device=device)).cpu().numpy()
    if not np.isfinite(scores).all():
        raise SettingError(
            f"the classifier's scores are not finite numbers with lr={config.lr:g}: its training diverged, or its "
            "features are not finite; set a smaller lr."
        )
    return scores
