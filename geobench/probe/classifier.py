"""The classifier of the probe, and its measure: mean average precision with an interval over test images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.settings import setting, settings

RESAMPLED = 200
"""Bootstrap samples of the test images."""


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
    return scores


def average_precisions(scores: npt.NDArray[Any], labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the average precision (c,) of each concept, NaN for one without a positive image.

    It is the mean over positive images of the precision among all that score as high or higher; equal scores count
    together.
    """
    found = np.full(labels.shape[1], np.nan)
    for concept in range(labels.shape[1]):
        positive, score = labels[:, concept], scores[:, concept]
        if not positive.any():
            continue
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        hits, ranks = np.cumsum(positive[order]), np.arange(1, len(order) + 1)
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each group of equal scores
        recall = np.diff(np.concatenate([[0], hits[last]])) / hits[-1]
        found[concept] = float((recall * hits[last] / ranks[last]).sum())
    return found


def mean_average_precision(scores: npt.NDArray[Any], labels: npt.NDArray[np.bool_]) -> float:
    """Return the mean over the concepts that have a positive test image, NaN if none has."""
    found = average_precisions(scores, labels)
    return float(found[~np.isnan(found)].mean()) if not np.isnan(found).all() else float("nan")


def interval(scores: npt.NDArray[Any], labels: npt.NDArray[np.bool_], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean average precision over test images."""
    rng = np.random.default_rng([seed, len(labels)])
    samples = (rng.integers(len(labels), size=len(labels)) for _ in range(RESAMPLED))
    values = [mean_average_precision(scores[rows], labels[rows]) for rows in samples]
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)
