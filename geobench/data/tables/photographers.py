"""Who took an image: from a column of the table, or from the name that Flickr gave the file."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

PHOTOGRAPHER = ("author", "photographer", "owner", "user_id", "user_nsid", "creator_username", "creator_id")
"""Column names, in lower case."""
FLICKR_USER = r"[0-9]+@N[0-9]{2}"
NOBODY = (
    "anon anonym anonyme anonymous blank deleted empty false inconnu missing n/a na nan nat nil no nobody none not "
    "null undefined unknown unbekannt unnamed unspecified untitled void"
)
"""Words that stand for no photographer, alone or together with ``FILLERS``."""
FILLERS = (
    "a an account applicable artist author available by creator given name of owner person photo photographer provided "
    "recorded set source specified stated the user username"
)
_NUMBERS = re.compile(r"[-+]?0*(\.0*)?|-1(\.0*)?|-?9{4,}")
"""Numbers that stand for a missing one: 0, −1, 9999."""


def is_nobody(name: str) -> bool:
    """Return whether ``name`` stands for no photographer: it is empty, or a placeholder.

    >>> [is_nobody(name) for name in ("", "N/A", "<unknown>", "Unknown user", "not available", "0", "-", "-1")]
    [True, True, True, True, True, True, True, True]
    >>> [is_nobody(name) for name in ("Ann", "Anonymous Coward", "8504005@N07", "007", "Noone", "10")]
    [False, False, False, False, False, False]
    """
    text = name.strip().strip("<>()[]{}\"'").strip().casefold()
    if not any(map(str.isalnum, text)) or _NUMBERS.fullmatch(text):
        return True
    words = set(re.sub(r"[^\w/]+", " ", text.replace("_", " ").replace("n.a.", "na")).split())
    placeholders = words & set(NOBODY.split())
    return bool(placeholders) and words - placeholders <= set(FILLERS.split())


def named_columns(table: pd.DataFrame) -> Iterator[tuple[str, pd.Series[str]]]:
    """Yield each column of photographers: its name, and the photographers, each as first spelt, '' if unknown.

    A placeholder such as ``unknown`` is nobody: its images have nothing in common. Of a Flickr file name only the user
    is kept: 177 authors of Im2GPS are given as ``9f05b2251e_1292_8504005@N07``.
    """
    for column in table.columns:
        if str(column).lower() in PHOTOGRAPHER:
            who = table[column].astype(str).str.strip().map(unquote)
            who = who.str.extract(rf"_({FLICKR_USER})$", expand=False).fillna(who)
            nobody = [name for name in who.unique() if is_nobody(name)]
            yield str(column), _as_first_spelt(who.mask(who.isin(nobody), ""))


def one_spelling(name: str) -> str:
    """Return what all spellings of ``name`` have in common: without case, and with single spaces.

    >>> one_spelling("Anna  Müller ") == one_spelling("ANNA MÜLLER")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _as_first_spelt(who: pd.Series[str]) -> pd.Series[str]:
    first: dict[str, str] = {}
    return who.map({name: first.setdefault(one_spelling(name), name) for name in who.unique()})


def photographers(table: pd.DataFrame) -> pd.Series[str] | None:
    """Return who took each image, from a column or from Flickr's file names, '' if unknown; None if all are unknown."""
    for _, who in named_columns(table):
        if bool((who != "").any()):
            return who
    found = table["image"].str.extract(rf"_({FLICKR_USER})(?:\.\w+)?$", expand=False).fillna("")
    return found if bool((found != "").any()) else None
