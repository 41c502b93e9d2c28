"""Definitions: the TOML of a data set, every key and type of it checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from geobench.errors import DatasetError

WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Any: "anything"}
Wrong = tuple[str, Any, Any]
"""The key whose value is of the wrong type, the value, the type that it must have."""


def read_definition(path: Path) -> dict[str, Any]:
    """Return the values in the TOML file ``path``; raise ``DatasetError`` where it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is no data set definition: {error}.") from error


def check_definition(
    path: Path, values: Mapping[str, Any], chosen: type[Any], split_keys: Mapping[str, Any], statuses: Sequence[str]
) -> None:
    """Raise ``DatasetError`` where ``values`` are none for the dataclass ``chosen``: names key, value and valid ones.

    Args:
        path: of the file, for the error.
        values: what it says.
        chosen: the class of the data set.
        split_keys: the keys of a split with their types; empty where any will do.
        statuses: valid values of ``status``.
    """
    valid = sorted(f.name for f in fields(chosen) if f.init)
    unknown, missing = sorted(set(values) - set(valid)), sorted({"name", "title"} - set(values))
    if unknown or missing or values.get("status", "own") not in statuses:
        raise DatasetError(
            f"{path}: unknown keys {unknown}, missing keys {missing}, status {values.get('status')!r}; valid keys "
            f"are {', '.join(valid)}, valid states {', '.join(statuses)}."
        )
    hints = get_type_hints(chosen)
    wrong = list(wrong_types(values, hints))
    if not wrong and split_keys:
        wrong = list(_wrong_splits(path, values.get("splits", {}), split_keys))
    if wrong:
        key, value, hint = wrong[0]
        raise DatasetError(f"{path}: {key} must be {in_words(hint)}, not {value!r}.")


def wrong_types(values: Mapping[str, Any], hints: Mapping[str, Any]) -> Iterator[Wrong]:
    """Yield what in ``values`` is of another type than ``hints`` say; every key has a hint."""
    for key, value in values.items():
        yield from _wrong(key, value, hints[key])


def _wrong_splits(path: Path, splits: Mapping[str, Any], split_keys: Mapping[str, Any]) -> Iterator[Wrong]:
    for name, split in splits.items():
        for key, value in split.items():
            if key not in split_keys:
                raise DatasetError(f"{path}: unknown key splits.{name}.{key}; valid are {', '.join(split_keys)}.")
            yield from _wrong(f"splits.{name}.{key}", value, split_keys[key])


def _wrong(key: str, value: Any, hint: Any) -> Iterator[Wrong]:
    """Yield what in ``value`` is of another type than ``hint`` says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if not _is(value, hint):
        yield key, value, hint
    elif origin is not None and isinstance(value, dict):
        for name, item in value.items():
            yield from _wrong(f"{key}.{name}", item, arguments[1])
    elif origin is not None and isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield from _wrong(f"{key}[{number}]", item, arguments[0])


def _is(value: Any, hint: Any) -> bool:
    """Return whether ``value`` is of the type ``hint``, whatever is in it."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in get_args(hint))
    if origin is not None:
        return isinstance(value, dict if issubclass(origin, Mapping) else list)
    if hint in (int, float) and isinstance(value, bool):
        return False
    return hint is Any or isinstance(value, (int, float) if hint is float else hint)


def in_words(hint: Any) -> str:
    """Return the type ``hint`` as a user calls it, such as ``a whole number``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(in_words(one) for one in arguments if one is not NoneType)
    if origin is not None:
        return "a table" if issubclass(origin, Mapping) else "a list"
    return WORDS.get(hint, str(hint))
