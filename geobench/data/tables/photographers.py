"""Who took an image: from a column of the table, or from the name that Flickr gave the file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

PHOTOGRAPHER = ("author", "photographer", "owner", "user_id", "user_nsid", "creator_username", "creator_id")
"""Column names, in lower case."""
FLICKR_USER = r"[0-9]+@N[0-9]{2}"


def named_columns(table: pd.DataFrame) -> Iterator[tuple[str, pd.Series[str]]]:
    """Yield each column of photographers: its name, and the photographers, '' if unknown.

    Of a Flickr file name only the user is kept: 177 authors of Im2GPS are given as ``9f05b2251e_1292_8504005@N07``.
    """
    for column in table.columns:
        if str(column).lower() in PHOTOGRAPHER:
            who = table[column].astype(str).str.strip().map(unquote)
            yield str(column), who.str.extract(rf"_({FLICKR_USER})$", expand=False).fillna(who)


def photographers(table: pd.DataFrame) -> pd.Series[str] | None:
    """Return who took each image, from a column or from Flickr's file names, '' if unknown; None if all are unknown."""
    for _, who in named_columns(table):
        return who
    found = table["image"].str.extract(rf"_({FLICKR_USER})(?:\.\w+)?$", expand=False).fillna("")
    return found if bool((found != "").any()) else None
