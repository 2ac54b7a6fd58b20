"""Fixtures of the tests of forks, processes and exits."""

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.guard_server import GuardServer

from processes.accepted import Accepted
from processes.program import Program, Settings
from processes.served import Served


@pytest.fixture
def accepted(tmp_path: Path) -> Accepted:
    return Accepted(tmp_path / "accepted")


@pytest.fixture
def settings(server: GuardServer, accepted: Accepted) -> Settings:
    """Makes programs report to `server` and write to `accepted` what their agents accepted."""
    return Settings(endpoint=server.url, accepted=accepted.path)


@pytest.fixture
def start(settings: Settings, cleanup: ExitStack) -> Callable[..., Program]:
    """Starts a program from the folder `programs`."""

    def start(*arguments: str) -> Program:
        program = Program(arguments, settings)
        cleanup.callback(program.kill)
        return program

    return start


@pytest.fixture
def serve(settings: Settings, cleanup: ExitStack, tmp_path: Path) -> Callable[..., Served]:
    """Starts the app of `programs/served.py` under a server."""
    numbers = itertools.count()

    def serve(command: list[str], *how: str) -> Served:
        log = tmp_path / f"served-{next(numbers)}.log"
        served = Served(command, settings, log, *how)
        cleanup.callback(served.process.stop)
        return served

    return serve
