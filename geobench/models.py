"""The contract of a model, the test set it is run on, and the training set it learns from."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import DatasetError, FeatureError, GeobenchError, SettingError
from geobench.features.digests import row_digests, sorted_digests
from geobench.features.loaders import FeatureLoader, feature_loader
from geobench.features.wrappers import TunedEncoder
from geobench.geo import FloatArray
from geobench.images.digests import Digests, read_digests
from geobench.predictions import Predictions
from geobench.progress import SILENT, Progress
from geobench.settings import stated

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from geobench.checkpoints import Checkpoint
    from geobench.data.dataset import Dataset
    from geobench.features.cache import Features
    from geobench.features.encoders import Encoder
    from geobench.features.live import PixelLoader
    from geobench.gallery import Gallery


@dataclass(frozen=True)
class TestSet:
    """The images that a run tests on: table, true positions and content key, read once per data set and run.

    Attributes:
        dataset: the data set that ``table`` is of.
        table: a row per image: ``image``, ``latitude``, ``longitude`` and extra columns.
        refresh: extract features once more even if they are cached; afterwards the new ones are used.
        progress: reports the comparison of images that may have changed.
        part_of: the test set that it is a part of, and which rows of that it has; None if it is whole.
    """

    __test__: ClassVar[bool] = False  # the name does not make it a test of pytest

    dataset: Dataset
    table: pd.DataFrame
    refresh: bool = False
    progress: Progress = field(default=SILENT, repr=False, compare=False)
    part_of: tuple[TestSet, range] | None = field(default=None, repr=False, compare=False)
    _read: pd.DataFrame = field(init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls, dataset: Dataset, limit: int | None = None, progress: Progress = SILENT, *, refresh: bool = False
    ) -> TestSet:
        """Return the test set of ``dataset``, or ``limit`` of its images.

        Raises:
            DatasetNotFoundError: its files are not on this machine.
            DatasetError: its table cannot be used, or lists an image twice.
        """
        dataset.prepare("test", progress)
        table = dataset.table("test", limit)
        again = table["image"][table["image"].duplicated()]
        if len(again):  # a table in a file is refused when it is read; a plugin's is not read
            raise DatasetError(f"{dataset.name} lists {len(again):,} images more than once, such as {again.iloc[0]!r}.")
        return cls(dataset, table, refresh, progress)

    def __post_init__(self) -> None:
        """Keep the table as it is now, to notice a change."""
        object.__setattr__(self, "_read", self.table.copy())

    def __len__(self) -> int:
        return len(self.table)

    def part(self, rows: range) -> TestSet:
        """Return the test set of these ``rows`` alone; features of the whole are used if they are cached."""
        if rows not in self._parts:
            table = self.table.iloc[rows.start : rows.stop].reset_index(drop=True)
            self._parts[rows] = TestSet(self.dataset, table, self.refresh, self.progress, (self, rows))
        return self._parts[rows]

    def check(self) -> None:
        """Raise ``DatasetError`` for a table that no data set has: without images, or with one twice.

        Likewise if it was changed since it was read, so that it is not what was digested and extracted.
        """
        if not len(self):
            raise DatasetError(f"the table of {self.name} has no images to test on.")
        again = self.table["image"].duplicated()
        if again.any():
            twice = self.table["image"][again].iloc[0]
            raise DatasetError(f"the table of {self.name} has {twice!r} twice, and it would count twice; keep one row.")
        if not self.table.equals(self._read):
            raise DatasetError(
                f"the table of {self.name} was changed after it was read; make a new test set of the changed table: "
                "geobench.TestSet(dataset, table)"
            )

    @property
    def name(self) -> str:
        """Return the name of the data set."""
        return self.dataset.name

    @cached_property
    def images(self) -> npt.NDArray[np.object_]:
        """Return the names (n,) of the images."""
        return self.table["image"].to_numpy(object)

    @cached_property
    def truth(self) -> FloatArray:
        """Return the true positions (n, 2) in degrees."""
        return coordinates_of(self.table)

    @cached_property
    def extra(self) -> pd.DataFrame:
        """Return the columns of the table other than name and position."""
        return self.table.drop(columns=["image", "latitude", "longitude"])

    @cached_property
    def images_key(self) -> str:
        """Return 16 digits that stand for the images: names, and what changes when a file does."""
        return self.dataset.content_key(self.table, "test", self.progress)

    @cached_property
    def table_hash(self) -> str:
        """Return 16 digits that stand for names and true positions."""
        return hash_table(self.table)

    @cached_property
    def columns_hash(self) -> str:
        """Return 16 digits that stand for the columns of the table other than name and position."""
        return files.digest({str(name): list(map(str, values)) for name, values in self.extra.items()})

    @cached_property
    def _parts(self) -> dict[range, TestSet]:
        """Return the parts that were asked for: features are extracted again once for all of a run's results."""
        return {}

    @cached_property
    def _refreshed(self) -> set[tuple[str, int]]:
        """Return by which encoder and crops features were extracted since the test set was read."""
        return set()

    def features(self, encoder: Encoder, *, progress: Progress = SILENT, **how: Any) -> Features:
        """Return the features of the images; ``how`` are arguments of :func:`geobench.features.cache.extract`."""
        from geobench.features.cache import extract

        if self.part_of is not None:
            whole, rows = self.part_of
            if whole.has_features(encoder, crops=how.get("crops", 1), device=how.get("device", "cpu")):
                return whole.features(encoder, progress=progress, **how).part(rows)
        made = (encoder.name, how.get("crops", 1))
        how |= {"images_key": self.images_key, "force": self.refresh and made not in self._refreshed}
        features = extract(self.dataset, self.table, encoder, progress=progress, **how)
        self._refreshed.add(made)
        return features

    def has_features(self, encoder: Encoder, *, crops: int, device: str) -> bool:
        """Return whether the features of the images are cached and will be used."""
        from geobench.features.cache import is_cached

        if self.part_of is not None and self.part_of[0].has_features(encoder, crops=crops, device=device):
            return True
        if self.refresh and (encoder.name, crops) not in self._refreshed:
            return False
        return is_cached(self.dataset, self.table, encoder, crops=crops, device=device, images_key=self.images_key)


