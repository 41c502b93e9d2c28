"""Removal from ``GEOBENCH_HOME``: what was asked for, without what a checkpoint or a living process needs."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from geobench import holding
from geobench.cache.entries import Entry, find_entries
from geobench.cache.kinds import KINDS, Removal
from geobench.cache.leftovers import locks_of
from geobench.cache.needs import Needs
from geobench.errors import SettingError, unknown_name

NEEDED = "a checkpoint here refers to this"
IN_USE = "a running process uses this"
UNKNOWN = "there are no file locks here to tell whether a process uses this"
LINK = "a link; remove what it leads to yourself"


@dataclass(frozen=True)
class Selection:
    """What is listed or removed: entries that all of these fit.

    Attributes:
        names: of entries; none for all.
        kinds: none for all.
        dataset: that they were made of or trained on; entries of which that is unknown do not fit. Empty for all.
        older_than_s: seconds since they were last used; 0 for all.
    """

    names: Sequence[str] = ()
    kinds: Sequence[str] = ()
    dataset: str = ""
    older_than_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse kinds that there are not."""
        known = [kind.name for kind in KINDS]
        for name in self.kinds:
            if name not in known:
                raise unknown_name("kind", name, known)

    @property
    def is_empty(self) -> bool:
        """Return whether it asks for nothing in particular."""
        return not (self.names or self.kinds or self.dataset or self.older_than_s)

    def of(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of ``entries`` that fit; raise ``UnknownNameError`` for a name that none has."""
        names = [name.rstrip("/") for name in self.names]
        for name in names:
            if name not in (known := [entry.name for entry in entries]):
                raise unknown_name("entry", name, known, "List them: geobench cache --entries")
        latest = time.time() - self.older_than_s
        return [
            entry
            for entry in entries
            if (not names or entry.name in names)
            and (not self.kinds or entry.kind.name in self.kinds)
            and (not self.dataset or self.dataset in entry.datasets)
            and (not self.older_than_s or entry.used <= latest)
        ]


@dataclass(frozen=True)
class Plan:
    """Entries to remove, and those that were selected and stay, each with the reason."""

    removed: list[Entry]
    kept: list[tuple[Entry, str]]


def plan_removal(selection: Selection, needed: bool = False) -> Plan:
    """Return what of ``selection`` would be removed now. Nothing is.

    Args:
        selection: of entries; an empty one is refused.
        needed: remove also what checkpoints here refer to; it is made again when it is asked for.

    Raises:
        SettingError: nothing is selected.
        UnknownNameError: there is no such entry or kind.
    """
    if selection.is_empty:
        raise SettingError("nothing is selected; give names of entries, kinds, a data set or an age.")
    entries = find_entries()
    needs = Needs.of(entries)
    plan = Plan([], [])
    for entry in selection.of(entries):
        if entry.kind.removal is Removal.NEVER and not (selection.names or selection.kinds):
            continue  # nobody asked for it
        if reason := _why_kept(entry, selection, needs, needed):
            plan.kept.append((entry, reason))
        else:
            plan.removed.append(entry)
    return plan


def _why_kept(entry: Entry, selection: Selection, needs: Needs, needed: bool) -> str:
    """Return why an entry stays; empty if it does not."""
    removal = entry.kind.removal
    if removal is Removal.NEVER:
        return entry.kind.note
    if not selection.names and (removal is Removal.NAMED or (removal is Removal.AGED and not selection.older_than_s)):
        return f"removed {removal.value}"
    if any(path.is_symlink() for path in entry.paths):
        return LINK
    if spec := needs.part_of(entry):
        return f"{spec} consists of these; remove it first"
    if not needed and needs.of_entry(entry):
        return NEEDED
    with _to_oneself(entry) as obstacle:
        return obstacle


def remove(plan: Plan) -> Plan:
    """Remove the entries of ``plan`` and return what became of each: a process may use one by now."""
    done = Plan([], list(plan.kept))
    for entry in plan.removed:
        if obstacle := _removed(entry):
            done.kept.append((entry, obstacle))
        else:
            done.removed.append(entry)
    return done


def _removed(entry: Entry) -> str:
    """Remove an entry, renamed first, so that nobody finds a part of it; or return why it stays."""
    with _to_oneself(entry) as obstacle:
        if obstacle:
            return obstacle
        for path in entry.paths:
            with suppress(FileNotFoundError):
                if path.is_dir():
                    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # a leftover if killed
                    path.rename(aside)
                    shutil.rmtree(aside, ignore_errors=True)
                else:
                    path.unlink()
    return ""


@contextmanager
def _to_oneself(entry: Entry) -> Iterator[str]:
    """Keep other processes from using ``entry`` during the block; yield why that cannot be, empty if it is so."""
    locks = [lock for path in entry.paths for lock in locks_of(path)]
    with ExitStack() as stack:
        alone = [stack.enter_context(holding.alone(path)) for path in (*locks, *entry.in_use) if path.exists()]
        yield IN_USE if False in alone else UNKNOWN if None in alone else ""
