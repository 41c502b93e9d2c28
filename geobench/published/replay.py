"""The same predictions scored by the rules of others: how many points of a table are due to convention alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geobench.geo import EARTH_RADIUS_KM, FARTHEST_KM, FloatArray, as_coordinates, haversine_km
from geobench.metrics import Metric, ScoredImages, accuracies, headings, scores_of, thresholds_of
from geobench.named import find_result
from geobench.plugins import get_metrics
from geobench.predictions import Predictions
from geobench.results import FOLDER, PREDICTIONS, load_result, record_of
from geobench.rounding import shown

Distance = Callable[[FloatArray, FloatArray], FloatArray]


def sphere(radius_km: float) -> Distance:
    """Return the great-circle distance on a sphere of ``radius_km``: (n, 2) and (n, 2) degrees to (n,) km."""
    return lambda a, b: haversine_km(a, b) * (radius_km / EARTH_RADIUS_KM)


def geodesic_km(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the geodesic distances (n,) in km on the WGS-84 ellipsoid between the rows of ``a`` and ``b``, (n, 2).

    >>> geodesic_km(np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]])).round(6)
    array([111.319491])
    """
    from pyproj import Geod

    a, b = as_coordinates(a), as_coordinates(b)
    _, _, metres = Geod(ellps="WGS84").inv(a[:, 1], a[:, 0], b[:, 1], b[:, 0])
    return np.asarray(metres, dtype=np.float64) / 1000


@dataclass(frozen=True)
class Rule:
    """How somebody turns predictions into scores.

    Attributes:
        earth: what the distance is measured on.
        distance: in km.
        inclusive: whether an error of exactly the threshold counts.
        failures: an image without a prediction is a ``miss``, ``dropped`` from the denominator, placed ``at 0, 0``, a
            miss that is ``0 km in the mean``, or a miss that is ``in no mean`` or median: these are of the answered.
        exact: whether an error of 0 km is a hit; by ``0 < d ≤ k`` it is none.
        users: who scores so, each with the place where it was read; empty if nobody is known to.
    """

    earth: str
    distance: Distance
    inclusive: bool = True
    failures: Literal["miss", "dropped", "at 0, 0", "0 km in the mean", "in no mean"] = "miss"
    exact: bool = True
    users: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Return the rule in a few words."""
        failures = "" if self.failures == "miss" else f", failures {self.failures}"
        return f"{self.earth}, {'' if self.exact else '0 < d '}{'≤' if self.inclusive else '<'}{failures}"


@dataclass(frozen=True)
class Replayed:
    """The predictions by one rule.

    Attributes:
        n: the denominator; 0 if all images failed and are dropped; then every score is NaN.
        scores: by the name of the metric; accuracies in percent of n.
        hits: images within each threshold, by the name of the accuracy.
    """

    rule: Rule
    n: int
    scores: dict[str, float]
    hits: dict[str, int]


MEAN_EARTH, WGS84 = f"sphere {EARTH_RADIUS_KM} km", "WGS-84 geodesic"
RULES = (
    Rule(MEAN_EARTH, sphere(EARTH_RADIUS_KM), users=(("geobench", "geobench/metrics.py, geobench/geo.py"),)),
    Rule(WGS84, geodesic_km, users=(("GeoCLIP", "VicenteVivan/geo-clip, geoclip/train/eval.py"),)),
    Rule(
        WGS84,
        geodesic_km,
        inclusive=False,
        failures="at 0, 0",
        users=(("G3", "Applied-Machine-Learning-Lab/G3, IndexSearch.py, aggregate_llm_predictions.py"),),
    ),
    Rule(
        "sphere 6371 km",
        sphere(6371.0),
        users=(
            ("Revisiting Im2GPS", "lugiavn/revisiting-im2gps, gps_distance.m, main_im2gps_test.m"),
            ("ISNs", "TIBHannover/GeoEstimation, classification/utils_global.py"),
        ),
    ),
    Rule(
        "sphere 6371 km",
        sphere(6371.0),
        inclusive=False,
        users=(("OSV-5M", "gastruc/osv5m, metrics/distance_based.py, metrics/utils.py"),),
    ),
    Rule("sphere 6378.137 km", sphere(6378.137)),
    Rule(
        "sphere 6378.137 km",
        sphere(6378.137),
        inclusive=False,
        users=(("PIGEON", "LukasHaas/PIGEON, evaluation/metrics.py, preprocessing/geo_utils.py"),),
    ),
    Rule(
        MEAN_EARTH,
        sphere(EARTH_RADIUS_KM),
        failures="dropped",
        users=(("a user's re-run of GLOBE", "2,912 of 2,997 images scored; lingli1996/GLOBE issue 3"),),
    ),
    Rule(MEAN_EARTH, sphere(EARTH_RADIUS_KM), failures="at 0, 0"),
    Rule(
        WGS84,
        geodesic_km,
        failures="0 km in the mean",
        users=(
            ("scripts for language models", "distance_accuracy over a JSON file of positions: sum of the found / n"),
        ),
    ),
    Rule(
        "sphere 6371 km",
        sphere(6371.0),
        failures="in no mean",
        users=(("location-inference", "njspyx/location-inference, inspect/scorer.py: mean and median of the parsed"),),
    ),
    Rule(
        "sphere 6371 km",
        sphere(6371.0),
        failures="dropped",
        users=(("IMAGEO-Bench", "Lingyao1219/benchmark-reverse-geocoding, analysis/utils.py: dropna in each metric"),),
    ),
    Rule("sphere 6371 km", sphere(6371.0), inclusive=False, failures="dropped"),
    Rule("sphere 6371 km", sphere(6371.0), exact=False),
)
"""Ours first. The others are those of released code; what a paper's authors ran may differ from it."""


