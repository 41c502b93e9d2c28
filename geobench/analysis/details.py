"""What a model answered on a test set, read back: the input of breakdowns, calibration and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geobench.data.places import Places, find_places
from geobench.errors import ResultError
from geobench.geo import FloatArray
from geobench.predictions import Predictions
from geobench.results import PREDICTIONS, Result, load_result, record_of
from geobench.statistics.intervals import Clusters, clusters_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answers:
    """A result with its predictions, and what follows from them.

    Attributes:
        result: of n images.
    """

    result: Result

    def __post_init__(self) -> None:
        if self.result.predictions is None or self.result.truth is None:
            raise ResultError(
                f"the predictions {self.result.stem}{PREDICTIONS} do not lie beside their record; without them only "
                "its scores are known. Run the model again."
            )

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def name(self) -> str:
        """Return the name of the model and, where it uses one, of the gallery and the seed of its draw."""
        gallery = f", {self.result.gallery}, seed {self.result.seed}" if self.result.gallery else ""
        return f"{self.result.spec}{gallery}"

    def identity(self) -> dict[str, str | int]:
        """Return what tells this result from others, for flat rows."""
        result = self.result
        return {name: getattr(result, name) for name in ("dataset", "subset", "model", "checkpoint", "gallery", "seed")}

    @property
    def predictions(self) -> Predictions:
        """Return what was answered."""
        assert self.result.predictions is not None
        return self.result.predictions

    @property
    def truth(self) -> FloatArray:
        """Return where the images are, (n, 2) degrees."""
        assert self.result.truth is not None
        return self.result.truth

    @property
    def extra(self) -> pd.DataFrame:
        """Return the test set's other columns, as text; a table without columns where there are none."""
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

    @cached_property
    def places(self) -> Places:
        """Return where the images truly are."""
        return find_places(self.truth)

    @cached_property
    def predicted_places(self) -> Places:
        """Return where they were placed; a failed image is nowhere."""
        return find_places(np.where(self.predictions.failed[:, None], np.nan, self.predictions.coordinates[:, 0]))

    @cached_property
    def placed(self) -> dict[str, tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Return for ``country`` and ``region`` which images have one, and which were placed in the right one."""
        true, predicted = self.places, self.predicted_places
        return {
            "country": (true.countries != "", true.countries == predicted.countries),
            "region": (true.regions != "", true.regions == predicted.regions),
        }


def load_answers(path: Path) -> Answers:
    """Return the answers of a result: ``path`` is its record, ``results/….json``, or the predictions beside it.

    Raises:
        ResultError: there is no such result, or a file is damaged.
    """
    path = record_of(path)
    if not path.is_file():
        raise ResultError(f"there is no result {path}; name a file results/*.json. Make one: geobench run, or score.")
    return Answers(load_result(path, predictions=True))
