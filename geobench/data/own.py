"""Data sets of the user: the definitions that ``geobench datasets add`` writes, or that were written by hand."""

from __future__ import annotations

from collections.abc import Iterator

from geobench import files
from geobench.data.dataset import Dataset
from geobench.errors import DatasetError


def own_datasets() -> Iterator[Dataset]:
    """Yield the data sets that the user added: ``GEOBENCH_HOME/data/*/dataset.toml``; a broken one is left out."""
    return (found for found in _own_definitions().values() if isinstance(found, Dataset))


def broken_definitions() -> dict[str, DatasetError]:
    """Return what is wrong with each definition of the user's own that cannot be used, by the name of its folder."""
    return {name: found for name, found in _own_definitions().items() if isinstance(found, DatasetError)}


def _own_definitions() -> dict[str, Dataset | DatasetError]:
    found: dict[str, Dataset | DatasetError] = {}
    for path in sorted((files.home() / "data").glob("[!.]*/dataset.toml")):
        try:
            found[path.parent.name] = Dataset.from_toml(path)
        except DatasetError as error:
            found[path.parent.name] = error
    return found
