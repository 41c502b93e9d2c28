"""Coordinates in a table: from text to numbers, with a reason for each that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
MARGIN, LOOKED_AT = 1e-4, 10_000
MANY_DEGREES, MANY_MINUTES = 40, 20
"""Degrees whose decimals are minutes have none above .59. By chance that happens once in 10⁹ (0.6⁴⁰) for photos at so
many different whole degrees; points of a grid have fewer different decimals than ``MANY_MINUTES``."""
_AS_MINUTES = (
    "latitude and longitude look like degrees with minutes after the point, such as 43.48 for 43°48': no number has "
    "decimals from .60 to .99; write decimal degrees, 43.8"
)
HEMISPHERES = {"latitude": ("N", "S"), "longitude": ("E", "W")}
_AXIS = {"latitude": "latitude|lat", "longitude": "longitude|long|lon|lng"}
_REFERENCE = "ref|reference|dir|direction|hem|hemi|hemisphere|indicator|ind"
_PARTS = {"minutes": ("min", "minute"), "seconds": ("sec", "second")}
_DECIMAL_COMMA = r"\s*[+\-−]?[0-9]{1,3},[0-9]+\s*"
PLAIN = r"^(-?[0-9]{1,3}\.[0-9]{1,12}|[0-9]{1,3}|-[1-9][0-9]{0,2})$"
"""Decimal numbers of at most 15 digits: whatever reads them gets the same last bit, and pyarrow is the fastest.
The whole number −0 is none: where all are whole, pandas makes 0 of it."""
_SEXAGESIMAL = re.compile(r"[°º'′’\"″]|[0-9]\s*[NSEWO]\s*$|^\s*[NSEWO]\s*[0-9]", re.IGNORECASE)


def parse_coordinates(table: pd.DataFrame) -> tuple[FloatArray, dict[int, str], str]:
    """Return the coordinates (n, 2), what is wrong with each row whose are unusable, and advice on all of them.

    Columns of minutes and seconds next to an axis, such as ``lat_min``, are added to its degrees, and a column of
    hemispheres, such as ``lat_ref`` with N and S, gives it its signs.
    """
    comma = _has_decimal_commas(table)
    coordinates = np.stack([as_numbers(table[axis], comma) for axis in AXES], axis=1)
    reasons: dict[int, str] = {}
    columns = {str(name): table[name] for name in table.columns}
    for column, axis in enumerate(AXES):
        reasons |= add_minutes(coordinates[:, column], axis, columns)
        reasons |= apply_hemispheres(coordinates[:, column], axis, columns)
    for row in invalid_rows(coordinates).tolist():
        texts = [str(table[axis].iloc[row]) for axis in AXES]
        reasons[row] = ", ".join(filter(None, map(_reason, AXES, texts, coordinates[row].tolist())))
    return coordinates, reasons, _advice(coordinates) if reasons else ""


def add_minutes(
    degrees: FloatArray, axis: str, columns: Mapping[str, Sequence[str] | pd.Series[Any]]
) -> dict[int, str]:
    """Add to ``degrees`` (n,) of an axis, in place, its columns of minutes and seconds among ``columns``, if any.

    Degrees with decimals are complete if the minutes say the same.

    Args:
        degrees: as read; the sign is theirs.
        axis: ``latitude`` or ``longitude``.
        columns: those of the table by name, n texts each; that of the axis itself, if any, tells −0 from 0.

    Returns:
        By row, what is wrong with minutes or seconds: missing, not from 0 to below 60, or beside other decimals.
    """
    parts = {part: found for part in _PARTS if (found := _part(part, axis, columns)) is not None}
    if not parts:
        return {}
    none, read = np.zeros(len(degrees)), np.isfinite(degrees)
    minutes, seconds = (parts[part][1] if part in parts else none for part in _PARTS)
    for row, text in enumerate(columns.get(axis, ())):
        if degrees[row] == 0 and str(text).strip().startswith(("-", "−")):
            degrees[row] = -0.0
    minutes, other = _joined(minutes, seconds) if "seconds" in parts else (minutes, False)
    joined, contrary = _joined(degrees, minutes)
    name = next(iter(parts.values()))[0]
    advice = "give whole degrees beside minutes, or decimal degrees alone"
    reasons = {
        row: f"{axis} {degrees[row]:g} has decimals that are not the minutes in the column {name!r}; {advice}"
        for row in np.flatnonzero(read & (contrary | other)).tolist()
    }
    for part, (name, values) in parts.items():
        for row in np.flatnonzero(read & ~((values >= 0) & (values < 60))).tolist():
            text = shortened(str(list(columns[name])[row]).strip())
            reasons[row] = f"{axis} has the {part} {text} (column {name!r}), which are not from 0 to below 60"
    degrees[:] = np.where(np.isfinite(joined), joined, degrees)
    return reasons


def _part(part: str, axis: str, columns: Mapping[str, Sequence[str] | pd.Series[Any]]) -> tuple[str, FloatArray] | None:
    """Return the column of minutes or seconds of an axis, name and numbers; None if there is none, or it is empty.

    A ``lat_min`` beside a ``lat_max``, or whose numbers are mostly no minutes, is the edge of a box.
    """
    import pandas as pd

    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in columns}
    short, long = _PARTS[part]
    pattern = rf"(exif)?(gps)?({_AXIS[axis]})({short}s?|{long}s?)|{long}s?({_AXIS[axis]})"
    found = next((letters for letters in plain if re.fullmatch(pattern, letters)), "")
    if not found or re.sub("mins?$", "max", found) in plain.keys() - {found}:
        return None
    values = as_numbers(pd.Series([str(text) for text in columns[plain[found]]]))
    filled = values[np.isfinite(values)]
    return (plain[found], values) if ((filled >= 0) & (filled < 60)).sum() * 2 > len(filled) else None


def _joined(coarse: FloatArray, fine: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return ``coarse`` plus a sixtieth of ``fine``, or alone if it has decimals; and which has other decimals."""
    decimals = np.abs(coarse) % 1
    joined = np.where(decimals == 0, np.copysign(np.abs(coarse) + fine / 60, coarse), coarse)
    return joined, (decimals != 0) & (np.abs(decimals - fine / 60) > 1 / 60)


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
    plain = _plain_numbers(texts)
    if plain is not None:
        return plain
    numbers: FloatArray = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, copy=True)
    odd = np.flatnonzero(np.isnan(numbers))
    if len(odd):
        again = texts.iloc[odd].str.strip().str.replace("−", "-", regex=False)
        numbers[odd] = pd.to_numeric(again, errors="coerce").to_numpy(np.float64)
    return numbers


