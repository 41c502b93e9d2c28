"""A pool of processes that applies a function to every image of a data set, in bounded memory."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from geobench.devices import MAX_WORKERS, cores
from geobench.errors import DatasetError

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset

R = TypeVar("R")
ImageFunction = Callable[["Dataset", str, str], R]
"""A function of data set, purpose and image name, at the top level of a module so that it can be pickled."""
BLOCK = 8192  # images submitted at once
CHUNK = 16  # images that a process takes at a time


@contextmanager
def image_pool(
    dataset: Dataset, purpose: str, function: ImageFunction[R], workers: int | None = None
) -> Iterator[Callable[[Sequence[str]], Iterable[R]]]:
    """Yield a function that maps image names to the results of ``function``, in order.

    Args:
        dataset: of the images.
        purpose: ``train`` or ``test``.
        function: applied to each image; what it raises ends the work.
        workers: processes; 0 stays in this one, None takes one per available core, at most 16.

    Raises:
        DatasetError: a process was killed, probably out of memory.
    """
    workers = min(MAX_WORKERS, cores()) if workers is None else workers
    if workers < 1:
        yield lambda images: (function(dataset, purpose, image) for image in images)
        return
    pool = ProcessPoolExecutor(workers, initializer=_initialise, initargs=(dataset, purpose, function))
    try:
        yield lambda images: pool.map(_apply, images, chunksize=CHUNK)
    except BrokenProcessPool:
        raise DatasetError(
            f"{dataset.name}: a worker process that decodes images was killed, probably out of memory; "
            "use fewer workers, or 0 to see which image it is."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[Dataset, str, ImageFunction[Any]]  # of a process of the pool


def _initialise(dataset: Dataset, purpose: str, function: ImageFunction[Any]) -> None:
    global _task  # noqa: PLW0603  passed once per process, not with every image
    _task = (dataset, purpose, function)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process stops the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _apply(image: str) -> Any:
    dataset, purpose, function = _task
    return function(dataset, purpose, image)
