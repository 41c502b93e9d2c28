"""Verdicts: what a result of ours says about the published figures that it repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geobench.gallery import is_oracle
from geobench.metrics import Metric
from geobench.plugins import get_models
from geobench.provenance import is_tested_on_training
from geobench.published.agreement import in_words, plain
from geobench.published.rows import published_rows, repeating_settings, score_metrics
from geobench.settings import as_dict, parse_assignments

if TYPE_CHECKING:
    import pandas as pd

    from geobench.results import Result

MOST_FAILED = 0.01
"""Results with a larger share of images without a prediction are not compared with published figures."""
SAME_SHARE = 0.1
"""A training set counts as the published one if its size is within this share: photos have vanished since."""

Word = Literal["reproduced", "below", "above", "not comparable"]


@dataclass(frozen=True)
class Verdict:
    """What a result says about a published row that it repeats, and why."""

    word: Word
    reason: str


@dataclass(frozen=True)
class Judged:
    """A verdict on published rows of one system with one set of figures.

    Attributes:
        model: the system as published.
        sources: where these figures are printed.
    """

    model: str
    sources: tuple[str, ...]
    verdict: Verdict


def repeated_rows(result: Result) -> pd.DataFrame:
    """Return the published rows that ``result`` repeats: same test set, same system, same settings.

    A row says what repeats it in its column ``repeats``. A result without a checkpoint of ours, such as one made from
    others' predictions, repeats the rows of its own name. Rows with another gallery are left out if one has the
    result's own.
    """
    rows = published_rows(result.dataset)
    rows = rows.loc[[_repeats(result, row) for row in rows.to_dict("records")]]
    own = np.array([_gallery(result) in allowed.split("|") for allowed in rows["gallery"]], dtype=np.bool_)
    if own.any():
        rows = rows.loc[own | (rows["gallery"] == "").to_numpy(np.bool_)]
    return rows.reset_index(drop=True)


def verdict(result: Result, intervals: Mapping[str, tuple[float, float]], row: Mapping[Any, Any]) -> Verdict:
    """Return what ``result`` says about the published ``row``.

    ``not comparable`` if n, crops, gallery, training data or encoder are known to differ, if the gallery holds the true
    positions, test images were trained on or many have no prediction, or if nothing was reported. Else
    ``below`` if our interval is worse than the published figure at one score or more, ``above`` if it is nowhere worse
    and somewhere better, ``reproduced`` if it contains every figure that was reported.

    Args:
        result: ours.
        intervals: for each metric, such as ``acc_25km``, low and high end.
        row: of :func:`published_rows`.
    """
    differences = list(_differences(result, row))
    if differences:
        return Verdict("not comparable", "; ".join(differences))
    where: dict[str, list[Metric]] = {"below": [], "above": [], "within": []}
    for metric in score_metrics():
        figure = row[metric.name]
        if not math.isnan(figure) and metric.name in intervals:
            where[_side(metric, figure, *intervals[metric.name])].append(metric)
    if not any(where.values()):
        return Verdict("not comparable", "no score was reported")
    word: Word = "below" if where["below"] else "above" if where["above"] else "reproduced"
    parts = [f"{side} at {in_words(found)}" for side, found in where.items() if found]
    unknown = [] if str(row["n"]).isdigit() else ["n"]
    unknown += [
        what
        for what, sides in _protocols(result, row).items()
        if not all(sides) and (what != "gallery" or sides[1])  # a method without a gallery states none
    ]
    return Verdict(word, "; ".join(parts) + (f" (not known: {', '.join(unknown)})" if unknown else ""))


def _side(metric: Metric, figure: float, low: float, high: float) -> str:
    """Return where our interval lies: ``below`` if it is worse than the published ``figure``."""
    if low <= figure <= high:
        return "within"
    return "below" if (figure > high) == metric.higher_is_better else "above"


def judge(result: Result, intervals: Mapping[str, tuple[float, float]]) -> list[Judged]:
    """Return the verdicts on all published rows that ``result`` repeats, sources with the same verdict joined."""
    found: dict[tuple[str, Verdict], list[str]] = {}
    for row in repeated_rows(result).to_dict("records"):
        found.setdefault((row["model"], verdict(result, intervals, row)), []).append(row["source"])
    return [Judged(model, tuple(sources), reached) for (model, reached), sources in found.items()]


def _differences(result: Result, row: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is known to differ between the protocols; what either does not state is no difference."""
    import pandas as pd

    if result.subset:
        yield f"ours is the subset {result.subset!r}"
    if is_oracle(result.in_gallery, result.n):
        yield f"the gallery holds {result.in_gallery:,} of the true positions"
    if is_tested_on_training(result.in_training, result.n):
        yield f"trained on {result.in_training:,} of the test images"
    if result.failed > MOST_FAILED * result.n:
        yield f"{result.failed:,} images without a prediction"
    n = result.expected if pd.isna(row["n"]) else int(row["n"])
    if n and result.n != n:
        yield f"n {result.n:,}, published {n:,}"
    for what, (ours, theirs) in _protocols(result, row).items():
        stated = theirs.split("|")
        if ours and theirs and plain(ours) not in map(plain, stated):
            yield f"{what} {ours}, published {' or '.join(stated)}"
    images = int(row["training_images"] or 0)
    if result.training_images and abs(result.training_images - images) > SAME_SHARE * images > 0:
        yield f"trained on {result.training_images:,} images, published {images:,}"


def _protocols(result: Result, row: Mapping[Any, Any]) -> dict[str, tuple[str, str]]:
    """Return our protocol and the published one; empty if it is unknown or does not exist."""
    return {
        "crops": (str(result.crops or ""), row["crops"]),
        "gallery": (_gallery(result), row["gallery"]),
        "training data": (result.trained_on, row["trained_on"]),
        "encoder": (result.encoder, row["encoder"]),
    }


def _gallery(result: Result) -> str:
    """Return source and size of the gallery as the files write it, such as ``training:100000``."""
    return f"{result.gallery.partition(':')[0]}:{result.gallery_size}" if result.gallery else ""


def _repeats(result: Result, row: Mapping[Any, Any]) -> bool:
    if not result.checkpoint and plain(result.model) == plain(row["model"]):
        return True
    name, *assignments = row["repeats"].split() or [""]
    model, _, checkpoint = name.partition("@")
    if model != result.model or checkpoint not in ("", result.checkpoint):
        return False
    wanted = parse_assignments(assignments)
    defaults = _defaults(model)
    switches = wanted if checkpoint else _switches()[model]
    for switch in switches:
        default = defaults.get(switch)
        if _value(wanted.get(switch, default)) != _value(result.config.get(switch, default)):
            return False
    return True


def _defaults(model: str) -> dict[str, Any]:
    """Return the default hyper-parameters of ``model``; none if it is not installed here."""
    models = get_models()
    return as_dict(models[model].Config()) if model in models else {}


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


@cache
def _switches() -> dict[str, set[str]]:
    """Return for each model the settings in which published rows differ."""
    switches: dict[str, set[str]] = {}
    for name, *assignments in repeating_settings():
        switches.setdefault(name, set()).update(parse_assignments(assignments))
    return switches
