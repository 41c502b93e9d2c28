"""Published figures with their sources and protocols."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geobench.errors import unknown_name
from geobench.metrics import Metric
from geobench.published.agreement import conflicts, first_sources, metrics_in, plain

if TYPE_CHECKING:
    import pandas as pd

SELECTIONS = {
    "all": "every row, systems first, then variants of one system",
    "methods": "systems, without the variants of the papers' ablation tables",
    "paper": "the systems of GeoCLIP's own comparisons (Tables 1a, 1b, S1)",
    "none": "no row",
}
"""What :func:`published_rows` can be asked for."""
PAPER = "GeoCLIP (NeurIPS 2023)"


def published_rows(dataset: str, which: str = "all") -> pd.DataFrame:
    """Return the published rows for ``dataset``: with ``all`` a row per row of a source, none merged.

    In the other selections a system for which several sources give the same figures, up to rounding, is one row: that
    of the first source, papers before lists. Sources that differ keep a row each.

    Columns: ``model``, the scores by the names of their metrics, such as ``acc_25km`` (NaN if not reported),
    ``source``, ``n`` (missing if not stated), ``protocol`` (one line, empty if not stated), ``how`` (``copied``: the
    figure given by the method's authors; ``re-run``: somebody else's run or rescoring), ``note`` (including the
    conflict), ``conflict`` (what other sources say), then the columns of the files in ``results/published`` that these
    are made from, and ``also`` (a tuple: the other sources of a merged row).

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


@cache
def published_metrics(dataset: str) -> tuple[Metric, ...]:
    """Return the metrics of which somebody published a figure for ``dataset``."""
    rows = published_rows(dataset)
    return tuple(metric for metric in score_metrics() if rows[metric.name].notna().any())


def repeating_settings() -> list[list[str]]:
    """Return the column ``repeats`` of all published rows that have one, split: a model and its assignments."""
    return [text.split() for text in _all_rows()["repeats"] if text]


@cache
def _all_rows() -> pd.DataFrame:
    """Return the rows of all files, systems first, with what is derived from them. It is shared: do not modify it."""
    import pandas as pd

    rows = _all_files()
    rows = rows.sort_values("kind", key=lambda kind: kind != "method", kind="stable", ignore_index=True)
    records = rows.to_dict("records")
    rows["conflict"], rows["first"] = conflicts(records), first_sources(records)
    rows["note"] = ["; ".join(filter(None, pair)) for pair in zip(rows["note"], rows["conflict"], strict=True)]
    rows["protocol"] = [_protocol(row) for row in rows.to_dict("records")]
    scores = [metric.name for metric in score_metrics()]
    for score in scores:
        rows[score] = pd.to_numeric(rows[score].replace("", None))
    rows["n"] = pd.to_numeric(rows["n"].replace("", None)).astype("Int64")
    head = ["dataset", "model", *scores, "source", "n", "protocol", "how", "note", "conflict"]
    return rows[head + [column for column in rows.columns if column not in head]]


@cache
def score_metrics() -> tuple[Metric, ...]:
    """Return the metrics of all published figures."""
    return tuple(metrics_in(_all_files().columns))


@cache
def _all_files() -> pd.DataFrame:
    """Return the rows of all files as text, a score that a file has no column for empty. Shared: do not modify it."""
    import pandas as pd

    from geobench_published import FOLDER

    return pd.concat([_read(path) for path in sorted(FOLDER.glob("*.csv"))], ignore_index=True).fillna("")


def _read(path: Path) -> pd.DataFrame:
    """Return the rows of one file as text; lines that begin with # are comments."""
    import pandas as pd

    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("#")]
    return pd.read_csv(StringIO("".join(lines)), dtype=str, keep_default_na=False)


def _protocol(row: Mapping[Any, Any]) -> str:
    """Return the protocol as one line, without what the source does not state."""
    crops = {"": "", "1": "1 crop"}.get(row["crops"], f"{row['crops']} crops")
    gallery = f"gallery {row['gallery'].replace('|', ' or ')}" if row["gallery"] else ""
    trained_on = f"trained on {row['trained_on']}" if row["trained_on"] else ""
    return ", ".join(filter(None, (crops, gallery, trained_on, row["encoder"])))
