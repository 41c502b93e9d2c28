"""The kinds of things in ``GEOBENCH_HOME``: where each lies, what it is, and whether it may be removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Removal(Enum):
    """When ``geobench cache remove`` takes entries of a kind; the value says it in words."""

    SELECTED = "if selected"
    AGED = "only by age or name"
    NAMED = "only by name"
    NEVER = "never"


@dataclass(frozen=True)
class Kind:
    """A kind of entries.

    Attributes:
        name: in lists, and for ``--kind``.
        pattern: of the path of an entry relative to the home; a folder's ends in a slash.
        removal: when entries are removed.
        note: what is lost by that, or why nothing is removed.
        in_use: pattern of the file of an entry that a process which uses it holds; empty of what is only written.
    """

    name: str
    pattern: str
    removal: Removal
    note: str
    in_use: str = ""

    def matches(self, path: str) -> bool:
        """Return whether the path, relative to the home, is that of an entry."""
        return re.fullmatch(self.pattern, path) is not None


KEY = "[0-9a-f]{16}"
DOWNLOADS = Kind(
    "downloads", r"data/[^/]+/(.+/)?\.[^/]+\.part", Removal.AGED, "interrupted; the next download goes on with them"
)
LEFTOVERS = Kind("leftovers", "", Removal.NEVER, "of killed processes: geobench cache sweep")
OTHER = Kind("other", ".*", Removal.NEVER, "not made by this version of geobench")
KINDS = (
    Kind("features", f"features/{KEY}/", Removal.SELECTED, "the images are encoded again", "features.npy"),
    Kind("extractions", rf"features/{KEY}\.partial/", Removal.AGED, "interrupted; the next one goes on with them"),
    Kind("shards", rf"features/{KEY}\.\d+-of-\d+\.partial/", Removal.AGED, "of features, to be merged: geobench merge"),
    Kind("galleries", rf"galleries/{KEY}\.(npy|json)", Removal.SELECTED, "the galleries are embedded again", "*.npy"),
    Kind("fingerprints", rf"fingerprints/{KEY}\.npy", Removal.SELECTED, "an audit reads the images again"),
    Kind("index", "index/[^./][^/]*/", Removal.SELECTED, "the archive is listed again", "images.sqlite"),
    Kind("checkpoints", "checkpoints/[^/]+/[^./][^/]*/", Removal.NAMED, "trainings", "weights.safetensors"),
    Kind("trainings", r"checkpoints/[^/]+/\.[^/]+\.partial/", Removal.AGED, "interrupted; the same command goes on"),
    DOWNLOADS,
    Kind("data", "data/[^./][^/]*/", Removal.NEVER, "downloads and sets of your own: geobench datasets remove"),
    Kind("weights", "weights/[^/]+/?", Removal.NEVER, "encoders, put here by you"),
    Kind("answers", "answers/[^/]+/", Removal.NEVER, "of chat models, paid for"),
    Kind("audits", r"subsets/[^/]+/[^/]+\.json", Removal.NEVER, "the rows of clean subsets need them"),
    Kind("contents", "contents/[^/]+/", Removal.NEVER, "tell an image that was edited from what it was"),
    Kind("digests", r"digests/[^/]+\.json", Removal.NEVER, "of large files, small"),
    Kind("jobs", "jobs/[^/]+/", Removal.AGED, "records, logs and results of jobs that were submitted to a cluster"),
    Kind("profiles", r"clusters/[^/]+\.toml", Removal.NEVER, "what jobs ask a cluster for, written by you"),
    Kind("locks", r".*\.lock", Removal.NEVER, "empty; the system frees those of killed processes"),
    LEFTOVERS,
    OTHER,
)  # fmt: skip
CONTAINERS = re.compile(
    "(features|galleries|fingerprints|index|data|weights|answers|subsets(/[^/]+)?|contents|digests|experiments|jobs|"
    "clusters|"
    "checkpoints(/[^./][^/]*)?)/"
)
"""Folders that hold entries and are none."""


def kind_of(path: str) -> Kind:
    """Return the kind of what lies at ``path``, relative to the home; a folder's ends in a slash."""
    return next(kind for kind in KINDS if kind.pattern and kind.matches(path))
