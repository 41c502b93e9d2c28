"""The plugin manager: what is installed under the entry-point group ``geobench``, and what it registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import pluggy

from geobench import hookspecs
from geobench.errors import DatasetError, PluginError, SettingError, UnknownNameError, unknown_name
from geobench.features.wrappers import WRAPPERS, wrapped
from geobench.geo import FARTHEST_KM
from geobench.metrics import accuracies, accuracy_name, ordered

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset
    from geobench.features.encoders import Encoder
    from geobench.geo import FloatArray
    from geobench.metrics import Metric
    from geobench.models import Model

GROUP = "geobench"
OWN_GALLERIES = ("training", "land", "sphere")
"""Sources of galleries that need no plugin: :mod:`geobench.gallery`."""
LARGEST_THRESHOLD_KM = int(FARTHEST_KM)
"""Below the error of a failed image, which is a miss at every threshold."""
MESSAGE_WIDTH = 400  # of an error of third-party code, in one line


@dataclass
class Plugin:
    """An entry point: where it comes from, what it registers, and its ``error`` if it failed to load."""

    name: str
    distribution: str
    version: str
    module: str
    registers: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def origin(self) -> str:
        """Return the distribution and its version, as errors name them."""
        return f"{self.distribution} {self.version}"


@dataclass
class Registry:
    """Everything that plugins have registered, by name."""

    plugins: list[Plugin] = field(default_factory=list)
    models: dict[str, type[Model]] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    encoders: dict[str, Callable[[str], Encoder]] = field(default_factory=dict)
    galleries: dict[str, Callable[[], FloatArray]] = field(default_factory=dict)
    metrics: dict[str, Metric | Callable[[str], Metric]] = field(default_factory=dict)
    owners: dict[tuple[str, str], Plugin] = field(default_factory=dict)

    def add(self, kind: str, name: str, thing: Any, plugin: Plugin) -> None:
        """Add what ``plugin`` registers as ``name``; raise ``PluginError`` naming both plugins if it is taken."""
        other = self.owners.get((kind, name))
        if other is not None:
            raise PluginError(
                f"the {kind} {name!r} is registered by two plugins: {other.name} ({other.origin}) and "
                f"{plugin.name} ({plugin.origin}); uninstall one of the two."
            )
        names: dict[str, dict[str, Any]] = {
            "model": self.models,
            "dataset": self.datasets,
            "encoder": self.encoders,
            "gallery": self.galleries,
            "metric": self.metrics,
        }
        names[kind][name] = thing
        self.owners[kind, name] = plugin
        plugin.registers.append(f"{kind} {name}")


def load(points: Iterable[EntryPoint]) -> Registry:
    """Return the registry of ``points``; a plugin that fails to load is recorded with its error and skipped.

    Raises:
        PluginError: two plugins claim one name.
    """
    registry = Registry()
    for point in sorted(points, key=lambda p: (not p.name.startswith("geobench-"), p.name)):
        distribution = point.dist
        plugin = Plugin(
            point.name,
            distribution.name if distribution else "unknown",
            distribution.version if distribution else "?",
            point.value,
        )
        registry.plugins.append(plugin)
        try:
            found = _registrations(point.load(), plugin.name)
        except (Exception, SystemExit) as error:  # whatever third-party code raises must not stop the others
            plugin.error = shorten(f"{type(error).__name__}: {error}", MESSAGE_WIDTH)
            continue
        for kind, name, thing in found:
            registry.add(kind, name, thing, plugin)
    return registry


def _registrations(module: Any, plugin: str) -> list[tuple[str, str, Any]]:
    """Return kind, name and object for everything that one plugin registers; it is loaded alone, so it fails alone."""
    from geobench.data.dataset import Dataset
    from geobench.metrics import Metric
    from geobench.models import Model

    found: list[tuple[str, str, Any]] = []

    def add_model(model: type[Model]) -> None:
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise TypeError(f"register() takes a class that is a geobench.Model, not {model!r}")
        found.append(("model", model.name, model))

    def add_dataset(dataset: Dataset | Path) -> None:
        dataset = dataset if isinstance(dataset, Dataset) else Dataset.from_toml(dataset)
        found.append(("dataset", dataset.name, dataset))

    def add_gallery(name: str, coordinates: Callable[[], FloatArray]) -> None:
        if name in OWN_GALLERIES:
            raise ValueError(f"{name!r} is a built-in gallery source")
        found.append(("gallery", name, coordinates))

    def add_metric(metric: Metric | str, factory: Callable[[str], Metric] | None = None) -> None:
        if isinstance(metric, Metric) and factory is None:
            found.append(("metric", metric.name, metric))
        elif isinstance(metric, str) and callable(factory):
            found.append(("metric", metric, factory))
        else:
            raise TypeError(f"register() takes a geobench.Metric, or a pattern and its factory, not {metric!r}")

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module, plugin)
    manager.check_pending()
    manager.hook.register_models(register=add_model)
    manager.hook.register_datasets(register=add_dataset)
    manager.hook.register_encoders(register=lambda name, factory: found.append(("encoder", name, factory)))
    manager.hook.register_galleries(register=add_gallery)
    manager.hook.register_metrics(register=add_metric)
    return found


@cache
def registry() -> Registry:
    """Return what the installed plugins register, loaded once per process."""
    return load(entry_points(group=GROUP))


def plugin_errors() -> list[str]:
    """Return a line for each plugin that failed to load."""
    return [
        f"plugin {plugin.name} ({plugin.origin}) failed to load and is skipped: {plugin.error}"
        for plugin in registry().plugins
        if plugin.error
    ]


def left_out() -> list[str]:
    """Return a line for each plugin and each user-defined data set that is skipped because it is broken."""
    from geobench.data.own import broken_definitions

    broken = broken_definitions().items()
    return plugin_errors() + [f"your data set {name} is skipped: {error}" for name, error in broken]


def who(model: Model) -> str:
    """Return how errors name ``model``: with the distribution that provides it."""
    plugin = registry().owners.get(("model", model.name))
    return f"the model {model.name}" + (f" ({plugin.origin})" if plugin is not None else "")


def get_models() -> dict[str, type[Model]]:
    """Return every model class by name."""
    return dict(sorted(registry().models.items()))


def get_model_class(name: str) -> type[Model]:
    """Return the class of the model ``NAME`` or ``NAME:ARGUMENT``; raise ``UnknownNameError`` if there is none."""
    models, plain = get_models(), name.partition(":")[0]
    if plain not in models:
        raise unknown_name("model", plain, models, "All of them: geobench models")
    return models[plain]


def get_datasets() -> dict[str, Dataset]:
    """Return every data set by name: those of plugins and the user's own (``geobench datasets add``)."""
    from geobench.data.own import own_datasets

    datasets = dict(registry().datasets)
    for dataset in own_datasets():
        datasets.setdefault(dataset.name, dataset)
    return dict(sorted(datasets.items()))


