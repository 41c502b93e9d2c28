"""Columns of runs, models or parts that rows belong to: if several are scored as one, that is said or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench.errors import ResultError
from geobench.published.records import Record, text_of

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("split", "subset", "partition", "fold", "dataset", "data_set", "benchmark", "testset", "test_set")
"""Names of columns of the part of a data set, or of the data set, that a row is of."""
MOST = 20
"""With more different values a column does not tell parts."""
SHOWN = 3


def notes_on_parts(records: Sequence[Record], models: Sequence[str]) -> list[str]:
    """Return notes on columns of parts, and of ``models`` that no image has two of, with several values."""
    names = dict.fromkeys(name for record in records for name in record.values)
    found = []
    for name in names:
        what = "several models" if name in models else "several parts"
        if name not in models and name.strip().lower().rpartition(".")[2] not in PARTS:
            continue
        counts: dict[str, int] = {}
        for record in records:
            value = text_of(record.values.get(name)) or "none"
            counts[value] = counts.get(value, 0) + 1
        if 1 < len(counts) <= MOST:
            shown = ", ".join(f"{value} {count:,}" for value, count in list(counts.items())[:SHOWN])
            more = ", …" if len(counts) > SHOWN else ""
            found.append(f"rows of {what} are scored as one: the column {name!r} has {shown}{more}")
    return found


def refuse_merged(
    path: Path, unit: str, records: Sequence[Record], table: pd.DataFrame, used: Mapping[str, str]
) -> None:
    """Raise ``ResultError`` if a column tells rows of an image apart as models would, and their score would choose.

    It does if the images with several rows all have the same values there, each once, and in another order than that of
    the scores: then it is no rank.

    Args:
        path: of the file, for messages.
        unit: what its rows are called there.
        records: n rows.
        table: of the n rows: ``image``, ``latitude``, ``score``.
        used: the columns that have a role.
    """
    several = table["image"].duplicated(keep=False).to_numpy()
    rows = np.flatnonzero(several).tolist()
    images = table["image"].iloc[rows].tolist()
    if len(set(images)) < 2:
        return
    scores = table["score"].to_numpy()[rows]
    for name in dict.fromkeys(name for row in rows for name in records[row].values):
        if name in used.values():
            continue
        by_image: dict[str, list[tuple[str, float]]] = {}
        for image, row, score in zip(images, rows, scores.tolist(), strict=True):
            by_image.setdefault(image, []).append((text_of(records[row].values.get(name)), score))
        values = {tuple(sorted(value for value, _ in each)) for each in by_image.values()}
        if len(values) != 1 or len(set(first := next(iter(values)))) < len(first) or len(first) > MOST:
            continue
        orders = {tuple(v for v, _ in sorted(each, key=lambda pair: -pair[1])) for each in by_image.values()}
        if len(orders) == 1 and all(_is_integer(value) for value in first):
            continue  # a rank by another name
        raise ResultError(
            f"{path}: each image has a {unit} for every value of {name!r} ({', '.join(first[:SHOWN])}): if these are "
            f"models or runs, say so: model={name}; if they are the best of one by {used['score']!r}: "
            f"score={used['score']}."
        )


def _is_integer(text: str) -> bool:
    return text.removesuffix(".0").isdecimal()
