"""Files on the Hugging Face hub: the real huggingface_hub against a server on this machine that speaks its protocol."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from geobench import get_dataset, get_datasets
from geobench.data.download.hub import HubFile, _token_for, parse_address
from geobench.data.download.record import RECORD
from geobench.data.remote_files import remote_files

BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT, LATER = "1" * 40, "2" * 40
REPOSITORY = "datasets/jane/photos"
ADDRESS = f"https://huggingface.co/{REPOSITORY}/resolve/main/big%20ones/photos.bin"
FILE = f"{REPOSITORY}/resolve/{{}}/big%20ones/photos.bin"
SECRET = "hf_neverShowThis"
DOWNLOAD = """
import json, sys
from geobench import Dataset
from geobench.data.download.download import download
from geobench.data.download.web import Patience
from geobench.progress import Progress

class Listening(Progress):
    def say(self, message):
        said.append(message)

said = []
patience = Patience(connect_s=1.0, stall_s=5.0, attempts=2, backoff_s=0.01, longest_wait_s=1.0)
given = json.loads(sys.argv[1])
dataset = Dataset("faraway", "Far away", status="available", sources=given["sources"])
summary = download(dataset, patience=patience, progress=Listening(), **given["options"])
print(json.dumps({"files": summary.files, "failures": summary.failures, "said": said}))
"""


class Hub:
    """A server on 127.0.0.1 with one file in one repository; the bytes come from ``localhost``, as if by a CDN.

    ``refuse``: answers to questions about the file in turn, the last one for good; None is the file. ``cut``: bytes
    after which an answer ends. ``announced``, ``etag``: length and version that it states instead of the true ones.
    ``log``: what was asked, as method, host, path and headers.
    """

    def __init__(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub.answer(self)

            def do_GET(self):
                hub.answer(self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.clear()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def clear(self):
        self.commit, self.body, self.large, self.is_hub = COMMIT, BODY, True, True
        self.refuse, self.cut, self.announced, self.etag, self.log = [], None, None, "", []
        self.hold = threading.Event()
        self.hold.set()

    def answer(self, handler):
        name = handler.headers["Host"].split(":")[0]
        self.log.append((handler.command, name, handler.path, dict(handler.headers)))
        handler.close_connection = True
        if handler.path.startswith("/cdn/"):
            self.give(handler)
        elif handler.path not in ["/" + FILE.format(revision) for revision in ("main", self.commit)]:
            self.send(handler, 404, {"X-Error-Code": "EntryNotFound"})
        elif refusal := self.refuse.pop(0) if len(self.refuse) > 1 else next(iter(self.refuse), None):
            self.send(handler, *refusal)
        elif self.large:
            headers = {"X-Linked-Etag": f'"{hashlib.sha256(self.body).hexdigest()}"', "X-Linked-Size": len(self.body)}
            cdn = f"http://localhost:{self.port}/cdn/{headers['X-Linked-Etag'][1:9]}"
            self.send(handler, 302, headers | {"ETag": '"pointer"', "Location": cdn})
        else:
            self.give(handler)

    def give(self, handler):
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": f'"{self.etag or hashlib.sha1(self.body).hexdigest()}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        body = self.body[start : self.cut and start + self.cut] if handler.command == "GET" else b""
        length = self.announced or len(self.body) - start
        self.send(handler, 206 if start else 200, headers | {"Content-Length": length}, body)
        self.hold.wait(20)

    def send(self, handler, status, headers, body=b""):
        commit = {"X-Repo-Commit": self.commit} if self.is_hub else {}
        handler.send_response(status)
        for name, value in ({"Content-Length": 0, "Connection": "close"} | commit | headers).items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()

    def asked(self, host):
        """Return what was asked of ``host``: method, revision or CDN, and the range."""
        revisions = {"main": "main", self.commit: "commit"}
        return [
            (method, revisions.get(path.split("/")[5], "?") if "resolve" in path else "cdn", headers.get("Range"))
            for method, name, path, headers in self.log
            if name == host and ("resolve" in path or "/cdn/" in path)
        ]

    def tokens(self, host):
        """Return the Authorization headers that ``host`` was sent with questions about the file."""
        log = [(name, headers) for _, name, path, headers in self.log if "resolve" in path or "/cdn/" in path]
        return {headers.get("Authorization", headers.get("authorization")) for name, headers in log if name == host}


@pytest.fixture(scope="module")
def server():
    hub = Hub()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """The server as HF_ENDPOINT, with an empty cache and nobody logged in."""
    server.clear()
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    return server


@pytest.fixture
def folder(own_home):
    return own_home / "data" / "faraway"


def start(urls=(ADDRESS,), accept_changed=False, **source):
    """Start the download of a file in a process of its own: huggingface_hub reads its variables when imported."""
    source = {"file": "images/photos.bin", "urls": list(urls), **source}
    given = json.dumps({"sources": [source], "options": {"accept_changed": accept_changed}})
    command = [sys.executable, "-c", DOWNLOAD, given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fetch(**options):
    """Return the entry of the downloaded file, None if it failed, the failures, and what was said."""
    output, errors = start(**options).communicate(timeout=60)
    assert SECRET not in output + errors
    summary = json.loads(output)
    assert all("\n" not in failure for failure in summary["failures"])
    return (summary["files"] or [None])[0], "".join(summary["failures"]), summary["said"]


def test_a_file_comes_from_the_endpoint_in_use_verified_by_the_hash_that_the_hub_states(hub, folder):
    entry, failures, _ = fetch()
    assert not failures
    assert (folder / "images" / "photos.bin").read_bytes() == BODY
    assert entry["url"] == f"{hub.url}/{FILE.format(COMMIT)}"
    assert (entry["size"], entry["sha256"], entry["version"]) == (300_000, SHA256, SHA256)
    assert json.loads((folder / RECORD).read_text())["images/photos.bin"]["url"] == entry["url"]
    assert hub.asked("127.0.0.1") == [("HEAD", "main", None), ("GET", "commit", None)]
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["photos.bin"]
    assert not list(Path(os.environ["HF_HOME"]).rglob("*photos*"))  # stored once


def test_bytes_that_do_not_have_the_stated_hash_are_refused(hub, folder, monkeypatch):
    hub.body = OTHER
    hub.give = lambda handler: Hub.send(hub, handler, 200, {"Content-Length": len(BODY)}, BODY)
    try:
        entry, failures, _ = fetch()
    finally:
        del hub.give
    assert entry is None
    assert "gives another file" in failures
    assert not (folder / "images" / "photos.bin").exists()


def test_a_small_file_that_is_kept_in_git_has_no_stated_hash_and_is_recorded(hub):
    hub.large = False
    entry, failures, _ = fetch()
    assert not failures
    assert (entry["sha256"], entry["version"]) == (SHA256, hashlib.sha1(BODY).hexdigest())
    assert hub.asked("localhost") == []


def test_a_killed_download_resumes(hub, folder):
    hub.cut, hub.announced = 200_000, len(BODY)
    hub.hold.clear()
    process = start()
    part = folder / "images" / ".photos.bin.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == 200_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hub.hold.set()
    hub.cut = hub.announced = None
    entry, failures, _ = fetch()
    assert not failures
    assert entry["sha256"] == SHA256
    assert hub.asked("localhost") == [("GET", "cdn", None), ("GET", "cdn", "bytes=200000-")]


def interrupted(hub):
    hub.cut = 100_000
    assert fetch()[0] is None
    hub.cut = None
    hub.log.clear()


@pytest.mark.parametrize("large", [True, False])
def test_a_partial_file_resumes_if_the_branch_has_moved_on_without_changing_it(hub, large):
    hub.large = large
    interrupted(hub)
    hub.commit = LATER
    entry, failures, _ = fetch()
    assert not failures
    assert entry["url"] == f"{hub.url}/{FILE.format(LATER)}"
    assert [asked[-1] for asked in hub.asked("localhost" if large else "127.0.0.1")][-1] == "bytes=200000-"


def test_a_partial_file_resumes_if_another_cdn_has_another_etag_for_the_same_version(hub):
    interrupted(hub)
    hub.etag = "of another CDN"
    assert not fetch()[1]
    assert hub.asked("localhost") == [("GET", "cdn", "bytes=200000-")]


def test_a_partial_file_of_another_version_is_not_resumed(hub, folder):
    interrupted(hub)
    hub.commit, hub.body = LATER, OTHER
    assert not fetch()[1]
    assert (folder / "images" / "photos.bin").read_bytes() == OTHER
    assert hub.asked("localhost") == [("GET", "cdn", None)]


def test_a_file_that_changed_since_the_last_download_is_refused_before_it_is_fetched(hub, folder):
    assert not fetch()[1]
    (folder / "images" / "photos.bin").unlink()
    hub.commit, hub.body = LATER, OTHER
    hub.log.clear()
    entry, failures, _ = fetch()
    assert entry is None
    assert "gives another file" in failures and "--accept-changed`." in failures
    assert hub.asked("localhost") == []
    assert fetch(accept_changed=True)[0]["version"] == hashlib.sha256(OTHER).hexdigest()


def test_a_hub_that_has_another_file_than_the_definition_gives_way_to_the_next_address(hub):
    hub.body = OTHER
    entry, failures, said = fetch(urls=[ADDRESS, f"{hub.url}/cdn/mirror"], sha256=SHA256)
    assert "gives another file" in said[0]
    assert entry is None and "gives another file" in failures  # the mirror has it not either
    assert hub.asked("localhost") == [] and ("GET", "cdn", None) in hub.asked("127.0.0.1")


# -- access tokens


def test_the_token_of_the_user_goes_to_the_endpoint_and_nowhere_else(hub, monkeypatch, folder):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    entry, failures, _ = fetch(token="HF_TOKEN")
    assert not failures
    assert hub.tokens("127.0.0.1") == {f"Bearer {SECRET}"}
    assert hub.tokens("localhost") == {None}
    assert SECRET not in json.dumps(entry) + (folder / RECORD).read_text()


def test_the_token_of_a_login_is_used(hub, tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(SECRET)  # what `hf auth login` leaves
    assert not fetch(token="HF_TOKEN")[1]
    assert hub.tokens("127.0.0.1") == {f"Bearer {SECRET}"}


def test_a_token_in_a_variable_of_the_definitions_own_goes_first(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    monkeypatch.setenv("FARAWAY_TOKEN", SECRET)
    assert not fetch(token="FARAWAY_TOKEN")[1]
    assert hub.tokens("127.0.0.1") == {f"Bearer {SECRET}"}


def test_a_user_who_sends_no_token_unless_asked_sends_none(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert not fetch()[1]
    assert hub.tokens("127.0.0.1") == {None}


def test_a_token_is_sent_by_https_or_within_this_machine_only():
    assert _token_for("http://mirror.example/file", SECRET) == ""
    assert _token_for("https://mirror.example/file", SECRET) == SECRET
    assert _token_for("http://127.0.0.1:80/file", SECRET) == SECRET


# -- refusals: one line each

TERMS = (
    "Accept the terms at https://huggingface.co/datasets/jane/photos and log in with `hf auth login`, or set HF_TOKEN."
)


@pytest.mark.parametrize(
    ("status", "headers", "token", "line"),
    [
        (
            401,
            {"X-Error-Code": "GatedRepo"},
            "",
            f"says that dataset jane/photos is gated, and no access token was sent. {TERMS}",
        ),
        (
            403,
            {"X-Error-Code": "GatedRepo"},
            SECRET,
            f"says that dataset jane/photos is gated, and this account has not been granted access. {TERMS}",
        ),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            SECRET,
            "rejects the access token. Renew it: log in with `hf auth login`, or set HF_TOKEN.",
        ),
        (
            401,
            {"X-Error-Code": "RepoNotFound"},
            "",
            f"has no dataset jane/photos, or only for those who have been granted access. {TERMS}",
        ),
        (
            404,
            {"X-Error-Code": "RepoNotFound"},
            SECRET,
            f"has no dataset jane/photos, or only for those who have been granted access. {TERMS}",
        ),
        (
            404,
            {"X-Error-Code": "RevisionNotFound"},
            "",
            "has no revision main of dataset jane/photos. Try again later.",
        ),
        (404, {"X-Error-Code": "EntryNotFound"}, "", "has no big ones/photos.bin in dataset jane/photos. Try again"),
        (403, {}, "", "answers 403 Forbidden. Try again later."),
        (503, {}, "", "answers 503 Service Unavailable (2 tries). Try again later."),
        (
            429,
            {"Retry-After": "60"},
            "",
            "answers 429 Too Many Requests and asks to come back in 60 s. Try again later.",
        ),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_that_says_what_to_do(hub, monkeypatch, status, headers, token, line):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.refuse = [(status, headers)]
    entry, failures, _ = fetch(token="HF_TOKEN")
    assert entry is None
    assert failures.startswith(f"faraway: images/photos.bin could not be downloaded: 127.0.0.1:{hub.port} {line}")


def test_a_busy_hub_is_asked_again(hub):
    hub.refuse = [(503, {}), None]
    entry, failures, said = fetch()
    assert not failures and entry["sha256"] == SHA256
    assert said == [f"photos.bin: 127.0.0.1:{hub.port} answers 503 Service Unavailable; trying again in 0 s."]


def test_a_hub_that_is_not_there_is_one_line(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "127.0.0.1:9 cannot be reached (ConnectError) (2 tries). Try again later." in fetch()[1]


def test_an_endpoint_that_is_not_an_address_is_one_line(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    assert f"nonsense/{FILE.format('main')} cannot be reached (UnsupportedProtocol) (2 tries)" in fetch()[1]


def test_an_endpoint_that_is_not_a_hub_is_one_line(hub):
    hub.is_hub = False
    line = f"127.0.0.1:{hub.port} does not answer as the Hugging Face hub does; check HF_ENDPOINT and your proxy"
    assert line in fetch()[1]


def test_offline_mode_is_respected(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "is not asked, because HF_HUB_OFFLINE is set" in fetch()[1]
    assert not hub.log


def test_a_disk_that_is_too_small_for_the_file_is_one_line(hub):
    hub.large, hub.announced = False, 10**18
    assert "photos.bin needs another 1,000,000,000.0 GB" in fetch()[1]


# -- the cache of the hub


def in_cache(body=BODY, etag=SHA256):
    """Put the file into the hub's cache as huggingface_hub lays it out; return the blob."""
    storage = Path(os.environ["HF_HOME"]) / "hub" / "datasets--jane--photos"
    blob = storage / "blobs" / etag
    snapshot = storage / "snapshots" / COMMIT / "big ones" / "photos.bin"
    for path in (blob, snapshot, storage / "refs" / "main"):
        path.parent.mkdir(parents=True)
    blob.write_bytes(body)
    snapshot.symlink_to(blob)
    (storage / "refs" / "main").write_text(COMMIT)
    return blob


