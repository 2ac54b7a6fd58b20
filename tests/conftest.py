"""Fixtures of every suite.

They need an environment with fastapi-guard-agent and tests/requirements.txt. Tests with a
server run the binary named by GUARD_SERVER_BIN, or else the debug build:

    cargo build -p guard-server && pytest tests/e2e
    pytest -m "not server and not redis"
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import ROOT
from support.app import Serve
from support.certificates import Authority
from support.example_app import UVICORN, ExampleApp
from support.guard_server import API_KEY, GuardServer
from support.process import eventually
from support.redis_server import RedisServer
from support.relay import Relay

REDIS_FIXTURES = {"redis_url", "start_redis"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the processes they start."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "server_binary" in fixtures:
            item.add_marker(pytest.mark.server)
        if fixtures & REDIS_FIXTURES:
            item.add_marker(pytest.mark.redis)


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Stops everything that a test has started, in reverse order."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def server_binary() -> Path:
    binary = Path(os.environ.get("GUARD_SERVER_BIN", ROOT / "target" / "debug" / "guard-server"))
    if not binary.exists():
        pytest.exit(f"{binary} is missing: run cargo build -p guard-server first", returncode=2)
    return binary.resolve()


@pytest.fixture
def api_key() -> str:
    """The key of the server's project."""
    return API_KEY


@pytest.fixture
def new_server(
    server_binary: Path, api_key: str, tmp_path: Path, cleanup: ExitStack
) -> Callable[..., GuardServer]:
    """Creates a server with command-line options, without starting it."""

    def make(*options: str) -> GuardServer:
        server = GuardServer(server_binary, tmp_path, options, api_key)
        cleanup.callback(server.stop)
        return server

    return make


@pytest.fixture
def server(new_server: Callable[..., GuardServer]) -> GuardServer:
    return new_server().start()


@pytest.fixture
def start_app(tmp_path: Path, cleanup: ExitStack) -> Callable[..., ExampleApp]:
    """Starts the example app, reporting to an endpoint, in a server, with settings."""

    def start(endpoint: str, serve: Serve = UVICORN, **settings: str) -> ExampleApp:
        app = ExampleApp(tmp_path, endpoint, serve, **settings)
        cleanup.callback(app.stop)
        app.start()
        return app

    return start


@pytest.fixture
def start_relay(cleanup: ExitStack) -> Callable[[GuardServer], Relay]:
    """Starts a relay in front of a server."""

    def start(server: GuardServer) -> Relay:
        relay = Relay(server.url)
        cleanup.callback(relay.stop)
        return relay

    return start


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Signs certificates that no system trusts by default."""
    return Authority(tmp_path)


@pytest.fixture
def redis_url(tmp_path: Path, cleanup: ExitStack) -> str:
    """A real Redis that listens on a private socket and keeps nothing on disk."""
    program = shutil.which("redis-server")
    assert program, "redis-server is missing; install it, as by apt-get install redis-server"
    socket = tmp_path / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    cleanup.callback(redis.wait)
    cleanup.callback(redis.terminate)
    eventually(socket.exists)
    return f"unix://{socket}"


@pytest.fixture
def start_redis(tmp_path: Path, cleanup: ExitStack) -> Callable[..., RedisServer]:
    """Starts a Redis that listens on a port, with options."""

    def start(*options: str) -> RedisServer:
        redis = RedisServer(tmp_path, *options)
        cleanup.callback(redis.stop)
        return redis.start()

    return start
