"""Digests of code: of encoders, models and data sets, so that edited code does not get what the old one made.

A digest covers the modules that define a class and what they import of their own package. It is taken from the syntax
trees: comments, docstrings and formatting do not matter. Code without a readable source (in a notebook, in a compiled
module, edited since it was loaded) counts as byte code. Code of other distributions is not covered.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from geobench import files

BUNDLED = "geobench_plugins"
"""Its sources are always there: a release that leaves them as they are does not extract everything again."""
PARTS = (
    "geobench.classification",
    "geobench.partitions",
    "geobench.cells",
    "geobench.scenes",
    "geobench.training.heads",
)
"""Parts of geobench that models are made of: their code counts as that of a model that imports them."""
LOADED_NS = time.time_ns()
"""A source file that is newer was edited after this process loaded it, so it is not what the process runs."""


def class_code(thing: type, base: type, *modules: str) -> list[Any]:
    """Return what stands for the code of the class ``thing`` and of those between it and ``base``, then of modules."""
    classes = [c for c in thing.__mro__ if issubclass(c, base) and c is not base]
    code = [(c.__qualname__, _package_source(c.__module__) or _byte_code(c), _version(c.__module__)) for c in classes]
    return [*code, *(module_code(module) for module in modules)]


def function_code(function: Callable[..., Any], base: type, *modules: str) -> list[Any]:
    """Return what stands for the code of a function, or of the class below ``base`` if it is a method; then modules."""
    owner = getattr(function, "__self__", None)
    return class_code(type(owner), base, *modules) if owner is not None else [_byte_code(function)]


def module_code(module: str) -> str:
    """Return a digest of the source of ``module``, empty if it is not what was loaded."""
    return _source(module)[0]


def _package_source(module: str) -> str:
    """Return a digest of ``module`` and of what it imports of its own package; empty if a source is not readable."""
    package, found, waiting = module.partition(".")[0], dict[str, str](), [module]
    while waiting:
        name = waiting.pop()
        if name in found or (name != module and _file(name) is None):  # a name that is no module
            continue
        found[name], imported = _source(name)
        own = package != "geobench"
        waiting += [other for other in imported if other in PARTS or (own and other.partition(".")[0] == package)]
    return files.digest(found) if all(found.values()) else ""


def _source(module: str) -> tuple[str, list[str]]:
    """Return a digest of the source of ``module``, empty if it is not what was loaded, and what it may import."""
    path = _file(module)
    if path is None:
        return "", []
    status = path.stat()
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    code, imported = _parsed(path, changed, module)
    return "" if module in sys.modules and changed > LOADED_NS else code, imported


def _file(module: str) -> Path | None:
    """Return the source file of ``module``, found without importing it; None if there is none."""
    package, *rest = module.split(".")
    top = sys.modules.get(package)
    if not rest:
        origin = getattr(top, "__file__", None)
        paths = [Path(origin)] if origin else []
    else:
        roots = [Path(root) for root in getattr(top, "__path__", ())]
        paths = [root.joinpath(*rest) for root in roots]
        paths = [path for root in paths for path in (root.with_suffix(".py"), root / "__init__.py")]
    return next((path for path in paths if path.suffix == ".py" and path.is_file()), None)


@lru_cache(maxsize=256)
def _parsed(path: Path, changed_ns: int, module: str) -> tuple[str, list[str]]:
    """Return a digest of the file's syntax tree, empty if it has none, and the modules that it may import."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return "", []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return files.digest(_plain(tree)), list(_imported(tree, package))


def _plain(node: Any) -> Any:
    """Return the syntax tree ``node`` without positions and docstrings, equal in every version of Python."""
    if isinstance(node, ast.AST):
        kept = {name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"}
        return [type(node).__name__, {name: _plain(value) for name, value in kept.items()}]
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_text(item)]
    return repr(node)


def _is_text(node: Any) -> bool:
    """Return whether ``node`` is a statement that is nothing but a string: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules that the code may import, those within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            try:
                base = resolve_name(name, package) if node.level else name
            except ImportError:  # beyond the package: the import would fail as well
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _byte_code(thing: Any, seen: tuple[Any, ...] = ()) -> Any:
    """Return what is loaded of a class or function, and of what it refers to in its module, as JSON has it."""
    if any(thing is other for other in seen):
        return None
    seen = (*seen, thing)
    if isinstance(thing, type):
        return {n: _byte_code(_function(value), seen) for n, value in sorted(vars(thing).items()) if _is_code(n)}
    if not isinstance(thing, FunctionType):
        return _constant(thing)
    module, names = thing.__globals__, sorted(_names(thing.__code__))
    used = {n: module[n] for n in names if n in module and _is_of(module[n], thing.__module__)}
    own = [_instructions(thing.__code__), _constant(thing.__defaults__), _constant(thing.__kwdefaults__)]
    wrapped = [_byte_code(thing.__wrapped__, seen)] if hasattr(thing, "__wrapped__") else []
    return [own, {name: _byte_code(value, seen) for name, value in used.items()}, *wrapped]


def _is_code(name: str) -> bool:
    return not name.startswith("__") or name in ("__init__", "__call__", "__post_init__")


def _function(value: Any) -> Any:
    """Return the function of a method or property; anything else as it is."""
    return getattr(value, "__func__", None) or getattr(value, "fget", None) or value


def _is_of(value: Any, module: str) -> bool:
    """Return whether ``value`` is a class or function of ``module``, or a constant."""
    return getattr(value, "__module__", module) == module


def _constant(value: Any) -> str:
    """Return ``value`` as text; nothing for an object that is shown by its address, which is never the same."""
    shown = repr(sorted(map(repr, value))) if isinstance(value, (set, frozenset)) else repr(value)
    return "" if " at 0x" in shown else shown


def _names(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _instructions(code: CodeType) -> list[Any]:
    """Return byte code, names and constants."""
    constants = [_instructions(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]


@cache
def _version(module: str) -> str:
    """Return the version of the distribution whose plugins are in the package of ``module``; empty if bundled."""
    package = module.partition(".")[0]
    for point in entry_points(group="geobench"):
        if point.module.partition(".")[0] == package != BUNDLED and point.dist is not None:
            return point.dist.version
    return ""


def code_key() -> str:
    """Return 16 digits for all code and definitions of this distribution: models, data sets, experiments."""
    names = ("geobench", "geobench_plugins", "geobench_datasets", "geobench_experiments")
    folders = [Path(spec.origin).parent for name in names if (spec := find_spec(name)) is not None and spec.origin]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".toml"))
    return files.digest([hashlib.blake2b(path.read_bytes()).hexdigest() for path in paths])