def hash_table(table: pd.DataFrame) -> str:
    """Return 16 digits that stand for the names and positions in ``table``: the version of a data set."""
    return hash_positions(table["image"], coordinates_of(table))


def hash_positions(images: Iterable[Any], coordinates: FloatArray) -> str:
    """Return 16 digits that stand for the names of ``images`` (n,) and their ``coordinates`` (n, 2)."""
    return files.digest([str(image) for image in images], np.ascontiguousarray(coordinates))


def coordinates_of(table: pd.DataFrame) -> FloatArray:
    """Return the positions (n, 2) in ``table``, in degrees."""
    return np.ascontiguousarray(table[["latitude", "longitude"]].to_numpy(np.float64))


@dataclass(frozen=True)
class TrainingSet:
    """Images with known positions to learn from.

    Attributes:
        dataset: the data set that ``table`` is of.
        table: a row per image: ``image``, ``latitude``, ``longitude`` and extra columns.
        extract: returns the features of the images; called when a model first asks for them.
        live: returns the loader of a training on views that are augmented at every step; None for cached features.
        encoder: what the features come from, and what prepares pixels; None for a model that uses neither.
        read_pixels: returns the loader of pixels, for a model that trains its backbone.
    """

    dataset: Dataset
    table: pd.DataFrame
    extract: Callable[[], Features]
    live: Callable[[], FeatureLoader] | None = None
    encoder: Encoder | None = None
    read_pixels: Callable[[], PixelLoader] | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def name(self) -> str:
        """Return the name of the data set."""
        return self.dataset.name

    @cached_property
    def coordinates(self) -> FloatArray:
        """Return the positions (n, 2) in degrees, those of unreadable images too."""
        return coordinates_of(self.table)

    @cached_property
    def features(self) -> Features:
        """Return the features of the images, extracted on first use."""
        return self.extract()

    def digests(self, model: Model, progress: Progress = SILENT) -> Digests | None:
        """Return the digests (2, m) of what ``model`` learns from, in order; None if they are unknown.

        They are those of the images or, for a model that uses no images, of names and positions. Those of features were
        computed with them; those of a model on decoded images take reading every image once.
        """
        names, digests = list(self.table["image"]), None
        if model.input == "none":
            digests = row_digests(names, self.coordinates)
        elif model.input == "images":
            digests = read_digests(self.dataset, names, "train", progress)
        else:
            digests = self.features.digests
        return None if digests is None else sorted_digests(digests)

    def loader(self, device: str) -> FeatureLoader:
        """Return the loader of the training features: augmented at every step if requested, otherwise cached."""
        return self.live() if self.live is not None else feature_loader(self.features.array, device)

    def pixels(self) -> PixelLoader:
        """Return the loader of pixels (b, views, 3, h, w), decoded and augmented at every step.

        The weights of ``encoder``, which prepares them, are loaded.

        Raises:
            TypeError: the training set was made without.
        """
        if self.read_pixels is None:
            raise TypeError(f"this training set of {self.name} gives no pixels; the model's config must say tunes.")
        return self.read_pixels()

    def source(self, model: Model) -> FeatureLoader:
        """Return what ``model`` trains on: pixels if it trains its backbone, else features."""
        return self.pixels() if model.tunes_encoder else self.loader(model.device)

    @cached_property
    def readable(self) -> npt.NDArray[np.intp]:
        """Return the rows whose image could be read: those to train on."""
        return np.flatnonzero(self.features.ok)


