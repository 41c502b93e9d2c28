"""From the words of an answer to a place: hard names with their known failures, the rules, and GeoNames' own cities."""

import csv
from pathlib import Path

import numpy as np

from geobench.geo import haversine_km
from geobench.words.claims import Claim
from geobench.words.geocoding import locate

WITHIN_KM = {"coordinates": 1.0, "city": 50.0, "region": 200.0}
with Path(__file__).with_name("hard_names.csv").open(encoding="utf-8", newline="") as file:
    HARD_NAMES = list(csv.DictReader(file))
FIELDS = ("country", "region", "city", "place")
KNOWN_FAILURES = {
    "台灣; 臺北",
    "St. Louis, MO",
    "BRD; Frankfurt a.M.",
    "Italia; Toscana",
    "España; Cataluña",
    "France; Provence",
    "Argentina; Patagonia",
    "State of Bahia, Brazil",
}


def told(row):
    return "; ".join(row[field] for field in FIELDS if row[field])


def mistake(row):
    """Return what is wrong with the place found for ``row``; empty if nothing is."""
    place = locate(Claim(**{field: row[field] for field in FIELDS}))
    if place is None or not row["level"]:
        return "" if place is None and not row["level"] else f"{place}"
    if (place.level, place.country) != (row["level"], row["code"]):
        return f"{place}"
    if not row["latitude"]:
        return ""
    true = np.array([[float(row["latitude"]), float(row["longitude"])]])
    away = float(haversine_km(true, np.array([[place.latitude, place.longitude]]))[0])
    return "" if away <= WITHIN_KM[row["level"]] else f"{away:.0f} km away: {place}"


def test_hard_names_are_found_but_for_the_known_failures():
    wrong = {told(row): mistake(row) for row in HARD_NAMES if mistake(row)}
    assert set(wrong) == KNOWN_FAILURES, wrong
