"""A result in detail, read back with its predictions: the input of breakdowns, calibration and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geobench.data.places import Places
from geobench.errors import ResultError
from geobench.geo import FloatArray
from geobench.metrics import ScoredImages
from geobench.named import find_result, find_results
from geobench.predictions import Predictions
from geobench.results import FOLDER, PREDICTIONS, Result
from geobench.statistics.intervals import Clusters, clusters_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DetailedResult:
    """A result with its predictions, and what follows from them.

    Attributes:
        result: of n images.
    """

    result: Result

    def __post_init__(self) -> None:
        if self.result.predictions is None or self.result.truth is None:
            raise ResultError(
                f"the predictions {self.result.stem}{PREDICTIONS} are not next to their record; without them only its "
                "scores are known. Run the model again."
            )

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def name(self) -> str:
        """Return the name of the model and, if it uses one, of the gallery and the seed of its draw."""
        gallery = f", {self.result.gallery}, seed {self.result.seed}" if self.result.gallery else ""
        return f"{self.result.spec}{self.result.partial}{gallery}"

    def identity(self) -> dict[str, str | int]:
        """Return what tells this result from others, for flat rows."""
        result = self.result
        return {name: getattr(result, name) for name in ("dataset", "subset", "model", "checkpoint", "gallery", "seed")}

    @property
    def scored(self) -> ScoredImages:
        """Return what metrics are computed from."""
        return self.result.scored

    @property
    def predictions(self) -> Predictions:
        """Return the predictions for the n images."""
        assert self.result.predictions is not None
        return self.result.predictions

    @property
    def truth(self) -> FloatArray:
        """Return the true positions (n, 2) in degrees."""
        assert self.result.truth is not None
        return self.result.truth

    @property
    def extra(self) -> pd.DataFrame:
        """Return the test set's other columns as text; a table without columns if there are none."""
        import pandas as pd

        return pd.DataFrame(index=range(len(self))) if self.result.extra is None else self.result.extra

    @property
    def errors(self) -> FloatArray:
        """Return the error (n,) in km of each best prediction."""
        return self.result.errors

    @cached_property
    def clusters(self) -> Clusters:
        """Return which images belong together: by photographer, else by coordinate."""
        return clusters_of(self.truth, self.extra)

    @property
    def places(self) -> Places:
        """Return country, region and continent of the true positions."""
        return self.scored.places


def load_detailed(name: str | Path, folder: Path = FOLDER, dataset: str | None = None) -> DetailedResult:
    """Return the one result called ``name``, in detail: see :func:`geobench.named.find_result`."""
    return DetailedResult(find_result(name, folder, dataset))


def all_detailed(
    names: Iterable[str | Path], folder: Path = FOLDER, dataset: str | None = None
) -> list[DetailedResult]:
    """Return every result that one of ``names`` means, in detail, none twice: see :func:`find_results`."""
    found = {result.key: result for name in names for result in find_results(name, folder, dataset)}
    return [DetailedResult(result) for result in found.values()]