def replay(
    predictions: Predictions,
    truth: FloatArray,
    rules: Sequence[Rule] = RULES,
    metrics: Sequence[Metric] | None = None,
) -> list[Replayed]:
    """Return the scores of ``predictions`` against ``truth`` (n, 2) by each of ``rules``, in their order.

    ``metrics`` are by default those of every test set; only those that need nothing but errors are computed.
    """
    chosen = [metric for metric in (get_metrics() if metrics is None else metrics) if metric.needs == "errors"]
    return [_by(rule, predictions, truth, chosen) for rule in rules]


def named_predictions(name: str, folder: Path = FOLDER, dataset: str | None = None) -> Path:
    """Return the predictions file called ``name``, which may have no record: see :func:`geobench.named.find_result`."""
    path = Path(name)
    recorded = record_of(path) != path and record_of(path).exists()
    if dataset is None and path.suffix == ".csv" and path.is_file() and not recorded:
        return path
    found = find_result(name, folder, dataset).path
    assert found is not None
    return found.with_name(found.stem + PREDICTIONS)


def replay_file(path: Path) -> tuple[list[Replayed], list[Metric]]:
    """Return :func:`replay` of the predictions in ``path``, and its metrics; ``path`` may be the record next to them.

    Raises:
        ResultError: the predictions file or its record cannot be read.
    """
    if path.suffix == ".json":
        path = path.with_suffix(PREDICTIONS)
    predictions, table = Predictions.load(path)
    record = record_of(path)
    dataset = load_result(record).dataset if record != path and record.is_file() else None
    metrics = [metric for metric in get_metrics(dataset) if metric.needs == "errors"]
    return replay(predictions, table[["latitude", "longitude"]].to_numpy(np.float64), metrics=metrics), metrics


def spread(replayed: Sequence[Replayed]) -> dict[str, float]:
    """Return for each score the difference between the lowest and the highest rule."""
    scores = [one.scores for one in replayed if one.n]
    return {name: max(s[name] for s in scores) - min(s[name] for s in scores) for name in scores[0]}


def rows(replayed: Sequence[Replayed]) -> list[dict[str, Any]]:
    """Return a row for each rule, for JSON."""
    return [
        {
            "rule": one.rule.name,
            "users": [{"name": name, "source": source} for name, source in one.rule.users],
            "n": one.n,
            **{name: value if one.n else None for name, value in one.scores.items()},
            "hits": one.hits,
        }
        for one in replayed
    ]


def table(replayed: Sequence[Replayed], metrics: Sequence[Metric]) -> list[dict[str, str]]:
    """Return a row for each rule, for the terminal."""
    heads = headings(metrics, ("Rule", "n", "Used by"))
    heads |= {metric.name: f"{metric.threshold_km:g} km" for metric in accuracies(metrics)}
    return [
        {
            "Rule": one.rule.name,
            "n": f"{one.n:,}",
            **{
                heads[m.name]: shown(one.scores[m.name], 2 if m.kind == "share" else 1) if one.n else "–"
                for m in metrics
            },
            "Used by": ", ".join(name for name, _ in one.rule.users) or "nobody known",
        }
        for one in replayed
    ]


def summary(replayed: Sequence[Replayed], metrics: Sequence[Metric]) -> str:
    """Return how far the rules are apart, and where each one was read."""
    points = spread(replayed)
    apart = ", ".join(f"{shown(points[m.name], 2)} at {m.threshold_km:g} km" for m in accuracies(metrics))
    sources = [f"  {name}: {source}" for one in replayed for name, source in one.rule.users]
    return "\n".join([f"Points due to convention alone, lowest to highest rule: {apart}.", "Read in:", *sources])


def _distances_by(
    rule: Rule, errors: FloatArray, failed: npt.NDArray[np.bool_], metrics: Sequence[Metric]
) -> dict[str, float]:
    """Return the means and medians in km that a rule takes over other images than its accuracies."""
    distances = [metric for metric in metrics if metric.unit == "km"]
    if rule.failures == "0 km in the mean":
        distances, errors = [m for m in distances if m.kind == "mean"], np.where(failed, 0.0, errors)
    elif rule.failures == "in no mean":
        errors = errors[~failed]
    else:
        return {}
    return {metric.name: metric.score(ScoredImages(errors)) for metric in distances}


def _by(rule: Rule, predictions: Predictions, truth: FloatArray, metrics: Sequence[Metric]) -> Replayed:
    placed, failed = predictions.coordinates[:, 0].copy(), predictions.failed
    if rule.failures == "at 0, 0":
        placed[failed] = 0.0
    measured = ~failed | (rule.failures == "at 0, 0")
    errors = np.full(len(truth), FARTHEST_KM)
    errors[measured] = rule.distance(placed[measured], truth[measured])
    if rule.failures == "dropped":
        errors = errors[~failed]
    found = errors > 0 if not rule.exact else np.ones(len(errors), dtype=np.bool_)
    within = [found & (errors <= km if rule.inclusive else errors < km) for km in thresholds_of(metrics)]
    hits = {m.name: int(np.count_nonzero(inside)) for m, inside in zip(accuracies(metrics), within, strict=True)}
    n = len(errors)
    scores = scores_of(ScoredImages(errors), metrics) if n else {metric.name: np.nan for metric in metrics}
    scores |= _distances_by(rule, errors, failed, metrics)
    return Replayed(rule, n, scores | {name: 100.0 * count / n for name, count in hits.items() if n}, hits)
