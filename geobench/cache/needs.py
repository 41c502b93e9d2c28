"""What checkpoints here refer to: features that they were trained on, embeddings of galleries, lists of archives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geobench.cache.entries import Entry
from geobench.checkpoints import Checkpoint, checkpoint_folder, readable_checkpoints
from geobench.plugins import get_models


@dataclass(frozen=True)
class Needs:
    """The trainings in ``GEOBENCH_HOME``.

    Attributes:
        checkpoints: those that can be read.
        unread: data sets of those that cannot, and of interrupted trainings: all features of these may be theirs.
    """

    checkpoints: Sequence[Checkpoint]
    unread: frozenset[str]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Needs:
        """Return the trainings among all ``entries``."""
        found, _ = readable_checkpoints()
        read = {checkpoint.folder for checkpoint in found}
        others = [
            entry
            for entry in entries
            if entry.kind.name == "trainings" or (entry.kind.name == "checkpoints" and entry.paths[0] not in read)
        ]
        return cls(found, frozenset(name for entry in others for name in entry.datasets))

    def of_entry(self, entry: Entry) -> str:
        """Return what refers to ``entry``, such as ``geoclip@mp16-s0-ab12cd34``; empty if nothing here does."""
        if entry.kind.name == "galleries":
            return _owner(entry)
        if entry.kind.name == "index":
            users = (one.spec for one in self.checkpoints if one.dataset in entry.datasets)
            return next(users, "") or self._unread(entry)
        if entry.kind.name == "features" and entry.about.get("purpose") == "train":
            users = (one.spec for one in self.checkpoints if _is_of(entry, one))
            return next(users, "") or self._unread(entry)
        return ""

    def part_of(self, entry: Entry) -> str:
        """Return the checkpoint that has the features ``entry`` in place of weights; empty if none has."""
        if entry.kind.name != "features":
            return ""
        return next((one.spec for one in self.checkpoints if one.made_of == entry.paths[0].name), "")

    def _unread(self, entry: Entry) -> str:
        names = sorted(self.unread.intersection(entry.datasets))
        return f"a training on {names[0]} that is interrupted or cannot be read" if names else ""


def _is_of(entry: Entry, checkpoint: Checkpoint) -> bool:
    """Return whether features are those that ``checkpoint`` was trained on, as far as both say."""
    about = entry.about
    key = about.get("images_key")
    same_images = not key or not checkpoint.images_key or key == checkpoint.images_key
    encoder = str(about.get("encoder"))  # of a training on pixels the encoder as it is, without what it is wrapped in
    same_encoder = checkpoint.encoder == encoder or checkpoint.encoder.startswith(f"{encoder}:")
    return about.get("dataset") == checkpoint.dataset and same_images and same_encoder


def _owner(entry: Entry) -> str:
    """Return the checkpoint that embeddings of a gallery are of, empty if it is not here, or not recorded."""
    spec = entry.embedded_by
    model, _, identifier = spec.partition("@")
    if not identifier:
        return ""  # of an earlier version, whose embeddings this one does not read
    own = checkpoint_folder(model, identifier).is_dir()
    plugin = get_models().get(model)
    brought = plugin is not None and identifier in plugin.importable()
    return spec if own or brought or Path(identifier).is_dir() else ""
