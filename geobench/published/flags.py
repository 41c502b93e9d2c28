"""Columns that say yes or no to an answer: ``refused``, ``is_valid``. What is no answer has no position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from geobench.predictions import FAILED, NOT_ASKED, OK, REFUSED, SERVICE, UNPARSEABLE
from geobench.published.answers import Answers

IF_TRUE = {
    FAILED: "failed is_failed failure has_failed",
    REFUSED: "refused is_refused refusal is_refusal declined",
    UNPARSEABLE: "invalid is_invalid parse_error parse_failed unparseable is_unparseable",
    SERVICE: "is_error has_error api_error timeout timed_out",
    NOT_ASKED: "skipped is_skipped",
}
IF_FALSE = {
    UNPARSEABLE: "valid is_valid parsed is_parsed parse_success parse_ok valid_coordinates has_coordinates",
    FAILED: "success is_success successful succeeded answered is_answered",
}
"""Names of columns, alone or at the end of a path in JSON, by what an answer is if they say yes, or no."""
_YES, _NO = ("true", "1", "1.0", "yes", "y"), ("false", "0", "0.0", "no", "n")
_IF = {
    name: (said, status)
    for said, names_of in ((_YES, IF_TRUE), (_NO, IF_FALSE))
    for status, names in names_of.items()
    for name in names.split()
}
FLAGS = tuple(_IF)


def flags_in(names: Sequence[str]) -> dict[str, str]:
    """Return those of ``names`` that are called like a flag, and the name that they have in :data:`IF_TRUE` or so.

    >>> flags_in(["id", "meta.is_refusal", "Valid"])
    {'meta.is_refusal': 'is_refusal', 'Valid': 'valid'}
    """
    ends = {name: name.strip().lower().rpartition(".")[2].replace(" ", "_") for name in names}
    return {name: end for name, end in ends.items() if end in _IF}


def with_flags(
    answers: Answers, columns: Mapping[str, Sequence[str]], flags: Mapping[str, str], unit: str
) -> tuple[Answers, list[str]]:
    """Return ``answers`` without those that a flag says are none, and notes on the flags.

    Args:
        answers: of n rows.
        columns: the texts (n,) of columns called like flags.
        flags: what each is called in :data:`FLAGS`.
        unit: what a row is called.
    """
    coordinates, status, notes = answers.coordinates.copy(), answers.status.copy(), []
    for name, called in flags.items():
        texts = [text.lower() for text in columns[name]]
        if not set(texts) <= {*_YES, *_NO, "", "none", "nan", "null"}:
            other = next(text for text in columns[name] if text.lower() not in (*_YES, *_NO))
            notes.append(f"the column {name!r} is not taken for one of yes and no: it has {other[:40]!r}")
            continue
        said, becomes = _IF[called]
        told = np.array([text in said for text in texts], dtype=np.bool_)
        placed = told & np.isfinite(coordinates).all(axis=1)
        if placed.any():
            notes.append(
                f"the column {name!r} says of {int(placed.sum()):,} {unit}s with a position that they are no answer "
                f"({becomes}); those positions do not count"
            )
        status[told & np.isin(status, (OK, UNPARSEABLE))] = becomes
        coordinates[told] = np.nan
    return Answers(coordinates, status, answers.reasons), notes
