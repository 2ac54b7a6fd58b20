"""With a spool, records survive the application's process, however it ends."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.example_app import ExampleApp
from support.guard_server import GuardServer
from support.process import eventually

REQUESTS = 120


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def port() -> int:
    """A port where nothing listens until a server starts there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
    return port


def saved_bytes(spool: Path) -> int:
    return sum(file.stat().st_size for file in spool.rglob("*") if file.is_file())


def settled(spool: Path) -> bool:
    """Whether writing has stopped, so that all sent records are on disk."""
    seen = [saved_bytes(spool)]

    def unchanged() -> bool:
        seen.append(saved_bytes(spool))
        return seen[-1] > 0 and len(seen) > 5 and len(set(seen[-5:])) == 1

    return eventually(unchanged)


def send(app: ExampleApp, requests: int) -> None:
    for _ in range(requests):
        assert app.request("/items") == 200


def keys(server: GuardServer) -> list[str]:
    return [metric["idempotency_key"] for metric in server.records("metrics")]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_app_delivers_once_what_an_app_left_in_an_outage(
    ending: signal.Signals,
    spool: Path,
    port: int,
    new_server: Callable[..., GuardServer],
    start_app: Callable[..., ExampleApp],
) -> None:
    endpoint = f"http://127.0.0.1:{port}"
    settings = {"GUARD_DETECTION": "off", "GUARD_AGENT_SPOOL_DIR": str(spool)}
    first = start_app(endpoint, **settings)
    send(first, REQUESTS)
    if ending == signal.SIGKILL:
        # Records of the last 10 ms may be lost.
        settled(spool)
    first.process.stop(ending)
    server = new_server().start(port)
    second = start_app(endpoint, **settings)
    send(second, 10)

    expected = {"response_time": REQUESTS + 10, "request_count": REQUESTS + 10}
    assert eventually(lambda: server.counts("metrics") == expected)
    assert len(keys(server)) == len(set(keys(server)))
