"""In which order the predictions for an image count: by rank or score, which must say the same and leave none open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geobench.errors import ResultError
from geobench.geo import FloatArray

if TYPE_CHECKING:
    import pandas as pd

FIRST_RANKS = (0.0, 1.0)


def order_of(
    path: Path, unit: str, table: pd.DataFrame, rank: FloatArray | None, columns: Mapping[str, str]
) -> FloatArray:
    """Return what the rows (n,) of ``table`` are sorted by within an image, the best first; infinite where unknown.

    Args:
        path: of the file, for messages.
        unit: what its rows are called there.
        table: ``line``, ``image``, ``score``, NaN for none, and ``latitude``, NaN where there is no position.
        rank: (n,) of each row, the best the lowest, NaN for none; None if there is no column of ranks.
        columns: those that the user named. A rank or a score that was named is taken as it is.

    Raises:
        ResultError: scores leave open which prediction of an image is its best, or are its ranks; ranks begin
            elsewhere than at 0 or 1; rank and score contradict each other.
    """
    import pandas as pd

    by_score = pd.Series(-table["score"].to_numpy()).rank(method="first").fillna(np.inf).to_numpy()
    several = table.assign(rank=np.nan if rank is None else rank)
    several = several.loc[table["image"].duplicated(keep=False) & table["latitude"].notna()]
    if rank is None or ("score" in columns and "rank" not in columns):
        _refuse_open(path, unit, several)
        if "score" not in columns:
            _refuse_ranks_called_score(path, several)
        return np.asarray(by_score, dtype=np.float64)
    _refuse_late(path, table.assign(rank=rank))
    if "rank" not in columns:
        _refuse_contradiction(path, unit, several)
    return np.asarray(np.where(np.isnan(rank), np.inf, rank))


def _refuse_open(path: Path, unit: str, several: pd.DataFrame) -> None:
    """Raise ``ResultError`` if an image has two best scores at different positions, or some predictions without one."""
    scored = several.loc[several["score"].notna()]
    without = several.loc[several["score"].isna() & several["image"].isin(scored["image"])]
    if len(without):
        row = without.iloc[0]
        raise ResultError(
            f"{path}: {unit} {row['line']} has no score, while another prediction for {row['image']!r} has one, and "
            "nothing says which is the best; give each a score, or add a column rank (1 is best)."
        )
    best = scored.loc[scored["score"] == scored.groupby("image")["score"].transform("max")]
    places = best.drop_duplicates(["image", "latitude", "longitude"])
    tied = places.loc[places.duplicated("image", keep=False)]
    if len(tied):
        first, second = (row for _, row in tied.loc[tied["image"] == tied["image"].iloc[0]].head(2).iterrows())
        raise ResultError(
            f"{path}: {unit}s {first['line']} and {second['line']} are both for {first['image']!r} with the score "
            f"{first['score']:g} (such images: {tied['image'].nunique():,}), and nothing says which is the best; add a "
            "column rank (1 is best)."
        )


def _refuse_ranks_called_score(path: Path, several: pd.DataFrame) -> None:
    """Raise ``ResultError`` if the scores of every image are 1 to k: whether the highest is the best is not known."""
    if several.empty or several["score"].isna().any():
        return
    grouped = several.groupby("image")["score"]
    if (
        (grouped.min() == 1).all()
        and (grouped.max() == grouped.size()).all()
        and (grouped.nunique() == grouped.size()).all()
    ):
        raise ResultError(
            f"{path}: the scores of every image are 1 to {int(several['score'].max())}: if they are ranks, the lowest "
            "the best, say so: rank=NAME; if the highest is the best: score=NAME."
        )


def _refuse_late(path: Path, table: pd.DataFrame) -> None:
    """Raise ``ResultError`` if the ranks of an image begin later than those of most others, which is at 0 or 1."""
    first = table.groupby("image")["rank"].min().dropna()
    if first.empty:
        return
    begin = first.mode().min()
    late = first.loc[first > max(begin, 0)]
    if begin not in FIRST_RANKS:
        raise ResultError(
            f"{path}: the ranks begin at {begin:g}, but 1 is the best: where are the first? If the column holds "
            "something else, rename it."
        )
    if len(late):
        raise ResultError(
            f"{path}: the ranks of {late.index[0]!r} begin at {late.iloc[0]:g}, not at {begin:g} (such images: "
            f"{len(late):,}); if it has no best prediction, give it a row of rank {begin:g} without a position."
        )


def _refuse_contradiction(path: Path, unit: str, several: pd.DataFrame) -> None:
    """Raise ``ResultError`` if a prediction of a better rank has a lower score than another of its image."""
    known = several.loc[several["rank"].notna() & several["score"].notna()].sort_values(
        ["image", "rank"], kind="stable"
    )
    rises = (known["score"].diff() > 0) & (known["image"] == known["image"].shift())
    if rises.any():
        second = known.loc[rises].iloc[0]
        raise ResultError(
            f"{path}: rank and score order the predictions for {second['image']!r} differently ({unit} "
            f"{second['line']} has the rank {second['rank']:g} and a higher score than the rank before); name the one "
            "that counts: rank=NAME or score=NAME, of several scores in a row any."
        )
