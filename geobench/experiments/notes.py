"""The notes under the table of an experiment: substitutes, scaled settings, uncertainty, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from geobench.experiments.frontier import smallest_line, smallest_within
from geobench.experiments.plans import PlannedRow
from geobench.experiments.run import Finished
from geobench.metrics import accuracies
from geobench.plugins import get_dataset, get_metrics
from geobench.report.doubts import doubts
from geobench.report.rows import Row


def notes(finished: Finished, ours: Sequence[Row], lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what a reader must know: substitutes, scaled settings, uncertainty, what is missing."""
    plan = finished.plan
    measured = [result for row in ours for result in row.results]
    for images in dict.fromkeys(f"{result.images} (n = {result.n:,})" for result in measured):
        yield f"Images: {images}. Accuracy in % of all n images; a failed image is a miss."
    if plan.stands_in:
        trained = " / ".join(dict.fromkeys(f"{r.trained_on} ({r.training_images:,} images)" for r in measured))
        own = f"{plan.experiment.choices['data']} and {', '.join(plan.experiment.datasets)}"
        here = f"trained on {trained or plan.data}, tested on {', '.join(plan.datasets)}"
        yield f"Not comparable with the published figures: {here}, in place of {own}."
        for name in dict.fromkeys([plan.data, *plan.datasets]):
            if get_dataset(name).note:
                yield f"{name}: {get_dataset(name).note}"
    yield from _scaled(plan.rows)
    if any(row.spread for row in ours):
        yield "±: standard deviation over the seeds of the training; all seeds choose from the same gallery."
    if any(not row.spread for row in ours):
        yield "[low, high]: 95 % confidence interval over the images, for rows with one seed."
    if any(line.get("best") for line in lines):
        yield "Marked: not significantly worse than the best on the same images (paired tests, Holm, 5 %)."
    yield from _frontiers(lines)
    for dataset in plan.datasets:
        measured_here = list(
            {id(row): row for row in ours if row.dataset == dataset}.values()
        )  # some share evaluations
        where = f"{dataset}: " if len(plan.datasets) > 1 else ""
        yield from (f"{where}{doubt.text}" for doubt in doubts(measured_here))
    yield from finished.remarks
    for note in dict.fromkeys(row.note for row in plan.rows if row.note):
        yield f"{', '.join(row.title for row in plan.rows if row.note == note)}: {note}."
    yield from plan.experiment.notes
    yield from (f"Failed: {line}" for line in finished.failures)


def _scaled(planned: Sequence[PlannedRow]) -> Iterator[str]:
    """Yield the settings that are not the experiment's own: those of all rows of a model, then those of each row."""
    ran = [row for row in planned if row.changed]
    for model in dict.fromkeys(row.model for row in ran):
        own = [row for row in ran if row.model == model]
        common = {key: pair for key, pair in own[0].changed.items() if all(row.changed.get(key) == pair for row in own)}
        if common:
            yield f"Settings of every {model} here, and in the experiment: {_pairs(common)}."
        for row in own:
            rest = {key: pair for key, pair in row.changed.items() if key not in common}
            if rest:
                yield f"{row.title}: {_pairs(rest)}."


def _pairs(changed: Mapping[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{key} {_value(here)}, there {_value(there)}" for key, (here, there) in changed.items())


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "none" if not value else f"[{', '.join(map(_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _frontiers(lines: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield, for each test set on which several galleries were tried, the smallest that is as good as the best."""
    tried: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        candidate = line["of"] == "ours" and line.get("gallery") and not line.get("oracle")
        if candidate and any(key.endswith("_low") for key in line):
            tried.setdefault(line["dataset"], []).append(line)
    for dataset, found in tried.items():
        sizes = [line["gallery_size"] for line in found]
        if len(set(sizes)) == len(found) > 1:
            metrics, smallest = accuracies(get_metrics(dataset)), {}
            for name in (metric.name for metric in metrics if any(line[metric.name] for line in found)):
                index = smallest_within(sizes, [x[name] for x in found], [x[f"{name}_low"] for x in found])
                smallest[name] = found[index]["gallery"]
            yield smallest_line(dataset, smallest, metrics)
