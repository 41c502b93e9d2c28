"""Features of a data set: extracted once in bounded memory, kept under a key of all they depend on.

A finished set is a folder ``GEOBENCH_HOME/features/KEY`` with ``features.npy`` (n, views, d) float32, ``status.npy``
(n,) and ``about.json``. While it is being made the folder is called ``KEY.partial`` and ``status`` says image by image
what is done, so that a killed extraction goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from geobench import files
from geobench.errors import FeatureError, ImageError, SettingError, blaming
from geobench.images import CROPS, views
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from geobench.augment import Augmentation
    from geobench.datasets import Dataset
    from geobench.encoders import Encoder

PENDING, OK, FAILED = 0, 1, 2
TILE = 32
"""On a CPU images are encoded in groups of exactly so many, the last one padded: the kernels, and so the last bit of
every feature, then do not depend on the batch size."""


@dataclass(frozen=True)
class Features:
    """Features of n images.

    Attributes:
        array: (n, views, d) float32, memory-mapped; zeros in the rows of failed images.
        ok: (n,), False where the image could not be read.
        key: digits that stand for images, encoder, weights and crops.
    """

    array: npt.NDArray[np.float32]
    ok: npt.NDArray[np.bool_]
    key: str

    def __len__(self) -> int:
        return len(self.array)


def extract(
    dataset: Dataset,
    table: pd.DataFrame,
    encoder: Encoder,
    *,
    purpose: str = "test",
    crops: int = 1,
    augmentation: Augmentation | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    progress: Progress = SILENT,
) -> Features:
    """Return the features of the images in ``table``, from the cache where they are there.

    Args:
        dataset: that ``table`` belongs to.
        table: rows of the data set.
        encoder: need not be loaded; it is, if anything has to be computed.
        purpose: ``train`` or ``test``.
        crops: views of each image: 1, 5 or 10.
        augmentation: views made at random, in place of crops.
        device: where the encoder computes.
        batch_size: images decoded together; it never changes a feature.
        workers: processes that decode.
        progress: told of the work.

    Raises:
        FeatureError: the files on disk are truncated.
        EncoderError: the encoder's weights cannot be had.
        SettingError: ``crops`` is not one of the policies.
    """
    if crops not in CROPS:
        raise SettingError(f"crops must be one of {', '.join(map(str, CROPS))}, not {crops}.")
    views_key = asdict(augmentation) if augmentation is not None else crops
    key = files.digest(dataset.content_key(table, purpose), encoder.name, encoder.weights_key(), views_key)
    folder = files.home() / "features" / key
    if not folder.is_dir():
        with files.locked(folder, progress.say):  # a second process waits here and finds the work done
            if not folder.is_dir():
                partial = folder.with_suffix(".partial")
                work = _Extraction(dataset, table, encoder, purpose, crops, augmentation, partial)
                with blaming(f"the encoder {encoder.name}", f"on {dataset.name}"):
                    work.run(device, batch_size, workers, progress)
                work.folder.rename(folder)
    return _open(folder, key, len(table))


def _open(folder: Path, key: str, n: int) -> Features:
    try:
        array = np.load(folder / "features.npy", mmap_mode="r")
        status = np.load(folder / "status.npy")
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(f"{folder}: the features are damaged ({error}); delete the folder and run again.") from error
    if len(array) != n or len(status) != n or (status == PENDING).any():
        raise FeatureError(f"{folder}: {len(array)} features where {n} belong; delete the folder and run again.")
    return Features(array, status == OK, key)


@dataclass
class _Extraction:
    """The making of one features folder."""

    dataset: Dataset
    table: pd.DataFrame
    encoder: Encoder
    purpose: str
    crops: int
    augmentation: Augmentation | None
    folder: Path

    def run(self, device: str, batch_size: int, workers: int, progress: Progress) -> None:
        """Encode what is still pending and mark it done, batch by batch."""
        progress.say(f"loading the encoder {self.encoder.name}.")
        self.encoder.load(device)
        features, status = self._arrays()
        pending = np.flatnonzero(status == PENDING)
        reasons = self.folder / "failures.jsonl"
        what = f"features of {self.dataset.name} ({self.purpose})"
        with (
            reasons.open("a", encoding="utf-8") as log,
            progress.track(what, len(status), "images", len(status) - len(pending)) as advance,
        ):
            for rows, batch, errors in self._decoded(pending, batch_size, workers):
                good = np.array([not error for error in errors])
                if good.any():
                    features[rows[good]] = _encode(self.encoder, batch, batch_size)
                features.flush()
                for row, error in zip(rows, errors, strict=True):
                    if error:
                        log.write(json.dumps({"image": str(self.table["image"].iloc[row]), "reason": error}) + "\n")
                log.flush()
                status[rows] = np.where(good, OK, FAILED)
                status.flush()
                advance(len(rows), failed=f"{int((status == FAILED).sum()):,}")
        failed = int((status == FAILED).sum())
        if failed:
            progress.say(f"{what}: {failed:,} of {len(status):,} images could not be read and count as failed.")
        files.write_json(self.folder / "about.json", self._about(failed))

    def _arrays(self) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]]:
        """Open the arrays of an interrupted extraction, or make new ones; ``status`` is made last."""
        features, status = self.folder / "features.npy", self.folder / "status.npy"
        if not status.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            n_views = self.augmentation.views if self.augmentation is not None else self.crops
            shape = (len(self.table), n_views, self.encoder.dim)
            open_memmap(features, mode="w+", dtype=np.float32, shape=shape).flush()
            files.write_array(status, np.full(len(self.table), PENDING, dtype=np.uint8))
        try:
            for path in (features, status):
                open_memmap(path, mode="r")  # raises on a truncated file, which r+ would fill up with zeros
            return open_memmap(features, mode="r+"), open_memmap(status, mode="r+")
        except (OSError, ValueError, EOFError) as error:
            raise FeatureError(f"{self.folder} is damaged ({error}); delete the folder and run again.") from error

    def _decoded(
        self, rows: npt.NDArray[np.intp], batch_size: int, workers: int
    ) -> Iterator[tuple[npt.NDArray[np.intp], Tensor, list[str]]]:
        """Yield the rows of a batch, the inputs (readable images, views, 3, h, w), and each row's error or ''."""
        from torch.utils.data import DataLoader

        names = list(self.table["image"].iloc[rows])
        images = _Images(self.dataset, names, self.encoder, self.purpose, self.crops, self.augmentation)
        loader: Any = DataLoader(images, batch_size=batch_size, num_workers=workers, collate_fn=_collate)  # type: ignore[arg-type]
        start = 0
        for batch, errors in loader:
            yield rows[start : start + len(errors)], batch, errors
            start += len(errors)

    def _about(self, failed: int) -> dict[str, Any]:
        return {
            "dataset": self.dataset.name,
            "purpose": self.purpose,
            "images": len(self.table),
            "failed": failed,
            "encoder": self.encoder.name,
            "preprocessing": self.encoder.describe(),
            "crops": self.crops,
            "augmentation": asdict(self.augmentation) if self.augmentation is not None else None,
        }


