"""Which columns of a file of predictions have which role: by the words in their names, and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from geobench.data.tables.columns import AXES, RECOGNISED, recognised
from geobench.errors import ResultError, SettingError
from geobench.published.flags import FLAGS, flags_in
from geobench.published.pairs import AXIS, COMPLETING, EDGE, PREDICTED, TOKEN, TRUE, Pair, in_order, pairs_of, words_of
from geobench.published.records import Record, text_of
from geobench.words.coordinate_text import split_position
from geobench.words.parsers import PARSERS

ROLES = ("image", "latitude", "longitude", "position", "rank", "score", "status", "model", "response")
TRUTH_ROLES = ("truth_latitude", "truth_longitude", "truth_position")
AFFIXES = ("predicted_{}", "pred_{}", "{}_predicted", "{}_pred")
"""Names of predicted positions, made from each name of a position."""
OPTIONAL = {
    "rank": ("rank",),
    "score": ("score", "probability", "prob", "confidence", "similarity"),
    "status": ("status", "state", "outcome"),
    "model": ("model", "model_name", "model_used", "model_id", "system", "method", "checkpoint", "run", "experiment")
    + ("seed", "llm", "vlm", "mllm", "lmm", "temperature"),
    "error": ("error", "error_message", "exception"),
    "response": ("model_response", "raw_response", "response", "answer", "output", "completion"),
}
"""Names that are recognised besides those of image and position, alone or at the end of a path in JSON."""
RESPONSES = (
    *(
        "raw_response",
        "raw_answer",
        "raw_output",
        "model_response",
        "model_output",
        "model_answer",
        "response",
        "completion",
    ),
    *("output", "generated_text", "answer", "prediction", "predicted", "output_text", "text", "content"),
)
"""Names of answers in words, that a parser reads."""
MORE_IMAGES = ("custom_id", "image_file", "image_name", "image_path", "img", "photo", "key")
SAMPLED = 500
"""Records that are looked at to see whether a column holds positions."""


@dataclass(frozen=True)
class Roles:
    """The columns of a file.

    Attributes:
        others: those that may have each role other than the position: one if it was named.
        answers: where the positions are: several if the file has those of several models.
        ranked: True if ``answers`` are of one model, the best first.
        truth: where the true positions are; None if it has none.
        flags: columns that say yes or no to an answer, and what that is called in :mod:`geobench.published.flags`.
        notes: lines on what was chosen, for the user.
    """

    others: Mapping[str, list[str]]
    answers: Sequence[Pair]
    ranked: bool = False
    truth: Pair | None = None
    flags: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_roles(columns: Mapping[str, str]) -> None:
    """Raise ``SettingError`` if ``columns`` names a role that no column can have."""
    unknown = sorted(set(columns) - {*ROLES, *TRUTH_ROLES})
    if unknown:
        raise SettingError(
            f"columns: unknown role {', '.join(unknown)}; valid are {', '.join((*ROLES, *TRUTH_ROLES))}."
        )


def find_roles(path: Path, records: Sequence[Record], columns: Mapping[str, str]) -> Roles:
    """Return which columns of ``records`` have which role: that in ``columns``, or all that are recognised.

    Raises:
        ResultError: a column is not there, none is recognised for the image or the position, or several hold positions.
    """
    names = list(dict.fromkeys(name for record in records for name in record.values))
    named = {role: [_named(path, names, role, wanted)] for role, wanted in columns.items()}
    others = others_of(names) | {role: found for role, found in named.items() if role not in (*AXES, "position")}
    given = {role: found for role, found in named.items() if role in (*AXES, "position")}
    answers, ranked = _answers(path, records, names, given)
    missing = [role for role, there in (("image", "image" in others), ("position", bool(answers))) if not there]
    if missing:
        raise _missing(path, names, missing, _answers_in_words(records, names) if "position" in missing else "")
    taken = {name for pair in answers for several in pair.columns.values() for name in several}
    truth = _truth(names, records, named, taken)
    true = {name for several in (truth.columns.values() if truth else ()) for name in several}
    notes = _unread(names, taken, true) if not given else []
    if ranked and not _of_ours(names):
        first = " and ".join(found[0] for found in answers[0].columns.values())
        notes.append(f"the {len(answers)} positions of a row are taken for the best of one model, the best in {first}")
    return Roles(others, answers, ranked, truth, flags_in([name for name in names if name not in taken]), notes)


def _unread(names: Sequence[str], taken: set[str], true: set[str]) -> list[str]:
    """Return a note on the pairs of coordinates besides those that are ``taken`` and those of true positions."""
    pairs = [pair for pair in pairs_of(name for name in names if name not in taken | true) if not pair.words & TRUE]
    if not any(pair.words & EDGE for pair in pairs):
        pairs = [pair for pair in pairs if not pair.words & COMPLETING]
    if not pairs or not taken:
        return []
    read = " and ".join(name for name in names if name in taken)
    others = "; ".join(" and ".join(found[0] for found in pair.columns.values()) for pair in pairs)
    return [
        f"positions are read from {read}, not from {others}; to read others name them (columns): "
        "latitude=NAME,longitude=NAME"
    ]


def _named(path: Path, names: Sequence[str], role: str, wanted: str) -> str:
    by_lower = {name.strip().lower(): name for name in names}
    if wanted.strip().lower() not in by_lower:
        raise ResultError(f"{path} has no column {wanted!r} for the {role}; it has {listed(names)}.")
    return by_lower[wanted.strip().lower()]


def others_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of each role other than the position, by their names or the ends of their paths in JSON."""
    by_lower = {name.strip().lower(): name for name in names}
    ends: dict[str, list[str]] = {}
    for name in names:
        ends.setdefault(name.strip().lower().rpartition(".")[2], []).append(name)
    found = {}
    for role, usual in {"image": (*RECOGNISED["image"], *MORE_IMAGES), **OPTIONAL}.items():
        whole = [by_lower[name] for name in usual if name in by_lower]
        there = whole or [ends[name][0] for name in usual if len(ends.get(name, ())) == 1]
        if there:
            found[role] = there
    return found