@dataclass(frozen=True)
class NoConfig:
    """The configuration of a model without hyper-parameters."""


class Model(ABC):
    """A model: subclass it with a ``name``, a ``summary``, ``fit`` and ``locate`` (or ``predict``).

    Instantiation is cheap: networks are built in ``fit`` or ``restore``.

    Attributes:
        Config: a frozen dataclass of its hyper-parameters.
        input: what it predicts from: ``features`` (``locate``), ``images`` (``predict``), ``none`` (``locate`` with
            features of width 0) or ``photos`` (a :class:`geobench.services.Service`, asked for one photo at a time).
        uses_gallery: False for a model that predicts positions without a gallery.
        variants: named groups of settings, for ``train --variant``.
        fraction_settings: settings that go with a fraction of the training data, for ``train --fraction``.
        probabilities: True if the scores of an image's predictions are probabilities, so that calibration applies.
        trainable: False for a model that needs no training; ``fit``, ``state`` and ``restore`` are then never called.
        reads: what its features hold: ``pooled``, one vector for a view; ``tokens``, t vectors one after the other; or
            ``tokens+map``, followed by those of a semantic map.
        tuned: the weights of the encoder's network, by name, if they were trained with the model.
        device: torch device.
        checkpoint: what it was loaded from; None for a model that was not trained.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    Config: ClassVar[type[Any]] = NoConfig
    input: ClassVar[Literal["features", "images", "none", "photos"]] = "features"
    uses_gallery: ClassVar[bool] = True
    probabilities: ClassVar[bool] = False
    trainable: ClassVar[bool] = True
    reads: ClassVar[Literal["pooled", "tokens", "tokens+map"]] = "pooled"
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    fraction_settings: ClassVar[Mapping[float, Mapping[str, Any]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Make ``locate`` of every model, a plugin's too, check the features it is given."""
        super().__init_subclass__(**options)
        if "locate" in cls.__dict__:
            cls.locate = _with_checked_features(cls.locate)  # type: ignore[method-assign]

    def __init__(self, config: Any = None, device: str = "cpu") -> None:
        self.config = config if config is not None else self.Config()
        self.device = device
        self.checkpoint: Checkpoint | None = None
        self.tuned: Mapping[str, npt.NDArray[Any]] | None = None

    def fit(
        self, training_set: TrainingSet, *, seed: int = 0, scratch: Path | None = None, progress: Progress = SILENT
    ) -> None:
        """Learn from ``training_set``.

        Args:
            training_set: features (n, views, d) and coordinates (n, 2).
            seed: the same seed gives the same model.
            scratch: folder for the state of a long training; that of an interrupted training is passed again.
            progress: reports the work.
        """
        raise TypeError(f"{self.name} has no fit(); a model that needs no training sets trainable = False.")

    def locate(self, features: npt.NDArray[np.float32], gallery: Gallery | None, top_k: int = 1) -> Predictions:
        """Return predictions for ``features`` (n, views, d), at most ``top_k`` each, from ``gallery``.

        Features (n, d) are taken as one view. The result for an image must not depend on the other images of the call.

        Raises:
            FeatureError: features of another shape or width.
        """
        raise TypeError(f'{self.name} has no locate(); a model on decoded images sets input = "images".')

    def predict(self, images: Sequence[Image.Image], gallery: Gallery | None, top_k: int = 1) -> Predictions:
        """Return predictions for decoded RGB ``images``; only if ``input`` is ``images``."""
        raise TypeError(f"{self.name} has no predict(); it predicts from features.")

    @property
    def feature_width(self) -> int | None:
        """Return the width d of the features that it was trained on; None if it takes any."""
        return None

    def embed(self, coordinates: FloatArray, *, normalise: bool = True) -> npt.NDArray[np.float32]:
        """Return location embeddings (n, dim) of ``coordinates`` (n, 2), of unit length unless ``normalise`` is False.

        A row must not depend on the other rows of the call.
        """
        raise GeobenchError(f"{self.name} has no location embeddings.")

    def similarity(self, features: npt.NDArray[np.float32], coordinates: FloatArray) -> npt.NDArray[np.float32]:
        """Return the cosine similarity (n, m) of ``features`` (n, views, d) to the places ``coordinates`` (m, 2)."""
        raise GeobenchError(f"{self.name} has no similarity between a query and a place.")

    @classmethod
    def settings_of(cls, argument: str) -> Mapping[str, Any]:
        """Return the settings that ``MODEL:ARGUMENT`` stands for.

        Raises:
            SettingError: it stands for none.
        """
        none = f"{cls.name}:{argument}"
        raise SettingError(f"{cls.name} takes nothing after a colon, so there is no {none}; use {cls.name}.")

    @classmethod
    def importable(cls) -> Sequence[str]:
        """Return the names of released weights that are installed and that ``imported_checkpoint`` knows."""
        return ()

    @classmethod
    def imported_checkpoint(cls, identifier: str) -> Checkpoint | None:
        """Return released weights as a checkpoint; None if ``identifier`` does not name such weights.

        Args:
            identifier: what follows ``MODEL@``: a name, or the path of a folder.
        """
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything learnt, as named arrays: the content of a checkpoint."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:  # noqa: B027  a model may have no state
        """Restore what ``state`` returned; ``config`` is that of the training."""

    def stated_config(self) -> dict[str, Any]:
        """Return what results state of its settings and are keyed by: those that its predictions depend on."""
        return stated(self.config)

    @property
    def tunes_encoder(self) -> bool:
        """Return whether the weights of the encoder's network are trained with the model, from pixels."""
        return bool(getattr(self.config, "tunes", False))

    def encoder_of(self, encoder: Encoder) -> Encoder:
        """Return ``encoder`` with the weights that were trained with the model, if they were; else as it is."""
        if not self.tunes_encoder:
            return encoder
        return TunedEncoder(encoder, self.tuned, self.checkpoint.weights if self.checkpoint is not None else "")

    def learnt(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything learnt: what ``state`` returns and, if they were trained, the encoder's weights."""
        return dict(self.state()) | {f"{ENCODER}{name}": array for name, array in (self.tuned or {}).items()}

    def restore_learnt(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore what ``learnt`` returned."""
        self.tuned = {n.removeprefix(ENCODER): array for n, array in arrays.items() if n.startswith(ENCODER)} or None
        self.restore({name: array for name, array in arrays.items() if not name.startswith(ENCODER)})


ENCODER = "encoder/"
"""What the names of an encoder's weights begin with in a checkpoint."""
Locate = Callable[..., Predictions]


def _with_checked_features(locate: Locate) -> Locate:
    """Return ``locate`` with features checked: (n, views, d), of the width that the model was trained on."""

    @wraps(locate)
    def checked(self: Model, features: Any, gallery: Gallery | None = None, top_k: int = 1) -> Predictions:
        return locate(self, _views(self, features), gallery, top_k)

    return checked


def _views(model: Model, features: Any) -> npt.NDArray[np.float32]:
    given = np.asarray(features)
    if given.ndim == 2:
        given = given[:, None]
    if given.ndim != 3 or not np.issubdtype(given.dtype, np.number):
        raise FeatureError(
            f"{model.name} locates features (n, views, d), or (n, d) for one view; got {given.dtype}{given.shape}."
        )
    width = model.feature_width if model.input == "features" else None
    if width is not None and given.shape[2] != width:
        trained = f" of {model.checkpoint.encoder}" if model.checkpoint is not None else ""
        raise FeatureError(
            f"these features are {given.shape[2]}-d, but {model.name} was trained on {width}-d features{trained}; "
            "extract them with that encoder, or train on these."
        )
    return given
