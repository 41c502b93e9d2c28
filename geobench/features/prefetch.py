"""Work done ahead of the one who wants it, in a thread beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_S = 0.2  # the thread looks so often whether it is still wanted
_END = object()


@contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Yield an iterator over ``items``, which a thread makes, at most ``depth`` of them before they are asked for.

    What making an item raises is raised where the item is wanted. At the end of the block the thread is stopped.
    """
    ready: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_make, args=(items, ready, stop), daemon=True)
    thread.start()
    try:
        yield _wanted(ready)
    finally:
        stop.set()
        thread.join()


class _Raised:
    """An exception on its way to where the item is wanted."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _make(items: Iterable[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    """Put ``items`` into the queue, and what ends them."""
    try:
        for item in items:
            _put(item, ready, stop)
            if stop.is_set():
                return
        end: object = _END
    except BaseException as error:
        end = _Raised(error)
    _put(end, ready, stop)


def _put(item: object, ready: queue.Queue[Any], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            ready.put(item, timeout=LOOK_S)
            return
        except queue.Full:
            continue


def _wanted(ready: queue.Queue[Any]) -> Iterator[Any]:
    while (item := ready.get()) is not _END:
        if isinstance(item, _Raised):
            raise item.error
        yield item
