"""Fixtures of the command line's tests.

They run in an environment that has fastapi-guard-agent and requirements.txt, against the binary
named by GUARD_SERVER_BIN:

    GUARD_SERVER_BIN=target/debug/guard-server pytest tests/cli
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# What starts processes is shared with the end-to-end tests, the gateway with the quickstart's.
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "e2e"), str(TESTS / "quickstart")]

from certificates import Authority  # noqa: E402
from guard_server import API_KEY, GuardServer  # noqa: E402
from scripted import Answer, Scripted  # noqa: E402

COMMAND = Path(sys.executable).with_name("guard-agent")


class Output:
    """What a run of the command printed, and its exit code."""

    def __init__(self, run: "subprocess.CompletedProcess[str]") -> None:
        self.code = run.returncode
        self.text = run.stdout
        self.errors = run.stderr
        self.lines = [line.partition(" ") for line in run.stdout.splitlines()]

    def says(self, level: str, what: str) -> str:
        """The one line about `what`, which must be of this level."""
        found = [(how, rest.strip()) for how, _, rest in self.lines]
        about = [(how, rest) for how, rest in found if rest.startswith(f"{what} ")]
        assert len(about) == 1, self.text
        assert about[0][0] == level, self.text
        return about[0][1].removeprefix(what).strip()

    def levels(self) -> list[str]:
        return [level for level, _, _ in self.lines]


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Stops what a test has started, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(tmp_path: Path, cleanup: ExitStack) -> GuardServer:
    binary = os.environ.get("GUARD_SERVER_BIN")
    if not binary:
        pytest.exit("GUARD_SERVER_BIN is not set: name the guard-server binary", returncode=2)
    server = GuardServer(Path(binary).resolve(strict=True), tmp_path)
    cleanup.callback(server.stop)
    return server.start()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def start_backend(cleanup: ExitStack) -> Callable[..., Scripted]:
    """Starts a scripted backend whose rules are empty, with a certificate or without."""

    def start(certificate: Path | None = None) -> Scripted:
        backend = Scripted(certificate)
        cleanup.callback(backend.stop)
        backend.answers["/api/v1/rules"] = Answer(200)
        return backend

    return start


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment of nothing but a home and the server's key."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GUARD_AGENT_API_KEY": API_KEY}


@pytest.fixture
def guard_agent(environment: dict[str, str]) -> Callable[..., Output]:
    """Runs the command with arguments, `stdin`, and settings added to the environment."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> Output:
        completed = subprocess.run(
            [COMMAND, *arguments],
            env=environment | settings,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in completed.stderr, completed.stderr
        assert API_KEY not in completed.stdout + completed.stderr
        return Output(completed)

    return run
