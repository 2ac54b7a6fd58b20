"""Fixtures of the command line's tests."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.guard_server import API_KEY
from support.process import PATIENCE_SECONDS

from cli.output import Output
from cli.scripted import Answer, Scripted

COMMAND = Path(sys.executable).with_name("guard-agent")


@pytest.fixture
def start_backend(cleanup: ExitStack) -> Callable[..., Scripted]:
    """Starts a scripted backend with empty rules, with or without a certificate."""

    def start(certificate: Path | None = None) -> Scripted:
        backend = Scripted(certificate)
        cleanup.callback(backend.stop)
        backend.answers["/api/v1/rules"] = Answer(200)
        return backend

    return start


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with only a home and the server's key."""
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
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert "Traceback" not in completed.stderr, completed.stderr
        assert API_KEY not in completed.stdout + completed.stderr
        return Output(completed)

    return run
