"""The harness on one page: test set → features → predictions → errors → scores.

Read this file first. What is dear on the way (features, gallery embeddings, checkpoints) is kept under a content key.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench import files
from geobench.checkpoints import iter_versions, now
from geobench.devices import default_workers, describe_device, peak_memory_mb
from geobench.errors import EncoderError, ImageError, blaming
from geobench.features.cache import Features, extract
from geobench.gallery import Gallery, choose_gallery, tell_of_few
from geobench.metrics import ScoredImages, scores_of
from geobench.models import Model
from geobench.plugins import get_encoder, get_metrics, who
from geobench.predictions import Predictions
from geobench.progress import SILENT, Progress
from geobench.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder

IMAGES_AT_ONCE = 64  # raw images held in memory for a model that predicts from them


def evaluate(
    model: Model,
    dataset: Dataset,
    gallery: Gallery | None = None,
    *,
    seed: int = 0,
    crops: int = 1,
    top_k: int = 1,
    limit: int | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Result:
    """Return the scores of ``model`` on ``dataset`` against ``gallery``, with its predictions.

    Args:
        model: ready to answer: ``get_model("geoclip")``.
        dataset: the test set: ``get_dataset("bluemarble")``.
        gallery: see :func:`gallery_for`; None for a model that uses none.
        seed: recorded; that of the gallery's draw.
        crops: views of each image, 1, 5 or 10.
        top_k: predictions kept for each image; scores count the first.
        limit: a part of the test set.
        batch_size: images decoded together; it never changes a result.
        workers: processes that decode; None chooses.
        progress: told of the work.

    Raises:
        GeobenchError: the data set is not there, the encoder's weights are not, the model returns no valid predictions.
    """
    dataset.prepare("test", progress)
    table = dataset.table("test", limit)
    truth = table[["latitude", "longitude"]].to_numpy(np.float64)  # (n, 2) degrees

    tell_of_few(gallery, top_k, progress)
    started = time.monotonic()
    extraction = {"crops": crops, "batch_size": batch_size, "workers": workers}
    predictions = answer(model, dataset, table, gallery, top_k, progress=progress, **extraction)
    seconds = time.monotonic() - started

    errors = predictions.errors_km(truth)  # (n,) km
    return Result(
        code={},
        stated_key=result_key(model, dataset, table, gallery, seed, crops, top_k),
        scores=scores_of(ScoredImages(errors, truth, predictions), get_metrics(dataset)),
        n=len(table),
        failed=int(predictions.failed.sum()),
        seconds=round(seconds, 3),
        predictions=predictions,
        names=table["image"].to_numpy(object),
        truth=truth,
        extra=table.drop(columns=["image", "latitude", "longitude"]),
        in_gallery=gallery.count_of(truth) if gallery is not None else 0,
        **_provenance(model, dataset, gallery, seed, crops, top_k),
    )


def gallery_for(
    model: Model, dataset: Dataset, spec: str | None, seed: int, progress: Progress = SILENT
) -> Gallery | None:
    """Return the gallery ``spec`` for ``model``, the data set's default where it is None; None if it uses none."""
    gallery, note = choose_gallery(model, spec, dataset.default_gallery, seed)
    if note:
        progress.say(f"{model.name} on {dataset.name}: {note}")
    return gallery


def answer(
    model: Model,
    dataset: Dataset,
    table: pd.DataFrame,
    gallery: Gallery | None,
    top_k: int = 1,
    *,
    progress: Progress = SILENT,
    **extraction: Any,
) -> Predictions:
    """Return the checked predictions for all n images of ``table``; the rows of unreadable ones say ``failed``.

    Raises:
        PluginError: the model raises, or returns something that is no predictions for these images.
    """
    if model.input == "images":
        return _predict_images(model, dataset, table, gallery, top_k, progress)
    if model.input == "none":
        array, ok = np.empty((len(table), 1, 0), dtype=np.float32), np.ones(len(table), dtype=np.bool_)
    else:
        features = _features(model, dataset, table, progress, **extraction)
        ok = features.ok
        array = features.array if ok.all() else features.array[ok]  # (readable, views, d)
    with blaming(who(model), f"on {dataset.name}"):
        answered = model.locate(array, gallery, top_k).check(len(array), who(model))
    return Predictions.scatter(answered, ok)


