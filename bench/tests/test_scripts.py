"""The measuring programs, on a backend of the tests."""

import gzip
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness import processes
from harness.environment import Subject
from harness.trouble import silent_backend

OURS = Subject("ours", Path(sys.executable))


@pytest.fixture(autouse=True)
def errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ERRORS", tmp_path / "stderr.log")


class Counter(BaseHTTPRequestHandler):
    """What the sink of the benchmark does, for a few events."""

    protocol_version = "HTTP/1.1"
    keys: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.keys.update(event["idempotency_key"] for event in json.loads(body).get("events", ()))
        self.answer({"success": True})

    def do_GET(self) -> None:
        self.answer({"events": len(self.keys), "malformed": 0})

    def answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def counting_sink() -> Iterator[processes.Sink]:
    handler = type("Handler", (Counter,), {"keys": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield processes.Sink(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_a_queued_event_takes_more_memory_than_its_text() -> None:
    with silent_backend() as endpoint:
        figures = processes.script(OURS, "memory.py", endpoint.url, "20000")
    assert 100 < figures["queued_bytes"] < 10_000


def test_the_import_of_the_agent_takes_time() -> None:
    assert processes.script(OURS, "imports.py")["import_ms"] > 0


@pytest.mark.parametrize("spooled", [False, True])
def test_all_that_is_sent_at_the_sustained_rate_is_delivered(
    spooled: bool, counting_sink: processes.Sink, tmp_path: Path
) -> None:
    spool = (str(tmp_path / "spool"),) if spooled else ()
    figures = processes.script(OURS, "rate.py", counting_sink.address, "2000", *spool)
    assert figures["events_per_second"] > 0
    counting_sink.expect_events(2000, "ours")
