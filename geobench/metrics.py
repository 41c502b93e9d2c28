"""Metrics: from the errors and predictions of a test set's images to the columns of its table.

A :class:`Metric` is an object with everything that a table, a chart, an interval or a test needs to know about it.
Plugins register metrics by the hook ``register_metrics`` (the field's own are in ``geobench_plugins.metrics``), and
:func:`geobench.plugins.get_metrics` returns those of a test set. Nothing else lists metrics.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from geobench.errors import PluginError, as_plugin_error
from geobench.geo import FloatArray, read_only

if TYPE_CHECKING:
    import pandas as pd

    from geobench.data.places import Places
    from geobench.predictions import Predictions

Kind = Literal["share", "mean", "median", "whole"]
"""How the values of the images become a score: the share of hits in percent, their mean, their median; ``whole`` for a
metric that has no value for an image alone."""


@dataclass(frozen=True)
class ScoredImages:
    """What a metric is computed from: n images, their true positions, and what was predicted.

    Attributes:
        errors_km: (n,) great-circle error of the best prediction; half the Earth's circumference if the image failed.
        truth: (n, 2) true positions in degrees; None if only errors are known, as for the ceiling of a gallery.
        predictions: for the n images; None likewise.
        extra: the test set's other columns, one row per image, as text.
    """

    errors_km: FloatArray
    truth: FloatArray | None = None
    predictions: Predictions | None = None
    extra: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        """Lock the arrays: a metric that writes into what all metrics are computed from would change their scores."""
        locked: dict[str, Any] = {
            "errors_km": read_only(self.errors_km),
            "truth": None if self.truth is None else read_only(self.truth),
        }
        if self.predictions is not None:
            of = self.predictions
            locked["predictions"] = replace(
                of, coordinates=read_only(of.coordinates), scores=read_only(of.scores), failed=read_only(of.failed)
            )
        for name, value in locked.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.errors_km)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> ScoredImages:
        """Return the images ``rows``: a mask (n,) or indices."""
        predictions = None if self.predictions is None else self.predictions[rows]
        truth = None if self.truth is None else self.truth[rows]
        extra = None if self.extra is None else self.extra.iloc[rows].reset_index(drop=True)
        return ScoredImages(self.errors_km[rows], truth, predictions, extra)

    @property
    def has_predictions(self) -> bool:
        """Return whether predictions and true positions are known, not errors alone."""
        return self.predictions is not None and self.truth is not None

    @cached_property
    def places(self) -> Places:
        """Return country, region and continent of the true positions."""
        from geobench.data.places import find_places

        assert self.truth is not None
        return find_places(self.truth)

    @cached_property
    def predicted_places(self) -> Places:
        """Return country, region and continent of the best predictions; a failed image is nowhere."""
        from geobench.data.places import find_places

        return find_places(self._best())

    @cached_property
    def cities(self) -> npt.NDArray[np.object_]:
        """Return the city (n,) of each true position: the largest place within 25 km; empty if there is none."""
        from geobench.data.places import find_cities

        assert self.truth is not None
        return find_cities(self.truth)

    @cached_property
    def predicted_cities(self) -> npt.NDArray[np.object_]:
        """Return the city (n,) of each best prediction; empty for a failed image."""
        from geobench.data.places import find_cities

        return find_cities(self._best())

    def _best(self) -> FloatArray:
        """Return the best prediction (n, 2) of each image, NaN if it failed."""
        assert self.predictions is not None
        return np.where(self.predictions.failed[:, None], np.nan, self.predictions.coordinates[:, 0])


@dataclass(frozen=True)
class Metric:
    """A column of the tables.

    Attributes:
        name: key of the score in records, CSV and JSON, such as ``acc_25km``.
        heading: column heading; in LaTeX and on the terminal its first word stands above the rest.
        per_image: the value (n,) of each image; NaN for an image that the metric does not apply to, which is then not
            part of the denominator. The values of a ``share`` are 0 and 1.
        kind: how the values become a score.
        whole: the score itself, for a metric of the kind ``whole``; such a metric has no confidence interval.
        unit: ``%``, ``km`` or empty.
        higher_is_better: direction.
        digits: decimals shown; a score below 10 has at least one.
        low, high: range of the score, to which intervals are clipped.
        needs: ``errors`` alone, or ``predictions`` (and true positions).
        threshold_km: radius of an :func:`accuracy`; None for any other metric, whatever radius it has.
        listed: whether it is a column of every test set; otherwise only of those whose definition names it.
    """

    name: str
    heading: str
    per_image: Callable[[ScoredImages], npt.NDArray[np.generic]] | None = None
    kind: Kind = "mean"
    whole: Callable[[ScoredImages], float] | None = None
    unit: str = ""
    higher_is_better: bool = True
    digits: int = 1
    low: float = -np.inf
    high: float = np.inf
    needs: Literal["errors", "predictions"] = "errors"
    threshold_km: float | None = None
    listed: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][\w.@+-]*", self.name):
            raise ValueError(f"{self.name!r} cannot be the name of a metric: use letters, digits and _ . @ + -")
        if self.kind not in get_args(Kind):
            raise ValueError(f"the metric {self.name!r} is of the kind {self.kind!r}; use {', '.join(get_args(Kind))}")
        if (self.kind == "whole") != (self.per_image is None) or (self.kind == "whole") != (self.whole is not None):
            raise ValueError(f"the metric {self.name!r} needs either per_image, or the kind 'whole' and whole")
        if self.threshold_km is not None and self.name != accuracy_name(self.threshold_km):
            raise ValueError(
                f"the metric {self.name!r} has a threshold_km, which calibration and replay take for the radius of an "
                "accuracy; leave it out, or use geobench.metrics.accuracy"
            )

    @property
    def comparison_digits(self) -> int:
        """Return the decimals of scores that are set against each other: one more for shares."""
        return self.digits + (self.kind == "share")

    def decimals(self, score: float) -> int:
        """Return the decimals that ``score`` is shown with, and its interval and standard deviation too."""
        return max(self.digits, 1) if abs(score) < 10 else self.digits

    def applies_to(self, images: ScoredImages) -> bool:
        """Return whether what the metric needs is known of ``images``."""
        return self.needs == "errors" or images.has_predictions

    def values(self, images: ScoredImages) -> FloatArray:
        """Return the value (n,) of each image, NaN if the metric does not apply to it; a hit is 1, a miss is 0.

        Raises:
            PluginError: ``per_image`` raises, or returns something else.
        """
        assert self.per_image is not None
        with as_plugin_error(f"the metric {self.name}", f"on {len(images):,} images"):
            values = np.asarray(self.per_image(images), dtype=np.float64)
        if values.shape != (len(images),):
            raise PluginError(
                f"the metric {self.name} returned values of the shape {values.shape}; for {len(images):,} images it "
                f"must be ({len(images)},)."
            )
        if self.kind == "share" and not ((values == 0) | (values == 1) | np.isnan(values)).all():
            raise PluginError(f"the metric {self.name} is a share, so its values must be 0, 1 or NaN.")
        if images.predictions is not None and images.truth is not None:
            self._refuse_dropped_failures(images, np.flatnonzero(images.predictions.failed & np.isnan(values)))
        return values

    def _refuse_dropped_failures(self, images: ScoredImages, rows: npt.NDArray[np.intp]) -> None:
        """Raise ``PluginError`` if the failed images ``rows`` have no value only because they failed.

        They are what would have one if the image had been placed at the farthest point.
        """
        if not len(rows) or self.per_image is None:
            return
        part = images.take(rows)
        assert part.predictions is not None and part.truth is not None
        farthest = np.stack([-part.truth[:, 0], (part.truth[:, 1] + 360) % 360 - 180], axis=1)
        placed = np.broadcast_to(farthest[:, None], part.predictions.coordinates.shape)
        located = replace(
            part.predictions,
            coordinates=placed,
            scores=np.nan_to_num(part.predictions.scores),
            failed=np.zeros(len(rows), dtype=np.bool_),
        )
        with as_plugin_error(f"the metric {self.name}", f"on {len(rows):,} images"):
            values = np.asarray(self.per_image(replace(part, predictions=located)), dtype=np.float64)
        dropped = int(np.count_nonzero(~np.isnan(values)))
        if dropped:
            raise PluginError(
                f"the metric {self.name} is NaN for {dropped:,} images because they failed, which would leave them "
                "out; a failed image is a miss: return the worst value where images.predictions.failed."
            )

    def score(self, images: ScoredImages) -> float:
        """Return the score of ``images``; NaN if it applies to none of them, or needs what is not known.

        Raises:
            PluginError: the code of the metric fails.
        """
        if not self.applies_to(images):
            return float("nan")
        if self.whole is not None:
            with as_plugin_error(f"the metric {self.name}", f"on {len(images):,} images"):
                return float(self.whole(images))
        return self.summary(self.values(images))

    def summary(self, values: FloatArray) -> float:
        """Return the score of ``values`` (n,): percent, mean or median of those that are not NaN."""
        applies = ~np.isnan(values)
        known = values if applies.all() else values[applies]
        if not len(known):
            return float("nan")
        if self.kind == "share":
            return float(100.0 * np.count_nonzero(known) / len(known))
        return float(np.median(known) if self.kind == "median" else np.mean(known))


def accuracy(km: float, level: str = "") -> Metric:
    """Return the accuracy at ``km``: the share of images whose error is at most that many kilometres.

    Args:
        km: radius; an error of exactly ``km`` is a hit.
        level: its name in the field's tables, such as ``city``.
    """
    return Metric(
        name=accuracy_name(km),
        heading=f"{level.title() or 'Within'} {km:g} km",
        per_image=lambda images: images.errors_km <= km,
        kind="share",
        unit="%",
        low=0.0,
        high=100.0,
        threshold_km=float(km),
    )


def accuracy_name(km: float) -> str:
    """Return the name of the accuracy at ``km``, such as ``acc_25km``."""
    return f"acc_{km:.15g}km"


def accuracies(metrics: Iterable[Metric]) -> list[Metric]:
    """Return the accuracies at a distance among ``metrics``."""
    return [metric for metric in metrics if metric.threshold_km is not None]


def thresholds_of(metrics: Iterable[Metric]) -> list[float]:
    """Return the distances in km of the accuracies among ``metrics``."""
    return [metric.threshold_km for metric in metrics if metric.threshold_km is not None]


def ordered(metrics: Iterable[Metric]) -> list[Metric]:
    """Return ``metrics`` in the order of tables, none twice: accuracies by distance, then the others as given."""
    unique = list({metric.name: metric for metric in metrics}.values())
    by_distance = sorted(accuracies(unique), key=lambda metric: metric.threshold_km or 0.0)
    return by_distance + [metric for metric in unique if metric.threshold_km is None]


def headings(metrics: Iterable[Metric], taken: Collection[str] = ()) -> dict[str, str]:
    """Return the column heading of each of ``metrics`` by its name, all different.

    A heading that another metric or a column in ``taken`` has gets the name of the metric in brackets.
    """
    found = {metric.name: metric.heading for metric in metrics}
    often = Counter([*found.values(), *taken])
    return {name: f"{heading} ({name})" if often[heading] > 1 else heading for name, heading in found.items()}


def scores_of(images: ScoredImages, metrics: Iterable[Metric]) -> dict[str, float]:
    """Return the score of ``images`` by each of ``metrics`` that applies to them, by its name."""
    return {metric.name: metric.score(images) for metric in metrics if metric.applies_to(images)}


def image_values(images: ScoredImages, metrics: Iterable[Metric]) -> dict[str, FloatArray]:
    """Return the values (n,) of ``images`` by each of ``metrics`` that has one per image and applies to them."""
    return {m.name: m.values(images) for m in metrics if m.per_image is not None and m.applies_to(images)}