def _features(
    model: Model,
    dataset: Dataset,
    table: pd.DataFrame,
    progress: Progress,
    *,
    crops: int = 1,
    batch_size: int = 64,
    workers: int | None = None,
) -> Features:
    """Return the features of the images by the encoder that the model was trained with."""
    return extract(
        dataset,
        table,
        encoder_of(model, dataset.default_encoder),
        crops=crops,
        device=model.device,
        batch_size=batch_size,
        workers=default_workers(model.device) if workers is None else workers,
        progress=progress,
    )


def encoder_of(model: Model, default: str) -> Encoder:
    """Return the encoder that ``model`` was trained with, ``default`` for one that was not; its weights come later.

    Raises:
        EncoderError: the weights here are others than those of the training.
    """
    checkpoint = model.checkpoint
    encoder = get_encoder(checkpoint.encoder if checkpoint is not None else default)
    if checkpoint is not None and encoder.weights_key() != checkpoint.encoder_weights:
        raise EncoderError(
            f"{checkpoint.spec} was trained on features of {encoder.name} with other weights "
            f"({checkpoint.encoder_weights}, here {encoder.weights_key()}); use those, or train again."
        )
    return encoder


def _predict_images(
    model: Model,
    dataset: Dataset,
    table: pd.DataFrame,
    gallery: Gallery | None,
    top_k: int,
    progress: Progress,
) -> Predictions:
    """Return the predictions of a model that answers from raw images, a few of them in memory at a time."""
    ok = np.zeros(len(table), dtype=np.bool_)
    answers: list[Predictions] = []
    with progress.track(f"{model.name} on {dataset.name}", len(table), "images") as advance:
        for start in range(0, len(table), IMAGES_AT_ONCE):
            images = []
            for row in range(start, min(start + IMAGES_AT_ONCE, len(table))):
                try:
                    images.append(dataset.read_image(table["image"].iloc[row], "test"))
                    ok[row] = True
                except ImageError:
                    continue
            if images:
                with blaming(who(model), f"on {dataset.name}"):
                    answers.append(model.predict(images, gallery, top_k).check(len(images), who(model)))
            advance(min(IMAGES_AT_ONCE, len(table) - start), failed=str(int((~ok[: start + IMAGES_AT_ONCE]).sum())))
    if not answers:
        return Predictions(np.full((len(table), 1, 2), np.nan), np.full((len(table), 1), np.nan), ~ok)
    parts = zip(*((a.coordinates, a.scores, a.failed) for a in answers), strict=True)
    return Predictions.scatter(Predictions(*(np.concatenate(part) for part in parts)), ok)


def result_key(
    model: Model, dataset: Dataset, table: pd.DataFrame, gallery: Gallery | None, seed: int, crops: int, top_k: int
) -> str:
    """Return 16 digits for everything the predictions depend on."""
    checkpoint = model.checkpoint
    return files.digest(
        dataset.name,
        dataset.content_key(table, "test"),
        table[["latitude", "longitude"]].to_numpy(np.float64),
        model.name,
        [checkpoint.id, checkpoint.weights] if checkpoint is not None else dict(iter_versions(type(model))),
        [gallery.source, gallery.hash] if gallery is not None else None,
        [seed, crops if model.input == "features" else 0, top_k],
    )


def _provenance(
    model: Model, dataset: Dataset, gallery: Gallery | None, seed: int, crops: int, top_k: int
) -> dict[str, Any]:
    """Return what is needed to trust or repeat a result, besides the scores."""
    checkpoint = model.checkpoint
    encoder = checkpoint.encoder if checkpoint is not None else ""
    return {
        "dataset": dataset.name,
        "model": model.name,
        "checkpoint": checkpoint.id if checkpoint is not None else "",
        "gallery": gallery.spec if gallery is not None else "",
        "seed": seed,
        "training_seed": checkpoint.seed if checkpoint is not None else None,
        "expected": dataset.count,
        "crops": crops,
        "top_k": top_k,
        "encoder": encoder,
        "preprocessing": get_encoder(encoder).describe() if encoder else "",
        "images": dataset.describe(),
        "trained_on": checkpoint.dataset if checkpoint is not None else "",
        "training_images": checkpoint.images if checkpoint is not None else 0,
        "config": checkpoint.config if checkpoint is not None else {},
        "gallery_size": len(gallery) if gallery is not None else 0,
        "gallery_distinct": gallery.distinct if gallery is not None else 0,
        "gallery_hash": gallery.hash if gallery is not None else "",
        "created": now(),
        "versions": dict(iter_versions(type(model))),
        "device": describe_device(model.device),
        "peak_memory_mb": peak_memory_mb(),
    }
