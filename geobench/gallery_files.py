"""Galleries in files: which spec is a file, and the positions in a table, an array of numpy or a parquet file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geobench.data.tables.columns import AXES, recognised
from geobench.data.tables.coordinates import other_unit
from geobench.data.tables.rows import read_coordinates
from geobench.data.tables.swapped import swap_evidence
from geobench.errors import DatasetError
from geobench.geo import FloatArray, invalid_rows, valid_if_swapped

COLUMNS = "#"
"""Between a file and the names of its columns: ``places.csv#breite:laenge``."""
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]*")
KINDS = "a table (CSV, TSV, text), .npy with the shape (m, 2), or .parquet"


def is_file(spec: str, sources: Sequence[str]) -> bool:
    """Return whether a gallery's spec is a file rather than ``SOURCE:SIZE``; the file need not exist.

    Args:
        spec: as a user writes it.
        sources: names that may precede the colon.

    >>> [is_file(spec, ["land"]) for spec in ("1.5k", "land:100k", "places.csv", "runs/places", "a.npy#x:y")]
    [False, False, True, True, True]
    """
    if spec.rpartition(":")[0] in sources:
        return False
    path, _ = _parts(spec)
    return bool(_SUFFIX.fullmatch(path.suffix)) or "/" in spec or spec.startswith("~") or path.is_file()


def _parts(spec: str) -> tuple[Path, tuple[str, ...]]:
    """Return the file of a spec and the columns that it names, none if it names none."""
    whole = Path(spec).expanduser()
    name, mark, columns = spec.rpartition(COLUMNS)
    if not mark or whole.exists():
        return whole, ()
    return Path(name).expanduser(), tuple(columns.split(":"))


def file_of(spec: str) -> tuple[Path, str]:
    """Return the file that ``spec`` names and, as it is written behind it, which columns: ``#LAT:LON`` or nothing."""
    path, columns = _parts(spec)
    return path, COLUMNS + ":".join(columns) if columns else ""


def read_places(spec: str | Path) -> FloatArray:
    """Return the positions (m, 2) in a file: ``FILE``, or ``FILE#LAT:LON`` with the names of its columns.

    Raises:
        DatasetError: it is not there, is none of the kinds that are read, or its positions look swapped, are in radians
            or cannot be on Earth.
    """
    path, columns = _parts(str(spec))
    if columns and (len(columns) != len(AXES) or not all(columns)):
        raise DatasetError(f"{spec}: name both columns after the file, such as {path}#latitude:longitude.")
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file.")
    if path.is_dir():
        raise DatasetError(f"{path} is a folder; a gallery is {KINDS}.")
    suffix = path.suffix.lower()
    if suffix in (".npy", ".parquet"):
        places = _of_array(path) if suffix == ".npy" else _of_parquet(path, columns)
        _check(places, path)
    else:
        places = read_coordinates(path, dict(zip(AXES, columns, strict=True)) if columns else None)
    if evidence := swap_evidence(places, "positions"):
        raise DatasetError(f"{path}: {evidence}.")
    return places


def _of_array(path: Path) -> FloatArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not a readable array of numpy ({str(error).splitlines()[0]}).") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "fiu":
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise DatasetError(f"{path} holds {found}; a gallery is numbers (m, 2): latitude, longitude, in degrees.")
    return np.array(array, dtype=np.float64)


def _of_parquet(path: Path, columns: Sequence[str]) -> FloatArray:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        lower = [name.lower() for name in names]
        chosen = []
        for number, axis in enumerate(AXES):
            found = [columns[number].lower()] if columns else recognised(lower, axis)
            if len(found) != 1 or found[0] not in lower:
                what = f"has no {axis} column" if not found or found[0] not in lower else f"has several {axis} columns"
                raise DatasetError(
                    f"{path} {what}; it has {', '.join(names)}. Name both: {path}{COLUMNS}LATITUDE:LONGITUDE"
                )
            chosen.append(names[lower.index(found[0])])
        table = pq.read_table(path, columns=chosen)
        axes: list[npt.NDArray[np.float64]] = [
            table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in chosen
        ]
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]}).") from error
    return np.stack(axes, axis=1).astype(np.float64)


def _check(places: FloatArray, path: Path) -> None:
    """Raise ``DatasetError`` for positions that cannot be; those of a text table are checked as they are read."""
    if not len(places):
        raise DatasetError(f"{path} holds no positions.")
    bad = invalid_rows(places)
    if len(bad):
        swapped = "; latitude and longitude look swapped" if valid_if_swapped(places) else ""
        raise DatasetError(
            f"{path}: {len(bad):,} of {len(places):,} positions are NaN or out of range (latitude ±90, longitude "
            f"±180), such as row {bad[0]}: {tuple(places[bad[0]].tolist())}{swapped}."
        )
    unit = other_unit(places)
    if unit is not None and unit.is_certain:
        raise DatasetError(f"{path}: {unit.text}.")