def test_a_file_in_the_hubs_cache_is_linked_and_stored_once(hub, folder):
    blob = in_cache()
    entry, failures, _ = fetch()
    assert not failures
    assert (folder / "images" / "photos.bin").samefile(blob)
    assert (entry["sha256"], entry["url"]) == (SHA256, f"{hub.url}/{FILE.format(COMMIT)}")
    assert hub.asked("127.0.0.1") == [("HEAD", "main", None)]
    blob.unlink()  # as `hf cache rm` does
    assert (folder / "images" / "photos.bin").read_bytes() == BODY


def test_a_file_in_the_hubs_cache_needs_no_room(hub):
    in_cache()
    assert fetch(about=10**18)[0]["sha256"] == SHA256


def test_a_damaged_file_in_the_hubs_cache_is_left_alone_and_fetched(hub, folder):
    blob = in_cache(body=OTHER)
    entry, failures, said = fetch()
    assert not failures
    assert entry["sha256"] == SHA256
    assert (folder / "images" / "photos.bin").read_bytes() == BODY
    assert blob.read_bytes() == OTHER
    assert "the copy in the cache of the hub is not used: it gives another file" in said[0]


@pytest.mark.parametrize("large", [True, False])
def test_a_file_in_the_cache_of_an_older_commit_is_not_used(hub, large):
    in_cache(body=OTHER, etag=hashlib.sha256(OTHER).hexdigest())
    hub.commit, hub.large = LATER, large
    entry, failures, said = fetch()
    assert not failures and not said
    assert entry["sha256"] == SHA256


