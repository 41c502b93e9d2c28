"""Coordinates in a table: from text to numbers, with a reason for each that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geobench.data.land import is_open_sea
from geobench.data.tables.columns import AXES
from geobench.geo import FloatArray, invalid_rows, place_keys, valid_if_swapped

if TYPE_CHECKING:
    import pandas as pd

SWAPPED = "latitude and longitude look swapped: swap their names in the header, or the numbers of their columns"
RADIANS = (np.pi / 2, np.pi)
"""The bounds of latitude and longitude in radians. As degrees they enclose nothing but open sea, off West Africa."""
MANY_PLACES, SPREAD, ASHORE = 20, 0.2, 0.9
"""Coordinates within ``RADIANS`` are refused if there are so many places, they span this much (11° in radians), and
this share of them is then near land. Fewer, or those of one town, may be an example that somebody made up."""
HEMISPHERES = {"latitude": ("N", "S"), "longitude": ("E", "W")}
_AXIS = {"latitude": "latitude|lat", "longitude": "longitude|long|lon|lng"}
_REFERENCE = "ref|reference|dir|direction|hem|hemi|hemisphere|indicator|ind"
_DECIMAL_COMMA = r"\s*[+\-−]?[0-9]{1,3},[0-9]+\s*"
_SEXAGESIMAL = re.compile(r"[°º'′’\"″]|[0-9]\s*[NSEWO]\s*$|^\s*[NSEWO]\s*[0-9]", re.IGNORECASE)


def parse_coordinates(table: pd.DataFrame) -> tuple[FloatArray, dict[int, str], str]:
    """Return the coordinates (n, 2), what is wrong with each row whose are unusable, and advice on all of them.

    A column of hemispheres next to an axis, such as ``lat_ref`` with N and S, gives it its signs.
    """
    comma = _has_decimal_commas(table)
    coordinates = np.stack([as_numbers(table[axis], comma) for axis in AXES], axis=1)
    reasons: dict[int, str] = {}
    for column, axis in enumerate(AXES):
        reasons |= apply_hemispheres(coordinates[:, column], axis, {str(name): table[name] for name in table.columns})
    for row in invalid_rows(coordinates).tolist():
        texts = [str(table[axis].iloc[row]) for axis in AXES]
        reasons[row] = ", ".join(filter(None, map(_reason, AXES, texts, coordinates[row].tolist())))
    return coordinates, reasons, _advice(coordinates) if reasons else ""


def apply_hemispheres(
    degrees: FloatArray, axis: str, columns: Mapping[str, Sequence[str] | pd.Series[Any]]
) -> dict[int, str]:
    """Give ``degrees`` (n,) of an axis, in place, the signs of the column of hemispheres among ``columns``, if any.

    Args:
        degrees: as read.
        axis: ``latitude`` or ``longitude``.
        columns: those of the table by name, n texts each.

    Returns:
        By row, what is wrong with a hemisphere that is missing, unknown, or contradicts the sign of the degrees.
    """
    positive, negative = HEMISPHERES[axis]
    name = hemisphere_column(columns, axis)
    given = [str(text).strip() for text in columns[name]] if name is not None else []
    if not any(given):
        return {}
    letters = np.array([text[:1].upper() for text in given])
    known = np.isin(letters, (positive, negative))
    contrary = (letters == positive) & (degrees < 0)
    degrees[(letters == negative) & (degrees > 0)] *= -1
    return {
        row: f"{axis} has the hemisphere {shortened(given[row])} (column {name!r}), "
        + ("which contradicts its sign" if known[row] else f"which is neither {positive} nor {negative}")
        for row in np.flatnonzero(np.isfinite(degrees) & (~known | contrary)).tolist()
    }


def hemisphere_column(columns: Iterable[str], axis: str) -> str | None:
    """Return the first of ``columns`` that is named like one of hemispheres: ``GPSLatitudeRef``, ``N/S``."""
    letters = "".join(HEMISPHERES[axis]).lower()
    named = re.compile(rf"(exif)?(gps)?({_AXIS[axis]})({_REFERENCE}|{letters})|{letters}({_REFERENCE})?")
    return next((name for name in columns if named.fullmatch(re.sub(r"[^a-z]", "", name.lower()))), None)


def as_numbers(texts: pd.Series[Any], decimal_comma: bool | None = None) -> FloatArray:
    """Return ``texts`` as numbers, NaN for what is not a number. A typographic minus sign is accepted.

    ``decimal_comma`` is whether commas are decimal ones; None accepts both.
    """
    import pandas as pd

    if decimal_comma is not False:
        texts = texts.str.replace(",", ".", regex=False)
    numbers: FloatArray = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, copy=True)
    odd = np.flatnonzero(np.isnan(numbers))
    if len(odd):
        again = texts.iloc[odd].str.strip().str.replace("−", "-", regex=False)
        numbers[odd] = pd.to_numeric(again, errors="coerce").to_numpy(np.float64)
    return numbers


class Unit(NamedTuple):
    """What coordinates that cannot be degrees may be: a line for the user, and whether that is certain."""

    text: str
    is_certain: bool


def other_unit(coordinates: FloatArray) -> Unit | None:
    """Return what ``coordinates`` (n, 2) are if they are not degrees, as far as that can be told; else None."""
    away = coordinates[(np.abs(coordinates) > 1e-6).any(axis=1)]  # (0, 0) stands for an unknown position
    places = away[np.unique(place_keys(away), return_index=True)[1]]
    if len(places) < MANY_PLACES / 2 or not (np.abs(places) <= RADIANS).all():
        return None
    where = f"all {len(coordinates):,} positions are on the open sea off West Africa, within 1.6° and 3.2° of (0, 0)"
    ashore = 1 - is_open_sea(np.degrees(places)).mean()
    if np.ptp(places, axis=0).max() < SPREAD or ashore < ASHORE:
        return Unit(f"{where}; are latitude and longitude in degrees?", False)
    text = f"latitude and longitude look like radians: {where}, and {ashore:.0%} of them near land if they are radians"
    return Unit(f"{text}; write degrees, 180/π times as much", len(places) >= MANY_PLACES)


def _has_decimal_commas(table: pd.DataFrame) -> bool:
    """Return whether every comma in the coordinates is a decimal one: no field has a point, none has two commas."""
    texts = [table[axis] for axis in AXES]
    with_comma = [text[text.str.contains(",", regex=False)] for text in texts]
    return (
        any(map(len, with_comma))
        and all(bool(text.str.fullmatch(_DECIMAL_COMMA).all()) for text in with_comma)
        and not any(bool(text.str.contains(".", regex=False).any()) for text in texts)
    )


def _reason(axis: str, text: str, value: float) -> str:
    if not text.strip():
        return f"{axis} is empty"
    if np.isfinite(value):
        return f"{axis} {shortened(text)} is beyond ±{AXES[axis]:.0f}" if abs(value) > AXES[axis] else ""
    if "," in text:
        return f"{axis} {shortened(text)} has a comma where others have a point, or has two; write 48.85"
    if _SEXAGESIMAL.search(text):
        return f"{axis} {shortened(text)} is not in decimal degrees; write 48.85, south and west negative"
    return f"{axis} {shortened(text)} is not a number"


def _advice(coordinates: FloatArray) -> str:
    """Return advice on the unusable coordinates, from all coordinates together."""
    finite = coordinates[np.isfinite(coordinates).all(axis=1)]
    if valid_if_swapped(finite):
        return SWAPPED
    longitude = finite[:, 1]
    if (longitude > 180).any() and ((longitude >= 0) & (longitude <= 360)).all():
        return "longitudes run from 0 to 360: subtract 360 from those above 180"
    return ""


def shortened(text: str) -> str:
    """Return ``text`` in quotes, cut off after 40 characters."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
