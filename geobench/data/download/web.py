"""One request to a web server: follow its redirects safely, check its response, read its body."""

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
MAX_REDIRECTS = 10
TRY_LATER = (408, 425, 429)  # and 5xx


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries.

    Attributes:
        connect_s, stall_s: seconds to wait for a connection, and for the next byte on an open one.
        attempts: consecutive tries that bring less than ``progress_bytes`` of new data before an address is given up.
        backoff_s: pause before the second try; doubled before each further one, up to ``longest_wait_s``.
    """

    connect_s: float = 20.0
    stall_s: float = 60.0
    attempts: int = 5
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    progress_bytes: int = 1_000_000


class AddressError(Exception):
    """This address does not give the file, and asking again would not help; ``advice`` says what would, if known."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class TransientError(Exception):
    """The request failed or the body ended early. Worth another try, after ``wait_s`` seconds if the server says so."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@contextmanager
def get(session: Session, url: str, headers: Mapping[str, str], token: str, patience: Patience) -> Iterator[Response]:
    """Yield the response at the end of all redirects.

    ``token`` is sent to the host of ``url`` only, never to another host that it redirects to.
    """
    import requests

    sent = {"User-Agent": "geobench", "Accept-Encoding": "identity", **headers}
    home, visited = _origin(url), {url}

    def authorise(request: PreparedRequest) -> PreparedRequest:  # instead of ~/.netrc, which requests would send
        if token and _origin(request.url or "") == home:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    timeout = (patience.connect_s, patience.stall_s)
    for _ in range(MAX_REDIRECTS + 1):
        try:
            response = session.get(
                url, headers=sent, auth=authorise, stream=True, allow_redirects=False, timeout=timeout
            )
        except requests.exceptions.RequestException as error:
            raise _explain(error) from error
        with response:
            target = session.get_redirect_target(response)
            if target is None:
                yield response
                return
        url = _redirected(url, target, visited)
    raise AddressError(f"redirects more than {MAX_REDIRECTS} times")


def _redirected(url: str, target: str, visited: set[str]) -> str:
    """Return where ``url`` redirects to; refuse loops, other protocols and a step down from https to http."""
    following = urljoin(url, target)
    scheme = urlsplit(following).scheme
    if scheme not in ("http", "https"):
        raise AddressError(f"redirects to {scheme}:, which is not a web address")
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise AddressError(f"redirects from https to http ({host(following)})")
    if following in visited:
        raise AddressError("redirects in a loop")
    visited.add(following)
    return following


def _explain(error: Exception) -> Exception:
    """Return our error for an exception of requests."""
    from requests import exceptions

    if isinstance(error, exceptions.SSLError):
        return AddressError("has no trusted certificate")
    if isinstance(error, exceptions.Timeout):
        return TransientError("does not respond")
    if isinstance(error, exceptions.ConnectionError):
        return TransientError("cannot be reached, or closed the connection")
    if isinstance(error, ValueError):  # no scheme, no host
        return AddressError("is not a valid address")
    return TransientError(f"failed ({type(error).__name__})")


def check_response(response: Response, name: str, patience: Patience) -> None:
    """Raise an error unless the response is the file ``name`` or a part of it."""
    check_status(response.status_code, response.reason or "", response.headers, patience)
    kind = response.headers.get("Content-Type", "").lower()
    if kind.startswith("text/html") and not name.lower().endswith((".html", ".htm")):
        raise AddressError("gives a web page instead of the file")


def check_status(status: int, reason: str, headers: Mapping[str, str], patience: Patience) -> None:
    """Raise ``TransientError`` for a status worth another try, ``AddressError`` for any other without a body."""
    answer = f"answers {status} {reason}".rstrip()
    if status in TRY_LATER or status >= 500:
        wait_s = _retry_after(headers.get("Retry-After", ""))
        if wait_s is not None and wait_s > patience.longest_wait_s:
            raise AddressError(f"{answer} and asks to come back in {wait_s:,.0f} s")
        raise TransientError(answer, wait_s)
    if status not in (200, 206, 416):
        raise AddressError(answer)


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
    """Return the announced length of the body, None if there is none."""
    length = response.headers.get("Content-Length", "").strip()
    return int(length) if length.isdigit() else None


def content_range(response: Response) -> tuple[int | None, int | None]:
    """Return the start and the full length in ``Content-Range``, None for what is not given."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    start, total = match.groups() if match else (None, None)
    return (int(start) if start else None), (int(total) if total and total != "*" else None)


def validator(response: Response) -> str:
    """Return what identifies this version of the file: a strong ETag, else the date of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def body(response: Response, patience: Patience) -> Iterator[bytes]:
    """Yield the body as stored (no encoding undone) as it arrives; raise ``TransientError`` if it is cut or stalls."""
    import urllib3

    since, received = time.monotonic(), 0
    while True:
        try:
            data = response.raw.read1(CHUNK, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TransientError(f"sent nothing for {patience.stall_s:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientError("closed the connection early") from error
        if not data:
            return
        yield data
        received += len(data)
        now = time.monotonic()
        if now - since > patience.stall_s:
            if received < STALL_BYTES:
                raise TransientError(f"sent {received:,} bytes in {patience.stall_s:g} s")
            since, received = now, 0


def host(url: str) -> str:
    """Return the host (and port) of an address, for messages; all of an address that has none."""
    return urlsplit(url).netloc or url


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
