"""Test sets of positions alone: those that a file of predictions brings with it, registered under a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from geobench.data.registration import add_positions
from geobench.errors import DatasetError, ResultError
from geobench.models import hash_table
from geobench.plugins import get_datasets
from geobench.progress import SILENT, Progress
from geobench.published.truth_file import read_truth

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset


def set_of_truth(path: Path, name: str, columns: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Return the test set of the true positions in ``path``, registered as ``name`` if it is not yet.

    Args:
        path: a table of true positions, or of predictions with true positions beside them.
        name: of the set.
        columns: the file's names for roles, as for :func:`geobench.published.truth_file.read_truth`.
        progress: reports that a set was registered.

    Raises:
        ResultError: the file has no true positions, or a set of this name has others.
        DatasetError: the name cannot be that of a data set.
    """
    table = read_truth(path, columns)
    there = get_datasets().get(name)
    if there is not None:
        if there.status != "own" and not there.uses:
            raise ResultError(f"{name} is a published test set whose table is not here; name another: --dataset NAME")
        if hash_table(there.positions("test")) != hash_table(table):
            raise ResultError(
                f"{path} has true positions for {len(table):,} images, and {name} is a test set of others: another "
                "version is another set; name it: --dataset NAME"
            )
        return there
    try:
        dataset = add_positions(name, table, f"positions in {path.name}")
    except DatasetError as error:
        raise ResultError(f"{path}: {error} Name the test set: --dataset NAME") from None
    progress.say(f"{name}: a test set of {len(table):,} true positions, without photos, defined in {dataset.folder}.")
    return dataset


def name_for(path: Path) -> str:
    """Return a name for the test set of ``path``.

    >>> name_for(Path("their answers.v2.csv"))
    'their-answers.v2'
    """
    return re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or "test-set"
