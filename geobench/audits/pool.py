"""Looking at every image of a data set, in processes beside this one, in bounded memory."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from geobench.devices import MOST_WORKERS, cores
from geobench.errors import DatasetError

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset

Seen = TypeVar("Seen")
Look = Callable[["Dataset", str, str], Seen]
"""A function (data set, purpose, image) of a module, so that another process can be told of it."""
BLOCK = 8192  # images handed out at once
CHUNK = 16  # images that a process takes at a time


@contextmanager
def scanning(
    dataset: Dataset, purpose: str, look: Look[Seen], workers: int | None = None
) -> Iterator[Callable[[Sequence[str]], Iterable[Seen]]]:
    """Yield a function from images to what ``look`` returns for each, in their order.

    Args:
        dataset: that the images belong to.
        purpose: ``train`` or ``test``.
        look: what is done to an image; it raises nothing.
        workers: processes; 0 looks in this one, None takes one for each core that is ours, at most 16.

    Raises:
        DatasetError: a process was killed, most likely for want of memory.
    """
    workers = min(MOST_WORKERS, cores()) if workers is None else workers
    if workers < 1:
        yield lambda images: (look(dataset, purpose, image) for image in images)
        return
    pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(dataset, purpose, look))
    try:
        yield lambda images: pool.map(_one, images, chunksize=CHUNK)
    except BrokenProcessPool:
        raise DatasetError(
            f"{dataset.name}: a process that decodes images was killed, most likely for want of memory; "
            "give fewer with --workers, 0 to see which image it is."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[Dataset, str, Look[Any]]  # of a process of the pool


def _begin(dataset: Dataset, purpose: str, look: Look[Any]) -> None:
    global _task  # noqa: PLW0603  handed over once, not with every image
    _task = (dataset, purpose, look)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _one(image: str) -> Any:
    dataset, purpose, look = _task
    return look(dataset, purpose, image)
