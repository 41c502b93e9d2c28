"""Which image of a data set an id in a file of predictions refers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from geobench.data.stores.names import folded, key_of, plain
from geobench.data.tables.choice import Column, Match, Remedy
from geobench.data.tables.coordinates import as_numbers
from geobench.errors import DatasetError


@dataclass(frozen=True)
class Matched:
    """Which image of the data set each id refers to.

    Attributes:
        rows: (n,) row of the data set for each id in the file, −1 for none.
        loosely: ids that match without their folder or suffix, with ``_`` for ``/``, or in another case.
    """

    rows: np.ndarray[Any, np.dtype[np.int64]]
    loosely: list[str] = field(default_factory=list)


def match_ids(ids: Sequence[str], images: Sequence[str]) -> Matched:
    """Return which of ``images`` each of ``ids`` refers to: the one of the same name, else the only similar one.

    Names are similar if they are the same in another spelling of Unicode or with backslashes; if they agree without the
    suffixes of an image, with ``_`` for ``/``; then without folders; then in another case.
    """
    exact = {image: row for row, image in enumerate(images)}
    rows = np.array([exact.get(image, -1) for image in ids], dtype=np.int64)
    loosely: list[str] = []
    for simplified in (plain, _flat, _last, _flat_in_any_case, _last_in_any_case):
        if not (rows < 0).any():
            break
        alike = _only(images, simplified)
        for i in np.flatnonzero(rows < 0).tolist():
            rows[i] = alike.get(simplified(ids[i]), -1)
            if rows[i] >= 0 and simplified is not plain:
                loosely.append(ids[i])
    return Matched(rows, loosely)


def matches(images: Sequence[str], ids: Sequence[str]) -> list[Match | None]:
    """Return which of ``images`` each of ``ids`` refers to, None for none: see :func:`match_ids`."""
    rows = match_ids(ids, images).rows.tolist()
    return [Match(images[row], images[row] == name) if row >= 0 else None for name, row in zip(ids, rows, strict=True)]


def check_order(where: str, columns: Sequence[Column], ids: Sequence[str], remedy: Remedy) -> None:
    """Raise ``DatasetError`` if two columns, both scores or both ranks, order the predictions of an id differently.

    Args:
        where: the file, for messages.
        columns: of numbers.
        ids: of the images, a row each.
        remedy: says how the user can name the column.
    """
    import pandas as pd

    of_image = pd.Series(ids, dtype=str)
    orders = [pd.Series(as_numbers(column.texts)).groupby(of_image).rank(method="dense") for column in columns]
    for column, order in zip(columns[1:], orders[1:], strict=True):
        if not order.equals(orders[0]):
            raise DatasetError(
                f"{where}: {columns[0].name!r} and {column.name!r} order the predictions of an image differently; "
                f"{remedy(column.name)}."
            )


def _only(images: Sequence[str], simplified: Any) -> dict[str, int]:
    """Return the row of each simplified name that only one image has, −1 for those that several have."""
    rows: dict[str, int] = {}
    for row, image in enumerate(images):
        key = simplified(image)
        rows[key] = -1 if key in rows else row
    return rows


def _flat(image: str) -> str:
    return _without_suffixes(str(_path(image)))


def _last(image: str) -> str:
    return _without_suffixes(_path(image).name)


def _flat_in_any_case(image: str) -> str:
    return folded(_flat(image))


def _last_in_any_case(image: str) -> str:
    return folded(_last(image))


def _without_suffixes(name: str) -> str:
    """Return what all names of an image share; a suffix may stand twice, as in ``a.jpg.jpg``."""
    while (shorter := key_of(name)) != name:
        name = shorter
    return name


def _path(image: str) -> PurePosixPath:
    return PurePosixPath(plain(image))
