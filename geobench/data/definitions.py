"""What the TOML of a data set may hold, beyond what :class:`geobench.data.dataset.Dataset` declares itself."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Required

from typing_extensions import TypedDict

from geobench.errors import DatasetError

Status = Literal["embedded", "available", "gated", "withdrawn", "never-released", "own"]


class Split(TypedDict, total=False):
    """Where the images and the table of a split are, and the layout of the images if it is not recognised.

    The names in an ``exact`` table were listed by a program: blanks belong to them, and none is a spreadsheet's damage.
    """

    images: str
    metadata: str
    layout: str
    exact: bool


class OtherTable(TypedDict, total=False):
    """How to read a table that replaces the split's own, as :class:`geobench.data.dataset.Dataset` says it of that."""

    columns: Mapping[str, str | int]
    header: bool


class Variant(TypedDict, total=False):
    """A version of a test set that goes around: how many images it has, at how many distinct places, and what it is."""

    n: Required[int]
    distinct: int
    what: Required[str]


def read_definition(path: Path) -> dict[str, Any]:
    """Return the values in the TOML file ``path``; raise ``DatasetError`` if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not a data set definition: {error}.") from error


def as_toml(values: Mapping[str, Any], above: str = "") -> str:
    """Return ``values`` as TOML: strings, numbers and booleans are written as in JSON, followed by the tables."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items())
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            inner = any(not isinstance(item, Mapping) for item in value.values())
            text += (f"\n[{above}{key}]\n" if inner else "") + as_toml(value, f"{above}{key}.")
    return text
