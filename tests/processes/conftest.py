"""Fixtures of the tests of forks, processes and exits.

They run in an environment that has fastapi-guard-agent and requirements.txt, against the binary
named by GUARD_SERVER_BIN:

    GUARD_SERVER_BIN=target/debug/guard-server pytest tests/processes
"""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from accepted import Accepted
from guard_server import GuardServer
from program import Program, Settings
from served import Served


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
def accepted(tmp_path: Path) -> Accepted:
    return Accepted(tmp_path / "accepted")


@pytest.fixture
def settings(server: GuardServer, accepted: Accepted) -> Settings:
    """Has programs report to `server` and tell in `accepted` what their agents took."""
    return Settings(endpoint=server.url, accepted=accepted.path)


@pytest.fixture
def start(settings: Settings, cleanup: ExitStack) -> Callable[..., Program]:
    """Starts a program of the folder `programs`."""

    def start(*arguments: str) -> Program:
        program = Program(arguments, settings)
        cleanup.callback(program.kill)
        return program

    return start


@pytest.fixture
def serve(settings: Settings, cleanup: ExitStack, tmp_path: Path) -> Callable[..., Served]:
    """Starts the app of `programs/served.py` under a server."""
    numbers = itertools.count()

    def serve(command: list[str], under_load: bool = False) -> Served:
        log = tmp_path / f"served-{next(numbers)}.log"
        served = Served(command, settings, log, under_load)
        cleanup.callback(served.process.stop)
        return served

    return serve
