"""The harness on one page: test set → features → predictions → errors → scores → result.

Read this file first. Expensive steps (features, gallery embeddings, checkpoints) are cached under a content key.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.checkpoints import get_model
from geobench.data.dataset import Dataset
from geobench.devices import default_workers
from geobench.errors import SettingError, as_plugin_error
from geobench.features.cache import Features
from geobench.features.digests import are_among, row_digests, sorted_digests
from geobench.features.encoders import Encoder
from geobench.features.wrappers import wrapped
from geobench.gallery import Gallery, gallery_for, warn_if_small
from geobench.images.batches import decoded_batches
from geobench.images.decoding import CROPS
from geobench.images.digests import NONE, Digests, as_array, digest_of, read_digests
from geobench.metrics import ScoredImages, scores_of
from geobench.models import Model, TestSet
from geobench.plugins import get_dataset, get_encoder, get_metrics, who
from geobench.predictions import Predictions, status_counts
from geobench.progress import SILENT, Progress
from geobench.provenance import Identity, circumstances, identify, training_overlap
from geobench.results import Result
from geobench.services.asking import Questions
from geobench.services.contract import Asking, Photo, Service
from geobench.services.outcomes import predictions_of, summary_of


@dataclass(frozen=True)
class Options:
    """How a model is evaluated.

    Attributes:
        crops: views of each image: 1, 5 or 10.
        top_k: predictions kept for each image; scores count the first.
        batch_size: images encoded together; it never changes a result.
        workers: processes that decode images; None chooses.
        asking: what may be asked of services, and what is asked again.
    """

    crops: int = 1
    top_k: int = 1
    batch_size: int = 64
    workers: int | None = None
    asking: Asking = field(default_factory=Asking)

    def __post_init__(self) -> None:
        """Refuse what would be taken for something else: a top −1 is all but the last."""
        if self.crops not in CROPS:
            raise SettingError(f"crops must be one of {', '.join(map(str, CROPS))}, not {self.crops}.")
        for name, least in (("top_k", 1), ("batch_size", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingError(f"{name} must be at least {least}, not {value}.")


DEFAULTS = Options()


def evaluate(
    model: Model | str,
    test_set: TestSet | Dataset | str,
    gallery: Gallery | str | None = None,
    options: Options = DEFAULTS,
    *,
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Result:
    """Return the result of ``model`` on ``test_set`` against ``gallery``: its scores, with predictions and provenance.

    Args:
        model: ready to locate, or its name: ``geoclip``, ``geoclip@CHECKPOINT``.
        test_set: or a data set, or the name of one.
        gallery: or its spec, such as ``land:100k``; None takes the test set's default. Unused by models that need none.
        options: crops, top k, batch size, workers.
        limit: number of images to test on, if ``test_set`` is not yet read; a smaller one than its size is refused.
        progress: reports the work.

    Raises:
        GeobenchError: unknown names; the data set or the encoder's weights are not available; the model returns no
            valid predictions.
    """
    model = get_model(model) if isinstance(model, str) else model
    test_set = as_test_set(test_set, limit, progress)
    get_metrics(test_set.dataset)  # one that does not exist is refused before anything is computed
    if not model.uses_gallery or not isinstance(gallery, Gallery):
        gallery = gallery_for(model, test_set.dataset, None if isinstance(gallery, Gallery) else gallery, 0, progress)
    warn_if_small(gallery, options.top_k, progress)

    started = time.monotonic()
    predictions = locate(model, test_set, gallery, options, progress)  # (n, k) coordinates, scores
    seconds = round(time.monotonic() - started, 3)

    learnt = rows_in_training(model, test_set, options)  # (n,)
    result = scored(
        test_set,
        predictions,
        identity=identity_of(model, test_set, gallery, options),
        service=summary_of(model, predictions) if isinstance(model, Service) else {},
        in_training=None if learnt is None else int(learnt.sum()),
        distinct_images=distinct_images(model, digests_of(model, test_set, options)),
        seconds=seconds,
        **circumstances(model, test_set, gallery, cached_features(model, test_set, options)),
    )
    if warning := overlap_warning(result):
        progress.say(warning)
    return result


def scored(test_set: TestSet, predictions: Predictions, *, identity: Identity, **known: Any) -> Result:
    """Return the result of ``predictions`` for the images of ``test_set``; ``known`` are other fields of it."""
    errors = predictions.errors_km(test_set.truth)  # (n,) km
    images = ScoredImages(errors, test_set.truth, predictions, test_set.extra)
    return Result(
        **identity.identity(),
        scores=scores_of(images, get_metrics(test_set.dataset)),
        failed=predictions.count_failed(),
        statuses=status_counts(predictions) if predictions.reasons is not None else {},
        predictions=predictions,
        names=test_set.images,
        truth=test_set.truth,
        extra=test_set.extra,
        **known,
    )


def locate(
    model: Model, test_set: TestSet, gallery: Gallery | None, options: Options = DEFAULTS, progress: Progress = SILENT
) -> Predictions:
    """Return the checked predictions of ``model`` for all n images; those of unreadable images are marked as failed.

    Raises:
        PluginError: the model raises, or returns something other than predictions for these images.
    """
    if isinstance(model, Service):
        return _ask(model, test_set, options.asking, progress)
    if model.input == "images":
        return _locate_pixels(model, test_set, gallery, options.top_k, progress)
    if model.input == "none":
        features, ok = np.empty((len(test_set), 1, 0), dtype=np.float32), np.ones(len(test_set), dtype=np.bool_)
    else:
        workers = default_workers(model.device) if options.workers is None else options.workers
        how = {"crops": options.crops, "batch_size": options.batch_size, "workers": workers, "device": model.device}
        extracted = test_set.features(_required_encoder(model, test_set), progress=progress, **how)
        features, ok = np.asarray(extracted.array), extracted.ok  # (n, views, d), (n,)
    with as_plugin_error(who(model), f"on {test_set.name}"):
        found = model.locate(features if ok.all() else features[ok], gallery, options.top_k)
        return Predictions.scatter(found.check(int(ok.sum()), who(model)), ok)


def _locate_pixels(
    model: Model, test_set: TestSet, gallery: Gallery | None, top_k: int, progress: Progress
) -> Predictions:
    """Return the predictions of a model that takes decoded images, a few of them in memory at a time."""
    parts, ok, failed = [], [np.zeros(0, dtype=np.bool_)], 0
    with (
        test_set.dataset.unchanged(test_set.table, "test", test_set.images_key) as read,
        progress.track(f"{model.name} on {test_set.name}", len(test_set), "images") as advance,
    ):
        for images, readable, digests in decoded_batches(test_set.dataset, test_set.images):
            start = sum(map(len, ok))
            read[start : start + len(digests)] = digests
            if images:
                with as_plugin_error(who(model), f"on {test_set.name}"):
                    parts.append(model.predict(images, gallery, top_k).check(len(images), who(model)))
            ok.append(readable)
            failed += int((~readable).sum())
            advance(len(readable), failed=f"{failed:,}")
    found = Predictions.concatenate(parts) if parts else Predictions.none(0)
    return Predictions.scatter(found, np.concatenate(ok))


def _ask(model: Service, test_set: TestSet, asking: Asking, progress: Progress) -> Predictions:
    """Return the predictions of a service, each with its status; what is in its log of answers is not asked again."""
    dataset = test_set.dataset

    def photo(name: str) -> Photo:
        content = dataset.image_bytes(name, "test")
        return Photo(name, content, digest_of(content).hex(), lambda: dataset.decode_image(content, name))

    what = f"{model.name} on {test_set.name}"
    with dataset.unchanged(test_set.table, "test", test_set.images_key) as read:
        questions = Questions(model, list(test_set.images), photo, asking, progress, what)
        entries = questions.ask()
        read[:] = as_array([bytes.fromhex(digest) if digest else NONE for digest in questions.digests])
    with as_plugin_error(who(model), f"on {test_set.name}"):
        found = predictions_of(model, entries)
        return replace(found.check(len(test_set), who(model)), reasons=found.reasons, answers=found.answers)


def overlap_warning(result: Result) -> str:
    """Return a line on the test images that the model of ``result`` was trained on; empty if there are none."""
    return training_overlap(result.spec, result.dataset, result.trained_on, result.in_training, result.n)


def rows_in_training(model: Model, test_set: TestSet, options: Options = DEFAULTS) -> npt.NDArray[np.bool_] | None:
    """Return (n,) which test images ``model`` was trained on, whatever they are called; None if that is unknown.

    Images are recognised by the bytes of their files; for a model that uses no images, name and position decide.
    Unknown are those of models and weights that were not trained here, of checkpoints from earlier versions, and of
    features that are no longer cached.
    """
    known = model.checkpoint.digests if model.checkpoint is not None else None
    digests = digests_of(model, test_set, options) if known is not None else None
    return None if digests is None or known is None else are_among(digests, known)


def distinct_images(model: Model | type[Model], digests: Digests | None) -> int | None:
    """Return how many of the images ``digests`` (n, 2) differ in content; None unless features are made of them."""
    if digests is None or model.input != "features":
        return None
    unreadable = int((~digests.any(axis=1)).sum())  # each is counted as its own
    return len(sorted_digests(digests).T) + unreadable


def digests_of(model: Model, test_set: TestSet, options: Options) -> Digests | None:
    """Return the digests (n, 2) of what ``model`` is given, without decoding or encoding any image."""
    if model.input == "none":
        return row_digests(test_set.images, test_set.truth)
    if model.input in ("images", "photos"):
        return read_digests(test_set.dataset, test_set.images, "test")
    features = cached_features(model, test_set, options)
    return features.digests if features is not None else None


def cached_features(model: Model, test_set: TestSet, options: Options) -> Features | None:
    """Return the features that ``model`` is given, if they are in the cache; None if not, or if it uses none."""
    if model.input != "features":
        return None
    encoder, crops, device = _required_encoder(model, test_set), options.crops, model.device
    if not test_set.has_features(encoder, crops=crops, device=device):
        return None
    return test_set.features(encoder, crops=crops, device=device)


def as_test_set(test_set: TestSet | Dataset | str, limit: int | None = None, progress: Progress = SILENT) -> TestSet:
    """Return ``test_set``, read from its data set if it is not yet read."""
    if isinstance(test_set, TestSet):
        test_set.check()
        if limit is not None and limit < len(test_set):
            raise SettingError(
                f"limit={limit} has no effect on a test set that is already read; read fewer images: "
                f"geobench.TestSet.of(dataset, limit={limit})"
            )
        return test_set
    return TestSet.of(get_dataset(test_set) if isinstance(test_set, str) else test_set, limit, progress)


def identity_of(model: Model, test_set: TestSet, gallery: Gallery | None, options: Options) -> Identity:
    """Return what the predictions of ``model`` depend on: the key of a result, before anything is computed."""
    encoder = encoder_for(model, test_set.dataset.default_encoder)
    return identify(model, test_set, gallery, encoder, options.crops, options.top_k)


def encoder_for(model: Model, default: str) -> Encoder | None:
    """Return the encoder that ``model`` was trained with, without weights yet; None for a model that uses no features.

    Args:
        model: trained, or not.
        default: name of the encoder for a model that was not trained.

    Raises:
        EncoderError: the weights here differ from those of the training.
    """
    if model.input != "features":
        return None
    checkpoint = model.checkpoint
    encoder = wrapped(get_encoder(checkpoint.encoder if checkpoint is not None else default), model.reads)
    if checkpoint is not None:
        encoder.check_weights(checkpoint.encoder_weights, checkpoint.spec)
    return model.encoder_of(encoder)


def _required_encoder(model: Model, test_set: TestSet) -> Encoder:
    encoder = encoder_for(model, test_set.dataset.default_encoder)
    assert encoder is not None
    return encoder
