"""Where the files of a data set can be downloaded, as its definition states in ``[[sources]]``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Ge

from geobench.errors import DatasetError
from geobench.settings.declarations import validated

if TYPE_CHECKING:
    from geobench.data.dataset import Dataset

TOKEN = r"[A-Z][A-Z0-9_]*_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")  # a token sent to these stays on the machine


@validated(DatasetError)
@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set: a table ``[[sources]]`` of its TOML.

    Attributes:
        file: its place, relative to the data set's folder. ``{00..97}`` stands for as many files, here and in ``urls``.
        what: ``images``, ``metadata``, or what else it holds.
        urls: addresses of the same bytes, tried in order.
        page: where a person gets it with a browser, if there are no addresses or besides them.
        size, sha256: verified if given, else recorded.
        about: approximate number of bytes if the exact size is unknown; of each file of a range.
        unpack: the folder that the archive is unpacked to; without it the file is read in place.
        split: the only split that needs it; if empty, every split does.
        token: name of the environment variable, ``…_TOKEN``, that holds the access token of a gated set; it is sent
            over https only.
    """

    file: str
    what: str = "images"
    urls: Sequence[str] = ()
    page: str = ""
    size: Annotated[int, Ge(0)] | None = None
    sha256: str = ""
    about: Annotated[int, Ge(0)] = 0
    unpack: str = ""
    split: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        """Refuse places outside the folder, addresses that are none, and a token that would be sent unencrypted."""
        for path in (self.file, self.unpack):
            if path.startswith("/") or "\\" in path or ".." in PurePosixPath(path).parts or ":" in path:
                raise ValueError(f"{path!r} leads outside the folder of the data set.")
        if not self.file:
            raise ValueError("file is empty; name the file's place in the folder of the data set.")
        if not re.fullmatch("([0-9a-f]{64})?", self.sha256):
            raise ValueError(f"sha256 must be 64 digits 0-9a-f, not {self.sha256!r}.")
        if self.token and not re.fullmatch(TOKEN, self.token):
            raise ValueError(f"token must name an environment variable that ends in _TOKEN, not {self.token!r}.")
        for url in self.urls:
            _check_address(url, bool(self.token))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let a table stand for an instance, which strictness would refuse; its values are checked strictly."""
        schema = handler(source)
        handler.resolve_ref_schema(schema)["strict"] = False
        return schema

    @property
    def pattern(self) -> str:
        """Return ``file`` as the definition has it: before its range was written out."""
        return self.file

    def numbered(self) -> Iterator[RemoteFile]:
        """Yield the file, or the files that its range stands for."""
        match = re.search(r"\{(\d+)\.\.(\d+)\}", self.file)
        if match is None:
            yield self
            return
        first, last = match.groups()
        for number in range(int(first), int(last) + 1):
            digits = str(number).zfill(len(first))
            urls = [url.replace(match[0], digits) for url in self.urls]
            file = self.file.replace(match[0], digits)
            yield NumberedFile(**{**vars(self), "file": file, "urls": urls}, declared=self.file)


@dataclass(frozen=True)
class NumberedFile(RemoteFile):
    """One of the files that a range stands for; ``declared`` is the name with the range."""

    declared: str = ""

    @property
    def pattern(self) -> str:
        """Return ``declared``."""
        return self.declared


def remote_files(dataset: Dataset, split: str = "") -> list[RemoteFile]:
    """Return the files that ``dataset`` names, ranges written out; only those that ``split`` needs if it is given.

    Raises:
        DatasetError: there is no such split.
    """
    if split and split not in dataset.splits:
        raise DatasetError(f"{dataset.name} has no {split} split; it has {', '.join(dataset.splits)}.")
    found = [file for declared in dataset.sources for file in declared.numbered()]
    return [file for file in found if not split or file.split in ("", split)]


def _check_address(url: str, with_token: bool) -> None:
    """Raise ``ValueError`` if ``url`` is not an address for http or https, or would get a token unencrypted."""
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    except ValueError as error:
        raise ValueError(f"urls has {url!r}, which is not an address ({error}).") from None
    if scheme not in ("http", "https"):
        raise ValueError(f"urls must be http or https, not {url!r}.")
    if with_token and scheme != "https" and host not in LOOPBACK:
        raise ValueError(f"urls must be https if a token is sent, not {url!r}.")