@dataclass
class _Images:
    """The images of an extraction as a torch data set: (inputs (views, 3, h, w) or None, error or '')."""

    dataset: Dataset
    names: list[str]
    encoder: Encoder
    purpose: str
    crops: int
    augmentation: Augmentation | None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor | None, str]:
        import torch

        try:
            name = self.names[index]
            image = self.dataset.read_image(name, self.purpose)
            made = self.augmentation(image, name) if self.augmentation is not None else views(image, self.crops)
            return torch.stack([self.encoder.preprocess(view) for view in made]), ""
        except ImageError as error:
            return None, str(error)


def _collate(items: list[tuple[Tensor | None, str]]) -> tuple[Tensor | None, list[str]]:
    import torch

    readable = [inputs for inputs, _ in items if inputs is not None]
    return torch.stack(readable) if readable else None, [error for _, error in items]


def _encode(encoder: Encoder, batch: Tensor, batch_size: int) -> npt.NDArray[np.float32]:
    """Return the features (n, views, d) of ``batch`` (n, views, 3, h, w), computed in tiles of one fixed size."""
    import torch

    flat = batch.flatten(0, 1)  # (n * views, 3, h, w)
    tile = TILE if encoder.device == "cpu" else max(TILE, batch_size)
    encoded = []
    with torch.inference_mode():
        for inputs in flat.split(tile):  # type: ignore[no-untyped-call]
            padded = torch.cat([inputs, inputs.new_zeros(tile - len(inputs), *inputs.shape[1:])])
            encoded.append(encoder.encode_images(padded.to(encoder.device))[: len(inputs)].float().cpu())
    return torch.cat(encoded).reshape(*batch.shape[:2], -1).numpy()
