"""Fixtures of the end-to-end tests.

They run in an environment that has fastapi-guard-agent and requirements.txt, against the binary
named by GUARD_SERVER_BIN:

    GUARD_SERVER_BIN=target/debug/guard-server pytest tests/e2e
"""

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from example_app import ExampleApp
from guard_server import GuardServer
from relay import Relay


@pytest.fixture(scope="session")
def server_binary() -> Path:
    name = os.environ.get("GUARD_SERVER_BIN")
    if not name:
        pytest.exit("GUARD_SERVER_BIN is not set: name the guard-server binary", returncode=2)
    return Path(name).resolve(strict=True)


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Stops what a test has started, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def new_server(
    server_binary: Path, tmp_path: Path, cleanup: ExitStack
) -> Callable[..., GuardServer]:
    """Makes a server that is not started yet, from its command line's options."""

    def make(*options: str) -> GuardServer:
        server = GuardServer(server_binary, tmp_path, options)
        cleanup.callback(server.stop)
        return server

    return make


@pytest.fixture
def server(new_server: Callable[..., GuardServer]) -> GuardServer:
    return new_server().start()


@pytest.fixture
def start_app(tmp_path: Path, cleanup: ExitStack) -> Callable[..., ExampleApp]:
    """Starts the example app, reporting to an endpoint, with settings."""

    def start(endpoint: str, **settings: str) -> ExampleApp:
        app = ExampleApp(tmp_path, endpoint, **settings)
        cleanup.callback(app.stop)
        return app.start()

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
def encryption_key() -> str:
    """A fresh 256-bit key, as projects are given it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