def _answers(
    path: Path, records: Sequence[Record], names: Sequence[str], given: dict[str, list[str]]
) -> tuple[list[Pair], bool]:
    """Return where the predicted positions are, and whether several are ranks; none if they are not recognised."""
    if given:
        return [_of_given(path, records, names, given)], False
    if ours := _of_ours(names):
        return ours, True
    pairs = pairs_of(names)
    predicted = [pair for pair in pairs if pair.words & PREDICTED and not pair.words & TRUE]
    exact = next(filter(None, (_of_affix(names, affix) for affix in AFFIXES)), None)
    if exact is not None or predicted:
        return ([exact], False) if exact is not None else in_order(predicted)
    others = [pair for pair in pairs if pair.words and not pair.words & TRUE]
    if (bare := _of_affix(names, "{}")) is not None or not others:
        return [bare] if bare is not None else _by_content(path, records, names), False
    if len(others) > 1:
        raise _several(path, [" and ".join(found[0] for found in pair.columns.values()) for pair in others])
    return [Pair("", others[0].columns)], False


def _of_given(path: Path, records: Sequence[Record], names: Sequence[str], given: dict[str, list[str]]) -> Pair:
    """Return where the predicted positions are, of which a role was named by the user."""
    if "position" in given:
        return Pair("", {"position": given["position"]})
    if {*AXES} <= {*given}:
        return Pair("", {"position": given["latitude"]} if given["latitude"] == given["longitude"] else given)
    others, ranked = _answers(path, records, names, {})
    if len(others) != 1 or ranked or "position" in others[0].columns:
        raise ResultError(f"{path}: name both columns of the position: latitude=NAME,longitude=NAME.")
    return Pair("", {**others[0].columns, **given})


def _of_ours(names: Sequence[str]) -> list[Pair]:
    """Return the ranks of a predictions file of ours: ``latitude_1``, ``latitude_2``, …; none if it is not one."""
    ranks = range(1, sum(name.startswith("latitude_") for name in names) + 1)
    pairs = [{axis: [f"{axis}_{rank}"] for axis in AXES} for rank in ranks]
    return [Pair("", pair) for pair in pairs if all(name in names for found in pair.values() for name in found)]


def beside_of(pair: Pair, names: Sequence[str]) -> dict[str, str]:
    """Return the columns of rank and score that are called like ``pair`` but for the word of the axis.

    >>> pair = Pair("", {"latitude": ["top.0.lat"], "longitude": ["top.0.lon"]})
    >>> beside_of(pair, ["top.0.lat", "top.0.lon", "top.0.score", "top.1.score"])
    {'score': 'top.0.score'}
    """
    found = {}
    for role in ("rank", "score", "status", "error", "response"):
        if there := _called_like(pair, OPTIONAL[role], names):
            found[role] = next(iter(there))
    return found


def _called_like(pair: Pair, words: Iterable[str], names: Sequence[str]) -> dict[str, str]:
    """Return the columns called like ``pair`` with one of ``words`` for that of the axis, and which."""
    cuts = list(AXIS["latitude"].finditer(column := pair.columns.get("latitude", [""])[0]))
    if not cuts:
        return {}
    before, after = column[: cuts[-1].start()].lower(), column[cuts[-1].end() :].strip().lower()
    without = TOKEN.sub(lambda word: "" if word[0] in PREDICTED else word[0], before)
    shorter = "" if not without.strip("._- ") else f"{without.rstrip('._- ')}{without[-1]}"
    by_lower = {name.strip().lower(): name for name in names}
    stems = dict.fromkeys((before, *([shorter] if shorter or after else [])))
    called = {f"{stem}{word}{after}": word for stem in stems for word in words}
    return {by_lower[name]: word for name, word in called.items() if name in by_lower}


