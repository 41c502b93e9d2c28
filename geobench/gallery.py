"""Galleries: the coordinates that retrieval models choose from. Each states its source, size and seed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench import files
from geobench.data.land import sample_land
from geobench.data.tables.rows import read_coordinates
from geobench.errors import DatasetError, GalleryError, as_plugin_error, unknown_name
from geobench.geo import FloatArray, as_coordinates, invalid_rows, place_keys, sample_sphere
from geobench.plugins import registry
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.models import Model

SIZES = {"k": 1_000, "M": 1_000_000}
ORACLE_SHARE = 0.1
"""A gallery that contains this share of the test coordinates exactly is an oracle. Galleries from other photos of the
same site contain few: the 100,000 points released with GeoCLIP 0.2 % of Im2GPS3k's, the 25,600 of YFCC26k 2.8 %."""


@dataclass(frozen=True)
class Gallery:
    """Coordinates (m, 2) in degrees, and where they come from.

    Attributes:
        coordinates: (m, 2) latitude, longitude.
        source: ``training``, ``land``, ``sphere``, one that a plugin registers (``official``) or a CSV file's path.
        seed: of the draw; it is part of the identity of a result.
    """

    coordinates: FloatArray
    source: str
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse points that are not on Earth: one that is NaN would be the nearest to every query."""
        bad = invalid_rows(self.coordinates)
        if len(bad):
            raise GalleryError(
                f"the gallery {self.source} has {len(bad):,} points that are NaN or out of range (latitude ±90, "
                f"longitude ±180), such as row {bad[0]}: {tuple(self.coordinates[bad[0]].tolist())}."
            )

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def spec(self) -> str:
        """Return the spec string of this gallery, such as ``training:21000`` or ``photos.csv``."""
        return f"{self.source}:{len(self)}" if self.source in _sources() else self.source

    @cached_property
    def distinct(self) -> int:
        """Return the number of distinct coordinates, to six decimals."""
        return len(np.unique(place_keys(self.coordinates)))

    def count_of(self, coordinates: FloatArray) -> int:
        """Return how many of ``coordinates`` (n, 2) are exactly in the gallery, to six decimals (11 cm)."""
        return int(np.isin(place_keys(coordinates), place_keys(self.coordinates)).sum())

    @cached_property
    def hash(self) -> str:
        """Return 16 digits that stand for the coordinates."""
        return files.digest(self.coordinates)


def is_oracle(in_gallery: int, n: int) -> bool:
    """Return whether a gallery is an oracle: it contains at least a tenth of the ``n`` test coordinates exactly.

    For one image in ten or more the true position itself is then among the candidates. Every table says so.
    """
    return n > 0 and in_gallery >= ORACLE_SHARE * n


def parse_size(text: str) -> int:
    """Return the number in ``21k``, ``1M`` or ``5000``; raise ``GalleryError`` for anything else.

    >>> parse_size("21k"), parse_size("1M"), parse_size("5000")
    (21000, 1000000, 5000)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    size = round(float(match[1]) * SIZES.get(match[2], 1)) if match else 0
    if size < 1:
        raise GalleryError(f"{text!r} is not a valid gallery size; use a number such as 5000, 21k, 100k or 1M.")
    return size


def get_gallery(spec: str, training: FloatArray | None = None, seed: int = 0) -> Gallery:
    """Return the gallery that ``spec`` names.

    Args:
        spec: ``100k`` or ``training:100k`` (drawn without replacement from ``training``), ``land:100k`` and
            ``sphere:100k`` (uniform by area), ``official:100k`` (of a source that a plugin registers, without
            replacement), or the path of a CSV file with latitude and longitude columns.
        training: (n, 2) coordinates of the model's training set.
        seed: of the draw; the same spec, source and seed give the same gallery.

    Raises:
        GalleryError: larger than its source, a malformed size, an unreadable file.
        UnknownNameError: no such source.
    """
    if spec.endswith(".csv"):
        return _from_csv(Path(spec), seed)
    source, _, size = spec.rpartition(":")
    source = source or "training"
    if source not in _sources():
        raise unknown_name("gallery", spec, _sources(), f"Use SOURCE:SIZE ({', '.join(_sources())}) or a CSV file.")
    m = parse_size(size)
    if seed < 0:
        raise GalleryError(f"the seed of a gallery must be at least 0, not {seed}.")
    rng = np.random.default_rng([seed, m])
    drawn = SOURCES[source](m, rng, training) if source in SOURCES else _from_plugin(source, m, rng)
    return Gallery(drawn, source, seed)


def check_spec(spec: str, training_images: int | None = None) -> None:
    """Raise what :func:`get_gallery` would for ``spec``, without a training set to draw from.

    Args:
        spec: as in :func:`get_gallery`.
        training_images: size of the training set, if it is known.
    """
    source = spec.rpartition(":")[0]
    if not needs_training(spec) and source not in ("land", "sphere"):
        get_gallery(spec)
        return
    size = parse_size(spec.rpartition(":")[2])
    if needs_training(spec) and training_images is not None and size > training_images:
        raise _larger_than_training(size, training_images)


