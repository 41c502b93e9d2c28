"""Results on disk: scores, all that is needed to trust or repeat them, and the predictions beside them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import ResultError
from geobench.geo import FloatArray
from geobench.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path("results")


@dataclass(frozen=True)
class Result:
    """The result of one model on one test set against one gallery.

    Attributes:
        subset: the part of the test set that is scored, such as ``clean``; empty for all of it.
        in_gallery: test coordinates that are in the gallery exactly; an oracle gallery is told by it.
        key: digits that stand for everything the scores depend on; a result of the same key is the same result.
        n: images in the test set, the denominator of every score; ``failed`` of them could not be read.
        expected: images that the set's authors state; another n is not comparable with published rows.
        gallery: spec, such as ``training:21000``; empty for a model that uses none.
        scores: ``acc_1km`` … ``acc_2500km`` in percent, ``median_km``, ``mean_km``, ``geoscore``.
        seconds: from images to predictions, less where features were kept; ``peak_memory_mb`` is the process's.
    """

    key: str
    dataset: str
    model: str
    checkpoint: str
    gallery: str
    seed: int
    n: int
    failed: int
    expected: int | None
    scores: dict[str, float]
    crops: int
    top_k: int
    encoder: str
    preprocessing: str
    images: str
    trained_on: str
    training_images: int
    config: dict[str, Any]
    gallery_size: int
    gallery_distinct: int
    gallery_hash: str
    created: str
    versions: dict[str, str]
    device: str
    seconds: float
    peak_memory_mb: float
    subset: str = ""
    in_gallery: int = 0
    predictions: Predictions | None = field(default=None, repr=False, compare=False)
    names: npt.NDArray[np.object_] | None = field(default=None, repr=False, compare=False)
    truth: FloatArray | None = field(default=None, repr=False, compare=False)

    @property
    def stem(self) -> str:
        """Return the name of its files, without a suffix."""
        parts = [self.dataset, self.model, self.gallery or "no-gallery", f"s{self.seed}", self.key[:8]]
        return re.sub(r"[^\w.+-]+", "-", "_".join(parts))

    def save(self, folder: Path = FOLDER) -> Path:
        """Write the predictions, then the record; return the path of the record."""
        assert self.predictions is not None and self.names is not None and self.truth is not None
        self.predictions.save(folder / f"{self.stem}.predictions.csv", self.names, self.truth)
        path = folder / f"{self.stem}.json"
        files.write_json(path, self.record())
        return path

    def record(self) -> dict[str, Any]:
        """Return everything but the predictions."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _BESIDE}

    def row(self) -> dict[str, Any]:
        """Return the flat row that reports are made of."""
        row = {name: value for name, value in self.record().items() if not isinstance(value, dict)}
        head = ("dataset", "model", "checkpoint", "gallery", "seed", "n", "failed")
        return {name: row.pop(name) for name in head} | self.scores | row


_BESIDE = ("predictions", "names", "truth")


def get_results(folder: Path | str = FOLDER) -> pd.DataFrame:
    """Return a row per result in ``folder``, the newest last; an empty table where there is none.

    Raises:
        ResultError: a file is damaged; it is named.
    """
    import pandas as pd

    rows = [result.row() for result in load_results(Path(folder))]
    return pd.DataFrame(rows)


def load_results(folder: Path) -> list[Result]:
    """Return the results in ``folder`` without their predictions, the newest last.

    Files whose names begin with a dot are another process's, still being written.
    """
    found = [load_result(path) for path in sorted(folder.glob("[!.]*.json"))]
    return sorted(found, key=lambda result: result.created)


def load_result(path: Path) -> Result:
    """Return the result whose record is ``path``; raise ``ResultError`` where it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Result(**{f.name: values[f.name] for f in fields(Result) if f.name not in _BESIDE})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{path} is no readable result ({type(error).__name__}: {error}); move it away and run the model again."
        ) from error
