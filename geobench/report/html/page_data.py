"""The data of a page: arrays and JSON, each in a script element of its own, decoded when they are needed."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


class PageData:
    """Named texts.

    Attributes:
        used: their characters so far.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self.used = 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._texts.items())

    def add(self, name: str, text: str) -> str:
        """Add ``text`` as ``name``; return the name."""
        self._texts[name] = text
        self.used += len(text)
        return name

    def array(self, name: str, values: npt.NDArray[Any], kind: str) -> str:
        """Add ``values`` as base64 of the little-endian numpy type ``kind``: ``<f4``, ``<u2`` or ``u1``."""
        return self.add(name, b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii"))

    def json(self, name: str, value: Any) -> str:
        """Add ``value`` as JSON that is safe inside a script element."""
        return self.add(name, as_json(value))


def as_json(value: Any) -> str:
    """Return ``value`` as JSON without a ``<``, so that nothing in it can end the element around it.

    >>> as_json({"image": "</script>"})
    '{"image":"\\\\u003c/script>"}'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
