"""Fixtures of the tests of rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.example_app import ExampleApp
from support.guard_server import GuardServer
from support.rules import Rules


@pytest.fixture(scope="module")
def running(
    server_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ExampleApp, Rules]]:
    """The example app with default settings, and its server's rules."""
    folder = tmp_path_factory.mktemp("shop")
    server = GuardServer(server_binary, folder).start()
    app = ExampleApp(folder, server.url)
    try:
        app.start()
        yield app, Rules(server)
    finally:
        app.stop()
        server.stop()


@pytest.fixture
def app(running: tuple[ExampleApp, Rules]) -> ExampleApp:
    """Shared by the tests of a module: each test uses its own addresses."""
    return running[0]


@pytest.fixture
def rules(running: tuple[ExampleApp, Rules]) -> Iterator[Rules]:
    """Rolls back a test's changes when it ends."""
    before = running[1].publish()
    yield running[1]
    running[1].roll_back(before)
