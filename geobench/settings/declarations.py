"""Declared values: dataclasses and typed dictionaries that pydantic checks; what does not fit is reported in one line.

The declaration is the only place that says what is valid. Types, bounds and choices are read from the annotations and
from the metadata of dataclass fields: by pydantic to check values, by :func:`in_words` for help and errors. pydantic is
imported at the first check, so declaring something costs no import time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import is_typeddict

from geobench.errors import GeobenchError, as_plugin_error, unknown_name

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import SchemaValidator

Kind = TypeVar("Kind")
STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False, "validate_default": True}
"""pydantic's configuration of a class without a ``__pydantic_config__`` of its own: only int is converted, to float."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
MISCALLED = ("unexpected_positional_argument", "multiple_argument_values")
NOUNS = {str: "string", int: "integer", float: "number"}
PHRASES = {bool: "true or false", Any: "anything"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
SHOWN = 100  # characters of a wrong value


def validated(error: type[GeobenchError]) -> Callable[[type[Kind]], type[Kind]]:
    """Return a decorator for dataclasses: an instance whose values do not fit raises ``error``, however it is made.

    ``__post_init__`` sees fields that are valid one by one; a ``ValueError`` that it raises becomes an ``error`` too.
    """

    def decorate(kind: type[Kind]) -> type[Kind]:
        @wraps(kind.__init__)
        def init(self: Kind, *args: Any, **values: Any) -> None:
            with _in_one_line(kind, kind.__name__, error, ""):
                _fill(self, kind, args, values)

        kind.__init__ = init  # type: ignore[method-assign,assignment]
        return kind

    return decorate


def validate(
    kind: type[Kind], values: Mapping[str, Any], where: str, error: type[GeobenchError], hint: str = ""
) -> Kind:
    """Return ``values`` as an instance of ``kind``.

    Args:
        kind: a dataclass or a ``TypedDict``.
        values: by name.
        where: what errors begin with: a file, a model.
        error: raised if they do not fit; one line with the path of the key, its value and what is valid.
        hint: added if a key is unknown.
    """
    with _in_one_line(kind, where, error, hint):
        if is_typeddict(kind):
            return _validator(kind).validate_python(values)  # type: ignore[no-any-return,arg-type]
        instance = kind.__new__(kind)
        _fill(instance, kind, (), values)
        return instance


def declared(kind: type[Any]) -> dict[str, Any]:
    """Return the annotated types of a dataclass or ``TypedDict`` by name, with the metadata of dataclass fields."""
    with _blaming(kind):
        hints = get_type_hints(kind, include_extras=True)
    if not is_dataclass(kind):
        return hints
    return {field.name: Annotated[hints[field.name], field.metadata] for field in fields(kind) if field.init}


def in_words(hint: Any, plural: bool = False) -> str:
    """Return the values that an annotated type allows, such as ``a number of at least 0 and below 1``."""
    kind, bounds = _bare(hint)
    arguments = [each for each in get_args(kind) if each not in (NoneType, ...)]
    if get_origin(kind) is Literal:
        return _either(map(str, arguments))
    if get_origin(kind) in (Union, UnionType):
        return _either(in_words(Annotated[each, bounds], plural) for each in arguments)
    if kind in PHRASES:
        return PHRASES[kind]
    noun, rest = NOUNS.get(kind, getattr(kind, "__name__", str(kind))), ""
    if is_dataclass(kind) or is_typeddict(kind) or _is_a(kind, Mapping):
        noun = "table"
    elif get_origin(kind) is tuple and ... not in get_args(kind):
        noun, rest = "list", " of " + " and ".join(map(in_words, arguments))
    elif _is_a(kind, Sequence):
        noun, rest = "list", "" if arguments[0] is Any else " of " + in_words(arguments[0], plural=True)
    noun = f"non-empty {noun}" if bounds.pop("min_length", 0) else noun
    limits = " and ".join(f"{BOUNDS[name]} {limit}" for name, limit in bounds.items())
    rest += f" of {limits}" if limits.startswith("at") else f" {limits}".rstrip()
    return f"{noun}s{rest}" if plural else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}{rest}"


@contextmanager
def _in_one_line(kind: type[Any], where: str, error: type[GeobenchError], hint: str) -> Iterator[None]:
    """Turn pydantic's report into an ``error``, and what a faulty declaration raises into a ``PluginError``."""
    from pydantic import ValidationError

    with _blaming(kind):
        try:
            yield
        except ValidationError as failure:
            raise error(f"{where}: {_explained(failure, kind, hint)}") from None


