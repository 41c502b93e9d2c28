"""Galleries: the coordinates that retrieval models choose from. Each states its source, size and seed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench import files, gallery_files
from geobench.data.land import sample_land
from geobench.errors import DatasetError, GalleryError, as_plugin_error, unknown_name
from geobench.geo import FloatArray, as_coordinates, invalid_rows, place_keys, read_only, sample_sphere, two_nearest_km
from geobench.plugins import registry
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.models import Model

SIZES = {"k": 1_000, "M": 1_000_000}
SAME_POINT_KM = 0.0002
"""Coordinates this near are one position written twice: the diagonal of the grid of six decimals, 0.16 m, and more."""
NEAR_KM = 0.1
"""A gallery point that may be a test coordinate after rounding to three decimals is at most this far from it."""
NEARER = 10
"""How many times nearer than the gallery's next point it is, because dense galleries have points near every photo."""
ORACLE_SHARE = 0.15
"""A gallery that holds this share of the test coordinates is an oracle. Galleries from other photos of the same site
hold fewer: GeoCLIP's released 100,000 points 2.1 % of Im2GPS3k's and 10.3 % of YFCC26k's (docs/data.md)."""


@dataclass(frozen=True)
class Gallery:
    """Coordinates (m, 2) in degrees, and where they come from.

    Attributes:
        coordinates: (m, 2) latitude, longitude; read-only, so that no model can change them for the next one.
        source: ``training``, ``land``, ``sphere``, one that a plugin registers (``official``) or a CSV file's path.
        drawn: False for a file or a whole source, which are the same with every seed.
        seed: of the draw; it is part of the identity of a result. 0 if nothing was drawn.
    """

    coordinates: FloatArray
    source: str
    seed: int = 0
    drawn: bool = True

    def __post_init__(self) -> None:
        """Keep a copy that nobody can change, since its hash stands for it, and forget a seed that drew nothing.

        Points that are not on Earth are refused: NaN would be nearest to every query.
        """
        coordinates = np.array(self.coordinates, dtype=np.float64)
        if coordinates.ndim != 2 or coordinates.shape[1] != 2:
            raise GalleryError(
                f"the points of the gallery {self.source} must have the shape (m, 2), latitude and longitude, not "
                f"{coordinates.shape}."
            )
        object.__setattr__(self, "coordinates", read_only(coordinates))
        if not self.drawn:
            object.__setattr__(self, "seed", 0)
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
    def _places(self) -> FloatArray:
        """Return the distinct coordinates, to six decimals."""
        return self.coordinates[np.unique(place_keys(self.coordinates), return_index=True)[1]]

    @property
    def distinct(self) -> int:
        """Return the number of distinct coordinates, to six decimals."""
        return len(self._places)

    def count_of(self, coordinates: FloatArray) -> int:
        """Return how many of ``coordinates`` (n, 2) the gallery holds, exactly or rounded.

        It holds one if its nearest point is the same position, or lies within 100 m and ten times nearer than its next
        distinct point: float32, or rounding to five, four or three decimals, moves a point by far less than the usual
        distance to the next one, while the points of other photos are as near as their density has them.
        """
        nearest, following = two_nearest_km(coordinates, self._places, NEARER * NEAR_KM).T
        rounded = (nearest <= NEAR_KM) & (NEARER * nearest <= following)
        return int(((nearest <= SAME_POINT_KM) | rounded).sum())

    @cached_property
    def hash(self) -> str:
        """Return 16 digits that stand for the coordinates."""
        return files.digest(self.coordinates)


def is_oracle(in_gallery: int, n: int) -> bool:
    """Return whether a gallery is an oracle: it holds at least 15 % of the ``n`` test coordinates, exactly or rounded.

    For so many images the true position itself is among the candidates. Every table says so.
    """
    return n > 0 and in_gallery >= ORACLE_SHARE * n


