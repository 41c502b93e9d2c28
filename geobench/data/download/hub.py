"""Files on the Hugging Face hub: ``huggingface_hub`` knows where a file is, its version, and who may have it.

Endpoint or mirror (``HF_ENDPOINT``), access token (``HF_TOKEN`` or ``hf auth login``), errors and cache are the
library's. Its ``hf_hub_download`` is not used: since version 1.18 an interrupted download starts again from the first
byte (huggingface_hub#4228), and one part of MP-16 has 19.5 GB. :mod:`geobench.data.download.fetch` resumes.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from geobench import disk, files
from geobench.data.download.fetch import check_room
from geobench.data.download.web import AddressError, Patience, TransientError, check_status
from geobench.data.remote_files import LOOPBACK
from geobench.errors import DownloadError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

ADDRESS = re.compile(
    r"https://(?:huggingface\.co|hf\.co)/(?:(dataset|space)s/)?([^/?#]+/[^/?#]+)/resolve/([^/?#]+)/([^?#]+)(?:[?#].*)?"
)


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    Attributes:
        repository: ``OWNER/NAME``.
        kind: ``dataset``, ``space`` or ``model``.
        revision: a branch, tag or commit.
        path: of the file in the repository.
    """

    repository: str
    kind: str
    revision: str
    path: str

    @property
    def page(self) -> str:
        """Return the address of the repository, for a browser."""
        return f"https://huggingface.co/{'' if self.kind == 'model' else self.kind + 's/'}{self.repository}"

    def url(self, revision: str = "") -> str:
        """Return the address of the file at the endpoint in use, of ``revision`` instead of its own if given."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.path, repo_type=self.kind, revision=revision or self.revision)

    def cached(self, revision: str = "") -> Path | None:
        """Return the file in the hub's cache on this machine, None if it is not there. Asks no server."""
        from huggingface_hub import try_to_load_from_cache

        revision = revision or self.revision
        found = try_to_load_from_cache(self.repository, self.path, revision=revision, repo_type=self.kind)
        return Path(found).resolve() if isinstance(found, str) else None


@dataclass(frozen=True)
class HubVersion:
    """What the hub states about a file.

    Attributes:
        url: its address at this very commit.
        etag: hash of its content.
        size: None if not stated.
        sha256: of a large file (LFS or Xet); empty for a small one, which is stored in git.
        token: the access token that was sent; it may be sent to the host of ``url`` again.
    """

    url: str
    commit: str
    etag: str
    size: int | None
    sha256: str
    token: str


def parse_address(url: str) -> HubFile | None:
    """Return the file on the hub that ``url`` is the address of, None if it is elsewhere."""
    match = ADDRESS.fullmatch(url)
    if match is None:
        return None
    kind, repository, revision, path = match.groups()
    file = HubFile(repository, kind or "model", unquote(revision), unquote(path))
    with suppress(ValueError):  # not a valid name of a repository
        if file.url() and ".." not in PurePosixPath(file.path).parts:  # of the repository, or its folder in the cache
            return file
    return None


def address_in_use(url: str) -> str:
    """Return ``url`` as it is asked for: at the endpoint in use if it is on the hub."""
    file = parse_address(url)
    return file.url() if file else url


def look_up(file: HubFile, token: str, patience: Patience) -> HubVersion:
    """Ask the hub for the version of ``file`` that its revision stands for.

    Args:
        token: access token; if empty, the one that huggingface_hub knows.

    Raises:
        AddressError: the hub does not have the file, or not for this user; says what to do.
        TransientError: the hub is busy or cannot be reached.
    """
    from huggingface_hub import errors, get_hf_file_metadata

    url = file.url()
    token = _token_for(url, token)
    try:
        found = get_hf_file_metadata(url, token=token or False, user_agent="geobench")
    except errors.OfflineModeIsEnabled as error:
        raise AddressError("is not asked, because HF_HUB_OFFLINE is set") from error
    except errors.HfHubHTTPError as error:
        raise _explain(error, file, bool(token), patience) from error
    except errors.HTTPError as error:  # type: ignore[attr-defined]  # httpx's; from huggingface_hub 2.0 httpx2's
        raise TransientError(f"cannot be reached ({type(error).__name__})") from error
    if not (found.commit_hash and found.etag):
        raise AddressError("does not answer as the Hugging Face hub does; check HF_ENDPOINT and your proxy")
    sha256 = found.etag if re.fullmatch("[0-9a-f]{64}", found.etag) else ""
    return HubVersion(file.url(found.commit_hash), found.commit_hash, found.etag, found.size, sha256, token)


def link(cached: Path, path: Path) -> None:
    """Put a file of the hub's cache at ``path``: by a hard link, so that it is stored once, or else as a copy.

    Raises:
        DownloadError: the disk is full or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # another file system, or one without links
            path.hardlink_to(cached)
            return
        check_room(path.name, path.parent, cached.stat().st_size)
        with files.replacing(path) as temporary:
            shutil.copyfile(cached, temporary)
    except OSError as error:
        found = disk.not_written(error, path) or f"{path} cannot be written: {error.strerror or error}."
        raise DownloadError(str(found)) from error


def _token_for(url: str, token: str) -> str:
    """Return the access token to send to the endpoint: none if it is not https, so that nobody on the way reads it."""
    from huggingface_hub import constants, get_token

    if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in LOOPBACK:
        return ""
    implicit = "" if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return token or implicit or ""


def _explain(error: HfHubHTTPError, file: HubFile, token_sent: bool, patience: Patience) -> Exception:
    """Return our error for an error status of the hub."""
    from huggingface_hub import errors

    what = f"{file.kind} {file.repository}"
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    terms = f"Accept the terms at {file.page} and {log_in}"
    response = error.response
    explained: Exception = AddressError(f"answers {response.status_code}")
    if isinstance(error, errors.GatedRepoError):
        refused = "this account has not been granted access" if token_sent else "no access token was sent"
        explained = AddressError(f"says that {what} is gated, and {refused}", terms)
    elif isinstance(error, errors.EntryNotFoundError):
        explained = AddressError(f"has no {file.path} in {what}")
    elif isinstance(error, errors.RevisionNotFoundError):
        explained = AddressError(f"has no revision {file.revision} of {what}")
    elif response.status_code == 401 and token_sent:
        explained = AddressError("rejects the access token", f"Renew it: {log_in}")
    elif isinstance(error, errors.RepositoryNotFoundError):  # 401 if nobody is logged in: it may be private
        explained = AddressError(f"has no {what}, or only for those who have been granted access", terms)
    else:
        try:
            check_status(response.status_code, response.reason_phrase, response.headers, patience)
        except (AddressError, TransientError) as status:
            explained = status
    return explained
