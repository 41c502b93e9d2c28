"""Where the files of a data set are to be had, as its definition states it in ``[[sources]]``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from geobench.datasets import Dataset
from geobench.errors import DatasetError


@dataclass(frozen=True)
class Source:
    """A file of a data set as its TOML states it in ``[[sources]]``.

    Attributes:
        file: where it lies, relative to the data set's folder. ``{00..97}`` stands for as many files, here and in
            ``urls``.
        what: ``images``, ``metadata``, or both.
        urls: addresses of the same bytes, tried in order.
        page: where a person gets it with a browser, for want of addresses or besides them.
        size, sha256: verified where they are given, else recorded.
        about: bytes, roughly, where the size is not known to the byte; of each file of a range.
        unpack: the folder that the archive is unpacked to; without it the file is read in place.
        split: the only split that needs it; every split without it.
        token: name of the environment variable that holds the access token of a gated set.
        pattern: ``file`` before its range was written out.
    """

    file: str
    what: str = "images"
    urls: Sequence[str] = ()
    page: str = ""
    size: int | None = None
    sha256: str = ""
    about: int = 0
    unpack: str = ""
    split: str = ""
    token: str = ""
    pattern: str = ""


def sources_of(dataset: Dataset, split: str = "") -> list[Source]:
    """Return the files that ``dataset`` names, of one split where it is given; ranges are written out.

    Raises:
        DatasetError: there is no such split, or the definition does not fit; names the key.
    """
    if split and split not in dataset.splits:
        raise DatasetError(f"{dataset.name} has no {split} split; it has {', '.join(dataset.splits)}.")
    found = [source for values in dataset.sources for source in _sources(dataset.name, values)]
    return [source for source in found if not split or source.split in ("", split)]


def _sources(name: str, values: Mapping[str, Any]) -> Iterator[Source]:
    """Yield the sources of one table of a definition: one, or as many as its range stands for."""
    valid = {f.name: f.type for f in fields(Source) if f.name != "pattern"}
    unknown = sorted(set(values) - set(valid))
    file = str(values.get("file", ""))
    if unknown or not file:
        raise DatasetError(f"{name}: [[sources]] has unknown keys {unknown} or no file; keys are {', '.join(valid)}.")
    for path in (file, str(values.get("unpack", ""))):
        parts = PurePosixPath(path).parts
        if path.startswith("/") or "\\" in path or ".." in parts or ":" in path:
            raise DatasetError(f"{name}: [[sources]] names {path!r}, which leads outside the folder of the data set.")
    if any(urlsplit(url).scheme not in ("http", "https") for url in values.get("urls", ())):
        raise DatasetError(f"{name}: [[sources]] of {file} has an address that is not http or https.")
    if not re.fullmatch("([0-9a-f]{64})?", values.get("sha256", "")):
        raise DatasetError(f"{name}: [[sources]] of {file} has a sha256 that is not 64 digits 0-9a-f.")
    source = Source(**{**values, "pattern": file})
    match = re.search(r"\{(\d+)\.\.(\d+)\}", file)
    if match is None:
        yield source
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        digits = str(number).zfill(len(first))
        urls = [url.replace(match[0], digits) for url in source.urls]
        yield replace(source, file=file.replace(match[0], digits), urls=urls)
