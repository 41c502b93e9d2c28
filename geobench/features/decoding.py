"""From the names of images to an encoder's inputs, made ahead of it: in a thread beside it, or in worker processes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from geobench.errors import FeatureError, GeobenchError, ImageError, blaming
from geobench.features.prefetch import ahead
from geobench.images.decoding import CROP_SHARE, DRAFT_FACTOR, views

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.images.augmentation import Augmentation

AHEAD = 4  # batches that the thread decodes before they are wanted
AHEAD_EACH = 2  # and each process; they lie in shared memory


class Batch(NamedTuple):
    """Images ready to be encoded.

    Attributes:
        names: of the images.
        errors: why an image cannot be read, empty where it can.
        inputs: (readable images, views, 3, h, w), None where there are none.
    """

    names: list[str]
    errors: list[str]
    inputs: Tensor | None


@dataclass
class Decoder:
    """Turns names of images into inputs; worker processes have a copy of it, and of no list of names."""

    dataset: Dataset
    encoder: Encoder
    purpose: str
    crops: int
    augmentation: Augmentation | None

    @property
    def side(self) -> int | None:
        """Return the shorter side in pixels that is looked at of an image, None for all: views at random cut it up."""
        if self.encoder.side is None or self.augmentation is not None:
            return None
        return self.encoder.side if self.crops == 1 else math.ceil(self.encoder.side / CROP_SHARE)

    @property
    def jpeg_decoded_to(self) -> int | None:
        """Return the shorter side in pixels above which a JPEG may be decoded at a reduced scale, for the record."""
        return None if self.side is None else DRAFT_FACTOR * self.side

    @property
    def views(self) -> int:
        """Return how many views of an image are encoded."""
        return self.augmentation.views if self.augmentation is not None else self.crops

    def decode(self, names: list[str]) -> Batch:
        """Return the inputs of ``names``."""
        import torch

        made = [self._inputs(name) for name in names]
        readable = [inputs for inputs, _ in made if inputs is not None]
        return Batch(names, [error for _, error in made], torch.stack(readable) if readable else None)

    def __getitem__(self, names: list[str]) -> Batch | GeobenchError:
        """Return what ``decode`` returns or raises: an error raised in a worker would arrive as its traceback."""
        try:
            with blaming(f"the encoder {self.encoder.name}", f"on {self.dataset.name}"):
                return self.decode(names)
        except GeobenchError as error:
            return error

    def _inputs(self, name: str) -> tuple[Tensor | None, str]:
        """Return the inputs (views, 3, h, w) of an image, or why there are none."""
        import torch

        try:
            image = self.dataset.read_image(name, self.purpose, self.side)
        except ImageError as error:
            return None, str(error) or "unreadable"
        if self.augmentation is not None:
            return self.augmentation.inputs(image, name, self.encoder), ""
        return torch.stack([self.encoder.preprocess(view) for view in views(image, self.crops)]), ""


@contextmanager
def decoded(decoder: Decoder, names: Iterable[list[str]], workers: int) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over the batches of ``names``, in their order, decoded while the encoder computes.

    Args:
        decoder: makes a batch.
        names: of the images of each batch; asked for as they are needed.
        workers: processes that decode; with 0 a thread of this process does.

    Raises:
        FeatureError: a process that decodes was killed, or there is no shared memory left for what it made.
        PluginError: what decodes raises something other than that an image cannot be read.
    """
    if workers == 0:
        with ahead(map(decoder.__getitem__, names), AHEAD) as made:
            yield _checked(made)
        return
    from torch.utils.data import DataLoader

    given: Any = _Sharing(decoder)
    batches: Any = names
    loader: Any = DataLoader(
        given,
        batch_size=None,
        sampler=batches,
        num_workers=workers,
        prefetch_factor=AHEAD_EACH,
        collate_fn=_as_it_is,
        multiprocessing_context=start_method(),
    )
    try:
        yield _checked(iter(loader))
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _lost(decoder, "was killed, most likely for lack of memory") from error


def start_method() -> str | None:
    """Return how processes that decode are started: copies of this one, so that no encoder is sent to them.

    None is the system's own way, where there are no copies.
    """
    return "fork" if sys.platform == "linux" else None


@dataclass
class _Sharing:
    """A decoder in a process of its own, whose inputs reach the encoder through shared memory."""

    decoder: Decoder

    def __getitem__(self, names: list[str]) -> Batch | GeobenchError:
        made = self.decoder[names]
        if isinstance(made, Batch) and made.inputs is not None:
            try:
                # Left to torch, a failure would be a traceback and a wait without end.
                made.inputs.share_memory_()  # type: ignore[no-untyped-call]
            except (RuntimeError, OSError) as error:
                return _lost(self.decoder, f"cannot hand them over ({str(error).splitlines()[0]})")
        return made


def _lost(decoder: Decoder, how: str) -> FeatureError:
    return FeatureError(
        f"a process that decodes images of {decoder.dataset.name} {how}: give fewer --workers (0 decodes in the main "
        f"process, without shared memory) or a smaller --batch-size. The same command, given again, goes on from here."
    )


def _checked(made: Iterator[Batch | GeobenchError]) -> Iterator[Batch]:
    for batch in made:
        if isinstance(batch, GeobenchError):
            raise batch
        yield batch


def _as_it_is(batch: object) -> object:
    """Keep torch from turning a batch into something else."""
    return batch