def default_gallery(spec: str, training: FloatArray | None, seed: int = 0) -> tuple[Gallery, str]:
    """Return a data set's default gallery, and a line for the user if ``training`` is too small for it."""
    if needs_training(spec):
        size = parse_size(spec.rpartition(":")[2])
        if training is not None and size > len(training):
            note = f"the default gallery {spec} is larger than the training set of the model; using all of its"
            return get_gallery(f"training:{len(training)}", training, seed), f"{note} {len(training):,} coordinates."
    return get_gallery(spec, training, seed), ""


def warn_if_small(gallery: Gallery | None, top_k: int, progress: Progress) -> None:
    """Report a ``gallery`` of fewer points than the predictions asked for."""
    if gallery is not None and len(gallery) < top_k:
        progress.say(
            f"the gallery {gallery.spec} has only {len(gallery):,} points; returning {len(gallery):,} predictions "
            f"instead of {top_k:,}."
        )


def gallery_for(
    model: Model, dataset: Dataset, spec: str | None, seed: int = 0, progress: Progress = SILENT
) -> Gallery | None:
    """Return the gallery ``spec`` for ``model``, the default of ``dataset`` if it is None; None if it uses none."""
    gallery, note = choose_gallery(model, spec, dataset.default_gallery, seed)
    if note:
        progress.say(f"{model.name} on {dataset.name}: {note}")
    return gallery


def choose_gallery(model: Model, spec: str | None, default: str, seed: int = 0) -> tuple[Gallery | None, str]:
    """Return the gallery of ``model``, None if it uses none, and a line for the user if a fallback is used.

    Args:
        model: its checkpoint has the training coordinates, or else the gallery it was released with.
        spec: as in :func:`get_gallery`; None takes ``default``, reduced to what the training set holds.
        default: such as ``100k``.
        seed: of the draw.

    Raises:
        GalleryError: training coordinates are needed and not available.
    """
    if not model.uses_gallery:
        return None, ""
    checkpoint = model.checkpoint
    if checkpoint is not None and checkpoint.own_gallery and needs_training(spec or default):
        if spec is not None:
            raise GalleryError(
                f"{checkpoint.spec} was released without its training coordinates, so {spec} cannot be drawn; use the "
                f"gallery that was released with it, {checkpoint.own_gallery}, or land:100k."
            )
        note = f"the default gallery {default} needs training coordinates, which {checkpoint.spec} lacks;"
        return get_gallery(checkpoint.own_gallery, None, seed), f"{note} using {checkpoint.own_gallery}."
    training = checkpoint.coordinates if checkpoint is not None and not checkpoint.own_gallery else None
    if spec is not None:
        return get_gallery(spec, training, seed), ""
    if training is None and needs_training(default):
        raise GalleryError(f"{model.name} was not trained and has no training coordinates; name a gallery: land:100k")
    return default_gallery(default, training, seed)


def needs_training(spec: str) -> bool:
    """Return whether ``spec`` is drawn from the coordinates of a training set: ``100k``, ``training:100k``."""
    return not spec.endswith(".csv") and spec.rpartition(":")[0] in ("", "training")


def _sources() -> list[str]:
    """Return the names that may precede the colon: built-in sources, then those of plugins."""
    return [*SOURCES, *sorted(registry().galleries)]


def _from_plugin(source: str, m: int, rng: np.random.Generator) -> FloatArray:
    """Return ``m`` of the coordinates that a plugin registers as ``source``: all in their order, or a random draw."""
    with as_plugin_error(f"the gallery {source} ({registry().owners['gallery', source].origin})", "while reading it"):
        whole = as_coordinates(registry().galleries[source]())
    if m > len(whole):
        raise GalleryError(f"the gallery {source} has only {len(whole):,} coordinates; ask for at most {len(whole)}.")
    return whole[np.sort(rng.permutation(len(whole))[:m])]


def _from_training(m: int, rng: np.random.Generator, training: FloatArray | None) -> FloatArray:
    if training is None:
        raise GalleryError(
            "a gallery of training coordinates needs a trained model; use land:100k or sphere:100k instead."
        )
    if m > len(training):
        raise _larger_than_training(m, len(training))
    return training[np.sort(rng.permutation(len(training))[:m])]


def _larger_than_training(m: int, images: int) -> GalleryError:
    return GalleryError(
        f"a gallery of {m:,} training coordinates is larger than its source, which has {images:,}; "
        f"ask for at most {images}, or use land:{m} or sphere:{m}."
    )


def _from_csv(path: Path, seed: int) -> Gallery:
    try:
        return Gallery(read_coordinates(path), str(path), seed)
    except DatasetError as error:
        raise GalleryError(str(error)) from error


SOURCES: dict[str, Callable[[int, np.random.Generator, FloatArray | None], FloatArray]] = {
    "training": _from_training,
    "land": lambda m, rng, _: sample_land(m, rng),
    "sphere": lambda m, rng, _: sample_sphere(m, rng),
}
