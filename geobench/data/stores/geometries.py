"""Positions in columns of geometries: points in well-known binary, and structs with a latitude and a longitude."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geobench.data.tables.columns import AXES, recognised
from geobench.errors import DatasetError

POINT, ISO_STEP = 1, 1000
HAS_Z, HAS_M, HAS_SRID = 0x80000000, 0x40000000, 0x20000000  # of the type of an EWKB geometry
WGS_84 = (0, 4326)
"""Reference systems whose coordinates are degrees as everywhere here; 0 states none."""
WGS_84_NAMES = ("CRS84", "4326", "CRS84h")


@dataclass(frozen=True)
class Geometries:
    """The columns of a file that hold positions."""

    columns: tuple[str, ...]

    @classmethod
    def among(cls, names: Sequence[str], values: Mapping[str, Sequence[Any]], where: str) -> Geometries:
        """Return those of ``names`` all of whose first ``values`` are points.

        Raises:
            DatasetError: points in another reference system than degrees of WGS-84.
        """
        found = []
        for name in names:
            points = [_point(value, f"{where}: the column {name!r}") for value in values[name]]
            if points and all(point is not None for point in points):
                found.append(name)
        return cls(tuple(found))

    def columns_of(self, record: Mapping[str, Any], alone: bool) -> dict[str, Any]:
        """Return the positions in a row, as ``NAME.latitude`` and ``NAME.longitude``.

        ``alone`` says that the row has no other position: that of a single geometry is then the row's own.
        """
        found: dict[str, Any] = {}
        for name in self.columns:
            point = _point(record.get(name), name)
            values = dict(zip(AXES, point if point is not None else ("", ""), strict=True))
            found |= {f"{name}.{axis}": value for axis, value in values.items()}
            if alone and len(self.columns) == 1:
                found |= values
        return found


def other_system(metadata: Mapping[bytes, bytes] | None, columns: Sequence[str]) -> str:
    """Return what is wrong with the reference system that GeoParquet states of ``columns``; empty if nothing is."""
    try:
        stated = json.loads((metadata or {}).get(b"geo", b"{}")).get("columns", {})
    except (ValueError, AttributeError):
        return ""
    for name in columns:
        system = stated.get(name, {}).get("crs") if isinstance(stated.get(name), dict) else None
        if not isinstance(system, dict):
            continue
        code = str(system.get("id", {}).get("code", ""))
        if code and code not in WGS_84_NAMES:
            return (
                f"the column {name!r} is in the reference system {system.get('name', code)} ({code}), not in degrees "
                "of WGS-84 (EPSG:4326); convert it."
            )
    return ""


def _point(value: Any, what: str) -> tuple[float, float] | None:
    """Return latitude and longitude of a point in binary or in a struct, None if it is none."""
    if isinstance(value, Mapping):
        names = {str(name).lower(): value[name] for name in value}
        axes = [recognised(list(names), axis) for axis in AXES]
        numbers = [_number(names[found[0]]) for found in axes if found]
        return (numbers[0], numbers[1]) if len(numbers) == 2 and None not in numbers else None  # type: ignore[return-value]
    return _of_binary(value, what) if isinstance(value, bytes) else None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _of_binary(value: bytes, what: str) -> tuple[float, float] | None:
    """Return latitude and longitude of a point in well-known binary, as OGC, ISO or PostGIS (EWKB) write it."""
    if len(value) < 21 or value[0] not in (0, 1):
        return None
    order = "<" if value[0] else ">"
    (kind,) = struct.unpack_from(f"{order}I", value, 1)
    plain, start = kind & 0x1FFFFFFF, 5
    if plain % ISO_STEP != POINT or plain // ISO_STEP > 3:
        return None
    extra = bool(kind & HAS_Z) + bool(kind & HAS_M) + (0, 1, 1, 2)[plain // ISO_STEP]
    system = 0
    if kind & HAS_SRID:
        (system,) = struct.unpack_from(f"{order}I", value, start)
        start += 4
    if len(value) != start + 8 * (2 + extra):
        return None
    if system not in WGS_84:
        raise DatasetError(
            f"{what} is in the reference system EPSG:{system}, not in degrees of WGS-84 (EPSG:4326); convert it."
        )
    longitude, latitude = struct.unpack_from(f"{order}2d", value, start)
    return latitude, longitude
