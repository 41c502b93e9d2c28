"""One question to a web server: redirects followed with care, the answer judged."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

CHUNK = 1 << 18
STALL_BYTES = 4096
"""A server that sends less than this in ``Patience.stall_s`` has stalled."""
REDIRECTS = 10
TRY_LATER = (408, 425, 429)  # and 5xx


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect_s, stall_s: seconds until a connection stands, and without a byte on one that does.
        attempts: tries in a row that bring less than ``progress_bytes`` of news; then the next address has its turn.
        backoff_s: wait before the second try, doubled before each further one, up to ``longest_wait_s``.
    """

    connect_s: float = 20.0
    stall_s: float = 60.0
    attempts: int = 5
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    progress_bytes: int = 1_000_000


class AddressError(Exception):
    """This address does not give the file, and asking it again would not help."""


class CutError(Exception):
    """The answer failed or ended early; it is worth another try, after ``wait_s`` seconds where the server says so."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@contextmanager
def ask(
    session: Session, url: str, headers: Mapping[str, str], token: str, patience: Patience
) -> Iterator[tuple[Response, str]]:
    """Yield the answer at the end of all redirects, and the SHA-256 that a server on the way states (else empty).

    ``token`` goes to the host of ``url`` alone, never on after a redirect to another.
    """
    import requests

    sent = {"User-Agent": "geobench", "Accept-Encoding": "identity", **headers}
    home, seen, sha256 = _origin(url), {url}, ""

    def authorise(request: PreparedRequest) -> PreparedRequest:  # in place of ~/.netrc, which requests would send
        if token and _origin(request.url or "") == home:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    timeout = (patience.connect_s, patience.stall_s)
    for _ in range(REDIRECTS + 1):
        try:
            response = session.get(
                url, headers=sent, auth=authorise, stream=True, allow_redirects=False, timeout=timeout
            )
        except requests.exceptions.RequestException as error:
            raise _blame(error) from error
        with response:
            sha256 = sha256 or _stated_sha256(response)
            target = session.get_redirect_target(response)
            if target is None:
                yield response, sha256
                return
        url = _redirected(url, target, seen)
    raise AddressError(f"redirects more than {REDIRECTS} times")


def _redirected(url: str, target: str, seen: set[str]) -> str:
    """Return where ``url`` leads; raise where that is no web address, less safe, or known already."""
    following = urljoin(url, target)
    scheme = urlsplit(following).scheme
    if scheme not in ("http", "https"):
        raise AddressError(f"redirects to {scheme}:, which is not the web")
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise AddressError(f"redirects from https to http ({host(following)})")
    if following in seen:
        raise AddressError("redirects in a loop")
    seen.add(following)
    return following


def _stated_sha256(response: Response) -> str:
    """Return the hash of a large file that the Hugging Face hub states in the answer that redirects to it."""
    linked = response.headers.get("X-Linked-ETag", "").strip('"').lower()
    return linked if re.fullmatch("[0-9a-f]{64}", linked) else ""


def _blame(error: Exception) -> Exception:
    """Return what an exception of requests means here."""
    from requests import exceptions

    if isinstance(error, exceptions.SSLError):
        return AddressError("has no certificate that can be trusted")
    if isinstance(error, exceptions.Timeout):
        return CutError("does not answer")
    if isinstance(error, exceptions.ConnectionError):
        return CutError("cannot be reached, or hung up")
    if isinstance(error, ValueError):  # no scheme, no host
        return AddressError("is no address that can be asked")
    return CutError(f"failed ({type(error).__name__})")


def judge(response: Response, name: str, patience: Patience) -> None:
    """Raise where the answer is not (a part of) the file ``name``: for good, or for now."""
    status = response.status_code
    answer = f"answers {status} {response.reason or ''}".rstrip()
    if status in TRY_LATER or status >= 500:
        wait_s = _retry_after(response.headers.get("Retry-After", ""))
        if wait_s is not None and wait_s > patience.longest_wait_s:
            raise AddressError(f"{answer} and asks to come back in {wait_s:,.0f} s")
        raise CutError(answer, wait_s)
    if status not in (200, 206, 416):
        raise AddressError(answer)
    kind = response.headers.get("Content-Type", "").lower()
    if kind.startswith("text/html") and not name.lower().endswith((".html", ".htm")):
        raise AddressError("gives a web page, not the file")


def _retry_after(value: str) -> float | None:
    """Return the seconds that ``Retry-After`` asks for: a number, or a date (RFC 9110, 10.2.3)."""
    from email.utils import parsedate_to_datetime

    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def content_length(response: Response) -> int | None:
    """Return the announced length of the body, None where there is none."""
    length = response.headers.get("Content-Length", "").strip()
    return int(length) if length.isdigit() else None


def content_range(response: Response) -> tuple[int | None, int | None]:
    """Return start and full length of ``Content-Range``, None for what it leaves open."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    start, total = match.groups() if match else (None, None)
    return (int(start) if start else None), (int(total) if total and total != "*" else None)


def validator(response: Response) -> str:
    """Return what tells this version of the file from others: a strong ETag, else the date of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def body(response: Response, patience: Patience) -> Iterator[bytes]:
    """Yield the body as it comes, as it was stored (no encoding undone); raise ``CutError`` on a cut or a stall."""
    import urllib3

    since, got = time.monotonic(), 0
    while True:
        try:
            data = response.raw.read1(CHUNK, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise CutError(f"sent nothing for {patience.stall_s:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise CutError("hung up early") from error
        if not data:
            return
        yield data
        got += len(data)
        now = time.monotonic()
        if now - since > patience.stall_s:
            if got < STALL_BYTES:
                raise CutError(f"sent {got:,} bytes in {patience.stall_s:g} s")
            since, got = now, 0


def host(url: str) -> str:
    """Return the host (and port) of an address, for messages."""
    return urlsplit(url).netloc


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
