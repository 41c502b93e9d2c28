"""Downloads from a server on this machine that cuts, stalls, lies and redirects: the right file, or one clear line."""

import errno
import hashlib
import io
import json
import os
import pty
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geobench import Dataset, files
from geobench.data.download import web
from geobench.data.download.download import RECORD, download, plan
from geobench.errors import DownloadError
from geobench.progress import Progress

BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
HURRIED = web.Patience(
    connect_s=1.0, stall_s=0.25, attempts=3, backoff_s=0.01, longest_wait_s=0.1, progress_bytes=50_000
)


class Site:
    """A server on 127.0.0.1. ``routes`` says what each path does, ``log`` what was asked: path and headers."""

    def __init__(self):
        self.routes, self.log, self.closing = {}, [], threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                site.log.append((self.path, dict(self.headers)))
                site.routes[self.path](self)
                self.close_connection = True

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    def on(self, path, *steps):
        """Let ``path`` do these things in turn, and the last one from then on; return its address."""
        left = list(steps)

        def next_step(handler):
            step = left.pop(0) if len(left) > 1 else left[0]
            step(handler)

        self.routes[path] = next_step
        return self.url(path)

    def ranges(self, path="/file"):
        """Return what was asked of ``path``, in order: ``Range`` headers, None where the whole file was."""
        return [headers.get("Range") for asked, headers in self.log if asked == path]


