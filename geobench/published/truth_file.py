"""Reading true positions that stand in a file of others, alone or beside predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench.errors import ResultError
from geobench.published.answers import positions_in, read_answers
from geobench.published.file_columns import check_roles, truth_of
from geobench.published.ordinates import complete
from geobench.published.records import read_records, text_of

if TYPE_CHECKING:
    import pandas as pd


def read_truth(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the true positions in ``path``, each image once: ``image``, ``latitude``, ``longitude``.

    Args:
        path: CSV, JSON, JSON Lines or a spreadsheet; it may be a file of predictions with true positions beside them.
        columns: the file's names for ``image``, ``truth_latitude`` and so on, if they are not recognised.

    Raises:
        ResultError: it has no true positions; one cannot be read, or an image has two.
    """
    import pandas as pd

    check_roles(columns)
    records = read_records(path)
    image, truth = truth_of(path, records.found, columns)
    text = {
        role: [text_of(record.values.get(names[0])) for record in records.found]
        for role, names in truth.columns.items()
    }
    found = {role: names[0] for role, names in truth.columns.items()}
    answers = read_answers(*positions_in(text, found))
    complete(path, records, answers.coordinates, found)
    table = pd.DataFrame({"image": [text_of(record.values.get(image)) for record in records.found]})
    table["latitude"], table["longitude"] = answers.coordinates.T
    wrong = np.flatnonzero(np.isnan(answers.coordinates[:, 0]))
    named = " and ".join(name for names in truth.columns.values() for name in names)
    if len(wrong):
        row = int(wrong[0])
        raise ResultError(
            f"{path}: {records.unit} {records.found[row].line}: no true position in {named}"
            f"{f': {answers.reasons[row]}' if answers.reasons[row] else ''} (such {records.unit}s: {len(wrong):,}); "
            "correct it or remove it: every image of a test set needs one."
        )
    table = table.drop_duplicates()
    if (again := table["image"].duplicated()).any():
        name = table.loc[again, "image"].iloc[0]
        raise ResultError(f"{path}: {name!r} has two true positions in {named}; a test set has one for each image.")
    return table.reset_index(drop=True)
