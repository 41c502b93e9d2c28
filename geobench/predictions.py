"""Predictions of a model: for each image up to k coordinates with scores, best first, and whether it failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import PluginError, ResultError
from geobench.geo import FloatArray, errors_km, haversine_km, invalid_rows

if TYPE_CHECKING:
    import pandas as pd


OK, FAILED, NOT_ASKED = "ok", "failed", "not asked"
REFUSED, UNPARSEABLE, SERVICE, UNREADABLE = "refused", "unparseable", "service error", "unreadable image"
STATUSES = {
    OK: "answered",
    REFUSED: "refused",
    UNPARSEABLE: "unparseable",
    SERVICE: "lost to an error of the service",
    UNREADABLE: "with an unreadable image",
    FAILED: "failed",
    NOT_ASKED: "not asked",
}
"""What became of an image, and how a count of it reads. In a run of ours a failed image is one that cannot be read."""
ANSWER = "answer_"
"""Prefix of a column of what is known of the answers of a service."""
ANSWER_TEXTS = ("text", "level", "country", "region", "city", "rule", "reason", "at")
"""Those that hold text; the others are numbers."""
_OURS = re.compile(r"image|latitude|longitude|status|error_km|(latitude|longitude|score)_[1-9]\d*|answer_[a-z_0-9]+")
_TEXTS = {"image", "status"} | {f"{ANSWER}{name}" for name in ANSWER_TEXTS}
MISREAD_AT_LEAST = 10
"""With fewer images it cannot be told that coordinates are swapped or in radians."""
PREFIX = "table_"
"""Prefix of a column of the test set whose name is one of ours."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for n images.

    Attributes:
        coordinates: (n, k, 2) latitude, longitude in degrees, best first; NaN in the rows of failed images.
        scores: (n, k), higher is better; what they mean is up to the model.
        failed: (n,), True where there is no prediction: in a run of ours, because the image could not be read.
        reasons: (n,), for predictions of others and of services: which of :data:`STATUSES` each image has; None for
            those of a model that runs here.
        answers: columns (n,) of what is known of each answer of a service: :data:`ANSWER_TEXTS` and numbers; None for
            other models.
    """

    coordinates: FloatArray
    scores: FloatArray
    failed: npt.NDArray[np.bool_]
    reasons: npt.NDArray[np.object_] | None = None
    answers: Mapping[str, npt.NDArray[Any]] | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def status(self) -> npt.NDArray[np.object_]:
        """Return which of :data:`STATUSES` each of the n images has."""
        return np.where(self.failed, FAILED, OK).astype(object) if self.reasons is None else self.reasons

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """Return (n,) whether the model was asked for each image."""
        return np.asarray(self.status != NOT_ASKED, dtype=np.bool_)

    def count_failed(self) -> int:
        """Return how many images were asked for and not answered."""
        return int((self.failed & self.asked).sum())

    @classmethod
    def of(cls, coordinates: FloatArray, scores: FloatArray) -> Predictions:
        """Return predictions in which no image failed."""
        return cls(coordinates, scores, np.zeros(len(coordinates), dtype=np.bool_))

    @classmethod
    def none(cls, n: int) -> Predictions:
        """Return predictions for ``n`` images all of which failed."""
        return cls(np.full((n, 1, 2), np.nan), np.full((n, 1), np.nan), np.ones(n, dtype=np.bool_))

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """Return the predictions of several groups of images as one, in their order.

        Raises:
            PluginError: the groups have different numbers of predictions per image.
        """
        depths = {part.coordinates.shape[1] for part in parts}
        if len(depths) != 1:
            found = ", ".join(map(str, sorted(depths))) or "no group"
            raise PluginError(f"predictions to concatenate must have one number of predictions per image, not {found}.")
        return cls(
            np.concatenate([part.coordinates for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.failed for part in parts]),
            np.concatenate([part.status for part in parts]) if any(p.reasons is not None for p in parts) else None,
        )

    def __getitem__(self, rows: npt.NDArray[np.generic]) -> Predictions:
        """Return the predictions of the images ``rows``: indices, or a mask (n,)."""
        reasons = None if self.reasons is None else self.reasons[rows]
        answers = None if self.answers is None else {name: column[rows] for name, column in self.answers.items()}
        return Predictions(self.coordinates[rows], self.scores[rows], self.failed[rows], reasons, answers)

    @classmethod
    def scatter(cls, located: Predictions, ok: npt.NDArray[np.bool_]) -> Predictions:
        """Return predictions for ``len(ok)`` images, of which those that are ``ok`` were ``located``.

        An image that the model itself marks as failed stays failed.
        """
        k = located.coordinates.shape[1]
        coordinates, scores = np.full((len(ok), k, 2), np.nan), np.full((len(ok), k), np.nan)
        coordinates[ok], scores[ok] = located.coordinates, located.scores
        failed = ~ok
        failed[ok] = located.failed
        return cls(coordinates, scores, failed)

    def errors_km(self, truth: FloatArray) -> FloatArray:
        """Return the error (n,) in km of the best prediction against ``truth`` (n, 2)."""
        return errors_km(self.coordinates[:, 0], truth, self.failed)

    def misread(self, truth: FloatArray) -> str:
        """Return what the best predictions look like if not like latitude and longitude in degrees; empty if they do.

        They are far nearer to ``truth`` (n, 2) if read in another way: swapped, as radians, as shares of the range, or
        with the signs of the truth if none is negative.
        """
        located = ~self.failed
        placed, there = self.coordinates[located, 0], truth[located]
        if len(placed) < MISREAD_AT_LEAST:
            return ""
        error = float(np.median(haversine_km(placed, there)))
        readings = [("have latitude and longitude swapped", placed[:, ::-1]), ("be radians", np.degrees(placed))]
        readings.append(("be scaled to −1 to 1", placed * (90, 180)))
        if (placed >= 0).all():
            readings.append(("be scaled to 0 to 1", placed * (180, 360) - (90, 180)))
            readings.append(("have lost their hemispheres, as none is negative", np.copysign(placed, there)))
        for what, other in readings:
            if not len(invalid_rows(other)) and 2 * float(np.median(haversine_km(other, there))) < error:
                otherwise = float(np.median(haversine_km(other, there)))
                return f"seem to {what}: the median error is {error:,.0f} km as they are, {otherwise:,.0f} km otherwise"
        return ""

    def check(self, n: int, who: str) -> Predictions:
        """Return a copy if it is well formed for ``n`` images; otherwise raise ``PluginError``, which names ``who``.

        A copy, because a model may fill the same arrays again for its next batch.
        """
        shape, k = np.shape(self.coordinates), np.shape(self.scores)[1:]
        if shape != (n, *k, 2) or len(k) != 1 or k[0] < 1 or np.shape(self.scores) != (n, *k):
            raise PluginError(
                f"{who} returned predictions of shape {shape} with scores of shape {np.shape(self.scores)}; "
                f"for {n} images they must be ({n}, k, 2) and ({n}, k) with k at least 1."
            )
        for name in ("coordinates", "scores"):
            dtype = np.asarray(getattr(self, name)).dtype
            if dtype.kind not in "fiu" or (name == "coordinates" and dtype == np.float16):
                rounds = ", which rounds them by up to 7 km" if dtype == np.float16 else ""
                raise PluginError(f"{who} returned {name} of the type {dtype}{rounds}; return float32 or float64.")
        if np.shape(self.failed) != (n,):
            raise PluginError(f"{who} returned ``failed`` of shape {np.shape(self.failed)}; it must be ({n},).")
        coordinates, scores = (np.array(values, np.float64) for values in (self.coordinates, self.scores))
        copy = Predictions(coordinates, scores, np.array(self.failed, np.bool_))
        copy._check_values(who)
        return copy

    def _check_values(self, who: str) -> None:
        """Raise ``PluginError`` if a coordinate of a located image is none, or its scores are NaN or out of order."""
        located = np.flatnonzero(~self.failed)
        for rank in range(self.coordinates.shape[1]):
            bad = np.intersect1d(invalid_rows(self.coordinates[:, rank]), located)
            if len(bad):
                raise PluginError(
                    f"{who} returned {len(bad)} coordinates that are NaN or out of range, first for image number "
                    f"{bad[0]} at rank {rank + 1}: {tuple(self.coordinates[bad[0], rank].tolist())}."
                )
        scores = self.scores[located]
        for wrong, what in (
            (np.isnan(scores), "is NaN"),
            (
                np.diff(scores, axis=1, prepend=np.inf) > 0,
                "is higher than that of the rank before; the best comes first",
            ),
        ):
            if wrong.any():
                row, rank = np.argwhere(wrong)[0].tolist()
                raise PluginError(
                    f"{who} returned {int(wrong.any(axis=1).sum())} images with an invalid score: that of image number "
                    f"{located[row]} at rank {rank + 1}, {scores[row, rank]}, {what}."
                )

    def to_frame(self, images: npt.ArrayLike, truth: FloatArray, extra: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row per image: ``image``, truth, ``status``, ``error_km``, then position and score per rank.

        ``extra`` are the other columns of the test set, one row per image; they come last, as text. A column with a
        name of ours, such as ``status``, becomes ``table_status``.
        """
        import pandas as pd

        columns = {
            "image": np.asarray(images, dtype=object),
            "latitude": truth[:, 0],
            "longitude": truth[:, 1],
            "status": self.status,
            "error_km": self.errors_km(truth),
        }
        for rank in range(self.coordinates.shape[1]):
            columns[f"latitude_{rank + 1}"] = self.coordinates[:, rank, 0]
            columns[f"longitude_{rank + 1}"] = self.coordinates[:, rank, 1]
            columns[f"score_{rank + 1}"] = self.scores[:, rank]
        columns |= {f"{ANSWER}{name}": column for name, column in (self.answers or {}).items()}
        for name in () if extra is None else extra.columns:
            free = str(name)
            while _OURS.fullmatch(free) or free in columns:
                free = PREFIX + free
            columns[free] = extra[name].astype(str).to_numpy(object)  # type: ignore[index]
        return pd.DataFrame(columns)

    def save(self, path: Path, images: npt.ArrayLike, truth: FloatArray, extra: pd.DataFrame | None = None) -> None:
        """Write the table of :meth:`to_frame` as CSV; every number is read back exactly."""
        with files.replacing(path) as temporary:
            self.to_frame(images, truth, extra).to_csv(temporary, index=False)

    @classmethod
    def load(cls, path: Path) -> tuple[Predictions, pd.DataFrame]:
        """Return the predictions in ``path`` and the whole table (image, truth, …, the test set's own columns as text).

        Raises:
            ResultError: the file is missing, truncated or not a predictions file.
        """
        try:
            table = _read(path)
            if missing := [name for name in ("image", "status", "latitude", "longitude") if name not in table]:
                raise ValueError(f"not written by geobench: no column {', '.join(missing)}")
            k = sum(bool(re.fullmatch(r"score_[1-9]\d*", column)) for column in table.columns)
            names = [f"{axis}_{rank + 1}" for rank in range(k) for axis in ("latitude", "longitude")]
            coordinates = table[names].to_numpy(np.float64).reshape(len(table), k, 2)
            scores = table[[f"score_{rank + 1}" for rank in range(k)]].to_numpy(np.float64)
            status = table["status"].to_numpy(object)
            failed = np.asarray(status != OK, dtype=np.bool_)
            truth = table[["latitude", "longitude"]].to_numpy(np.float64)
            wrong = invalid_rows(np.concatenate([truth, coordinates[~failed].reshape(-1, 2)]))
            if not k or not len(table) or len(wrong) or set(status) - set(STATUSES):
                raise ValueError("truncated, or not written by geobench")
        except (OSError, ValueError, KeyError) as error:
            raise ResultError(
                f"{path} is not a readable predictions file ({error}); run the model again. To score predictions of "
                "another program: geobench score"
            ) from error
        answers = {n.removeprefix(ANSWER): table[n].to_numpy() for n in table.columns if n.startswith(ANSWER)}
        reasons = None if set(status) <= {OK, FAILED} and not answers else status
        return cls(coordinates, scores, failed, reasons, answers or None), table


def status_counts(predictions: Predictions) -> dict[str, int]:
    """Return how many images have each of :data:`STATUSES`; one that none has is left out."""
    counts = Counter(predictions.status.tolist())
    return {status: counts[status] for status in STATUSES if counts[status]}


def extra_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a predictions ``table`` that are the test set's own."""
    return table[[column for column in table.columns if not _OURS.fullmatch(column)]]


def _read(path: Path) -> pd.DataFrame:
    """Return the table in ``path``: our numbers as the nearest float64, everything else as written."""
    import pandas as pd

    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise ValueError("truncated")
    table = pd.read_csv(
        BytesIO(content), dtype=str, keep_default_na=False
    )  # an image may be called NA, and a country is
    for column in table.columns:
        if _OURS.fullmatch(column) and column not in _TEXTS:
            table[column] = table[column].replace("", "nan").to_numpy(object).astype(np.float64)
    return table
