"""Prefetching: items are computed in a background thread before they are needed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

POLL_S = 0.2  # how often the thread checks whether it should stop
_END = object()


@contextmanager
def prefetched(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Yield an iterator over ``items`` that a background thread computes, up to ``depth`` items in advance.

    An exception raised while computing an item is re-raised when that item is requested. The thread is stopped at the
    end of the block.
    """
    ready: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), daemon=True)
    thread.start()
    try:
        yield _consume(ready)
    finally:
        stop.set()
        thread.join()


class _Raised:
    """An exception on its way from the thread to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _produce(items: Iterable[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    """Put ``items`` into the queue, followed by an end marker or the exception that ended them."""
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
            ready.put(item, timeout=POLL_S)
            return
        except queue.Full:
            continue


def _consume(ready: queue.Queue[Any]) -> Iterator[Any]:
    while (item := ready.get()) is not _END:
        if isinstance(item, _Raised):
            raise item.error
        yield item
