"""Shards: parts of a set's images that are worked on apart, and what must hold before they are merged."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geobench import files
from geobench.errors import MergeError, SettingError

RECORD = re.compile(r"(?:[^.].*\.)?\d+-of-\d+\.json")
FORM = 1
"""Version of the form of records."""
SHOWN = 5
"""Problems that one error names."""


@dataclass(frozen=True)
class Shard:
    """Number ``number`` of ``of`` shards, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard ``3/16``.

        Raises:
            SettingError: it is none.
        """
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingError(f"{text!r} is no shard; the third of sixteen is 3/16, the first 1/16, the last 16/16.")
        return cls(int(match[1]), int(match[2]))

    def rows(self, n: int, what: str = "images") -> range:
        """Return which of ``n`` are in it: a contiguous part, no two of which differ in size by more than one.

        Raises:
            SettingError: there are more shards than ``n``.
        """
        if self.of > n:
            raise SettingError(
                f"there are only {n:,} {what}, so there can be no more than {n:,} shards, not {self.of:,}."
            )
        return range((self.number - 1) * n // self.of, self.number * n // self.of)

    def __str__(self) -> str:
        """Return ``3/16``."""
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """Return ``3-of-16``, for names of files."""
        return f"{self.number}-of-{self.of}"


@dataclass(frozen=True)
class Part:
    """What was made of one shard.

    Attributes:
        path: of its record.
        kind: ``predictions`` or ``features``.
        shard: which one it is.
        what: what it is a shard of, in words.
        settings: what must be the same in all shards of a whole.
        about: everything else that is recorded.
    """

    path: Path
    kind: str
    shard: Shard
    what: str
    settings: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self) -> Path:
        """Write the record; return its path."""
        values = {"form": FORM, "kind": self.kind, "shard": str(self.shard), "what": self.what}
        values |= {"settings": dict(self.settings), "about": dict(self.about)}
        files.write_json(self.path, values | {"digest": files.digest(values)})
        return self.path

    @classmethod
    def load(cls, path: Path) -> Part:
        """Return the part with the record ``path``.

        Raises:
            MergeError: it is damaged or was edited, of another version, or no such record.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("form") != FORM:
                raise MergeError(f"{path} was written by another version of geobench; make that shard again.")
            if values.pop("digest") != files.digest({"form": FORM} | values):
                raise MergeError(f"{path} was changed after it was written; make that shard again.")
            return cls(path, **values | {"shard": Shard.parse(values["shard"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SettingError) as error:
            raise MergeError(f"{path} is not the record of a shard, or damaged; make that shard again.") from error


def find_parts(paths: Iterable[Path]) -> list[Part]:
    """Return the parts at ``paths``: records, or folders with records in them or one level below; each once.

    Raises:
        MergeError: a path does not exist or has no part, or a record is damaged.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise MergeError(f"{path} does not exist; give the records of shards, or the folders that they are in.")
        if path.suffix == ".csv":  # of a pattern of the shell; the record beside it names it
            continue
        near = [path] if path.is_file() else [*path.glob("*.json"), *path.glob("*/*.json")]
        records = sorted(each for each in near if RECORD.fullmatch(each.name))
        if path.is_file() and not records:
            raise MergeError(f"{path} is no record of a shard: these are called *.3-of-16.json.")
        if not records:
            raise MergeError(
                f"{path} holds no shard; `geobench run --shard 1/5 --predict-only` writes RESULTS/shards/*-of-5.json, "
                "and `geobench features DATASET --shard 1/5` names the folder that it writes."
            )
        found |= dict.fromkeys(record.resolve() for record in records)
    return [Part.load(path) for path in found]


def complete(parts: Sequence[Part]) -> list[list[Part]]:
    """Return the wholes that ``parts`` make up, the shards of each in order.

    Raises:
        MergeError: a shard is missing, is there twice, or is of something else than the others; says which.
    """
    groups: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        groups[files.digest(part.kind, dict(part.settings), part.shard.of)].append(part)
    wholes = sorted(groups.values(), key=len, reverse=True)
    problems = list(_problems(wholes))
    if problems:
        more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        raise MergeError(f"nothing was merged: {'; '.join(problems[:SHOWN])}{more}.")
    return [sorted(whole, key=lambda part: part.shard.number) for whole in wholes]


def _problems(wholes: Sequence[list[Part]]) -> Iterator[str]:
    """Yield a clause for each thing that is wrong; ``wholes`` are the groups of equal settings, the largest first."""
    explained: set[int] = set()
    for place, whole in enumerate(wholes):
        if place in explained:
            continue
        yield from _twice(whole)
        missing = _missing(whole)
        for other in range(place + 1, len(wholes)):
            one = wholes[other][0]
            if one.kind == whole[0].kind and one.settings == whole[0].settings:
                explained.add(other)
                both = f"{whole[0].shard.of} and {one.shard.of} shards, such as {whole[0].path} and {one.path}"
                yield f"there are both {both}, of {one.what}; leave one division out"
            elif reason := _is_foreign(wholes[other], whole, missing):
                explained.add(other)
                yield from (f"{part.path} is shard {part.shard} of something else: {reason}" for part in wholes[other])
        if missing:
            shards = ", ".join(str(Shard(number, whole[0].shard.of)) for number in missing)
            there = f"{whole[0].path}" + (f" and {len(whole) - 1:,} more are" if whole[1:] else " is")
            yield f"shard {shards} of {whole[0].what} is missing ({there} there)"


def _twice(whole: Sequence[Part]) -> Iterator[str]:
    """Yield a clause for each shard that is there more than once."""
    for shard, count in Counter(part.shard for part in whole).items():
        if count > 1:
            same = " and ".join(str(part.path) for part in whole if part.shard == shard)
            yield f"shard {shard} of {whole[0].what} is there twice: {same}"


def _missing(whole: Sequence[Part]) -> list[int]:
    return sorted(set(range(1, whole[0].shard.of + 1)) - {part.shard.number for part in whole})


def _is_foreign(group: Sequence[Part], whole: Sequence[Part], missing: Sequence[int]) -> str:
    """Return in what ``group`` differs from ``whole``, if it cannot be a whole of its own that is merged as well."""
    one, other = group[0], whole[0]
    alone = (one.kind, one.shard.of) == (other.kind, other.shard.of) and _missing(group)
    fills = {part.shard.number for part in group} <= set(missing)
    return _difference(one, other) if alone and (fills or not missing) else ""


def _difference(part: Part, other: Part) -> str:
    """Return in what the settings of two parts differ: the first of them, with both values."""
    name, mine, theirs = next(_differences(part.settings, other.settings))
    return f"{name} is {mine!r}, and for {other.path} {theirs!r}"


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield names and values that differ; of a value that has names itself only the entries."""
    for name in dict.fromkeys([*mine, *theirs]):
        one, other = mine.get(name), theirs.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other)
        else:
            yield name, one, other
