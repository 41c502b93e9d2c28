"""From image names to an encoder's inputs, decoded in advance in a background thread or in worker processes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from geobench.errors import FeatureError, GeobenchError, ImageError, as_plugin_error
from geobench.features.prefetch import prefetched
from geobench.images.decoding import views
from geobench.images.digests import NONE, Digests, as_array, digest_of

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.images.augmentation import Augmentation

PREFETCH_BATCHES = 4  # decoded in advance by the background thread
PREFETCH_PER_WORKER = 2  # decoded in advance by each worker process, and held in shared memory


class Batch(NamedTuple):
    """Images ready to be encoded.

    Attributes:
        names: of the images.
        errors: why each image cannot be read; empty if it can.
        digests: (n, 2) of what was read, zeros for an image that cannot be read.
        inputs: (readable images, views, 3, h, w), None if no image is readable.
    """

    names: list[str]
    errors: list[str]
    digests: Digests
    inputs: Tensor | None


@dataclass
class Decoder:
    """Turns image names into encoder inputs. Worker processes get a copy of it, and names only as they need them."""

    dataset: Dataset
    encoder: Encoder
    purpose: str
    crops: int
    augmentation: Augmentation | None
    epoch: int = 0  # of a training that augments anew in each

    @property
    def views(self) -> int:
        """Return the number of views of an image that are encoded."""
        return self.augmentation.views if self.augmentation is not None else self.crops

    def decode(self, names: list[str]) -> Batch:
        """Return the batch of the images ``names``."""
        import torch

        images = [self._inputs(name) for name in names]
        readable = [inputs for inputs, _, _ in images if inputs is not None]
        digests = as_array([digest for _, digest, _ in images])
        return Batch(names, [error for _, _, error in images], digests, torch.stack(readable) if readable else None)

    def __getitem__(self, names: list[str]) -> Batch | GeobenchError:
        """Return the result of ``decode``, or its error: torch turns an exception of a worker into a traceback."""
        try:
            with as_plugin_error(f"the encoder {self.encoder.name}", f"on {self.dataset.name}"):
                return self.decode(names)
        except GeobenchError as error:
            return error

    def _inputs(self, name: str) -> tuple[Tensor | None, bytes, str]:
        """Return the inputs (views, 3, h, w) of an image and its digest, or None, no digest and the reason."""
        import torch

        try:
            content = self.dataset.image_bytes(name, self.purpose)
            image = self.dataset.decode_image(content, name)
        except ImageError as error:
            return None, NONE, str(error) or "unreadable"
        if self.augmentation is not None:
            inputs = self.augmentation.inputs(image, name, self.encoder, self.epoch)
        else:
            inputs = torch.stack([self.encoder.preprocess(view) for view in views(image, self.crops)])
        return inputs, digest_of(content), ""


@contextmanager
def decoded(decoder: Decoder, names: Iterable[list[str]], workers: int) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over the batches of ``names``, in order, decoded while the encoder computes.

    Args:
        decoder: of the images.
        names: of the images of each batch; consumed lazily.
        workers: processes that decode; with 0 a thread of this process does.

    Raises:
        FeatureError: a worker process was killed, or shared memory is full.
        PluginError: decoding raises anything other than an ``ImageError``.
    """
    if workers == 0:
        with prefetched(map(decoder.__getitem__, names), PREFETCH_BATCHES) as batches:
            yield _checked(batches)
        return
    from torch.utils.data import DataLoader

    images: Any = _SharedMemoryDecoder(decoder)
    sampler: Any = names
    loader: Any = DataLoader(
        images,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        prefetch_factor=PREFETCH_PER_WORKER,
        collate_fn=_unchanged,
        multiprocessing_context=start_method(),
    )
    try:
        yield _checked(iter(loader))
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _worker_failure(decoder, "was killed, probably out of memory") from error


def start_method() -> str | None:
    """Return how worker processes are started: by fork if possible, so that no encoder has to be pickled.

    None stands for the platform's default.
    """
    return "fork" if sys.platform == "linux" else None


@dataclass
class _SharedMemoryDecoder:
    """A decoder in a worker process that passes its inputs to the encoder through shared memory."""

    decoder: Decoder

    def __getitem__(self, names: list[str]) -> Batch | GeobenchError:
        batch = self.decoder[names]
        if isinstance(batch, Batch) and batch.inputs is not None:
            try:
                # If torch did this, a failure would end in a traceback and a deadlock.
                batch.inputs.share_memory_()  # type: ignore[no-untyped-call]
            except (RuntimeError, OSError) as error:
                return _worker_failure(
                    self.decoder, f"cannot pass them on through shared memory ({str(error).splitlines()[0]})"
                )
        return batch


def _worker_failure(decoder: Decoder, how: str) -> FeatureError:
    return FeatureError(
        f"a worker process that decodes images of {decoder.dataset.name} {how}: use fewer workers (0 decodes in the "
        f"main process, without shared memory) or a smaller batch size. Run the same command again to resume."
    )


def _checked(batches: Iterator[Batch | GeobenchError]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, GeobenchError):
            raise batch
        yield batch


def _unchanged(batch: object) -> object:
    """Return ``batch``: torch's default would collate it."""
    return batch
