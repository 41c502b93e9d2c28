"""Scene labels of training images: from their table, from an encoder with a text tower, or from k-means.

ISNs, Translocator and GeoDecoder learn scenes beside cells. Their labels are those of a network trained on Places365,
which come with MP-16's table. Where there are none, the substitutes here are named in the setting ``scene_labels``, and
so in every record and table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from geobench.errors import TrainingError
from geobench.models import TrainingSet

if TYPE_CHECKING:
    import pandas as pd

    from geobench.features.half import HalfArray

Source = Literal["column", "text", "kmeans"]
COLUMNS = {3: ("S3_Label", "scene"), 16: ("S16_Label",), 365: ("S365_Label",)}
"""Columns of scene labels in the tables of Müller-Budack et al. (2018), by the number of scenes."""
PROBABILITIES = ("Prob_indoor", "Prob_natural", "Prob_urban")
"""Their columns of the probabilities of the three scenes."""
NAMES = ("indoor", "natural", "urban")
PROMPTS = ("a photo taken indoors", "a photo of nature, with no city", "a photo of a city or a town")
"""Texts that stand for the three scenes in the space of a CLIP model."""
FITTED_ON = 50_000
"""Images, drawn with the seed, that centres of k-means are fitted on."""


@dataclass(frozen=True)
class Scenes:
    """The scenes of n training images.

    Attributes:
        labels: (n,) from 0, −1 where it is unknown.
        members: (n, k) which images a network for each scene learns from.
        source: where they come from, in words.
    """

    labels: npt.NDArray[np.int64]
    members: npt.NDArray[np.bool_]
    source: str

    @property
    def k(self) -> int:
        """Return the number of scenes."""
        return int(self.members.shape[1])


def scenes_of(
    training_set: TrainingSet, k: int, source: Source, pooled: npt.NDArray[Any] | None, seed: int, least: float = 0.3
) -> Scenes:
    """Return the scenes of the images of ``training_set``.

    Args:
        training_set: of n images.
        k: number of scenes.
        source: ``column`` of its table, ``text`` by the nearest of three prompts, or ``kmeans`` of ``pooled``.
        pooled: (n, d) a vector for each image; zeros where it cannot be read. None if ``source`` needs none.
        seed: of k-means.
        least: with probabilities in the table, an image belongs to each scene of a higher one.

    Raises:
        TrainingError: there are no such labels; says which of the sources there are.
    """
    if source == "column":
        return _of_columns(training_set.table, training_set.name, k, least)
    assert pooled is not None
    labels = np.full(len(pooled), -1, dtype=np.int64)
    rows = training_set.readable
    if source == "text":
        labels[rows] = _by_text(training_set, pooled[rows], k)
        return Scenes(labels, labels[:, None] == np.arange(k), "the nearest of three texts")
    labels[rows] = _by_kmeans(pooled[rows], k, seed)
    return Scenes(labels, labels[:, None] == np.arange(k), f"k-means of the features, k = {k}")


def _of_columns(table: pd.DataFrame, name: str, k: int, least: float) -> Scenes:
    by_lower = {str(column).lower(): column for column in table.columns}
    wanted = COLUMNS.get(k, ())
    found = next((by_lower[column.lower()] for column in wanted if column.lower() in by_lower), None)
    if found is None:
        looked_for = f" (looked for {', '.join(wanted)})" if wanted else ""
        raise TrainingError(
            f"the table of {name} has no labels of {k} scenes{looked_for}; set scene_labels=kmeans to make groups of "
            "the features, or scene_labels=text with a CLIP encoder and 3 scenes."
        )
    labels = _numbers(table[found], k, f"{name}: the column {found!r}")
    members = labels[:, None] == np.arange(k)
    columns = [by_lower.get(column.lower()) for column in PROBABILITIES]
    if k == len(PROBABILITIES) and None not in columns:
        probabilities = table[columns].apply(lambda column: column.astype(float)).to_numpy(np.float64)
        members |= probabilities > least
    return Scenes(labels, members, f"the column {found}")


def _numbers(column: pd.Series[Any], k: int, where: str) -> npt.NDArray[np.int64]:
    """Return the labels of a column: numbers from 0, or names of the three scenes."""
    texts = [str(value).strip().lower() for value in column]
    names = {name: number for number, name in enumerate(NAMES)} if k == len(NAMES) else {}
    labels = np.array([names.get(text, int(text) if text.isdigit() else -1) for text in texts], dtype=np.int64)
    if (labels >= k).any():
        worst = int(labels.max())
        raise TrainingError(f"{where} has the scene {worst}; labels of {k} scenes are 0 to {k - 1}.")
    if (labels < 0).all():
        raise TrainingError(f"{where} names no scene; labels are numbers from 0, or {', '.join(NAMES)}.")
    return labels


def _by_text(training_set: TrainingSet, pooled: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    if k != len(PROMPTS):
        raise TrainingError(f"scene_labels=text tells {len(PROMPTS)} scenes apart, not {k}; set scenes=3.")
    encoder = training_set.encoder
    assert encoder is not None
    if not hasattr(encoder, "dim"):
        encoder.load(encoder.device)
    texts = encoder.encode_texts(PROMPTS).float().cpu().numpy()
    return np.asarray((_unit(pooled) @ _unit(texts).T).argmax(axis=1), dtype=np.int64)


def _by_kmeans(pooled: npt.NDArray[Any], k: int, seed: int) -> npt.NDArray[np.int64]:
    from scipy.cluster.vq import kmeans2, vq

    points = _unit(pooled)
    rng = np.random.default_rng([seed, len(points)])
    sample = points[np.sort(rng.permutation(len(points))[:FITTED_ON])]
    if len(sample) < k:
        raise TrainingError(f"{len(sample)} images cannot be divided into {k} scenes; set fewer scenes.")
    centres, _ = (
        kmeans2(sample, k, minit="++", rng=rng) if _takes_rng(kmeans2) else kmeans2(sample, k, minit="++", seed=rng)
    )
    return np.asarray(vq(points, centres)[0], dtype=np.int64)


def _takes_rng(function: Any) -> bool:
    """Return whether this SciPy calls its generator ``rng``, as from 1.15 on, and not ``seed``."""
    import inspect

    return "rng" in inspect.signature(function).parameters


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    given = np.asarray(vectors, dtype=np.float64)
    unit: npt.NDArray[np.float64] = given / np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-12)
    return unit


def pooled_features(
    array: npt.NDArray[Any] | HalfArray, tokens: Sequence[int] | None = None
) -> npt.NDArray[np.float32]:
    """Return a vector (n, d) for each image: the mean over views and, of tokens, over the first ``tokens[0]``.

    Args:
        array: (n, views, d), or (n, views, t · d) of ``tokens`` (t in all, of which the first so many belong to the
            image itself).
        tokens: (own, all); None for pooled features.
    """
    means = np.empty((len(array), array.shape[2]), dtype=np.float32)
    for start in range(0, len(array), 4096):
        means[start : start + 4096] = np.asarray(array[start : start + 4096], dtype=np.float32).mean(axis=1)
    if tokens is None:
        return means
    own, total = tokens
    pooled: npt.NDArray[np.float32] = means.reshape(len(means), total, -1)[:, :own].mean(axis=1)
    return pooled
