"""Results on disk: what was measured, all that is needed to trust or repeat it, and the predictions beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import PluginError, ResultError, UnknownNameError
from geobench.geo import FloatArray
from geobench.metrics import ScoredImages
from geobench.models import hash_positions
from geobench.plugins import get_metric, get_metrics
from geobench.predictions import NOT_ASKED, STATUSES, Predictions, extra_columns, status_counts
from geobench.provenance import Identity

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path("results")
SCHEMA = 2
"""Version of the record's form; it is raised when an entry changes its meaning. Form 1 lacks parts of the identity."""
READABLE = (1, 2)
LATER = frozenset({"distinct_images", "encoded_with", "training_encoded_with", "statuses", "service"})
"""What the first records of form 2 do not state."""
SAME = 1e-9
"""Recomputed scores may differ by this share: sums of another order."""


@dataclass(frozen=True, kw_only=True)
class Result(Identity):
    """The result of one model on one test set against one gallery.

    Attributes:
        failed: how many of the n images the model was asked for without an answer; in a run of ours, those that could
            not be read.
        statuses: of predictions of others and of services, how many images have each of
            :data:`geobench.predictions.STATUSES`; they sum to n. Empty for a model that runs here.
        service: of a service, who answered, when, and what it took
            (:func:`geobench.services.outcomes.summary_of`); otherwise empty.
        scores: by the name of the metric, in its unit; NaN where it could not be computed. Of a result read
            with its predictions, computed from these by the metrics that are registered now.
        expected: images that the set's authors state; another n is not comparable with published rows.
        images: what the images are, one line.
        trained_on, training_images, training_seed: of the checkpoint; the seed is None if unknown.
        training: what the checkpoint depends on besides the seed (:meth:`TrainingIdentity.recipe`); results whose
            recipes are equal differ in nothing but seeds. Empty if it is not known, or nothing was trained.
        in_training: test images that are among the training images; None if unknown.
        distinct_images: of the n images, those with a content of their own; None if unknown.
        gallery_distinct: distinct points of the gallery; it holds ``in_gallery`` test coordinates, exactly or rounded.
        created: UTC, ISO 8601.
        versions: of geobench, torch, the distribution of the model, and the libraries that decode and encode, when the
            result was measured.
        encoded_with: versions of the libraries that decoded and encoded its features, when these were extracted;
            ``training_encoded_with``: those of the training. Empty if unknown, or if the model uses no features.
        seconds: from images to predictions, less where features were cached; ``peak_memory_mb`` is the process's.
        stated_key: the key in a record of form 1, which lacks parts of what keys are made of today.
        predictions, names, truth: of each image; None if only the record is available.
        extra: the test set's other columns, such as AUTHOR, one row per image, as text.
        path: of the record, if it was read from one.
    """

    failed: int
    scores: dict[str, float]
    statuses: dict[str, int] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    expected: int | None = None
    images: str = ""
    trained_on: str = ""
    training_images: int = 0
    training_seed: int | None = None
    training: dict[str, Any] = field(default_factory=dict)
    in_training: int | None = None
    distinct_images: int | None = None
    gallery_distinct: int = 0
    in_gallery: int = 0
    created: str
    versions: dict[str, str]
    encoded_with: dict[str, str] = field(default_factory=dict)
    training_encoded_with: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    stated_key: str = field(default="", repr=False, compare=False)
    predictions: Predictions | None = field(default=None, repr=False, compare=False)
    names: npt.NDArray[np.object_] | None = field(default=None, repr=False, compare=False)
    truth: FloatArray | None = field(default=None, repr=False, compare=False)
    extra: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    path: Path | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """Return 16 digits that stand for everything the predictions depend on: equal keys are the same result."""
        return self.stated_key or super().key

    @property
    def spec(self) -> str:
        """Return ``MODEL@CHECKPOINT``, ``MODEL:NAME`` of a service that has many models, or ``MODEL``."""
        if self.service and self.config.get("model"):
            return f"{self.model}:{self.config['model']}"
        return f"{self.model}@{self.checkpoint}" if self.checkpoint else self.model

    @property
    def foreign(self) -> bool:
        """Return whether its predictions are those of others: ``geobench score``."""
        return "foreign_file" in self.config

    @property
    def asked(self) -> int:
        """Return how many of the n images the model was asked for."""
        return self.n - self.statuses.get(NOT_ASKED, 0)

    @property
    def partial(self) -> str:
        """Return what follows its name in every table: empty, unless only a part of the images was asked for."""
        return " (partial)" if self.asked < self.n else ""

    @property
    def answered(self) -> int:
        """Return how many of the n images have a prediction."""
        return self.asked - self.failed

    @cached_property
    def test_hash(self) -> str:
        """Return digits that stand for the names and true positions of the images; empty if they are unknown.

        A record of form 1 does not state them; they follow from the predictions, if these are available.
        """
        if self.table_hash or self.names is None or self.truth is None:
            return self.table_hash
        return hash_positions(self.names, self.truth)

    @property
    def entry(self) -> tuple[Any, ...]:
        """Return what a table calls it by: of two results for one entry the newer counts.

        Results against other true positions, another gallery's coordinates or with other weights of the encoder are
        different entries; results that keep more or fewer predictions for each image are one. What a record of form 1
        does not state is empty.
        """
        settings = "" if self.checkpoint else files.digest(self.config, self.weights)
        return (
            *(self.dataset, self.subset, self.n, self.test_hash),
            *(self.model, self.checkpoint, settings, self.encoder, self.encoder_weights, self.crops),
            *(self.gallery, self.gallery_size, self.gallery_hash, self.seed),
        )

    @cached_property
    def scored(self) -> ScoredImages:
        """Return what metrics are computed from; only with predictions."""
        assert self.predictions is not None and self.truth is not None
        return ScoredImages(self.predictions.errors_km(self.truth), self.truth, self.predictions, self.extra)

    def with_scores(self, scores: dict[str, float]) -> Result:
        """Return this result with other scores; places that metrics have looked up are not looked up again."""
        found = replace(self, scores=scores)
        if "scored" in vars(self):
            vars(found)["scored"] = self.scored
        return found

    @property
    def errors(self) -> FloatArray:
        """Return the error (n,) in km of each image; only with predictions."""
        return self.scored.errors_km

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each of the n images; only with predictions.

        ``image``; ``latitude`` and ``longitude``, the true position in degrees; ``predicted_latitude``,
        ``predicted_longitude`` and ``score`` of the best prediction, NaN if there is none; ``error_km``, which is half
        the Earth's circumference for those; ``status``, one of :data:`geobench.predictions.STATUSES`; then the test
        set's other columns, as text.
        """
        import pandas as pd

        assert self.predictions is not None and self.names is not None and self.truth is not None
        best = self.predictions.coordinates[:, 0]
        frame = pd.DataFrame({
            "image": self.names, "latitude": self.truth[:, 0], "longitude": self.truth[:, 1],
            "predicted_latitude": best[:, 0], "predicted_longitude": best[:, 1],
            "score": self.predictions.scores[:, 0], "error_km": self.errors, "status": self.predictions.status,
        })  # fmt: skip
        if self.extra is None:
            return frame
        theirs = self.extra.rename(columns={name: f"{name} of the test set" for name in frame.columns})
        return frame.join(theirs.reset_index(drop=True))

    def save(self, folder: Path = FOLDER) -> Path:
        """Write the predictions, then the record; return the path of the record."""
        assert self.predictions is not None and self.names is not None and self.truth is not None
        self.predictions.save(folder / f"{self.stem}{PREDICTIONS}", self.names, self.truth, self.extra)
        path = folder / f"{self.stem}.json"
        files.write_json(path, {"schema": 1 if self.stated_key else SCHEMA} | self.record())
        return path

    def record(self) -> dict[str, Any]:
        """Return everything but the predictions, as JSON has it: the key, then the fields; a score of NaN is None.

        Those of a model that runs here have no ``statuses`` and no ``service``.
        """
        scores = {name: None if math.isnan(score) else score for name, score in self.scores.items()}
        values = {name: getattr(self, name) for name in _recorded()}
        stated = {name: value for name, value in values.items() if value or name not in ("statuses", "service")}
        return {"key": self.key} | stated | {"scores": scores}

    def row(self) -> dict[str, Any]:
        """Return the flat row that tables of results are made of."""
        row = {name: value for name, value in self.record().items() if not isinstance(value, dict)}
        head = ("dataset", "model", "checkpoint", "gallery", "seed", "n", "failed")
        if taken := sorted(self.scores.keys() & row.keys()):
            raise PluginError(f"the metric {taken[0]!r} has the name of a column of every result; rename the metric.")
        return {name: row.pop(name) for name in head} | self.scores | row


PREDICTIONS = ".predictions.csv"
_BESIDE = ("stated_key", "predictions", "names", "truth", "extra", "path")
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "dict[str, float]": (dict,),
    "dict[str, int]": (dict,),
    "dict[str, str]": (dict,),
    "dict[str, Any]": (dict,),
}


def _recorded() -> dict[str, Any]:
    """Return the fields of a record by name."""
    return {f.name: f for f in fields(Result) if f.name not in _BESIDE}


def get_results(folder: Path | str = FOLDER) -> pd.DataFrame:
    """Return one row per result in ``folder``, the newest last, with a column for every metric that any of them has.

    Scores are computed from the predictions if these are next to the record. Without results the table is empty.

    Raises:
        ResultError: files are damaged; each is named.
    """
    import pandas as pd

    found, damaged = read_results(Path(folder))
    if damaged:
        raise ResultError(" ".join(damaged))
    return pd.DataFrame([result.row() for result in found])


def read_results(folder: Path, predictions: bool = True) -> tuple[list[Result], list[str]]:
    """Return the sound results in ``folder``, the newest last, and a line for each that is damaged.

    Files whose names begin with a dot belong to a process that is still writing them. With ``predictions`` these are
    read too, and checked against the recorded scores.
    """
    found, damaged = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found.append(load_result(path, predictions))
        except ResultError as error:
            damaged.append(str(error))
    return sorted(found, key=lambda result: result.created), damaged


def find_kept(folder: Path, identity: Identity) -> Path | None:
    """Return the record in ``folder`` whose key is that of ``identity``; None if there is none."""
    for path in sorted(folder.glob(f"[!.]*_{identity.key[:8]}.json")):
        try:
            if json.loads(path.read_text(encoding="utf-8")).get("key") == identity.key:
                return path
        except (OSError, ValueError, AttributeError):  # damaged: it is measured again
            continue
    return None


def left_behind(folder: Path) -> list[str]:
    """Return a line for each predictions file in ``folder`` without its record; nothing else mentions it."""
    return [
        f"{path} is not shown: its record {record_of(path).name} is missing; restore it, or run again."
        for path in sorted(folder.glob(f"[!.]*{PREDICTIONS}"))
        if not record_of(path).exists()
    ]


def record_of(path: Path) -> Path:
    """Return the record that belongs to the predictions ``path``; any other path is returned as it is."""
    name = path.name
    return path.with_name(name.removesuffix(PREDICTIONS) + ".json") if name.endswith(PREDICTIONS) else path


def load_result(path: Path, predictions: bool = False) -> Result:
    """Return the result whose record is ``path``; with ``predictions`` also these, if they are next to it.

    Raises:
        ResultError: the record is damaged, edited or of another version, or the predictions do not yield its scores.
    """
    values = _read_record(path)
    schema, key = values.pop("schema", 1), values.pop("key", "")
    if wrong := "; ".join(_misfits(schema, key, values)):
        raise _unfit(path, schema, values, wrong)
    if schema == 1:
        values = {"code": {}, "stated_key": key} | values
    values["scores"] = {n: math.nan if score is None else score for n, score in values["scores"].items()}
    beside = path.with_name(path.stem + PREDICTIONS)
    result = Result(**values, path=path, **(_load_beside(beside) if predictions and beside.is_file() else {}))
    if result.key != key:
        raise ResultError(
            f"{path} was edited: its key {key} does not match its content ({result.key}); move it away and run the "
            "model again."
        )
    return result if result.predictions is None else _rescored(path, result)


def _read_record(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise ResultError(f"{path} is a folder, not a result; move or rename it.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or "scores" not in values:
            raise ValueError("no record of scores")
    except FileNotFoundError:
        raise ResultError(f"{path}: no such file.") from None
    except (OSError, ValueError) as error:
        raise ResultError(
            f"{path} is not a readable result ({type(error).__name__}: {error}); move it away and run the model again."
        ) from error
    return values


def _misfits(schema: Any, key: Any, values: dict[str, Any]) -> Iterator[str]:
    """Yield how the record differs from what this version writes."""
    if schema not in READABLE:
        yield f"form {schema!r}"
    known = _recorded()
    optional = {name for name, f in known.items() if _has_default(f)} | {"code"} if schema == 1 else LATER
    unknown = sorted(set(values) - set(known))
    missing = [name for name in known if name not in values and name not in optional]
    wrong = [name for name, f in known.items() if name in values and not _fits(values[name], str(f.type))]
    wrong += ["key"] if not (isinstance(key, str) and key) else []
    for what, names in (("unknown", unknown), ("missing", missing), ("of another type", wrong)):
        if names:
            yield f"{what}: {', '.join(names)}"
    scores = values["scores"] if isinstance(values["scores"], dict) else {}
    if wrong := [name for name, score in scores.items() if score is not None and not _fits(score, "float")]:
        yield f"scores that are not numbers: {', '.join(wrong)}"


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _fits(value: Any, kind: str) -> bool:
    sound = isinstance(value, _KINDS[kind]) and not isinstance(value, bool)
    return sound and not (isinstance(value, float) and math.isnan(value))


def _unfit(path: Path, schema: Any, values: dict[str, Any], wrong: str) -> ResultError:
    versions = values.get("versions")
    writer = versions.get("geobench", "unknown") if isinstance(versions, dict) else "unknown"
    cause = (
        f"this one reads forms {' and '.join(map(str, READABLE))}; read it with that version, or move"
        if schema not in READABLE
        else "as this one does; if the versions are the same, the file was edited: move"
    )
    return ResultError(
        f"{path} does not fit this version ({wrong}): geobench {writer} wrote it in form {schema}, {cause} it away and "
        "run the model again."
    )


def _load_beside(path: Path) -> dict[str, Any]:
    """Return what the predictions file ``path`` adds to a record."""
    predictions, table = Predictions.load(path)
    truth = table[["latitude", "longitude"]].to_numpy(np.float64)
    names = table["image"].to_numpy(object)
    return {"predictions": predictions, "names": names, "truth": truth, "extra": extra_columns(table)}


def _rescored(path: Path, result: Result) -> Result:
    """Return ``result`` with its scores computed from its predictions by the metrics that are registered now.

    Metrics that the record lacks are added; those that are no longer registered are dropped.

    Raises:
        ResultError: a score, n or failed that follows from the errors alone is not what the record states.
    """
    assert result.predictions is not None
    found = {metric.name: metric for metric in get_metrics(result.dataset)}
    for name in result.scores:
        try:
            found.setdefault(name, get_metric(name))
        except UnknownNameError:
            continue
    scores = {name: metric.score(result.scored) for name, metric in found.items()}
    stated = {name: score for name, score in result.scores.items() if name in found and found[name].needs == "errors"}
    stated |= {"n": result.n, "failed": result.failed} | {f"images {name}": n for name, n in result.statuses.items()}
    counts = dict.fromkeys(STATUSES, 0) | status_counts(result.predictions)
    given = scores | {f"images {name}": n for name, n in counts.items()}
    given |= {"n": len(result.predictions), "failed": result.predictions.count_failed()}
    differ = [name for name in stated if not _same(stated[name], given[name])]
    if differ:
        shown = ", ".join(f"{n} {stated[n]:.6g} in the record, {given[n]:.6g} from the predictions" for n in differ[:2])
        more = f" and {len(differ) - 2} more" if len(differ) > 2 else ""
        raise ResultError(
            f"{path}: its predictions no longer yield its scores ({shown}{more}): one of the two files was edited or "
            "replaced; move both away and run the model again."
        )
    return result.with_scores(scores)


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=SAME, abs_tol=SAME) or (math.isnan(a) and math.isnan(b))
