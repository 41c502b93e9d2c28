"""A server of OpenAI's chat completions that answers, and fails, on a schedule; it keeps every request."""

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PARIS = '{"latitude": 48.8566, "longitude": 2.3522, "country": "France", "city": "Paris"}'


def completion(text, finish="stop", model="tiny-2026-11-01", usage=True, **message):
    """Return status, headers and body of an answer."""
    tokens = {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020} if usage else None
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text} | message,
            }
        ],
        "usage": tokens,
    }
    return 200, {}, json.dumps(body).encode()


def error(status, message, code=None, param=None, **headers):
    """Return status, headers and body of an error as OpenAI writes them."""
    said = {"error": {"message": message, "type": "error", "code": code, "param": param}}
    return status, {name.replace("_", "-"): str(value) for name, value in headers.items()}, json.dumps(said).encode()


class ChatServer(ThreadingHTTPServer):
    """Serves ``answers``: what each photo, by its order of arrival, is answered at each attempt; then PARIS.

    Attributes:
        bodies: of all requests, in order; ``keys`` are the authorisations sent with them.
        photos: the digest of each request's photo.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answers=None, latency_s=0.0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.latency_s = answers or {}, latency_s
        self.bodies, self.photos, self.keys = [], [], []
        self.order = {}
        self.lock = threading.Lock()

    @property
    def address(self):
        """Return the ``base_url`` of the endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def reply(self, body, key):
        """Return what a request is answered, and count it."""
        picture = body["messages"][-1]["content"][-1]["image_url"]["url"]
        photo = hashlib.sha256(picture.encode()).hexdigest()
        with self.lock:
            number = self.order.setdefault(photo, len(self.order))
            attempt = self.photos.count(photo)
            self.bodies.append(body)
            self.photos.append(photo)
            self.keys.append(key)
        script = self.answers.get(number, self.answers.get("*", []))
        return script[attempt] if attempt < len(script) else completion(PARIS)

    def handle_error(self, request, client_address):
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        """Answer a request as the server's schedule says."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.server.reply(body, self.headers.get("Authorization"))
        time.sleep(self.server.latency_s)
        if reply == "drop":
            self.close_connection = True
            self.connection.close()
            return
        if isinstance(reply, float):  # later than anyone waits
            time.sleep(reply)
            reply = completion(PARIS)
        status, headers, content = reply
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Type" not in headers:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Print nothing."""


@contextmanager
def serving(answers=None, latency_s=0.0):
    """Yield a running server."""
    server = ChatServer(answers, latency_s)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
