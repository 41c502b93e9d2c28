"""Hyper-parameters: one frozen dataclass per model, filled from a data set's TOML and from ``--set key=value``."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from geobench.errors import SettingError, unknown_name

Config = TypeVar("Config")


def configure(config_class: type[Config], settings: Mapping[str, Any], model: str) -> Config:
    """Return ``config_class`` with ``settings`` applied, each typed by the field it names.

    Args:
        config_class: a frozen dataclass; its ``__post_init__`` may raise ``SettingError``.
        settings: values, or the texts a user typed.
        model: named in errors.

    Raises:
        UnknownNameError: no such setting; the nearest names are given.
        SettingError: a value of the wrong type, or out of range.
    """
    assert is_dataclass(config_class)
    types = get_type_hints(config_class)
    valid = {f.name for f in fields(config_class)}
    for name in settings:
        if name not in valid:
            raise unknown_name(f"setting of {model}", name, valid)
    return config_class(**{name: _typed(name, value, types[name], model) for name, value in settings.items()})


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return ``{"lr": 0.001}`` for ``["lr=1e-3"]``; values are read as TOML, else as plain text."""
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise SettingError(f"{assignment!r} is no setting; write --set NAME=VALUE, such as --set lr=1e-3.")
        try:
            settings[name.strip()] = tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            settings[name.strip()] = {"True": True, "False": False}.get(text.strip(), text.strip())
    return settings


def check_ranges(config: Any, checks: Mapping[str, tuple[bool, str]]) -> None:
    """Raise ``SettingError`` for the first setting of ``config`` whose check fails: (whether it is valid, what is)."""
    for name, (valid, text) in checks.items():
        if not valid:
            raise SettingError(f"{name} must be {text}, not {getattr(config, name)!r}.")


def meanings(config_class: type[Any]) -> dict[str, str]:
    """Return the comment behind each field of a config dataclass and of those that it extends, by the field's name."""
    found: dict[str, str] = {}
    for part in reversed(config_class.__mro__[:-1]):
        try:
            source = inspect.getsource(part)
        except (OSError, TypeError):  # not from a file
            continue
        for line in source.splitlines():
            name, comment = line.partition(":")[0].strip(), line.partition("  # ")[2].strip()
            if comment and name in getattr(part, "__annotations__", {}):
                found[name] = comment
    return found


def setting_names(config_class: type[Any]) -> list[str]:
    """Return the names of the settings that ``config_class`` declares."""
    return [f.name for f in fields(config_class)]


def as_dict(config: Any) -> dict[str, Any]:
    """Return the values of a config dataclass by name."""
    return asdict(config)


def _typed(name: str, value: Any, wanted: Any, model: str) -> Any:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = arguments[0] if arguments[-1] is Ellipsis else None
        if inner is not None:
            return tuple(_typed(name, item, inner, model) for item in value)
        if len(value) == len(arguments):
            return tuple(_typed(name, item, kind, model) for item, kind in zip(value, arguments, strict=True))
    elif type(None) in arguments:  # X | None
        return None if value in (None, "none") else _typed(name, value, arguments[0], model)
    elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(wanted, type) and isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    kind = getattr(wanted, "__name__", str(wanted)) if origin is None else str(wanted)
    if origin is tuple:
        kind = f"a list, such as {name}=[1, 2]: {kind}"
    raise SettingError(f"the setting {name} of {model} must be of the type {kind}, not {value!r}.")
