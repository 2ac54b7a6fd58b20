"""Fixtures of the quickstart's tests.

They run in an environment that has fastapi-guard-agent and requirements.txt, against the binary
named by GUARD_SERVER_BIN:

    GUARD_SERVER_BIN=target/debug/guard-server pytest tests/quickstart
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# What starts processes is shared with the end-to-end tests, certificates with the command line's.
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "e2e"), str(TESTS / "cli")]

from guard_server import GuardServer  # noqa: E402
from process import Process, eventually  # noqa: E402


class App:
    """A FastAPI application, served by uvicorn on a port the system chooses."""

    def __init__(self, main: Path, folder: Path) -> None:
        uvicorn = [sys.executable, "-m", "uvicorn", f"{main.stem}:app", "--app-dir", main.parent]
        self.process = Process([*uvicorn, "--port", "0"], folder / "app.log")
        self.url = ""

    def start(self, settings: dict[str, str]) -> "App":
        self.url = self.process.start(settings, "Uvicorn running on")
        return self

    def stop(self) -> str:
        """Ends the application as an operator would; returns all that it said."""
        self.process.stop()
        return self.process.output()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Stops what a test has started, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch) -> GuardServer:
    """A real server, with the key that the programs have."""
    monkeypatch.setattr("guard_server.API_KEY", "YOUR_API_KEY")
    binary = os.environ.get("GUARD_SERVER_BIN")
    if not binary:
        pytest.exit("GUARD_SERVER_BIN is not set: name the guard-server binary", returncode=2)
    server = GuardServer(Path(binary).resolve(strict=True), tmp_path)
    cleanup.callback(server.stop)
    return server.start()


@pytest.fixture
def start_app(tmp_path: Path, cleanup: ExitStack) -> Callable[..., App]:
    """Starts an application from its file, with settings in its environment."""

    def start(main: Path, **settings: str) -> App:
        app = App(main, tmp_path)
        cleanup.callback(app.process.stop)
        return app.start({"HOME": str(tmp_path), **settings})

    return start


@pytest.fixture
def redis_url(tmp_path: Path, cleanup: ExitStack) -> str:
    """A real Redis that listens on a socket of its own and keeps nothing."""
    program = shutil.which("redis-server")
    assert program, "redis-server is missing; install it, as by apt-get install redis-server"
    socket = tmp_path / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    cleanup.callback(redis.wait)
    cleanup.callback(redis.terminate)
    eventually(socket.exists)
    return f"unix://{socket}"