def get_dataset(name: str) -> Dataset:
    """Return the data set called ``name``; raise ``UnknownNameError`` with the nearest names."""
    from geobench.data.own import broken_definitions

    datasets = get_datasets()
    if name not in datasets:
        if name in (broken := broken_definitions()):
            raise broken[name]
        hint = "Your own photos: geobench datasets add NAME --images DIR --metadata CSV"
        raise unknown_name("data set", name, datasets, hint)
    return datasets[name]


def get_encoders() -> dict[str, Callable[[str], Encoder]]:
    """Return every encoder factory by name or pattern."""
    return dict(sorted(registry().encoders.items()))


def get_encoder(name: str) -> Encoder:
    """Return the encoder called ``name``, without its weights; an exact name precedes patterns, of which the longest.

    Raises:
        UnknownNameError: no such encoder.
    """
    base, colon, reads = name.rpartition(":")
    if colon and reads in WRAPPERS:
        return wrapped(get_encoder(base), reads)
    factories = get_encoders()
    for pattern, factory in sorted(factories.items(), key=lambda item: (item[0] != name, -len(item[0]), item[0])):
        if fnmatchcase(name, pattern):
            return factory(name)
    hint = "Any open_clip model works as ARCHITECTURE/TAG or ARCHITECTURE/WEIGHTS_FILE."
    raise unknown_name("encoder", name, [n for n in factories if "*" not in n], hint)


def get_metrics(dataset: Dataset | str | None = None, thresholds_km: Sequence[float] | None = None) -> list[Metric]:
    """Return the metrics of a test set in the order of its tables: accuracies by distance, then the others.

    Args:
        dataset: its definition may name ``thresholds`` and ``metrics``. If it names none, or is None or not registered
            here, the metrics are those that every test set has.
        thresholds_km: distances of the accuracies, in place of the set's own.

    Raises:
        SettingError: a value of ``thresholds_km`` is not a distance on Earth.
        DatasetError: the definition names an unknown metric, or such a distance.
    """
    if isinstance(dataset, str):
        dataset = registry().datasets.get(dataset) or get_datasets().get(dataset)
    listed = [metric for metric in registry().metrics.values() if not callable(metric) and metric.listed]
    chosen, others = accuracies(listed), [metric for metric in listed if metric.threshold_km is None]
    if thresholds_km is not None:
        chosen = _accuracies_at(thresholds_km, "thresholds_km")
    if dataset is not None:
        try:
            if dataset.thresholds and thresholds_km is None:
                chosen = _accuracies_at(dataset.thresholds, "thresholds")
            if dataset.metrics:
                others = [get_metric(name) for name in dataset.metrics]
        except (SettingError, UnknownNameError) as error:
            raise DatasetError(f"the definition of {dataset.name} cannot be used: {error}") from error
    return ordered([*chosen, *others])


def _accuracies_at(distances: Sequence[float], where: str) -> list[Metric]:
    """Return the accuracy at each of ``distances``; raise ``SettingError`` naming the first that is none."""
    if not len(distances):
        raise SettingError(f"{where} is empty; name at least one distance in km.")
    for km in distances:
        if not 0 < km <= LARGEST_THRESHOLD_KM:
            raise SettingError(
                f"{where}: {km:g} is not a distance that an error can have; use km above 0 and at most "
                f"{LARGEST_THRESHOLD_KM:,}, half the Earth's circumference."
            )
    return [get_metric(accuracy_name(km)) for km in distances]


def get_metric(name: str) -> Metric:
    """Return the metric called ``name``, such as ``acc_25km`` or ``acc_100km``; an exact name takes precedence.

    Raises:
        UnknownNameError: no such metric.
    """
    found = registry().metrics
    for pattern, metric in sorted(found.items(), key=lambda item: item[0] != name):
        if fnmatchcase(name, pattern):
            return metric(name) if callable(metric) else metric
    hint = "An accuracy at any distance: acc_100km; GeoScore of another scale: geoscore@2000."
    raise unknown_name("metric", name, [n for n in found if "*" not in n], hint)
