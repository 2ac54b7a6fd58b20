"""A backend that records its requests and returns scripted responses."""

import contextlib
import gzip
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCEPTED = {"success": True, "errors": None}


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Backend:
    """Listens on a free port of this machine within a `with` block.

    Attributes:
        received: All requests, oldest first.
        status: The response status for posts.
        accepted: The body of that response.
        refused: Posts that contain this text get a 400.
        rules: The response to GET /api/v1/rules; None gives a 404. Rules set by `publish` instead
            have a tag, and requests that name the tag wait for the next rules.
        hold: Posts get a response only while this is set.
        asked: Is set once a batch has come, answered or not.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 200
        self.accepted: dict[str, Any] = dict(ACCEPTED)
        self.refused: str | None = None
        self.rules: dict[str, Any] | None = None
        self.tag: str | None = None
        self._published = threading.Condition()
        self.hold = threading.Event()
        self.hold.set()
        self.asked = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Backend":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()

    def go_away(self) -> None:
        """Stops listening, and answers all held requests."""
        self.hold.set()
        self.publish(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def publish(self, rules: dict[str, Any] | None) -> None:
        """Sets new rules, and answers the requests that wait for them."""
        with self._published:
            self.rules, self.tag = rules, f'"{hash(json.dumps(rules)):x}"'
            self._published.notify_all()

    def wait_for_rules(self, known: str | None) -> None:
        """Returns once the rules differ from those that the request names."""
        with self._published:
            self._published.wait_for(lambda: self.tag is None or self.tag != known, 30)

    def wait_to_answer(self, path: str) -> None:
        if path != "/api/v1/status":
            self.asked.set()
        self.hold.wait()

    def records(self, kind: str) -> list[dict[str, Any]]:
        """All "events" or "metrics" received."""
        posts = [request for request in self.received if request.path == f"/api/v1/{kind}"]
        return [record for request in posts for record in request.body[kind]]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.records("events")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.records("metrics")


def _handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            backend.wait_to_answer(self.path)
            self._record(json.loads(body))
            refuses = backend.refused is not None and backend.refused.encode() in body
            self._answer(400 if refuses else backend.status, backend.accepted)

        def do_GET(self) -> None:
            self._record(None)
            if self.path == "/api/v1/rules":
                backend.wait_for_rules(self.headers["If-None-Match"])
            if self.path == "/api/v1/rules" and backend.rules is not None:
                self._answer(200, backend.rules)
            else:
                self._answer(404, {"detail": "Not found"})

        def _record(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body)
            backend.received.append(request)

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if backend.tag and self.path == "/api/v1/rules":
                self.send_header("ETag", backend.tag)
                self.send_header("Preference-Applied", "wait=30")
            # A client that waited for rules may be gone.
            with contextlib.suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keeps requests out of the output."""

    return Handler