def _plain_numbers(texts: pd.Series[Any]) -> FloatArray | None:
    """Return ``texts`` as numbers if all are ``PLAIN``, else None."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = pa.array(texts, pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # columns of another table hold something else
        return None
    if not pc.all(pc.match_substring_regex(column, PLAIN), min_count=0).as_py() or column.null_count:
        return None
    numbers: FloatArray = np.array(pc.cast(column, pa.float64()))
    return numbers


class Unit(NamedTuple):
    """What coordinates that cannot be degrees may be: a line for the user, and whether that is certain."""

    text: str
    is_certain: bool


def other_unit(coordinates: FloatArray) -> Unit | None:
    """Return what ``coordinates`` (n, 2) are if they are not degrees, as far as that can be told; else None."""
    if _are_surely_degrees(coordinates):
        return None
    away = coordinates[(np.abs(coordinates) > 1e-6).any(axis=1)]  # (0, 0) stands for an unknown position
    places = away[np.unique(place_keys(away), return_index=True)[1]]
    if len(places) < MANY_PLACES / 2 or not (np.abs(places) <= RADIANS).all():
        return Unit(_AS_MINUTES, True) if _has_minutes_as_decimals(places) else None
    where = f"all {len(coordinates):,} positions are on the open sea off West Africa, within 1.6° and 3.2° of (0, 0)"
    ashore = 1 - is_open_sea(np.degrees(places)).mean()
    if np.ptp(places, axis=0).max() < SPREAD or ashore < ASHORE:
        return Unit(f"{where}; are latitude and longitude in degrees?", False)
    text = f"latitude and longitude look like radians: {where}, and {ashore:.0%} of them near land if they are radians"
    return Unit(f"{text}; write degrees, 180/π times as much", len(places) >= MANY_PLACES)


def _are_surely_degrees(coordinates: FloatArray) -> bool:
    """Return whether one of ``coordinates`` (n, 2) is no radian and one no degree with minutes, at a glance.

    Both with a margin: of equal places below one stands for all, and they agree to 11 cm.
    """
    size = np.abs(coordinates[:LOOKED_AT])
    return bool((size > np.array(RADIANS) + MARGIN).any() and (np.abs(size % 1 - 0.8) < 0.19).any())


def _has_minutes_as_decimals(places: FloatArray) -> bool:
    """Return whether no number of ``places`` (n, 2) goes on with .60 to .99, and that is no chance.

    Photos of a town share their first decimals: only numbers of different whole degrees are independent.
    """
    parts = np.round(np.abs(places) % 1 * 100, 6).astype(np.int64)
    if not len(places) or parts.max() >= 60:
        return False
    degrees = sum(len(np.unique(np.trunc(axis))) for axis in places.T)
    return degrees >= MANY_DEGREES and len(np.unique(parts)) >= MANY_MINUTES


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