def parse_size(text: str) -> int:
    """Return the number in ``21k``, ``1M`` or ``5000``; raise ``GalleryError`` for anything else.

    >>> parse_size("21k"), parse_size("1M"), parse_size("5000")
    (21000, 1000000, 5000)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    exact = Decimal(match[1]) * SIZES.get(match[2], 1) if match else Decimal(0)
    size = int(exact)
    if size < 1 or size != exact:
        raise GalleryError(f"{text!r} is not a valid gallery size; use a number such as 5000, 21k, 100k or 1M.")
    return size


def get_gallery(spec: str, training: FloatArray | None = None, seed: int = 0) -> Gallery:
    """Return the gallery that ``spec`` names.

    Args:
        spec: ``100k`` or ``training:100k`` (drawn without replacement from ``training``), ``land:100k`` and
            ``sphere:100k`` (uniform by area), ``official:100k`` (of a source that a plugin registers, without
            replacement), or the path of a file: a table with latitude and longitude columns, ``.npy`` (m, 2) or
            ``.parquet``; ``FILE#LAT:LON`` names its columns.
        training: (n, 2) coordinates of the model's training set.
        seed: of the draw; the same spec, source and seed give the same gallery. A file, and a source that is used as
            a whole, are the same with every seed: the seed of the gallery is then 0.

    Raises:
        GalleryError: larger than its source, a malformed size, an unreadable file.
        UnknownNameError: no such source.
    """
    if seed < 0:
        raise GalleryError(f"the seed of a gallery must be at least 0, not {seed}.")
    if is_file(spec):
        return _from_file(spec)
    source, _, size = spec.rpartition(":")
    source = source or "training"
    if source not in _sources():
        raise unknown_name("gallery", spec, _sources(), f"Use SOURCE:SIZE ({', '.join(_sources())}) or a file.")
    m = parse_size(size)
    rng = np.random.default_rng([seed, m])
    if source in ENDLESS:
        return Gallery(ENDLESS[source](m, rng), source, seed)
    whole = _training(m, training) if source == "training" else _of_plugin(source, m)
    chosen = whole[np.sort(rng.permutation(len(whole))[:m])]
    return Gallery(chosen, source, seed, drawn=m < len(whole))


def check_spec(spec: str, training_images: int | None = None) -> None:
    """Raise what :func:`get_gallery` would for ``spec``, without a training set to draw from.

    Args:
        spec: as in :func:`get_gallery`.
        training_images: size of the training set, if it is known.
    """
    source = spec.rpartition(":")[0]
    if not needs_training(spec) and source not in ENDLESS:
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
    return not is_file(spec) and spec.rpartition(":")[0] in ("", "training")


def is_file(spec: str) -> bool:
    """Return whether ``spec`` is a file, which need not exist, rather than ``SOURCE:SIZE``."""
    return gallery_files.is_file(spec, _sources())


def _sources() -> list[str]:
    """Return the names that may precede the colon: built-in sources, then those of plugins."""
    return [*SOURCES, *sorted(registry().galleries)]


def _of_plugin(source: str, m: int) -> FloatArray:
    """Return the coordinates that a plugin registers as ``source``, at least ``m``."""
    with as_plugin_error(f"the gallery {source} ({registry().owners['gallery', source].origin})", "while reading it"):
        whole = as_coordinates(registry().galleries[source]())
    if m > len(whole):
        raise GalleryError(f"the gallery {source} has only {len(whole):,} coordinates; ask for at most {len(whole)}.")
    return whole


def _training(m: int, training: FloatArray | None) -> FloatArray:
    """Return the coordinates of a training set, at least ``m``."""
    if training is None:
        raise GalleryError(
            "a gallery of training coordinates needs a trained model; use land:100k or sphere:100k instead."
        )
    if m > len(training):
        raise _larger_than_training(m, len(training))
    return training


def _larger_than_training(m: int, images: int) -> GalleryError:
    return GalleryError(
        f"a gallery of {m:,} training coordinates is larger than its source, which has {images:,}; "
        f"ask for at most {images}, or use land:{m} or sphere:{m}."
    )


def _from_file(spec: str) -> Gallery:
    """Return the gallery of a file; below the working folder its name is relative, however it was given."""
    path, columns = gallery_files.file_of(spec)
    below = path.absolute().is_relative_to(Path.cwd())
    source = f"{path.absolute().relative_to(Path.cwd()) if below else path}{columns}"
    try:
        return Gallery(gallery_files.read_places(spec), source, drawn=False)
    except DatasetError as error:
        raise GalleryError(str(error)) from error


ENDLESS: dict[str, Callable[[int, np.random.Generator], FloatArray]] = {"land": sample_land, "sphere": sample_sphere}
"""Sources without a list of places: every point is drawn."""
SOURCES = ("training", *ENDLESS)
