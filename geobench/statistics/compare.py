"""Two results on the same images: what B has more than A, how sure that is, and which images it gained and lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench import metrics
from geobench.errors import ResultError, unknown_name
from geobench.geo import FloatArray, place_keys
from geobench.results import FOLDER, PREDICTIONS, Result, load_result, read_results, record_of
from geobench.statistics.intervals import Clusters, clusters_of
from geobench.statistics.paired import ALPHA, Difference, accuracy_difference, holm, linearised, mean_difference

KEY_DIGITS = 4  # of a key that name a result
FILES = (".json", PREDICTIONS)


class SameResultError(ResultError):
    """A result that is to be compared with itself."""

    exit_code = 2


@dataclass(frozen=True)
class Line:
    """One score of two results.

    Attributes:
        score: ``acc_25km``, ``median_km``, …; ``threshold_km`` where it is an accuracy.
        a, b: the scores; ``difference`` is B minus A, with its interval and p-value.
        gained, lost: images that B alone, or A alone, has within the threshold.
        adjusted: the p-value adjusted for the accuracies compared (Holm); that of a score of another kind as it is.
    """

    score: str
    threshold_km: float | None
    a: float
    b: float
    difference: Difference
    gained: int | None = None
    lost: int | None = None
    adjusted: float = 1.0

    @property
    def worse(self) -> bool:
        """Return whether B is significantly worse than A at this accuracy."""
        return self.threshold_km is not None and self.difference.value < 0 and self.adjusted < ALPHA


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found: the two results, the clusters of their images, and a line per score."""

    a: Result
    b: Result
    clusters: Clusters
    lines: tuple[Line, ...]

    @property
    def worse(self) -> bool:
        """Return whether B is significantly worse than A at one accuracy or more."""
        return any(line.worse for line in self.lines)

    def to_record(self) -> dict[str, Any]:
        """Return everything but the images as JSON values."""
        named = ("dataset", "subset", "model", "checkpoint", "gallery", "seed", "crops", "key")
        sides = {side: {name: getattr(result, name) for name in named} for side, result in self._sides()}
        lines = [
            {"score": line.score, "threshold_km": line.threshold_km, "a": line.a, "b": line.b}
            | {"difference": line.difference.value, "low": line.difference.low, "high": line.difference.high}
            | {"p": line.difference.p, "p_holm": line.adjusted, "gained": line.gained, "lost": line.lost}
            for line in self.lines
        ]
        clusters = {"by": self.clusters.by, "clusters": len(self.clusters.sizes)}
        return {**sides, "n": self.a.n, **clusters, "scores": lines, "worse": self.worse}

    def changes(self) -> list[dict[str, Any]]:
        """Return a row for each image and threshold that one of the two alone has right, with both errors."""
        assert self.a.names is not None and self.a.truth is not None
        found = []
        for km in (line.threshold_km for line in self.lines if line.threshold_km is not None):
            hit_a, hit_b = self.a.errors <= km, self.b.errors <= km
            for index in np.flatnonzero(hit_a != hit_b):
                latitude, longitude = self.a.truth[index].tolist()
                found.append(
                    {
                        "image": str(self.a.names[index]),
                        "threshold_km": km,
                        "change": "gained" if hit_b[index] else "lost",
                        "latitude": latitude,
                        "longitude": longitude,
                        "error_km_a": float(self.a.errors[index]),
                        "error_km_b": float(self.b.errors[index]),
                    }
                )
        return found

    def _sides(self) -> tuple[tuple[str, Result], tuple[str, Result]]:
        return ("a", self.a), ("b", self.b)


def compare(a: Result, b: Result, thresholds_km: Sequence[float] | None = None) -> Comparison:
    """Return how ``b`` differs from ``a`` on the same images.

    Args:
        a, b: results with predictions; the order of their images may differ.
        thresholds_km: accuracies to compare; those of the field's tables where it is None.

    Raises:
        ResultError: the images are not the same, or predictions are missing.
        SameResultError: both are one file.
    """
    if a.path is not None and b.path is not None and a.path.resolve() == b.path.resolve():
        raise SameResultError(f"A and B are the same result, {a.path}; name two that differ.")
    b = aligned(a, b)
    assert a.truth is not None
    clusters = clusters_of(a.truth, a.extra)
    levels = [float(km) for km in thresholds_km or metrics.LEVELS_KM.values()]
    lines = [_accuracy_line(a.errors, b.errors, km, clusters) for km in levels]
    adjusted = holm([line.difference.p for line in lines])
    lines = [replace(line, adjusted=p) for line, p in zip(lines, adjusted, strict=True)]
    values = [linearised(result.errors, clusters) for result in (a, b)]
    for name in metrics.SCORES[len(metrics.ACCURACIES) :]:
        gap = b.scores[name] - a.scores[name]
        found = mean_difference(values[0][name], values[1][name], clusters, gap)
        lines.append(Line(name, None, a.scores[name], b.scores[name], found, adjusted=found.p))
    return Comparison(a, b, clusters, tuple(lines))