def _blaming(kind: type[Any]) -> AbstractContextManager[None]:
    return as_plugin_error(f"{kind.__module__}.{kind.__qualname__}", "as a declaration")


def _fill(instance: Any, kind: Any, args: Sequence[Any], values: Mapping[str, Any]) -> None:
    """Check the values and set the fields of ``instance``; a list becomes a tuple: TOML and JSON have only lists."""
    from pydantic_core import ArgsKwargs

    names = [field.name for field in fields(kind) if field.init]
    hints = declared(kind)
    tuples = {name for name in names if get_origin(_bare(hints[name])[0]) is tuple}
    positional = tuple(_as_tuple(value) if name in tuples else value for name, value in zip(names, args, strict=False))
    named = {name: _as_tuple(value) if name in tuples else value for name, value in values.items()}
    _validator(kind).validate_python(ArgsKwargs(positional + tuple(args[len(names) :]), named), self_instance=instance)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


@cache
def _validator(kind: Any) -> SchemaValidator:
    """Return pydantic's validator of ``kind``."""
    from pydantic import TypeAdapter

    if not hasattr(kind, "__pydantic_config__"):
        kind.__pydantic_config__ = STRICT
    return TypeAdapter(kind).validator  # type: ignore[return-value]


def _explained(failure: ValidationError, kind: type[Any], hint: str) -> str:
    """Return the first thing that is wrong; a misspelt key goes before the missing one that it was meant to be."""
    found = min(failure.errors(include_url=False), key=lambda each: each["type"] not in UNKNOWN)
    *holder, name = location = _by_name(kind, found["loc"])
    value = list(found["input"]) if isinstance(found["input"], tuple) else found["input"]
    shown = repr(value) if len(repr(value)) <= SHOWN else f"{repr(value)[:SHOWN]}…"
    path, expected = _at(kind, location)
    within = f"{_at(kind, holder)[0]}: ".removeprefix(": ")
    if found["type"] in UNKNOWN:
        return within + str(unknown_name("key", str(name), declared(_bare(_at(kind, holder)[1])[0]), hint))
    if found["type"] == "missing":
        return f"{within}the key {name} is missing."
    if found["type"] == "value_error":
        return f"{path}: {found['ctx']['error']}".removeprefix(": ")
    if found["type"] in MISCALLED:
        return f"{found['msg']}: {shown}."
    valid = in_words(expected)
    if found["type"] == "finite_number":
        valid = valid.replace("number", "finite number")
    return f"{path} must be {valid}, not {shown}."


def _by_name(kind: Any, location: Sequence[int | str]) -> Sequence[int | str]:
    """Return where something is wrong, the name of the field first also if its value was given by position."""
    names, first = list(declared(kind)), location[0] if location else ""
    return (names[first], *location[1:]) if isinstance(first, int) and first < len(names) else location or [""]


def _at(kind: Any, location: Iterable[int | str]) -> tuple[str, Any]:
    """Return the path that a user writes for pydantic's ``location``, such as ``sources[2].size``, and its type."""
    path, hint = "", kind
    for step in location:
        inner = _inside(hint, step)
        if inner is None:  # which member of a union, or that it is the key of a table
            break
        path += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
        hint = inner
    return path.removeprefix("."), hint


def _inside(hint: Any, step: int | str) -> Any:
    """Return the type of one item of a table or list; None if ``hint`` is neither."""
    kind, _ = _bare(hint)
    if is_dataclass(kind) or is_typeddict(kind):
        return declared(kind).get(str(step))
    arguments = get_args(kind)
    if _is_a(kind, Mapping):
        return arguments[1]
    if get_origin(kind) is tuple and ... not in arguments:
        return arguments[int(step)]
    return arguments[0] if _is_a(kind, Sequence) else None


def _bare(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Return a type without its annotations, and the bounds among these."""
    bounds: dict[str, Any] = {}
    while get_origin(hint) in (Annotated, Required, NotRequired):
        for extra in getattr(hint, "__metadata__", ()):
            for name in (*BOUNDS, "min_length"):
                bound = extra.get(name) if isinstance(extra, Mapping) else getattr(extra, name, None)
                bounds |= {name: bound} if bound is not None else {}
        hint = get_args(hint)[0]
    return hint, bounds


def _is_a(kind: Any, base: type[Any]) -> bool:
    """Return whether ``kind`` is a generic alias such as ``Mapping[str, int]`` of a subclass of ``base``."""
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, base)


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
