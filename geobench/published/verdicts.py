"""Verdicts: what a result of ours says about the published figures that it repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geobench.gallery import is_oracle
from geobench.metrics import Metric, ordered
from geobench.plugins import get_models
from geobench.provenance import is_tested_on_training
from geobench.published.agreement import in_words, known_name, plain
from geobench.published.rows import published_rows, repeating_settings, score_metrics
from geobench.settings import as_dict, parse_assignments

if TYPE_CHECKING:
    import pandas as pd

    from geobench.results import Result

MOST_FAILED = 0.05
"""Results with a larger share of images without a prediction are not compared with published figures."""
CLOSE, CONTAINED = 0.8, 4
"""A name is close to another if they are this similar, or it contains the other, of at least so many letters."""
SAME_SHARE = 0.1
"""A training set counts as the published one if its size is within this share: photos have vanished since."""

Word = Literal["equal to rounding", "within the confidence interval", "below", "above", "not comparable"]


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
    others' predictions, repeats the rows of its own name, or of one that its system is known by. Rows with another
    gallery are left out if one has the result's own.
    """
    rows = published_rows(result.dataset)
    rows = rows.loc[[_repeats(result, row) for row in rows.to_dict("records")]]
    own = np.array([_gallery(result) in allowed.split("|") for allowed in rows["gallery"]], dtype=np.bool_)
    if own.any():
        rows = rows.loc[own | (rows["gallery"] == "").to_numpy(np.bool_)]
    return rows.reset_index(drop=True)


def verdict(
    result: Result,
    intervals: Mapping[str, tuple[float, float]],
    row: Mapping[Any, Any],
    scores: Mapping[str, float] | None = None,
) -> Verdict:
    """Return what ``result`` says about the published ``row``.

    ``not comparable`` if n, crops, gallery, training data or encoder are known to differ, if the gallery holds the true
    positions, test images were trained on or many have no prediction, or if nothing was reported. Else ``equal to
    rounding`` if every score rounds to the figure that was reported, ``below`` if our interval is worse than the
    published figure at one score or more, ``above`` if it is nowhere worse and somewhere better, ``within the
    confidence interval`` if it contains every figure: of a small test set that says little, and other models are too.

    Args:
        result: ours.
        intervals: for each metric, such as ``acc_25km``, low and high end.
        row: of :func:`published_rows`.
        scores: by metric, if they are not those of ``result``, but the mean of several seeds.
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
    reported = [metric for found in where.values() for metric in found]
    word, reason = _compared(where, intervals, _rounds_to(row, reported, result.scores if scores is None else scores))
    unknown = [] if str(row["n"]).isdigit() else ["n"]
    unknown += [
        what
        for what, sides in _protocols(result, row).items()
        if not all(sides) and (what != "gallery" or sides[1])  # a method without a gallery states none
    ]
    return Verdict(word, reason + (f" (not known: {', '.join(unknown)})" if unknown else ""))


def _compared(
    where: Mapping[str, list[Metric]], intervals: Mapping[str, tuple[float, float]], rounds: bool
) -> tuple[Word, str]:
    """Return the verdict on figures that lie ``below``, ``above`` or ``within`` our intervals, and its reason."""
    if rounds:
        return (
            "equal to rounding",
            f"the same figures at {in_words(ordered([metric for found in where.values() for metric in found]))}",
        )
    word: Word = "below" if where["below"] else "above" if where["above"] else "within the confidence interval"
    parts = [f"{side} at {in_words(found)}" for side, found in where.items() if found]
    widths = [intervals[metric.name][1] - intervals[metric.name][0] for metric in where["within"] if metric.unit == "%"]
    wide = f", in intervals up to {max(widths):.1f} points wide" if widths and len(parts) == 1 else ""
    return word, "; ".join(parts) + wide


def _rounds_to(row: Mapping[Any, Any], reported: Sequence[Metric], scores: Mapping[str, float]) -> bool:
    """Return whether every score rounds to the figure that was reported, to the most digits of any in its unit."""
    for unit in {metric.unit for metric in reported}:
        alike = [metric for metric in reported if metric.unit == unit]
        digits = max(_decimals(row[metric.name]) for metric in alike)
        step = 0.5 * 10.0**-digits + 1e-9
        if not all(abs(scores.get(metric.name, math.nan) - row[metric.name]) <= step for metric in alike):
            return False
    return True


def _decimals(figure: float) -> int:
    """Return how many decimals a published figure has."""
    return max(0, -int(Decimal(repr(float(figure))).normalize().as_tuple().exponent))


def _side(metric: Metric, figure: float, low: float, high: float) -> str:
    """Return where our interval lies: ``below`` if it is worse than the published ``figure``."""
    if low <= figure <= high:
        return "within"
    return "below" if (figure > high) == metric.higher_is_better else "above"


def judge(
    result: Result, intervals: Mapping[str, tuple[float, float]], scores: Mapping[str, float] | None = None
) -> list[Judged]:
    """Return the verdicts on all published rows that ``result`` repeats, sources with the same verdict joined."""
    found: dict[tuple[str, Verdict], list[str]] = {}
    for row in repeated_rows(result).to_dict("records"):
        found.setdefault((row["model"], verdict(result, intervals, row, scores)), []).append(row["source"])
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
    if result.asked < result.n:
        yield f"ours was asked for {result.asked:,} of {result.n:,} images"
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
    if not result.checkpoint and known_name(result.model) == plain(row["model"]):
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


def close_name(result: Result) -> str:
    """Return the published system whose name is close to that of ``result``, which is held against none; else empty."""
    systems = list(dict.fromkeys(row["model"] for row in published_rows(result.dataset, "methods").to_dict("records")))
    own = known_name(result.model)
    if result.checkpoint or not own or own in map(plain, systems):
        return ""
    within = [name for name in systems if len(plain(name)) >= CONTAINED and plain(name) in own]
    close = get_close_matches(own, list(map(plain, systems)), 1, CLOSE)
    if within:
        return str(max(within, key=len))
    return next((str(name) for name in systems if plain(name) in close), "")


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
