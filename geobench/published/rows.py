"""Published figures with where they come from, and what a result of ours says about the ones that it repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geobench.errors import unknown_name
from geobench.metrics import ACCURACIES, LEVELS_KM
from geobench.plugins import get_models
from geobench.published.agreement import conflicts, first_sources, plain
from geobench.settings import as_dict, parse_assignments

if TYPE_CHECKING:
    import pandas as pd

    from geobench.results import Result

SELECTIONS = {
    "all": "every row, systems first, then variants of one system",
    "methods": "systems beside others, without the variants of the papers' ablation tables",
    "paper": "the systems of GeoCLIP's own comparisons (Tables 1a, 1b, S1)",
    "none": "no row",
}
"""What :func:`published_rows` can be asked for."""
PAPER = "GeoCLIP (NeurIPS 2023)"
SAME_SHARE = 0.1
"""A training set is the published one while its size is within this share: photos have vanished since."""

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
        sources: where these figures stand.
    """

    model: str
    sources: tuple[str, ...]
    verdict: Verdict


def published_rows(dataset: str, which: str = "all") -> pd.DataFrame:
    """Return the published rows for ``dataset``: with ``all`` a row per row of a source, none merged.

    In the other selections a system of which several sources give the same figures, up to rounding, is one row: that of
    the first source, the paper before the lists. Sources that differ keep a row each.

    Columns: ``model``, ``acc_1km`` … ``acc_2500km`` (percent; NaN where not reported), ``source``, ``n`` (missing where
    not stated), ``protocol`` (one line, empty where not stated), ``how`` (``copied``: the figure that the method's
    authors give; ``re-run``: somebody else's run or rescoring), ``note`` (with the conflict), ``conflict`` (what
    other sources say instead), then the columns of the files in ``results/published`` that these are made from, and
    ``also`` (a tuple: the other sources of a merged row).

    Raises:
        UnknownNameError: ``which`` is not in ``SELECTIONS``.
    """
    if which not in SELECTIONS:
        raise unknown_name("selection of published rows", which, SELECTIONS)
    rows = _all_rows()
    here = (rows["dataset"] == dataset).to_numpy(np.bool_)
    systems = (rows["kind"] == "method").to_numpy(np.bool_)
    in_paper = rows["source"].str.startswith(PAPER).to_numpy(np.bool_)
    chosen = {"all": here, "methods": here & systems, "paper": here & systems & in_paper, "none": here & ~here}
    found = rows.loc[chosen[which]]
    also: dict[tuple[str, str], tuple[str, ...]] = {}
    if which != "all":
        for row in found.loc[(found["first"] != "").to_numpy(np.bool_)].to_dict("records"):
            key = plain(row["model"]), row["first"]
            also[key] = (*also.get(key, ()), row["source"])
        found = found.loc[(found["first"] == "").to_numpy(np.bool_)]
    others: list[Any] = [also.get((plain(row["model"]), row["source"]), ()) for row in found.to_dict("records")]
    found = found.assign(also=others)
    return found.drop(columns=["dataset", "first"]).reset_index(drop=True)


def repeated_rows(result: Result) -> pd.DataFrame:
    """Return the published rows that ``result`` repeats: same test set, same system, same settings.

    A row names what repeats it (its cell ``repeats``). A result without a checkpoint of ours, such as one made from
    others' predictions, repeats the rows of its own name. Rows with another gallery are left out where one has the
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

    ``not comparable`` where n, crops, gallery, training data or encoder are known to differ, or nothing was reported.
    Else ``below`` where the published figure is above our interval at one threshold or more, ``above`` where it is
    nowhere above and somewhere below, ``reproduced`` where it is within at every threshold that was reported.

    Args:
        result: ours.
        intervals: for each ``acc_…km`` its low and high end, in percent.
        row: of :func:`published_rows`.
    """
    differences = list(_differences(result, row))
    if differences:
        return Verdict("not comparable", "; ".join(differences))
    where: dict[str, list[str]] = {"below": [], "above": [], "within": []}
    for score, km in zip(ACCURACIES, LEVELS_KM.values(), strict=True):
        if row[score] == row[score]:  # not NaN: reported
            low, high = intervals[score]
            side = "below" if row[score] > high else "above" if row[score] < low else "within"
            where[side].append(f"{km}")
    if not any(where.values()):
        return Verdict("not comparable", "no accuracy was reported")
    word: Word = "below" if where["below"] else "above" if where["above"] else "reproduced"
    parts = [f"{side} at {', '.join(thresholds)} km" for side, thresholds in where.items() if thresholds]
    unknown = [] if str(row["n"]).isdigit() else ["n"]
    unknown += [
        what
        for what, sides in _protocols(result, row).items()
        if not all(sides) and (what != "gallery" or sides[1])  # a method without a gallery states none
    ]
    return Verdict(word, "; ".join(parts) + (f" (not known: {', '.join(unknown)})" if unknown else ""))


