"""Two results on the same images: B minus A at every score, how sure that is, and which images B gained and lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geobench.errors import ResultError
from geobench.geo import FloatArray, place_keys
from geobench.metrics import Metric, image_values
from geobench.plugins import get_metrics
from geobench.results import Result
from geobench.statistics.intervals import Clusters, clusters_of
from geobench.statistics.paired import ALPHA, Difference, difference, holm, linearised


class SameResultError(ResultError):
    """A result that is to be compared with itself."""

    exit_code = 2


@dataclass(frozen=True)
class Line:
    """One score of two results.

    Attributes:
        metric: of the score.
        a, b: the scores; ``difference`` is B minus A, with its confidence interval and p-value; both are NaN for a
            metric without a value per image.
        gained, lost: for a share, images that only B, or only A, has right.
        adjusted: the p-value, for a share adjusted for the number of shares compared (Holm).
    """

    metric: Metric
    a: float
    b: float
    difference: Difference
    gained: int | None = None
    lost: int | None = None
    adjusted: float = 1.0

    @property
    def score(self) -> str:
        """Return the name of the score, such as ``acc_25km``."""
        return self.metric.name

    @property
    def threshold_km(self) -> float | None:
        """Return the distance of an accuracy; None for any other score."""
        return self.metric.threshold_km

    @property
    def worse(self) -> bool:
        """Return whether B is significantly worse than A at this share."""
        sign = 1 if self.metric.higher_is_better else -1
        return self.metric.kind == "share" and sign * self.difference.value < 0 and self.adjusted < ALPHA


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found: the two results, the clusters of their images, and a line per score."""

    a: Result
    b: Result
    clusters: Clusters
    lines: tuple[Line, ...]

    @property
    def worse(self) -> bool:
        """Return whether B is significantly worse than A at one share or more."""
        return any(line.worse for line in self.lines)

    def to_record(self) -> dict[str, Any]:
        """Return everything but the images as JSON values; None for what is NaN."""
        named = ("dataset", "subset", "model", "checkpoint", "gallery", "seed", "crops", "in_training", "key")
        sides = {side: {name: getattr(result, name) for name in named} for side, result in self._sides()}
        lines = [
            {"score": line.score, "threshold_km": line.threshold_km, "a": line.a, "b": line.b}
            | {"difference": line.difference.value, "low": line.difference.low, "high": line.difference.high}
            | {"p": line.difference.p, "p_holm": line.adjusted, "gained": line.gained, "lost": line.lost}
            for line in self.lines
        ]
        lines = [{key: _known(value) for key, value in line.items()} for line in lines]
        clusters = {"by": self.clusters.by, "clusters": len(self.clusters.sizes)}
        return {**sides, "n": self.a.n, **clusters, "scores": lines, "worse": self.worse}

    def changes(self) -> list[dict[str, Any]]:
        """Return a row for each share and image that only one of the two has right, with both errors."""
        assert self.a.names is not None and self.a.truth is not None
        found = []
        for line in self.lines:
            if line.metric.kind != "share" or line.gained is None:
                continue
            hit_a, hit_b = line.metric.values(self.a.scored), line.metric.values(self.b.scored)
            for index in np.flatnonzero(np.abs(hit_b - hit_a) == 1):
                latitude, longitude = self.a.truth[index].tolist()
                found.append(
                    {
                        "image": str(self.a.names[index]),
                        "score": line.score,
                        "threshold_km": line.threshold_km,
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
        a, b: results with predictions; their images may be in different orders.
        thresholds_km: accuracies to compare; by default those of the test set's tables.

    Raises:
        ResultError: the images are not the same, or predictions are missing.
        SameResultError: both are one file.
        SettingError: a threshold is not a distance.
    """
    if a.path is not None and b.path is not None and a.path.resolve() == b.path.resolve():
        raise SameResultError(f"A and B are the same result, {a.path}; name two that differ.")
    metrics = get_metrics(a.dataset, thresholds_km)
    b = aligned(a, b)
    _refuse_parts(a, b)
    assert a.truth is not None
    clusters = clusters_of(a.truth, max((a, b), key=lambda result: result.created).extra)  # of the newer columns
    sides = [linearised(image_values(result.scored, metrics), clusters, metrics) for result in (a, b)]
    scores = [{metric.name: metric.score(result.scored) for metric in metrics} for result in (a, b)]
    lines = [
        _line(m, (scores[0][m.name], scores[1][m.name]), (sides[0].get(m.name), sides[1].get(m.name)), clusters)
        for m in metrics
    ]
    shares = [index for index, line in enumerate(lines) if line.metric.kind == "share"]
    for index, adjusted in zip(shares, holm([lines[i].difference.p for i in shares]), strict=True):
        lines[index] = replace(lines[index], adjusted=adjusted)
    return Comparison(a, b, clusters, tuple(lines))


def _refuse_parts(a: Result, b: Result) -> None:
    """Raise ``ResultError`` if the models were asked for different images: a part is not compared with the whole."""
    assert a.predictions is not None and b.predictions is not None
    only = int((a.predictions.asked != b.predictions.asked).sum())
    if only:
        raise ResultError(
            f"{a.spec} was asked for {a.asked:,} and {b.spec} for {b.asked:,} of {a.n:,} images, and {only:,} images "
            "were asked of one of them alone: a part is not compared with the whole; score both on the images that "
            "both were asked for: geobench score FILE --truth TABLE OF THESE"
        )


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(
    metric: Metric,
    scores: tuple[float, float],
    values: tuple[FloatArray | None, FloatArray | None],
    clusters: Clusters,
) -> Line:
    """Return the line of ``metric``: scores of A and B, and values (n,) from :func:`linearised` if it has any."""
    (a, b), (of_a, of_b) = scores, values
    if of_a is None or of_b is None:
        return Line(metric, a, b, Difference(b - a, math.nan, math.nan, math.nan), adjusted=math.nan)
    found = difference(metric, of_a, of_b, clusters, b - a)
    if metric.kind != "share":
        return Line(metric, a, b, found, adjusted=found.p)
    change = of_b - of_a
    return Line(metric, a, b, found, gained=int((change > 0).sum()), lost=int((change < 0).sum()))


def aligned(a: Result, b: Result) -> Result:
    """Return ``b`` with its images in the order of ``a``; raise ``ResultError`` if they are not the same images."""
    for result in (a, b):
        if result.predictions is None:
            raise ResultError(
                f"{result.stem} is a record without its predictions, which a comparison needs: run {result.spec} on "
                f"{result.dataset} again."
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
    ordered = b.scored.take(order)
    return replace(b, predictions=ordered.predictions, names=b.names[order], truth=ordered.truth, extra=ordered.extra)


def _order(a: npt.NDArray[np.object_], b: npt.NDArray[np.object_], who: str) -> npt.NDArray[np.intp]:
    """Return the index in ``b`` of each of ``a``; raise ``ResultError`` saying how many images one of them lacks."""
    places = {name: index for index, name in enumerate(b)}
    only_a = [name for name in a if name not in places]
    only_b = set(places) - set(a)
    if only_a or only_b:
        example = only_a[0] if only_a else min(only_b)
        raise ResultError(
            f"{who} were not run on the same images: {len(a) - len(only_a):,} are in both, {len(only_a):,} only in the "
            f"first, {len(only_b):,} only in the second, such as {example}; run both on the whole set."
        )
    return np.array([places[name] for name in a], dtype=np.intp)
