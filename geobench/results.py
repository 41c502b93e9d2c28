"""Results on disk: scores, all that is needed to trust or repeat them, and the predictions beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files, metrics
from geobench.errors import ResultError
from geobench.geo import FloatArray
from geobench.predictions import Predictions, extra_columns

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path("results")
SCHEMA = 1
"""Version of the record's form; it is raised when an entry changes its meaning."""
SAME = 1e-9
"""Scores computed again may differ by this share: sums of another order."""


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
        seed: of the gallery's draw; ``training_seed`` is that of the training, None where it is not known.
        scores: ``acc_1km`` … ``acc_2500km`` in percent, ``median_km``, ``mean_km``, ``geoscore``.
        seconds: from images to predictions, less where features were kept; ``peak_memory_mb`` is the process's.
        predictions, names, truth: what the model answered for each image; None where only the record was kept.
        extra: the test set's other columns, such as AUTHOR, a row per image, as text.
        path: of the record that it was read from.
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
    training_seed: int | None = None
    predictions: Predictions | None = field(default=None, repr=False, compare=False)
    names: npt.NDArray[np.object_] | None = field(default=None, repr=False, compare=False)
    truth: FloatArray | None = field(default=None, repr=False, compare=False)
    extra: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    path: Path | None = field(default=None, repr=False, compare=False)

    @property
    def stem(self) -> str:
        """Return the name of its files, without a suffix."""
        parts = [self.dataset, self.model, self.gallery or "no-gallery", f"s{self.seed}", self.key[:8]]
        return re.sub(r"[^\w.+-]+", "-", "_".join(parts))

    @property
    def spec(self) -> str:
        """Return ``MODEL@CHECKPOINT``, or ``MODEL`` where it has none."""
        return f"{self.model}@{self.checkpoint}" if self.checkpoint else self.model

    @property
    def cell(self) -> tuple[Any, ...]:
        """Return what a table calls it by: of two results of the same cell the newer counts."""
        return (
            *(self.dataset, self.subset, self.n, self.model, self.checkpoint),
            *(self.gallery, self.gallery_size, self.seed, self.crops, self.top_k),
        )

    @cached_property
    def errors(self) -> FloatArray:
        """Return the error (n,) in km of each image; only with predictions."""
        assert self.predictions is not None and self.truth is not None
        return self.predictions.errors_km(self.truth)

    def save(self, folder: Path = FOLDER) -> Path:
        """Write the predictions, then the record; return the path of the record."""
        assert self.predictions is not None and self.names is not None and self.truth is not None
        self.predictions.save(folder / f"{self.stem}{PREDICTIONS}", self.names, self.truth, self.extra)
        path = folder / f"{self.stem}.json"
        files.write_json(path, {"schema": SCHEMA} | self.record())
        return path

    def record(self) -> dict[str, Any]:
        """Return everything but the predictions."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _BESIDE}

    def row(self) -> dict[str, Any]:
        """Return the flat row that reports are made of."""
        row = {name: value for name, value in self.record().items() if not isinstance(value, dict)}
        head = ("dataset", "model", "checkpoint", "gallery", "seed", "n", "failed")
        return {name: row.pop(name) for name in head} | self.scores | row


PREDICTIONS = ".predictions.csv"
_BESIDE = ("predictions", "names", "truth", "extra", "path")
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "dict[str, float]": (dict,),
    "dict[str, str]": (dict,),
    "dict[str, Any]": (dict,),
}


def get_results(folder: Path | str = FOLDER) -> pd.DataFrame:
    """Return a row per result in ``folder``, the newest last; an empty table where there is none.

    Raises:
        ResultError: files are damaged; each is named.
    """
    import pandas as pd

    return pd.DataFrame([result.row() for result in load_results(Path(folder))])


def load_results(folder: Path) -> list[Result]:
    """Return the results in ``folder`` without their predictions, the newest last; raise ``ResultError`` for damage."""
    found, damaged = read_results(folder, predictions=False)
    if damaged:
        raise ResultError(" ".join(damaged))
    return found


def read_results(folder: Path, predictions: bool = True) -> tuple[list[Result], list[str]]:
    """Return the sound results in ``folder``, the newest last, and a line for each that is damaged.

    Files whose names begin with a dot are another process's, still being written. ``predictions`` reads those too and
    checks that they give the scores.
    """
    found, damaged = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found.append(load_result(path, predictions))
        except ResultError as error:
            damaged.append(str(error))
    return sorted(found, key=lambda result: result.created), damaged


def left_behind(folder: Path) -> list[str]:
    """Return a line for each predictions file in ``folder`` whose record is not there; nothing else mentions it."""
    return [
        f"{path} is not shown: its record {record_of(path).name} is not beside it; bring it back, or run again."
        for path in sorted(folder.glob(f"[!.]*{PREDICTIONS}"))
        if not record_of(path).exists()
    ]


def load_result(path: Path, predictions: bool = False) -> Result:
    """Return the result whose record is ``path``, with its predictions where they are asked for and lie beside it.

    Raises:
        ResultError: the record is damaged or of another version, or the predictions do not give its scores.
    """
    if path.is_dir():
        raise ResultError(f"{path} is a folder, not a result; move or rename it.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or "scores" not in values:
            raise ValueError("no record of scores")
    except FileNotFoundError:
        raise ResultError(f"{path}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise ResultError(
            f"{path} is no readable result ({type(error).__name__}: {error}); move it away and run the model again."
        ) from error
    schema = values.pop("schema", SCHEMA)
    wrong = "; ".join(_misfits(schema, values))
    if wrong:
        versions = values.get("versions")
        writer = versions.get("geobench", "unknown") if isinstance(versions, dict) else "unknown"
        cause = (
            f"this one reads form {SCHEMA}; read it with that version, or move"
            if schema != SCHEMA
            else "as this one does; where the versions are the same, the file was edited: move"
        )
        raise ResultError(
            f"{path} does not fit this version ({wrong}): geobench {writer} wrote it in form {schema}, {cause} it away "
            "and run the model again."
        )
    beside = path.with_name(path.stem + PREDICTIONS)
    return Result(**values, path=path, **(_beside(path, beside, values) if predictions and beside.is_file() else {}))


def record_of(path: Path) -> Path:
    """Return the record that the predictions ``path`` lie beside; any other path stays as it is."""
    name = path.name
    return path.with_name(name.removesuffix(PREDICTIONS) + ".json") if name.endswith(PREDICTIONS) else path


def _misfits(schema: Any, values: dict[str, Any]) -> Iterator[str]:
    """Yield what in the record is not as this version writes it."""
    if schema != SCHEMA:
        yield f"form {schema!r}"
    known = {f.name: f for f in fields(Result) if f.name not in _BESIDE}
    unknown = sorted(set(values) - set(known))
    missing = [name for name, f in known.items() if name not in values and f.default is MISSING]
    wrong = [name for name, f in known.items() if name in values and not _fits(values[name], str(f.type))]
    for what, names in (("unknown", unknown), ("missing", missing), ("of another type", wrong)):
        if names:
            yield f"{what}: {', '.join(names)}"
    scores = values["scores"] if isinstance(values["scores"], dict) else {}
    if set(scores) != set(metrics.SCORES) or not all(_fits(score, "float") for score in scores.values()):
        yield f"scores other than {', '.join(metrics.SCORES)}, or one that is no number"


def _fits(value: Any, kind: str) -> bool:
    sound = isinstance(value, _KINDS[kind]) and not isinstance(value, bool)
    return sound and not (isinstance(value, float) and math.isnan(value))


def _beside(record: Path, path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return what the predictions ``path`` adds to the record; raise ``ResultError`` where they do not agree."""
    predictions, table = Predictions.load(path)
    truth = table[["latitude", "longitude"]].to_numpy(np.float64)
    found = metrics.score(predictions.errors_km(truth)) | {"n": len(table), "failed": int(predictions.failed.sum())}
    said = values["scores"] | {name: values[name] for name in ("n", "failed")}
    differ = [name for name in found if not math.isclose(found[name], said[name], rel_tol=SAME, abs_tol=SAME)]
    if differ:
        shown = ", ".join(f"{name} {said[name]:.6g} in the record, {found[name]:.6g} from them" for name in differ[:2])
        more = f" and {len(differ) - 2} more" if len(differ) > 2 else ""
        raise ResultError(
            f"{record}: its predictions no longer give its scores ({shown}{more}): one of the two files was edited or "
            f"exchanged; move both away and run the model again."
        )
    names = table["image"].to_numpy(object)
    return {"predictions": predictions, "names": names, "truth": truth, "extra": extra_columns(table)}