def flags_of(pair: Pair, names: Sequence[str]) -> dict[str, str]:
    """Return the flags of ``pair`` among several: those called like it, and those of the whole row."""
    whole = {name: called for name, called in flags_in(names).items() if name.strip().lower() == called}
    return whole | _called_like(pair, FLAGS, names)


def _of_affix(names: Sequence[str], affix: str) -> Pair | None:
    """Return the columns called like a position with ``affix``, or None if there are not both."""
    by_lower = {name.strip().lower(): name for name in names}
    bare = [name for axis in AXES for name in RECOGNISED[axis] if affix.format(name) in by_lower]
    pair = {axis: [by_lower[affix.format(name)] for name in recognised(bare, axis)] for axis in AXES}
    return Pair("", pair) if all(pair.values()) else None


def _by_content(path: Path, records: Sequence[Record], names: Sequence[str]) -> list[Pair]:
    """Return the column that holds positions, a latitude and a longitude in one text; none if no column does."""
    holding = [name for name in names if not words_of(name) & TRUE and _holds_positions(records, name)]
    predicted = [name for name in holding if words_of(name) & PREDICTED]
    if len(predicted or holding) > 1:
        raise _several(path, predicted or holding)
    return [Pair("", {"position": [name]}) for name in predicted or holding]


def _holds_positions(records: Sequence[Record], name: str) -> bool:
    """Return whether at least half of the values of a column are a latitude and a longitude, and one is."""
    texts = [text for record in records[:SAMPLED] if (text := text_of(record.values.get(name)))]
    held = sum(split_position(text) is not None for text in texts)
    return bool(held) and 2 * held >= len(texts)


def _truth(
    names: Sequence[str], records: Sequence[Record], named: Mapping[str, list[str]], taken: set[str]
) -> Pair | None:
    """Return the columns of the true positions: those that are named so, or bare ones beside predicted ones."""
    given = {role.removeprefix("truth_"): found for role, found in named.items() if role in TRUTH_ROLES}
    if given:
        return Pair("", given)
    free = [name for name in names if name not in taken]
    called = [pair for pair in pairs_of(free) if pair.words & TRUE]
    if len(called) == 1:
        return called[0]
    if not called and (bare := _of_affix(free, "{}")) is not None:
        return bare
    held = [name for name in free if words_of(name) & TRUE and _holds_positions(records, name)]
    return Pair("", {"position": held}) if len(held) == 1 and not called else None


def truth_of(path: Path, records: Sequence[Record], columns: Mapping[str, str]) -> tuple[str, Pair]:
    """Return the columns of the image and the true position in a file that need not hold predictions.

    Raises:
        ResultError: they are not recognised.
    """
    names = list(dict.fromkeys(name for record in records for name in record.values))
    named = {role: [_named(path, names, role, wanted)] for role, wanted in columns.items() if role in TRUTH_ROLES}
    others = others_of(names)
    truth = _truth(names, records, named, set())
    if truth is None:
        truth = next(iter(_by_content(path, records, names)), None)
    missing = [role for role, there in (("image", "image" in others), ("position", truth is not None)) if not there]
    if truth is None or missing:
        raise _missing(path, names, missing)
    return others["image"][0], truth


def _answers_in_words(records: Sequence[Record], names: Sequence[str]) -> str:
    """Return the column that is called like answers and holds texts of words; empty if there is none."""
    ends = {name.strip().lower().rpartition(".")[2]: name for name in names}
    for word in RESPONSES:
        texts = [record.values.get(ends[word]) for record in records[:SAMPLED]] if word in ends else []
        if any(isinstance(text, str) and re.search(r"[^\W\d_]{3}", text) for text in texts):
            return ends[word]
    return ""


def _missing(path: Path, names: Sequence[str], roles: Sequence[str], words: str = "") -> ResultError:
    remedies = {"image": "image=NAME", "position": "latitude=NAME,longitude=NAME or position=NAME"}
    if words and roles == ["position"]:
        return ResultError(
            f"{path} has answers in words, in {words!r}, and no positions; give a parser to read them: "
            f"{', '.join(PARSERS)}."
        )
    return ResultError(
        f"{path} has no recognised column for {' and '.join(roles)}; it has {listed(names)}. Name it (columns): "
        f"{','.join(remedies[role] for role in roles)}."
    )


def _several(path: Path, found: Sequence[str]) -> ResultError:
    return ResultError(
        f"{path} has several positions in a record: {'; '.join(found[:6])}; name the predicted one (columns): "
        "latitude=NAME,longitude=NAME, or position=NAME if both are in one column."
    )


def listed(names: Sequence[str]) -> str:
    """Return the first of ``names`` as text."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")


def remedy(role: str, name: str) -> str:
    """Return what a user can do if ``name`` is the column that has ``role``."""
    return (
        f"name the right one: columns={{{role!r}: {name!r}}} in Python, or geobench score FILE --dataset NAME "
        f"--columns {role}={name}"
    )


def remedy_for(role: str) -> partial[str]:
    """Return :func:`remedy` for a role."""
    return partial(remedy, role)
