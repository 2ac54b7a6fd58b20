"""Fixtures of the adapters' tests: every guard from PyPI, unmodified, in a server of its own.

They run in an environment that has fastapi-guard-agent and requirements.txt, against the binary
named by GUARD_SERVER_BIN:

    GUARD_SERVER_BIN=target/debug/guard-server pytest tests/adapters
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# Servers and processes are started by the same helpers as in the end-to-end tests.
sys.path.append(str(Path(__file__).parents[1] / "e2e"))

from guard_server import GuardServer
from shop import Shop


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
def server(server_binary: Path, tmp_path: Path, cleanup: ExitStack) -> GuardServer:
    server = GuardServer(server_binary, tmp_path)
    cleanup.callback(server.stop)
    return server.start()


@pytest.fixture
def open_shop(server: GuardServer, tmp_path: Path, cleanup: ExitStack) -> Callable[..., Shop]:
    """Starts an app of a name in `shop.COMMANDS`, reporting to `server`."""

    def start(name: str, *options: str, **settings: str) -> Shop:
        shop = Shop(name, tmp_path, server.url, options, settings)
        cleanup.callback(shop.stop)
        return shop.start()

    return start
