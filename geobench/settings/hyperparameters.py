"""Settings of models: one declared class per model, filled from a data set's TOML and from ``--set NAME=VALUE``.

::

    @settings
    class KnnConfig:
        k: int = setting(50, "neighbours that vote", ge=1, source="not stated in GeoCLIP's Table 1a")
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from types import NoneType
from typing import Any, TypeVar, dataclass_transform, get_args

from geobench.errors import SettingError, unknown_name
from geobench.settings.declarations import declared, in_words, validate, validated

Config = TypeVar("Config")


def setting(
    default: Any,
    meaning: str = "",
    *,
    source: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    operational: bool = False,
) -> Any:
    """Declare a field of a class made with :func:`settings`.

    Args:
        default: value if the user gives none.
        meaning: what ``geobench models show`` says about it.
        source: of the default: the paper's equation, table or section, ``released code``, or empty.
        ge, gt, le, lt: valid values are at least, above, at most, below.
        operational: it changes how the work is done, but no answer; results are not keyed by it.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata = {name: bound for name, bound in bounds.items() if bound is not None}
    described = {"description": meaning, "source": source, "operational": operational}
    return field(default=default, metadata={**described, **metadata})


@dataclass_transform(frozen_default=True, field_specifiers=(setting, field))
def settings(config_class: type[Config]) -> type[Config]:
    """Make a class a frozen dataclass whose values are checked; choices are ``Literal``, lists are tuples.

    Rules that concern several fields go into ``__post_init__`` and raise ``ValueError`` with a sentence. Whatever does
    not fit is a :class:`SettingError` of one line.
    """
    return validated(SettingError)(dataclass(frozen=True)(config_class))


def configure(config_class: type[Config], values: Mapping[str, Any], model: str) -> Config:
    """Return ``config_class`` with ``values`` in place of its defaults.

    Args:
        config_class: made with :func:`settings`.
        values: by name; ``"none"`` stands for None in a field that may be None.
        model: named in errors.

    Raises:
        UnknownNameError: no such setting; gives the nearest names.
        SettingError: a value of another type, out of range, or that does not go with the others.
    """
    hints = declared(config_class)
    for name in values:
        if name not in hints:
            raise unknown_name(f"setting of {model}", name, hints)
    given = {name: None if value == "none" and _optional(hints[name]) else value for name, value in values.items()}
    given |= {name: (value,) for name, value in given.items() if isinstance(value, str) and _texts(hints[name])}
    return validate(config_class, given, model, SettingError)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return ``{"lr": 0.001}`` for ``["lr=1e-3"]``; values are read as TOML, and as plain text if they are not."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise SettingError(f"{assignment!r} is not a setting; write NAME=VALUE, such as lr=1e-3.")
        try:
            values[name.strip()] = tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = {"True": True, "False": False}.get(text.strip(), text.strip())
    return values


def described(config_class: type[Any]) -> list[dict[str, Any]]:
    """Return name, default, valid values, meaning and source of each setting, as they are declared."""
    hints = declared(config_class)
    return [
        {
            "setting": each.name,
            "default": each.default,
            "valid": in_words(hints[each.name]),
            "meaning": each.metadata.get("description", ""),
            "source": each.metadata.get("source", ""),
        }
        for each in fields(config_class)
    ]


def setting_names(config_class: type[Any]) -> list[str]:
    """Return the names of the settings that ``config_class`` declares."""
    return [f.name for f in fields(config_class)]


def as_dict(config: Any) -> dict[str, Any]:
    """Return the values of a config dataclass by name."""
    return asdict(config)


def stated(config: Any) -> dict[str, Any]:
    """Return the values of a config dataclass that results are keyed by: all but the operational ones."""
    without = {each.name for each in fields(config) if each.metadata.get("operational")}
    return {name: value for name, value in as_dict(config).items() if name not in without}


def _texts(hint: Any) -> bool:
    """Return whether a setting is a list of texts: one text is a list of one."""
    return bool(get_args(hint)[0] == tuple[str, ...])


def _optional(hint: Any) -> bool:
    return NoneType in get_args(get_args(hint)[0])
