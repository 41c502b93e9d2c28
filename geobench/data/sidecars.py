"""The files beside a photo that tell its position: XMP as editors write it, and the JSON of Google Takeout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from geobench.data.stores.catalogue import StoredImage
from geobench.data.stores.names import Kind, suffix_of
from geobench.data.stores.store import Store
from geobench.images.exif import Recorded, recorded
from geobench.images.gps import NoPositionError, Position
from geobench.images.takeout import MAX_BYTES, TAKEOUT, read_takeout, takeout_positions
from geobench.images.xmp import MAX_BYTES as MAX_XMP
from geobench.images.xmp import xmp_position

XMP_FILE = "XMP beside it"
ADDED = ".supplemental-metadata"
"""What Takeout puts between the name of a photo and ``.json`` since 2024, as much of it as there is room for."""
CUT = 46
"""Takeout cuts the name of a JSON to so many characters and ``.json``."""
EDITED = "-edited"
_COUNTED = re.compile(r"(.+)(\([0-9]+\))")


class Sidecars:
    """The files beside the photos of a store.

    Attributes:
        files: those that may tell a position, by their path with the suffix in lower case.
        used: paths of those that belong to a photo that was asked for.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.files: dict[str, list[StoredImage]] = {}
        self.used: set[str] = set()
        for file in store.catalogue.images():
            if store.kind_of(file) is Kind.SIDECAR:
                self.files.setdefault(_with_lower_suffix(file.name), []).append(file)

    def positions(self, photo: StoredImage) -> list[Recorded]:
        """Return what the files beside a photo tell, XMP first; an edited photo has the JSON of its original."""
        if not self.files:
            return []
        folder, slash, name = photo.name.rpartition("/")
        told = [
            found
            for beside in _xmp_names(name)
            for found in recorded(XMP_FILE, partial(self._xmp, folder + slash + beside, photo.part))
        ]
        for candidate in filter(None, (name, _original(name))):
            files = [self._takeout(folder + slash + json, photo.part, of) for json, of in _json_names(candidate)]
            if any(files):
                return told + [found for file in files for found in file]
        return told

    def unused(self) -> list[str]:
        """Return the paths of the files that belong to no photo that was asked for."""
        return [file.name for files in self.files.values() for file in files if file.name not in self.used]

    def _xmp(self, path: str, part: int) -> Position | None:
        file = self._file(path, part)
        if file is None:
            return None
        self.used.add(file.name)
        return xmp_position(self.store.head(file, MAX_XMP + 1))

    def _takeout(self, path: str, part: int, photo: str) -> list[Recorded]:
        """Return what a JSON tells, if Takeout wrote it and, where its name leaves that open, of ``photo``."""
        try:
            file = self._file(path, part)
            values = None if file is None else read_takeout(self.store.head(file, MAX_BYTES + 1))
        except NoPositionError as error:
            return [Recorded(TAKEOUT, None, str(error))]
        if file is None or values is None or (photo and not _is_title(str(values.get("title")), photo)):
            return []
        self.used.add(file.name)
        return list(takeout_positions(values))

    def _file(self, path: str, part: int) -> StoredImage | None:
        """Return the file at ``path``; of several archives that have one, that of the archive ``part``."""
        found = self.files.get(path, [])
        here = [file for file in found if file.part == part] or found
        if len(here) > 1:
            raise NoPositionError("there are several files of this name")
        return here[0] if here else None


def _xmp_names(photo: str) -> tuple[str, ...]:
    """Return the names of the XMP files of a photo: with its suffix, as darktable has it, and without, as Adobe."""
    return f"{photo}.xmp", f"{_stem(photo)}.xmp"


def _json_names(photo: str) -> Iterator[tuple[str, str]]:
    """Yield the names that Takeout may give the JSON of a photo; where several photos may have it, the photo too.

    It then has to be of the title: the name of the JSON was cut, or lacks the suffix. The count of photos with one name
    goes behind the suffix: ``X(1).jpg`` has ``X.jpg(1).json``.
    """
    counted = _COUNTED.fullmatch(_stem(photo))
    suffix = photo.removeprefix(_stem(photo))
    forms = [(photo, "")] + ([(counted[1] + suffix, counted[2])] if counted else [])
    for name, count in forms:
        for room in (0, *range(len(ADDED), 0, -1)):
            yield f"{name}{ADDED[:room]}{count}.json", ""
        if len(name) > CUT:
            yield f"{name[:CUT]}{count}.json", name
    if suffix:
        for name, count in forms:
            yield f"{_stem(name)}{count}.json", name


def _original(photo: str) -> str:
    """Return the photo that ``photo`` is an edited copy of, going by its name; empty if it is none."""
    stem, suffix = _stem(photo), photo.removeprefix(_stem(photo))
    counted = _COUNTED.fullmatch(stem)
    plain, count = (counted[1], counted[2]) if counted else (stem, "")
    return f"{plain.removesuffix(EDITED)}{count}{suffix}" if plain.endswith(EDITED) else ""


def _stem(name: str) -> str:
    return name[: len(name) - len(suffix_of(name))]


def _with_lower_suffix(name: str) -> str:
    return _stem(name) + suffix_of(name)


def _is_title(title: str, photo: str) -> bool:
    """Return whether a title is that of the file ``photo``, whose name may have been cut too."""
    title, stem = _plain(title), _plain(_stem(photo))
    return title in (stem, _plain(photo)) or (len(photo) > CUT and title.startswith(stem))


def _plain(title: str) -> str:
    """Return a title with the characters that Takeout replaces in the names of files as ``_``, in lower case."""
    return re.sub(r"\W", "_", title).casefold()