def _accuracy_line(a: FloatArray, b: FloatArray, km: float, clusters: Clusters) -> Line:
    hits = a <= km, b <= km
    gained, lost = int((hits[1] & ~hits[0]).sum()), int((hits[0] & ~hits[1]).sum())
    scores = metrics.accuracy(a, km), metrics.accuracy(b, km)
    return Line(f"acc_{km:g}km", km, *scores, accuracy_difference(*hits, clusters), gained, lost)


def aligned(a: Result, b: Result) -> Result:
    """Return ``b`` with its images in the order of ``a``; raise ``ResultError`` where they are not the same images."""
    for result in (a, b):
        if result.predictions is None:
            raise ResultError(
                f"{result.stem} is a record without its predictions; a comparison needs those of every image: run "
                f"{result.spec} on {result.dataset} again."
            )
    assert a.names is not None and b.names is not None and a.truth is not None and b.truth is not None
    assert b.predictions is not None
    order = _order(a.names, b.names, f"{a.spec} and {b.spec}")
    moved = np.flatnonzero(place_keys(a.truth) != place_keys(b.truth[order]))
    if len(moved):
        raise ResultError(
            f"{a.spec} and {b.spec} were scored against different true places for {len(moved):,} of {a.n:,} images, "
            f"such as {a.names[moved[0]]}; run both on the same metadata."
        )
    answers = b.predictions
    ordered = type(answers)(answers.coordinates[order], answers.scores[order], answers.failed[order])
    extra = None if b.extra is None else b.extra.iloc[order].reset_index(drop=True)
    return replace(b, predictions=ordered, names=b.names[order], truth=b.truth[order], extra=extra)


def _order(a: npt.NDArray[np.object_], b: npt.NDArray[np.object_], who: str) -> npt.NDArray[np.intp]:
    """Return where in ``b`` each of ``a`` stands; raise ``ResultError`` saying how many images one of them lacks."""
    places = {name: index for index, name in enumerate(b)}
    only_a = [name for name in a if name not in places]
    only_b = set(places) - set(a)
    if only_a or only_b:
        example = only_a[0] if only_a else min(only_b)
        raise ResultError(
            f"{who} were not run on the same images: {len(a) - len(only_a):,} are in both, {len(only_a):,} only in the "
            f"first, {len(only_b):,} only in the second, such as {example}; run both on the same set without --limit."
        )
    return np.array([places[name] for name in a], dtype=np.intp)


def find_result(name: str, folder: Path = FOLDER, dataset: str | None = None) -> Result:
    """Return the result that ``name`` stands for, with its predictions.

    Args:
        name: a file (``….json`` or its ``….predictions.csv``), the first digits of a key, ``MODEL`` or
            ``MODEL@CHECKPOINT``. Of a cell that was measured twice the newest is taken.
        folder: of results.
        dataset: look among the results on this test set only.

    Raises:
        UnknownNameError: there is no such result.
        ResultError: several fit, or the file is damaged.
    """
    if name.endswith(FILES):
        return load_result(record_of(Path(name)), predictions=True)
    found, damaged = read_results(folder, predictions=False)
    there = [result for result in found if dataset in (None, result.dataset)]
    fits = [result for result in there if _is_called(result, name)]
    if not fits:
        where = f"result in {folder}" + (f" on {dataset}" if dataset else "")
        hint = f"Damaged are: {' '.join(damaged)}" if damaged else ""
        raise unknown_name(where, name, {result.spec for result in there} | {result.model for result in there}, hint)
    cells = {result.cell: result for result in fits}
    if len(cells) > 1:
        shown = "; ".join(f"{r.key[:8]} ({r.spec} on {_where(r)})" for r in list(cells.values())[:6])
        more = f" and {len(cells) - 6} more" if len(cells) > 6 else ""
        raise ResultError(f"{name} stands for {len(cells)} results; name one by its digits: {shown}{more}.")
    (chosen,) = cells.values()
    assert chosen.path is not None
    return load_result(chosen.path, predictions=True)


def _is_called(result: Result, name: str) -> bool:
    by_key = len(name) >= KEY_DIGITS and result.key.startswith(name)
    return by_key or name in (result.model, result.spec, result.stem)


def _where(result: Result) -> str:
    parts = [result.subset, result.gallery, f"seed {result.seed}" if result.gallery else "", f"{result.n:,} images"]
    return ", ".join([result.dataset, *filter(None, parts)])