@pytest.fixture(scope="module")
def server():
    """The one server of this file."""
    site = Site()
    yield site
    site.closing.set()
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def site(server, monkeypatch):
    """The server, without what the test before made of it; no proxy stands before it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    server.routes.clear()
    server.log.clear()
    return server


def send(handler, status, headers, body=b"", reason=None):
    handler.send_response(status, reason)
    for name, value in ({"Connection": "close"} | headers).items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def gives(body=BODY, etag='"1"', *, ranges=True, if_range=True, cut=None, stall=False, headers=None, site=None):
    """Serve ``body`` as servers should; ``cut`` ends every answer after so many bytes, ``stall`` keeps it open then."""

    def answer(handler):
        asked = handler.headers.get("Range") if ranges else None
        if if_range and handler.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        more = {"ETag": etag} if etag else {}
        if asked and start >= len(body):
            send(handler, 416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": 0})
            return
        if asked:
            more["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        more |= {"Content-Length": len(body) - start} | (headers or {})
        send(handler, 206 if asked else 200, more, body[start : None if cut is None else start + cut])
        if stall:
            site.closing.wait(HURRIED.stall_s * 3)

    return answer


def answers(status, **headers):
    """Answer with a status and no file."""
    return lambda handler: send(
        handler, status, {"Content-Length": 0} | {name.replace("_", "-"): value for name, value in headers.items()}
    )


def redirects(target, **headers):
    return answers(302, Location=target, **headers)


def a_set(*sources, **values):
    return Dataset("faraway", "Far away", status="available", sources=sources, **values)


def one(urls, **values):
    """Return a data set of one file, ``images/photos.bin``."""
    return a_set({"file": "images/photos.bin", "urls": [urls] if isinstance(urls, str) else urls, **values})


def fetched(dataset, **options):
    """Download; return the bytes in place, None where there is no file, and the failures."""
    outcome = download(dataset, patience=HURRIED, **options)
    place = dataset.folder / "images" / "photos.bin"
    assert all("\n" not in failure for failure in outcome.failures)
    assert len(outcome.failures) + len(outcome.files) == 1
    return place.read_bytes() if place.exists() else None, outcome.failures


def leftovers(dataset):
    return sorted(path.name for path in (dataset.folder / "images").iterdir())


def test_a_file_is_put_in_place_and_recorded(site):
    dataset = one(site.on("/file", gives()), size=len(BODY), sha256=SHA256)
    assert fetched(dataset) == (BODY, [])
    assert leftovers(dataset) == ["photos.bin"]
    entry = json.loads((dataset.folder / RECORD).read_text())["images/photos.bin"]
    assert entry.pop("downloaded").startswith("20")
    assert entry == {"url": site.url("/file"), "size": 300_000, "sha256": SHA256, "version": '"1"'}


def test_a_file_that_is_there_is_not_asked_for_again(site):
    dataset = one(site.on("/file", gives()))
    first = download(dataset, patience=HURRIED)
    assert download(dataset, patience=HURRIED).files == first.files
    assert len(site.log) == 1


def test_a_file_without_a_known_hash_is_recorded_with_the_one_it_has(site):
    outcome = download(one(site.on("/file", gives())), patience=HURRIED)
    assert outcome.files[0]["sha256"] == SHA256


# -- cuts and stalls


def test_a_transfer_that_is_cut_resumes(site):
    assert fetched(one(site.on("/file", gives(cut=100_000)))) == (BODY, [])
    assert site.ranges() == [None, "bytes=100000-", "bytes=200000-"]
    assert [headers.get("If-Range") for _, headers in site.log] == [None, '"1"', '"1"']


def test_a_download_resumes_in_the_next_run(site):
    dataset = one(site.on("/file", gives(cut=10_000)))
    nothing, failures = fetched(dataset)
    assert nothing is None
    assert f"127.0.0.1:{site.port} closed the connection early (3 tries)" in failures[0]
    assert leftovers(dataset) == [".photos.bin.part", ".photos.bin.part.json"]
    assert plan(dataset)[0].bytes_here == 30_000
    site.on("/file", gives())
    assert fetched(dataset) == (BODY, [])
    assert site.ranges()[-1] == "bytes=30000-"
    assert leftovers(dataset) == ["photos.bin"]


def test_tries_that_bring_data_are_not_counted(site):
    assert fetched(one(site.on("/file", gives(cut=55_000)))) == (BODY, [])
    assert len(site.log) == 6  # of three allowed in a row


def test_a_server_that_ignores_range_is_asked_for_the_whole(site):
    whole = gives(ranges=False)
    assert fetched(one(site.on("/file", gives(cut=100_000), whole))) == (BODY, [])
    assert site.ranges() == [None, "bytes=100000-"]


def test_a_server_that_always_starts_over_and_cuts_is_given_up(site):
    nothing, failures = fetched(one(site.on("/file", gives(ranges=False, cut=100_000))))
    assert nothing is None
    assert "closed the connection early (3 tries)" in failures[0]
    assert len(site.log) == 3


def test_without_a_version_and_a_hash_a_cut_file_is_fetched_again(site):
    versionless = gives(etag="", cut=100_000)
    assert fetched(one(site.on("/file", versionless, gives(etag="")))) == (BODY, [])
    assert site.ranges() == [None, None]


def test_without_a_version_but_with_a_hash_it_resumes(site):
    assert fetched(one(site.on("/file", gives(etag="", cut=100_000)), sha256=SHA256)) == (BODY, [])
    assert site.ranges() == [None, "bytes=100000-", "bytes=200000-"]


def test_the_date_of_the_last_change_serves_as_a_version(site):
    dated = {"Last-Modified": "Wed, 01 May 2024 10:00:00 GMT"}
    assert fetched(one(site.on("/file", gives(etag="", if_range=False, cut=200_000, headers=dated)))) == (BODY, [])
    assert site.log[1][1]["If-Range"] == dated["Last-Modified"]


def test_a_server_that_stalls_is_asked_again(site):
    dataset = one(site.on("/file", gives(cut=100_000, stall=True, site=site), gives()))
    assert fetched(dataset) == (BODY, [])
    assert site.ranges() == [None, "bytes=100000-"]


def test_a_server_that_only_stalls_is_given_up(site):
    nothing, failures = fetched(one(site.on("/file", gives(cut=1000, stall=True, site=site))))
    assert nothing is None
    assert "sent nothing for 0.25 s (3 tries)" in failures[0]


def test_a_server_that_trickles_is_as_good_as_one_that_stalls(site):
    def trickle(handler):
        send(handler, 200, {"Content-Length": len(BODY), "ETag": '"1"'})
        for _ in range(10):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    nothing, failures = fetched(one(site.on("/file", trickle)))
    assert nothing is None
    assert "bytes in 0.25 s" in failures[0]


def test_ctrl_c_leaves_the_partial_file_for_the_next_time(site):
    class Impatient(Progress):
        def say(self, message):
            raise KeyboardInterrupt  # at the first sign of trouble

    dataset = one(site.on("/file", gives(cut=120_000), gives()))
    with pytest.raises(KeyboardInterrupt):
        download(dataset, patience=HURRIED, progress=Impatient())
    assert plan(dataset)[0].bytes_here == 120_000
    assert fetched(dataset) == (BODY, [])
    assert site.ranges() == [None, "bytes=120000-"]


def test_a_partial_file_that_is_complete_is_only_renamed(site):
    dataset = one(site.on("/file", gives()), size=len(BODY), sha256=SHA256)
    assert fetched(dataset) == (BODY, [])
    place = dataset.folder / "images" / "photos.bin"
    place.rename(place.with_name(".photos.bin.part"))
    origin = {"url": site.url("/file"), "validator": '"1"', "total": len(BODY)}
    place.with_name(".photos.bin.part.json").write_text(json.dumps(origin))
    assert fetched(dataset) == (BODY, [])
    assert site.ranges() == [None, "bytes=300000-"]


# -- versions that change


def test_a_file_that_changes_between_two_tries_is_fetched_again(site):
    assert fetched(one(site.on("/file", gives(cut=100_000), gives(OTHER, '"2"')))) == (OTHER, [])
    assert site.ranges() == [None, "bytes=100000-"]


def test_a_server_that_resumes_with_another_version_is_detected(site):
    careless = gives(OTHER, '"2"', if_range=False)
    assert fetched(one(site.on("/file", gives(cut=100_000), careless))) == (OTHER, [])
    assert site.ranges() == [None, "bytes=100000-", None]


def test_a_mixture_of_versions_under_one_name_is_detected_by_the_hash(site):
    lying = gives(OTHER, '"1"', cut=100_000)
    dataset = one(site.on("/file", lying, gives()), sha256=SHA256)
    assert fetched(dataset) == (BODY, [])
    assert site.ranges() == [None, "bytes=100000-", None]


def test_a_server_that_sends_another_range_than_asked_for_is_detected(site):
    def elsewhere(handler):
        send(handler, 206, {"Content-Range": "bytes 5-299999/300000", "Content-Length": 299_995}, BODY[5:])

    assert fetched(one(site.on("/file", gives(cut=100_000), elsewhere, gives()))) == (BODY, [])
    assert site.ranges() == [None, "bytes=100000-", None]


# -- answers that are no file


@pytest.mark.parametrize("status", [403, 404, 410, 418])
def test_an_address_without_the_file_is_skipped_for_the_next_at_once(site, status):
    gone, there = site.on("/gone", answers(status)), site.on("/there", gives())
    assert fetched(one([gone, there])) == (BODY, [])
    assert [path for path, _ in site.log] == ["/gone", "/there"]


def test_if_no_address_has_the_file_the_line_says_what_each_answered(site):
    urls = [site.on("/a", answers(404)), site.on("/b", answers(500)), site.on("/c", gives(OTHER))]
    nothing, failures = fetched(one(urls, sha256=SHA256, page="https://example.org/photos"))
    assert nothing is None
    host, other = f"127.0.0.1:{site.port}", hashlib.sha256(OTHER).hexdigest()
    assert failures == [
        f"faraway: images/photos.bin could not be downloaded: {host} answers 404 Not Found; {host} answers 500 "
        f"Internal Server Error (3 tries); {host} gives another file (sha256 {other[:12]}…, not sha256 "
        f"{SHA256[:12]}…). Try again later, or get it at https://example.org/photos with a browser and put it at "
        f"{files.home() / 'data' / 'faraway' / 'images' / 'photos.bin'}."
    ]


def test_a_server_error_is_retried(site):
    url = site.on("/file", answers(500), answers(503, Retry_After="0"), gives())
    assert fetched(one(url)) == (BODY, [])


def test_too_many_requests_waits_as_long_as_the_server_asks(site):
    dataset = one(site.on("/file", answers(429, Retry_After="1"), gives()))
    patience = web.Patience(**{**HURRIED.__dict__, "longest_wait_s": 5.0})
    start = time.monotonic()
    assert not download(dataset, patience=patience).failures
    assert time.monotonic() - start >= 1.0


def test_a_server_that_asks_for_an_hour_is_skipped_for_the_next(site):
    busy = site.on("/busy", answers(429, Retry_After="3600"))
    nothing, failures = fetched(one(busy))
    assert nothing is None
    assert "answers 429 Too Many Requests and asks to come back in 3,600 s" in failures[0]
    assert len(site.log) == 1
    assert fetched(one([busy, site.on("/there", gives())])) == (BODY, [])


def test_retry_after_may_be_a_date():
    assert web._retry_after(formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=2)
    assert web._retry_after(formatdate(time.time() - 100, usegmt=True)) == 0.0
    assert web._retry_after("soon") is None


def test_a_web_page_in_place_of_the_file_is_refused(site):
    nothing, failures = fetched(one(site.on("/file", gives(headers={"Content-Type": "text/html; charset=utf-8"}))))
    assert nothing is None
    assert "gives a web page instead of the file" in failures[0]


def test_an_unreachable_server_is_one_line(site):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nothing, failures = fetched(one(f"http://127.0.0.1:{port}/file"))
    assert nothing is None
    assert f"127.0.0.1:{port} cannot be reached, or closed the connection (3 tries)" in failures[0]


# -- redirects


def test_redirects_are_followed_and_the_rest_is_asked_for_at_their_end(site):
    site.on("/end", gives(cut=200_000))
    site.on("/middle", redirects("end"))
    assert fetched(one(site.on("/file", redirects(site.url("/middle"))))) == (BODY, [])
    assert site.ranges("/end") == [None, "bytes=200000-"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("/file", "redirects in a loop"),
        ("/back", "redirects in a loop"),
        ("file:///etc/passwd", "redirects to file:, which is not a web address"),
        ("ftp://127.0.0.1/file", "redirects to ftp:, which is not a web address"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_refused(site, target, told):
    site.on("/back", redirects("/file"))
    nothing, failures = fetched(one(site.on("/file", redirects(target))))
    assert nothing is None
    assert told in failures[0]
    assert len(site.log) <= 2


def test_redirects_end(site):
    for number in range(30):
        site.on(f"/{number}", redirects(f"/{number + 1}"))
    nothing, failures = fetched(one(site.url("/0")))
    assert nothing is None
    assert "redirects more than 10 times" in failures[0]
    assert len(site.log) == 11


def test_a_redirect_from_https_to_http_is_refused():
    with pytest.raises(web.AddressError, match=r"redirects from https to http \(b.org\)"):
        web._redirected("https://a.org/file", "http://b.org/file", set())
    assert web._redirected("http://a.org/file", "https://b.org/file", set()) == "https://b.org/file"


def test_an_access_token_goes_to_the_host_it_is_for_and_to_no_other(site, monkeypatch):
    monkeypatch.setenv("FARAWAY_TOKEN", "secret")
    site.on("/elsewhere", gives())
    site.on("/near", redirects(site.url("/elsewhere", host="localhost")))
    dataset = one(site.on("/file", redirects("/near")), token="FARAWAY_TOKEN")
    assert fetched(dataset) == (BODY, [])
    sent = {path: headers.get("Authorization") for path, headers in site.log}
    assert sent == {"/file": "Bearer secret", "/near": "Bearer secret", "/elsewhere": None}


def test_a_gated_file_without_a_token_says_which_terms_to_accept_and_what_to_set(site):
    dataset = one(site.on("/file", answers(401)), token="FARAWAY_TOKEN", page="https://example.org/terms")
    _, failures = fetched(dataset)
    assert failures[0].endswith(
        "answers 401 Unauthorized. Accept the terms at https://example.org/terms and set FARAWAY_TOKEN to your access "
        "token."
    )


# -- lies about length and content


def test_a_length_beyond_the_body_is_a_cut(site):
    long = gives(ranges=False, headers={"Content-Length": 400_000})
    nothing, failures = fetched(one(site.on("/file", long)))
    assert nothing is None
    assert "closed the connection" in failures[0]


def test_a_length_short_of_the_body_leaves_no_short_file(site):
    short = gives(headers={"Content-Length": 200_000})
    nothing, failures = fetched(one(site.on("/file", short), sha256=SHA256))
    assert nothing is None
    assert "gives another file" in failures[0]
    nothing, failures = fetched(one(site.on("/file", short), size=len(BODY)))
    assert nothing is None
    assert "announces 200,000 bytes instead of 300,000" in failures[0]


def test_a_truncated_zip_is_detected_without_size_and_hash(site):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.jpg", BODY)
    data = archive.getvalue()
    dataset = a_set({"file": "photos.zip", "urls": [site.on("/file", gives(data[:-40]), gives(data))]})
    assert "gives an incomplete zip archive" in download(dataset, patience=HURRIED).failures[0]
    assert not (dataset.folder / "photos.zip").exists()
    assert not download(dataset, patience=HURRIED).failures
    assert (dataset.folder / "photos.zip").read_bytes() == data


def without_length(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(BODY)


def test_a_body_whose_end_cannot_be_told_from_a_cut_is_refused_unless_it_can_be_verified(site):
    url = site.on("/file", without_length)
    nothing, failures = fetched(one(url))
    assert nothing is None
    assert "does not state the length of the file, so a cut would go unnoticed" in failures[0]
    assert fetched(one(url, size=len(BODY))) == (BODY, [])


def test_a_body_without_length_that_is_short_of_the_known_one_is_a_cut(site):
    def half(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY[:150_000])

    assert fetched(one(site.on("/file", half), size=len(BODY)))[1][0].count("after 150,000 of 300,000 bytes") == 1
    assert fetched(one(site.on("/file", half, gives()), size=len(BODY))) == (BODY, [])


def chunked(end=b"0\r\n\r\n", body=BODY):
    def answer(handler):
        send(handler, 200, {"Transfer-Encoding": "chunked"})
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(end)

    return answer


def test_a_chunked_body_is_whole_when_its_last_chunk_came(site):
    assert fetched(one(site.on("/file", chunked(end=b""), chunked()))) == (BODY, [])
    assert len(site.log) == 2


def test_a_chunked_body_longer_than_the_file_is_refused(site):
    nothing, failures = fetched(one(site.on("/file", chunked(body=BODY + OTHER)), size=len(BODY)))
    assert nothing is None
    assert "sends more than the 300,000 bytes of the file" in failures[0]


def test_a_body_is_kept_as_it_is_stored_even_if_it_is_labelled_as_compressed(site):
    assert fetched(one(site.on("/file", gives(headers={"Content-Encoding": "gzip"})))) == (BODY, [])


FAULTS = {
    "cut": gives(cut=70_000),
    "cut at once": gives(cut=0),
    "no ranges": gives(ranges=False, cut=90_000),
    "other version": gives(OTHER, '"2"', cut=50_000),
    "other version, careless": gives(OTHER, '"2"', if_range=False, cut=50_000),
    "other bytes, same version": gives(OTHER, '"1"', cut=110_000),
    "other bytes, whole": gives(OTHER, '"3"'),
    "short length": gives(headers={"Content-Length": 1000}),
    "429": answers(429, Retry_After="0"),
    "500": answers(500),
    "404": answers(404),
    "page": gives(headers={"Content-Type": "text/html"}),
    "no length": without_length,
    "chunked, cut": chunked(end=b""),
    "loop": redirects("/0"),
    "whole": gives(),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=6), min_size=1, max_size=3), st.data())
def test_whatever_servers_do_the_right_file_ends_up_in_place_or_none(site, mirrors, data):
    size = data.draw(st.sampled_from([None, len(BODY)]))
    urls = [site.on(f"/{n}", *[FAULTS[name] for name in steps]) for n, steps in enumerate(mirrors)]
    dataset = one(urls, sha256=SHA256, **({"size": size} if size else {}))
    for path in (dataset.folder / "images" / "photos.bin", dataset.folder / RECORD):
        path.unlink(missing_ok=True)  # of the example before; its part may stay
    body, failures = fetched(dataset)
    assert body in (None, BODY)
    assert bool(failures) == (body is None)
    if [mirror[0] for mirror in mirrors][-1] == "whole" and len(mirrors[-1]) == 1:
        assert body == BODY


# -- the record


def test_a_later_download_is_compared_with_the_record(site):
    dataset = one(site.on("/file", gives(), gives(OTHER, '"2"')))
    assert fetched(dataset) == (BODY, [])
    place = dataset.folder / "images" / "photos.bin"
    place.unlink()
    nothing, failures = fetched(dataset)
    assert nothing is None
    assert "gives another file (sha256" in failures[0]
    assert failures[0].endswith(
        f"(sha256 {SHA256[:12]}…). Find out what changed before you accept it with "
        "`geobench datasets download NAME --accept-changed`."
    )
    assert fetched(dataset, accept_changed=True) == (OTHER, [])
    place.unlink()
    assert fetched(dataset) == (OTHER, [])  # it is the one that is known now


def test_a_mirror_that_has_what_was_downloaded_before_is_found(site):
    dataset = one(site.on("/file", gives()))
    assert fetched(dataset) == (BODY, [])
    (dataset.folder / "images" / "photos.bin").unlink()
    assert fetched(one([site.on("/new", gives(OTHER)), site.on("/old", gives())])) == (BODY, [])


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_damaged_record_is_one_line(site, text):
    dataset = one(site.on("/file", gives()))
    dataset.folder.mkdir(parents=True)
    (dataset.folder / RECORD).write_text(text)
    with pytest.raises(DownloadError, match=r"downloads.json is not a record of downloads; move it away"):
        download(dataset, patience=HURRIED)


def by_hand(dataset, body):
    place = dataset.folder / "images" / "photos.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(body)


def test_a_file_put_there_by_hand_is_verified_and_recorded(site):
    dataset = one(site.on("/file", gives()), sha256=SHA256)
    by_hand(dataset, BODY)
    assert download(dataset, patience=HURRIED).files[0]["sha256"] == SHA256
    assert not site.log


@pytest.mark.parametrize(("known", "told"), [({"sha256": SHA256}, "is another file"), ({"size": 7}, "instead of 7;")])
def test_a_file_put_there_by_hand_that_is_another_is_refused_and_left_alone(site, known, told):
    dataset = one(site.on("/file", gives()), **known)
    by_hand(dataset, OTHER)
    kept, failures = fetched(dataset)
    assert kept == OTHER
    assert told in failures[0] and "move it away" in failures[0]
    assert not site.log


def test_a_file_that_was_truncated_after_its_download_is_detected(site):
    dataset = one(site.on("/file", gives()))
    assert fetched(dataset) == (BODY, [])
    os.truncate(dataset.folder / "images" / "photos.bin", 5)
    assert "has 5 bytes instead of 300,000; move it away" in fetched(dataset)[1][0]


def test_a_file_for_a_browser_says_where_to_get_it_and_where_to_put_it(site):
    _, failures = fetched(one([], page="https://example.org/photos"))
    assert "has no address that a program can use; get it at https://example.org/photos with a browser" in failures[0]
    dataset = one([], page="https://example.org/photos")
    by_hand(dataset, BODY)
    assert fetched(dataset) == (BODY, [])


# -- room, locks, archives


def test_too_little_disk_space_is_reported_before_any_request(site):
    dataset = one(site.on("/file", gives()), size=10**18)
    with pytest.raises(DownloadError, match=r"faraway needs another 1,000,000,000.0 GB and .* free; free some space"):
        download(dataset, patience=HURRIED)
    assert not site.log


def test_too_little_disk_space_for_what_the_server_announces_is_reported(site):
    nothing, failures = fetched(one(site.on("/file", gives(headers={"Content-Length": 10**18}))))
    assert nothing is None
    assert "photos.bin needs another 1,000,000,000.0 GB" in failures[0]


def test_a_disk_that_cannot_be_written_is_one_line_and_keeps_what_was_downloaded(site):
    full = next((path for path in ("/dev/full",) if os.path.exists(path)), None)  # noqa: PTH110
    if full is None:
        pytest.skip("no /dev/full")
    dataset = one(site.on("/file", gives()))
    images = dataset.folder / "images"
    images.mkdir(parents=True)
    (images / ".photos.bin.part").symlink_to(full)
    nothing, failures = fetched(dataset)
    assert nothing is None
    assert os.strerror(errno.ENOSPC) in failures[0] or os.strerror(errno.EINVAL) in failures[0]
    assert "what was downloaded is kept" in failures[0]


def test_a_second_process_waits_and_finds_the_file_there(site):
    said = []

    class Listening(Progress):
        def say(self, message):
            said.append(message)

    def slowly(handler):
        time.sleep(0.15)
        gives()(handler)

    dataset, outcomes = one(site.on("/file", slowly)), []
    threads = [
        threading.Thread(target=lambda: outcomes.append(download(dataset, patience=HURRIED, progress=Listening())))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes[0].files == outcomes[1].files
    assert len(site.log) == 1
    assert "another process is working on downloads.json; waiting for it." in said


def tar_gz(**members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name.replace("__", "/") + ".jpg")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return made.getvalue()


def test_an_archive_is_unpacked_where_the_definition_says_so_and_may_go_then(site):
    url = site.on("/file", gives(tar_gz(yfcc__1=b"one", yfcc__2=b"two")))
    dataset = a_set({"file": "photos.tar.gz", "urls": [url], "unpack": "images"})
    assert download(dataset, patience=HURRIED).files[0]["unpacked"] == 2
    assert (dataset.folder / "images" / "yfcc" / "2.jpg").read_bytes() == b"two"
    (dataset.folder / "photos.tar.gz").unlink()
    assert not download(dataset, patience=HURRIED).failures
    assert len(site.log) == 1


def test_a_malicious_archive_is_not_unpacked(site):
    url = site.on("/file", gives(tar_gz(**{"..__outside": b"x"})))
    dataset = a_set({"file": "photos.tar.gz", "urls": [url], "unpack": "images"})
    outcome = download(dataset, patience=HURRIED)
    assert "photos.tar.gz is not unpacked: '../outside.jpg' leads outside the folder" in outcome.failures[0]
    assert not (dataset.folder / "images").exists()
    assert not list(dataset.folder.rglob("outside*")) and not (dataset.folder.parent / "outside.jpg").exists()


def test_one_file_that_fails_does_not_stop_the_others(site):
    dataset = a_set(
        {"file": "a", "urls": [site.on("/a", answers(404))]}, {"file": "b", "urls": [site.on("/b", gives())]}
    )
    outcome = download(dataset, patience=HURRIED)
    assert [entry["file"] for entry in outcome.files] == ["b"]
    assert len(outcome.failures) == 1


# -- the command


@pytest.fixture
def faraway(site, register):
    """A registered data set of two files on the server, one of them with a known hash."""
    table = b"image,latitude,longitude\na.jpg,1,2\n"
    dataset = a_set(
        {"file": "images/photos.bin", "urls": [site.on("/file", gives())], "about": 300_000},
        {
            "file": "metadata.csv",
            "what": "metadata",
            "urls": [site.on("/table", gives(table))],
            "size": len(table),
            "sha256": hashlib.sha256(table).hexdigest(),
        },
        licence="as is",
        citation="Doe 2024",
    )
    register("dataset", dataset)
    return dataset


def test_the_command_shows_what_it_will_fetch_and_fetches_it(cli, faraway):
    done = cli("datasets", "download", "faraway", "--yes")
    for shown in ("Far away (faraway), available", "licence: as is", "citation: Doe 2024", f"folder: {faraway.folder}"):
        assert shown in done.stderr
    assert "about 300.0 kB" in done.stderr and "to download: 2 files, 300.0 kB" in done.stderr
    assert SHA256[:12] in done.stdout
    again = cli("datasets", "download", "faraway")  # nothing to come, so nothing to agree to
    assert "to download" not in again.stderr


def test_the_command_prints_the_record_as_json(cli, faraway):
    printed = json.loads(cli("datasets", "download", "faraway", "--yes", "--json").stdout)
    assert [(row["file"], row["size"]) for row in printed] == [("images/photos.bin", 300_000), ("metadata.csv", 35)]
    assert printed[0]["sha256"] == SHA256


def test_without_a_terminal_it_refuses_to_start(cli, faraway, site):
    refused = cli("datasets", "download", "faraway", exit_code=2)
    assert "there is no terminal to confirm the download of faraway; give --yes to go ahead." in refused.stderr
    assert "licence: as is" in refused.stderr
    assert not site.log and not faraway.folder.exists()


def test_a_file_that_cannot_be_downloaded_is_reported_and_the_exit_code_is_1(cli, faraway, site):
    site.on("/file", answers(404))
    failed = cli("datasets", "download", "faraway", "--yes", exit_code=1)
    assert "Failed: faraway: images/photos.bin could not be downloaded" in failed.stderr
    assert "metadata.csv" in failed.stdout


def test_a_set_that_was_never_released_says_how_to_add_a_rebuild_and_what_to_call_it(cli):
    told = cli("datasets", "download", "gws15k", "--yes", exit_code=1)
    assert told.stderr.startswith("Error: gws15k (never-released) has nothing to download. Its authors never released")
    assert "geobench datasets add gws15k-rebuilt --images DIR --metadata CSV" in told.stderr
    assert told.stderr.count("\n") == 1


def test_an_embedded_set_needs_no_download(cli):
    assert "bluemarble is part of geobench" in cli("datasets", "download", "bluemarble").stdout


@pytest.mark.parametrize(("answer", "there", "code"), [("y", True, 0), ("n", False, 1)])
def test_on_a_terminal_it_asks(site, own_home, tmp_path, answer, there, code):
    url = site.on("/file", gives())
    folder = own_home / "data" / "mine"
    folder.mkdir(parents=True)
    (folder / "dataset.toml").write_text(
        f'name = "mine"\ntitle = "Mine"\n[[sources]]\nfile = "images/photos.bin"\nurls = ["{url}"]\n'
    )
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "geobench", "datasets", "download", "mine"]
    with subprocess.Popen(command, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
        os.write(terminal, f"{answer}\n".encode())
        _, errors = asked.communicate(timeout=30)
    os.close(terminal)
    os.close(inside)
    assert "Download this? [y/N]" in errors
    assert (folder / "images" / "photos.bin").exists() is there
    assert asked.returncode == code
    assert len(site.log) == int(there)


# -- nothing else downloads

watched = {"on": False, "asked": []}


def _watch(event, arguments):
    if watched["on"] and event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        watched["asked"].append((event, arguments))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["datasets", "list"], 0),
        (["datasets", "show", "im2gps3k"], 0),
        (["datasets", "check", "im2gps3k"], 1),
        (["datasets", "audit", "im2gps3k", "--against", "mp16"], 1),
        (["datasets", "download", "osv5m"], 2),
        (["datasets", "remove", "im2gps3k"], 1),
        (["models"], 0),
        (["plugins"], 0),
        (["run", "--models", "most-frequent", "--datasets", "im2gps3k,yfcc4k", "--no-train"], 1),
        (["train", "knn", "--data", "mp16"], 1),
        (["report"], 1),
    ],
)
def test_no_command_opens_a_connection_unless_it_is_asked_to_download(cli, arguments, code):
    if not watched.get("hooked"):  # a hook cannot be taken away again, so it is switched
        sys.addaudithook(_watch)
        watched["hooked"] = True
    watched.update(on=True, asked=[])
    try:
        cli(*arguments, exit_code=code)
    finally:
        watched["on"] = False
    assert watched["asked"] == []