def test_the_command_shows_the_mirror_and_the_cache_before_it_asks(hub, own_home):
    in_cache()
    folder = own_home / "data" / "mine"
    folder.mkdir(parents=True)
    other = ADDRESS.replace("photos.bin", "other.bin")
    (folder / "dataset.toml").write_text(
        f'name = "mine"\ntitle = "Mine"\n[[sources]]\nfile = "a.bin"\nurls = ["{ADDRESS}"]\n'
        f'[[sources]]\nfile = "b.bin"\nurls = ["{other}"]\n'
    )
    command = [sys.executable, "-m", "geobench", "datasets", "download", "mine"]
    shown = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stderr
    rows = [re.split("  +", line) for line in shown.splitlines() if ".bin" in line]
    here = f"127.0.0.1:{hub.port}"
    assert rows == [
        ["a.bin", "images", "not stated", "what the hub states", here, "no, 1 in the hub's cache"],
        ["b.bin", "images", "not stated", "what the hub states", here, "no"],
    ]
    assert not hub.asked("127.0.0.1")


# -- addresses


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (ADDRESS, HubFile("jane/photos", "dataset", "main", "big ones/photos.bin")),
        ("https://huggingface.co/jane/net/resolve/v1.0/a.csv", HubFile("jane/net", "model", "v1.0", "a.csv")),
        ("https://hf.co/spaces/jane/app/resolve/refs%2Fpr%2F1/a", HubFile("jane/app", "space", "refs/pr/1", "a")),
        (
            "https://huggingface.co/jane/net/resolve/main/a.csv?download=true",
            HubFile("jane/net", "model", "main", "a.csv"),
        ),
        ("https://huggingface.co/datasets/jane/photos/blob/main/a.csv", None),
        ("https://huggingface.co/datasets/jane--doe/photos/resolve/main/a.csv", None),  # not a valid name
        ("https://huggingface.co/datasets/jane/photos/resolve/main/..%2F..%2Fa.csv", None),
        ("https://huggingface.co.example.org/datasets/jane/photos/resolve/main/a.csv", None),
        ("http://huggingface.co/datasets/jane/photos/resolve/main/a.csv", None),
        ("https://example.org/https://huggingface.co/jane/net/resolve/main/a.csv", None),
    ],
)
def test_an_address_on_the_hub_is_recognised(url, file):
    assert parse_address(url) == file


def test_every_address_on_the_hub_in_the_bundled_definitions_is_recognised():
    urls = [url for name in get_datasets() for remote in remote_files(get_dataset(name)) for url in remote.urls]
    on_hub = [url for url in urls if "huggingface.co" in url]
    assert len(on_hub) > 100
    assert all(parse_address(url) for url in on_hub)


def test_the_page_of_a_repository_is_for_a_browser():
    assert parse_address(ADDRESS).page == "https://huggingface.co/datasets/jane/photos"
    assert parse_address("https://huggingface.co/jane/net/resolve/main/a").page == "https://huggingface.co/jane/net"
