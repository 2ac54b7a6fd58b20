"""The original program of the package's users, unchanged, and the example.

Both report the requests to one endpoint. Each runs under uvicorn, as a separate process.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from support import ROOT
from support.certificates import Authority
from support.gateway import Gateway
from support.guard_server import GuardServer
from support.process import PATIENCE_SECONDS, eventually

from quickstart.app import App

PROGRAM = Path(__file__).with_name("program.txt").read_text()
EXAMPLE = ROOT / "examples" / "quickstart" / "main.py"

StartApp = Callable[..., App]


@pytest.fixture
def start_program(
    server: GuardServer,
    start_app: StartApp,
    authority: Authority,
    tmp_path: Path,
    cleanup: ExitStack,
) -> StartApp:
    """Starts a program's text; it reports to api.fastapi-guard.com, for which `server` answers."""
    gateway = Gateway(server.url, authority.issue("api.fastapi-guard.com"))
    cleanup.callback(gateway.stop)
    roots = str(authority.certificate)

    def start(program: str) -> App:
        main = tmp_path / "main.py"
        main.write_text(program)
        return start_app(main, HTTPS_PROXY=gateway.url, SSL_CERT_FILE=roots)

    return start


def with_redis(program: str, redis_url: str) -> str:
    """Turns the program's commented lines about Redis into code."""
    lines = program.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if "Optional: If you use Redis" in line) + 1
    for number in range(first, first + 4):
        lines[number] = lines[number].replace("# ", "", 1)
    return "".join(lines).replace("redis://localhost", redis_url)


def assert_reported(server: GuardServer) -> None:
    events = server.records("events")
    assert len(events) == 1, events
    expected = {
        "event_type": "suspicious_request",
        "ip_address": "127.0.0.1",
        "endpoint": "/",
        "method": "GET",
        "action_taken": "log",
        "reason": "suspicious_request",
    }
    assert expected.items() <= events[0].items()


def test_the_unmodified_program_delivers_a_request_at_exit(
    server: GuardServer, start_program: StartApp
) -> None:
    app = start_program(PROGRAM)
    answer = requests.get(app.url + "/", timeout=PATIENCE_SECONDS)
    said = app.stop()

    assert answer.json() == {"message": "Hello World"}
    assert_reported(server)
    assert "Traceback" not in said
    assert "never awaited" not in said


def test_the_program_with_its_redis_lines_does_the_same(
    server: GuardServer, start_program: StartApp, redis_url: str
) -> None:
    app = start_program(with_redis(PROGRAM, redis_url))
    answer = requests.get(app.url + "/", timeout=PATIENCE_SECONDS)
    said = app.stop()

    assert answer.json() == {"message": "Hello World"}
    assert_reported(server)
    assert "Traceback" not in said


@pytest.mark.parametrize("has_redis", [False, True], ids=["without Redis", "with Redis"])
def test_the_example_reports_a_request_while_it_runs(
    server: GuardServer, start_app: StartApp, has_redis: bool, request: pytest.FixtureRequest
) -> None:
    settings = {
        "GUARD_AGENT_API_KEY": "YOUR_API_KEY",
        "GUARD_AGENT_ENDPOINT": server.url,
        "GUARD_AGENT_FLUSH_INTERVAL": "1",
    }
    if has_redis:
        settings["REDIS_URL"] = request.getfixturevalue("redis_url")
    app = start_app(EXAMPLE, **settings)
    answer = requests.get(app.url + "/", timeout=PATIENCE_SECONDS)

    assert answer.json() == {"message": "Hello World"}
    eventually(lambda: server.counts("events") == {"suspicious_request": 1})
    said = app.stop()
    assert_reported(server)
    assert "Traceback" not in said
