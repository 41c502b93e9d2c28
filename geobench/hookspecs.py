"""The hooks that a plugin may implement, and nothing else. Registration is cheap: no weights, no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.geo import FloatArray
    from geobench.metrics import Metric
    from geobench.models import Model

hookspec = HookspecMarker("geobench")
hookimpl = HookimplMarker("geobench")


@hookspec
def register_models(register: Callable[[type[Model]], None]) -> None:
    """Call ``register(ModelClass)`` for each model."""


@hookspec
def register_datasets(register: Callable[[Dataset | Path], None]) -> None:
    """Call ``register(dataset)`` or ``register(path_of_its_toml)`` for each data set."""


@hookspec
def register_encoders(register: Callable[[str, Callable[[str], Encoder]], None]) -> None:
    """Call ``register(name, factory)`` for each encoder; ``name`` may be a pattern such as ``*/*``.

    ``factory(name)`` returns the encoder ``name`` without reading its weights.
    """


@hookspec
def register_galleries(register: Callable[[str, Callable[[], FloatArray]], None]) -> None:
    """Call ``register(name, coordinates)`` for each source of galleries; ``name:100k`` then draws from it.

    ``coordinates()`` reads and returns them: (m, 2) latitude, longitude in degrees.
    """


@hookspec
def register_metrics(register: Callable[[Metric | str, Callable[[str], Metric] | None], None]) -> None:
    """Call ``register(metric)`` for each metric; for a family, ``register(pattern, factory)``.

    A family such as ``acc_*km`` is a pattern with ``factory(name)``, which returns the :class:`Metric` of that name.
    """
