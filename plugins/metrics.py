"""The field's metrics: accuracy at five distances, median and mean error, GeoScore, hits of country, region, city."""

from __future__ import annotations

import numpy as np

from geobench import Metric, UnknownNameError, hookimpl
from geobench.geo import FARTHEST_KM
from geobench.metrics import accuracy

LEVELS_KM = {"street": 1, "city": 25, "region": 200, "country": 750, "continent": 2500}
"""Distance thresholds of the field's tables (Hays and Efros 2008; Weyand et al. 2016)."""
GEOSCORE_SCALE_KM = 1492.7
"""Decay of GeoGuessr's score on its world map (Haas et al. 2024, PIGEON)."""
GEOSCORE_BEST = 5000.0


def geoscores(errors_km, scale_km=GEOSCORE_SCALE_KM):
    """Return the GeoGuessr score (n,) of errors (n,) in km: 5000·exp(−error / scale), 0 to 5000.

    >>> geoscores(np.array([0.0, GEOSCORE_SCALE_KM])).round(1).tolist()
    [5000.0, 1839.4]
    """
    return GEOSCORE_BEST * np.exp(-errors_km / scale_km)


def geoscore(scale_km=GEOSCORE_SCALE_KM, name="geoscore"):
    """Return the mean GeoGuessr score; another map of the game has another ``scale_km``."""
    suffix = "" if scale_km == GEOSCORE_SCALE_KM else f" {scale_km:,g} km"
    return Metric(
        name=name,
        heading=f"GeoScore{suffix}",
        per_image=lambda images: geoscores(images.errors_km, scale_km),
        digits=0,
        low=0.0,
        high=GEOSCORE_BEST,
    )


def accuracy_from_name(name):
    """Return the accuracy called ``name``, such as ``acc_100km``."""
    km = _number(name, name.removeprefix("acc_").removesuffix("km"))
    level = next((level for level, distance in LEVELS_KM.items() if distance == km), "")
    return accuracy(km, level)


def geoscore_from_name(name):
    """Return the GeoScore called ``name``, such as ``geoscore@2000``."""
    return geoscore(_number(name, name.partition("@")[2]), name)


def _number(name, text):
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number <= FARTHEST_KM:
        raise UnknownNameError(
            f"{name!r} is not a metric: its distance must be a number above 0 and at most {FARTHEST_KM:,.0f} km, as in "
            "acc_100km or geoscore@2000."
        )
    return number


def place_hit(kind, true, predicted):
    """Return the share of images whose predicted ``kind`` of place is the true one; NaN without a true one, as at sea.

    ``true`` and ``predicted`` take the images of a result and return the names (n,) of their places, "" where none is.
    """

    def per_image(images):
        truth = true(images)
        return np.where(truth != "", (truth == predicted(images)).astype(np.float64), np.nan)

    return Metric(
        name=kind,
        heading=f"{kind.capitalize()} hit",
        per_image=per_image,
        kind="share",
        unit="%",
        low=0.0,
        high=100.0,
        needs="predictions",
        listed=False,
    )


MEDIAN = Metric(
    name="median_km",
    heading="Median km",
    per_image=lambda images: images.errors_km,
    kind="median",
    unit="km",
    higher_is_better=False,
    digits=0,
    low=0.0,
    high=FARTHEST_KM,
)
MEAN = Metric(
    name="mean_km",
    heading="Mean km",
    per_image=lambda images: images.errors_km,
    unit="km",
    higher_is_better=False,
    digits=0,
    low=0.0,
    high=FARTHEST_KM,
)
HITS = (
    place_hit("country", lambda images: images.places.countries, lambda images: images.predicted_places.countries),
    place_hit("region", lambda images: images.places.regions, lambda images: images.predicted_places.regions),
    place_hit("city", lambda images: images.cities, lambda images: images.predicted_cities),
)


@hookimpl
def register_metrics(register):
    """Register the field's metrics, and the families ``acc_*km`` and ``geoscore@*``."""
    for level, km in LEVELS_KM.items():
        register(accuracy(km, level))
    for metric in (MEDIAN, MEAN, geoscore(), *HITS):
        register(metric)
    register("acc_*km", accuracy_from_name)
    register("geoscore@*", geoscore_from_name)