def judge(result: Result, intervals: Mapping[str, tuple[float, float]]) -> list[Judged]:
    """Return the verdicts on all published rows that ``result`` repeats; sources with the same verdict are joined."""
    found: dict[tuple[str, Verdict], list[str]] = {}
    for row in repeated_rows(result).to_dict("records"):
        found.setdefault((row["model"], verdict(result, intervals, row)), []).append(row["source"])
    return [Judged(model, tuple(sources), reached) for (model, reached), sources in found.items()]


def _differences(result: Result, row: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is known to differ between the protocols; what either does not state differs in nothing."""
    import pandas as pd

    if result.subset:
        yield f"ours is the subset {result.subset!r}"
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
    """Return our protocol and the published one; empty where it is not known, or there is none."""
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
    """Return the hyper-parameters of ``model`` as it comes; none where it is not installed here."""
    models = get_models()
    return as_dict(models[model].Config()) if model in models else {}


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


@cache
def _switches() -> dict[str, set[str]]:
    """Return for each model the settings by which published rows differ."""
    switches: dict[str, set[str]] = {}
    for name, *assignments in (cell.split() for cell in _all_rows()["repeats"] if cell):
        switches.setdefault(name, set()).update(parse_assignments(assignments))
    return switches


@cache
def _all_rows() -> pd.DataFrame:
    """Return the rows of all files, systems first, with what is made from them. It is shared: do not change it."""
    import pandas as pd

    from geobench_published import FOLDER

    rows = pd.concat([_read(path) for path in sorted(FOLDER.glob("*.csv"))], ignore_index=True)
    rows = rows.sort_values("kind", key=lambda kind: kind != "method", kind="stable", ignore_index=True)
    records = rows.to_dict("records")
    rows["conflict"], rows["first"] = conflicts(records), first_sources(records)
    rows["note"] = ["; ".join(filter(None, pair)) for pair in zip(rows["note"], rows["conflict"], strict=True)]
    rows["protocol"] = [_protocol(row) for row in rows.to_dict("records")]
    for score in ACCURACIES:
        rows[score] = pd.to_numeric(rows[score].replace("", None))
    rows["n"] = pd.to_numeric(rows["n"].replace("", None)).astype("Int64")
    head = ["dataset", "model", *ACCURACIES, "source", "n", "protocol", "how", "note", "conflict"]
    return rows[head + [column for column in rows.columns if column not in head]]


def _read(path: Path) -> pd.DataFrame:
    """Return the rows of one file as text; lines that begin with # explain it."""
    import pandas as pd

    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("#")]
    return pd.read_csv(StringIO("".join(lines)), dtype=str, keep_default_na=False)


def _protocol(row: Mapping[Any, Any]) -> str:
    """Return the protocol as one line, what the source does not state left out."""
    crops = {"": "", "1": "1 crop"}.get(row["crops"], f"{row['crops']} crops")
    gallery = f"gallery {row['gallery'].replace('|', ' or ')}" if row["gallery"] else ""
    trained_on = f"trained on {row['trained_on']}" if row["trained_on"] else ""
    return ", ".join(filter(None, (crops, gallery, trained_on, row["encoder"])))
