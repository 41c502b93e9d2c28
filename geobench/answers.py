"""The answers of ``predict`` with the names of places, and as files for maps: GeoJSON and KML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np

from geobench.data.countries import country_name
from geobench.data.places import nearest_towns

if TYPE_CHECKING:
    import pandas as pd

IN_TOWN_KM = 3.0
"""Within this distance of a town's centre, a place is called by the town's name alone."""


def with_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of :func:`geobench.predict.predict` with ``place``, ``country``, ``town`` and ``town_km``.

    ``country`` is the English name of the country that the position is in, empty at sea; ``town`` the nearest one with
    more than 1,000 inhabitants; ``place`` both in words. All are empty in the rows of queries that failed.
    """
    named = table.assign(place="", country="", town="", town_km=np.nan)
    rows = np.flatnonzero(table["error"].to_numpy() == "")
    if not len(rows):
        return named
    towns = nearest_towns(table[["latitude", "longitude"]].to_numpy(np.float64)[rows])
    countries = [country_name(code) if code else "" for code in towns.countries]
    index = named.index[rows]
    named.loc[index, "country"] = countries
    named.loc[index, "town"] = towns.names
    named.loc[index, "town_km"] = towns.distances_km.round(1)
    named.loc[index, "place"] = [
        in_words(town, km, country)
        for town, km, country in zip(towns.names, towns.distances_km, countries, strict=True)
    ]
    return named


def in_words(town: str, km: float, country: str) -> str:
    """Return where a position is, in words.

    >>> in_words("Bergen", 1.2, "Norway"), in_words("Bergen", 41.7, "Norway"), in_words("Horta", 812.3, "")
    ('Bergen, Norway', '42 km from Bergen, Norway', 'at sea, 812 km from Horta')
    """
    if not country:
        return f"at sea, {km:,.0f} km from {town}"
    return f"{town}, {country}" if km <= IN_TOWN_KM else f"{km:,.0f} km from {town}, {country}"


def as_geojson(table: pd.DataFrame) -> str:
    """Return the answers as a GeoJSON collection of points (RFC 7946): longitude first, the rest as properties."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]},
            "properties": {name: value for name, value in row.items() if name not in ("latitude", "longitude")},
        }
        for row in _found(table)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=2, ensure_ascii=False)


def as_kml(table: pd.DataFrame) -> str:
    """Return the answers as KML 2.2: a folder for each query, a placemark for each place."""
    folders: dict[str, list[str]] = {}
    for row in _found(table):
        about = f"{row['query']}, rank {row['rank']}: score {row['score']:.6g}"
        folders.setdefault(row["query"], []).append(
            f"<Placemark><name>{row['rank']}. {escape(row['place'])}</name><description>{escape(about)}</description>"
            f"<Point><coordinates>{row['longitude']:.6f},{row['latitude']:.6f}</coordinates></Point></Placemark>"
        )
    parts = (f"<Folder><name>{escape(query)}</name>\n" + "\n".join(p) + "\n</Folder>" for query, p in folders.items())
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2"><Document>\n'
    return head + "\n".join(parts) + "\n</Document></kml>"


def _found(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Return the rows of queries that were placed, with plain numbers."""
    found = table[table["error"] == ""].drop(columns="error")
    found = found.astype({"rank": int, "latitude": float, "longitude": float, "score": float})
    return [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]
