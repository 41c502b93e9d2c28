"""The same predictions scored by the rule of each peer: how many points of a table are convention alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from geobench.geo import EARTH_RADIUS_KM, FARTHEST_KM, FloatArray, as_coordinates, haversine_km
from geobench.metrics import LEVELS_KM
from geobench.predictions import Predictions
from geobench.results import PREDICTIONS

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
    """How a peer turns predictions into accuracies.

    Attributes:
        earth: what the distance is measured on.
        distance: in km.
        inclusive: whether an error of exactly the threshold counts.
        failures: an image without a prediction is a ``miss``, ``dropped`` from the denominator, or placed ``at 0, 0``.
        peers: who scores so, each with the place where it was read; empty where nobody was found.
    """

    earth: str
    distance: Distance
    inclusive: bool = True
    failures: Literal["miss", "dropped", "at 0, 0"] = "miss"
    peers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Return the rule in a few words."""
        failures = "" if self.failures == "miss" else f", failures {self.failures}"
        return f"{self.earth}, {'≤' if self.inclusive else '<'}{failures}"


@dataclass(frozen=True)
class Replayed:
    """The predictions by one rule.

    Attributes:
        n: the denominator; 0 where all images failed and are dropped, and then every score is NaN.
        scores: ``acc_1km`` … ``acc_2500km`` in percent of n, and ``median_km``.
        hits: images within each threshold.
    """

    rule: Rule
    n: int
    scores: dict[str, float]
    hits: dict[str, int]


MEAN_EARTH, WGS84 = f"sphere {EARTH_RADIUS_KM} km", "WGS-84 geodesic"
RULES = (
    Rule(MEAN_EARTH, sphere(EARTH_RADIUS_KM), peers=(("geobench", "geobench/metrics.py"),)),
    Rule(WGS84, geodesic_km, peers=(("GeoCLIP", "VicenteVivan/geo-clip, geoclip/train/eval.py"),)),
    Rule(
        WGS84,
        geodesic_km,
        inclusive=False,
        failures="at 0, 0",
        peers=(("G3", "Applied-Machine-Learning-Lab/G3, IndexSearch.py, aggregate_llm_predictions.py"),),
    ),
    Rule(
        "sphere 6371 km",
        sphere(6371.0),
        peers=(
            ("Revisiting Im2GPS", "lugiavn/revisiting-im2gps, gps_distance.m, main_im2gps_test.m"),
            ("ISNs", "TIBHannover/GeoEstimation, classification/utils_global.py"),
        ),
    ),
    Rule(
        "sphere 6371 km",
        sphere(6371.0),
        inclusive=False,
        peers=(("OSV-5M", "gastruc/osv5m, metrics/distance_based.py, metrics/utils.py"),),
    ),
    Rule("sphere 6378.137 km", sphere(6378.137)),
    Rule(
        "sphere 6378.137 km",
        sphere(6378.137),
        inclusive=False,
        peers=(("PIGEON", "LukasHaas/PIGEON, evaluation/metrics.py, preprocessing/geo_utils.py"),),
    ),
    Rule(
        MEAN_EARTH,
        sphere(EARTH_RADIUS_KM),
        failures="dropped",
        peers=(("a user's re-run of GLOBE", "2,912 of 2,997 images scored; results/published/later-methods.csv"),),
    ),
    Rule(MEAN_EARTH, sphere(EARTH_RADIUS_KM), failures="at 0, 0"),
)
"""Ours first. Peers are read in their released code; what a paper's authors ran may differ from it."""


def replay(predictions: Predictions, truth: FloatArray, rules: Sequence[Rule] = RULES) -> list[Replayed]:
    """Return the scores of ``predictions`` against ``truth`` (n, 2) by each of ``rules``, in their order."""
    return [_by(rule, predictions, truth) for rule in rules]


def replay_file(path: Path) -> list[Replayed]:
    """Return :func:`replay` of the predictions in ``path``, a predictions file or the record of a result beside it.

    Raises:
        ResultError: no readable predictions file.
    """
    if path.suffix == ".json":
        path = path.with_suffix(PREDICTIONS)
    predictions, table = Predictions.load(path)
    return replay(predictions, table[["latitude", "longitude"]].to_numpy(np.float64))


def spread(replayed: Sequence[Replayed]) -> dict[str, float]:
    """Return for each accuracy the points between the lowest and the highest rule, and the same for the median."""
    scores = [one.scores for one in replayed if one.n]
    return {name: max(s[name] for s in scores) - min(s[name] for s in scores) for name in scores[0]}


def rows(replayed: Sequence[Replayed]) -> list[dict[str, Any]]:
    """Return a row for each rule, as JSON has it."""
    return [
        {
            "rule": one.rule.name,
            "peers": [{"name": name, "source": source} for name, source in one.rule.peers],
            "n": one.n,
            **{name: value if one.n else None for name, value in one.scores.items()},
            "hits": one.hits,
        }
        for one in replayed
    ]


def table(replayed: Sequence[Replayed]) -> list[dict[str, str]]:
    """Return a row for each rule, as the terminal has it."""
    return [
        {
            "Rule": one.rule.name,
            "n": f"{one.n:,}",
            **{f"{km} km": f"{one.scores[f'acc_{km}km']:.2f}" if one.n else "–" for km in LEVELS_KM.values()},
            "Median km": f"{one.scores['median_km']:,.1f}" if one.n else "–",
            "Used by": ", ".join(name for name, _ in one.rule.peers) or "nobody found",
        }
        for one in replayed
    ]


def summary(replayed: Sequence[Replayed]) -> str:
    """Return how far the rules lie apart, and where each peer's was read."""
    points = spread(replayed)
    apart = ", ".join(f"{points[f'acc_{km}km']:.2f} at {km} km" for km in LEVELS_KM.values())
    sources = [f"  {name}: {source}" for one in replayed for name, source in one.rule.peers]
    return "\n".join([f"Points from convention alone, lowest to highest rule: {apart}.", "Read in:", *sources])


def _by(rule: Rule, predictions: Predictions, truth: FloatArray) -> Replayed:
    placed, failed = predictions.coordinates[:, 0].copy(), predictions.failed
    if rule.failures == "at 0, 0":
        placed[failed] = 0.0
    measured = ~failed | (rule.failures == "at 0, 0")
    errors = np.full(len(truth), FARTHEST_KM)
    errors[measured] = rule.distance(placed[measured], truth[measured])
    if rule.failures == "dropped":
        errors = errors[~failed]
    hits = {
        f"acc_{km}km": int(np.count_nonzero(errors <= km if rule.inclusive else errors < km))
        for km in LEVELS_KM.values()
    }
    n = len(errors)
    scores = {name: 100.0 * count / n if n else np.nan for name, count in hits.items()}
    return Replayed(rule, n, scores | {"median_km": float(np.median(errors)) if n else np.nan}, hits)
