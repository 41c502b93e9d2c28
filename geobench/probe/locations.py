"""Features of coordinates: raw, wrapped, one-hot, random Fourier, spherical harmonics, a model's embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.checkpoints import get_model
from geobench.errors import SettingError, unknown_name
from geobench.geo import FloatArray, unit_vectors
from geobench.models import Model

Features = npt.NDArray[np.float32]
RAW = "raw"
BANDS = "CDEFGHJKLMNPQRSTUVWX"
FOURIER, SIGMA = 256, 2.0
"""Random Fourier features: pairs of sine and cosine, and the σ of their frequencies per unit of the sphere's radius."""
DEGREES = 10
"""Degrees of spherical harmonics; there are DEGREES² of them."""


def location_features(name: str, coordinates: FloatArray, seed: int = 0, device: str = "cpu") -> Features:
    """Return the features (n, d) of ``coordinates`` (n, 2) in degrees, of unit length.

    Raw coordinates keep their length, which is half of what they say; a zone that does not exist is zero.

    Args:
        name: ``raw``, ``wrap``, ``onehot``, ``fourier``, ``harmonics``, or a model with location embeddings, such as
            ``geoclip@official``.
        coordinates: latitude, longitude.
        seed: of the random frequencies.
        device: of the model.

    Raises:
        SettingError: unknown name; or a model without location embeddings.
    """
    if name in KINDS:
        features = KINDS[name](coordinates, seed)
        return np.ascontiguousarray(features, dtype=np.float32) if name == RAW else unit_length(features)
    check_known([name])
    model = get_model(name, device)
    if type(model).embed is Model.embed:
        raise SettingError(f"{model.name} has no location embeddings; models that do: {', '.join(_models())}.")
    return unit_length(model.embed(coordinates))


def check_known(names: Iterable[str]) -> None:
    """Raise an ``UnknownNameError`` for the first of ``names`` that is no location feature; ``MODEL@…`` may be one."""
    for name in names:
        if "@" not in name and name not in (*KINDS, *_models()):
            raise unknown_name("location feature", name, [*KINDS, *(f"{model}@CHECKPOINT" for model in _models())])


def _models() -> list[str]:
    from geobench.plugins import get_models

    return [name for name, model in get_models().items() if model.embed is not Model.embed]


def raw(coordinates: FloatArray, seed: int) -> npt.NDArray[Any]:
    """Return latitude / 90 and longitude / 180."""
    scaled: npt.NDArray[Any] = coordinates / (90.0, 180.0)
    return scaled


def wrap(coordinates: FloatArray, seed: int) -> npt.NDArray[Any]:
    """Return sine and cosine of π · latitude / 90 and π · longitude / 180, so that ±180° are one (Mac Aodha 2019).

    So are the two poles, as in the original.
    """
    angles = np.pi * coordinates / (90.0, 180.0)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def utm_zones(coordinates: FloatArray, seed: int) -> npt.NDArray[Any]:
    """Return the one-hot UTM zone, 60 strips × 20 bands (OneHot: Christie 2018); none beyond 84° N and 80° S."""
    latitude, longitude = coordinates.T
    strip = np.floor((longitude + 180) / 6).astype(int) % 60
    band = np.clip(np.floor((latitude + 80) / 8).astype(int), 0, len(BANDS) - 1)
    onehot = np.zeros((len(coordinates), 60 * len(BANDS)))
    inside = np.flatnonzero((latitude >= -80) & (latitude <= 84))
    onehot[inside, strip[inside] * len(BANDS) + band[inside]] = 1
    return onehot


def fourier(coordinates: FloatArray, seed: int) -> npt.NDArray[Any]:
    """Return random Fourier features of the point on the unit sphere (Rahimi, Recht 2007), of unit length."""
    frequencies = np.random.default_rng([seed, FOURIER]).normal(0, SIGMA, (3, FOURIER))
    phases = 2 * np.pi * unit_vectors(coordinates) @ frequencies
    features: npt.NDArray[Any] = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / np.sqrt(FOURIER)
    return features


def harmonics(coordinates: FloatArray, seed: int) -> npt.NDArray[Any]:
    """Return the real spherical harmonics of degree 0 to ``DEGREES`` − 1 (Rußwurm et al. 2024)."""
    from scipy.special import lpmv

    latitude, longitude = np.radians(coordinates).T
    columns = []
    for degree in range(DEGREES):
        for order in range(degree + 1):
            legendre = lpmv(order, degree, np.sin(latitude))
            scale = _scale(degree, order)
            columns.append(scale * legendre * np.cos(order * longitude))
            if order:
                columns.append(scale * legendre * np.sin(order * longitude))
    return np.stack(columns, axis=1)


def _scale(degree: int, order: int) -> float:
    """Return the factor that makes real harmonics orthonormal on the sphere."""
    ratio = float(np.prod(np.arange(degree - order + 1, degree + order + 1, dtype=np.float64)))
    return float(np.sqrt((1 if order == 0 else 2) * (2 * degree + 1) / (4 * np.pi * ratio)))


def unit_length(vectors: npt.NDArray[Any]) -> Features:
    """Return ``vectors`` (n, d) of length 1; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Features = np.ascontiguousarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
    return unit


KINDS: dict[str, Callable[[FloatArray, int], npt.NDArray[Any]]] = {
    RAW: raw,
    "wrap": wrap,
    "onehot": utm_zones,
    "fourier": fourier,
    "harmonics": harmonics,
}
"""Features by name that need no model."""
