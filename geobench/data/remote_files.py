"""Where the files of a data set are to be had, as its definition states it in ``[[sources]]``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, get_type_hints
from urllib.parse import urlsplit

from geobench.data.definitions import in_words, wrong_types
from geobench.errors import DatasetError

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset

TOKEN = r"[A-Z][A-Z0-9_]*_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")  # what is sent to these leaves no machine


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
        token: name of the environment variable, ``…_TOKEN``, that holds the access token of a gated set; it is sent by
            https alone.
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
    check_source(name, values)
    file = str(values["file"])
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


def check_source(where: object, values: Mapping[str, Any]) -> None:
    """Raise ``DatasetError`` where a table ``[[sources]]`` of the definition ``where`` does not fit: names the key."""
    valid = {f.name: f.type for f in fields(Source) if f.name != "pattern"}
    unknown = sorted(set(values) - set(valid))
    file = str(values.get("file", ""))
    if unknown or not file:
        raise DatasetError(f"{where}: [[sources]] has unknown keys {unknown} or no file; keys are {', '.join(valid)}.")
    for key, value, hint in wrong_types(values, get_type_hints(Source)):
        raise DatasetError(f"{where}: [[sources]] of {file}: {key} must be {in_words(hint)}, not {value!r}.")
    for path in (file, str(values.get("unpack", ""))):
        parts = PurePosixPath(path).parts
        if path.startswith("/") or "\\" in path or ".." in parts or ":" in path:
            raise DatasetError(f"{where}: [[sources]] names {path!r}, which leads outside the folder of the data set.")
    _check_addresses(f"{where}: [[sources]] of {file}", values.get("urls", ()), values.get("token", ""))
    if not re.fullmatch("([0-9a-f]{64})?", values.get("sha256", "")):
        raise DatasetError(f"{where}: [[sources]] of {file} has a sha256 that is not 64 digits 0-9a-f.")


def _check_addresses(where: str, urls: Sequence[str], token: str) -> None:
    """Raise ``DatasetError`` where an address is none, or an access token would be sent in the open."""
    if token and not re.fullmatch(TOKEN, token):
        raise DatasetError(f"{where}: token must name an environment variable that ends in _TOKEN, not {token!r}.")
    for url in urls:
        try:
            scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        except ValueError as error:
            raise DatasetError(f"{where}: urls has {url!r}, which is no address ({error}).") from None
        if scheme not in ("http", "https"):
            raise DatasetError(f"{where} has an address that is not http or https: urls names {url!r}.")
        if token and scheme != "https" and host not in LOOPBACK:
            raise DatasetError(f"{where}: urls must be https where a token is sent, not {url!r}.")
