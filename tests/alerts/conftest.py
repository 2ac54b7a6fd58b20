"""Fixtures of the tests of alert channels."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from support.guard_server import ADMIN_TOKEN, GuardServer
from support.process import PATIENCE_SECONDS, Process

PROGRAMS = Path(__file__).parent / "programs"


class Receiver:
    """A program that takes requests or mail, and keeps what it took."""

    def __init__(self, folder: Path, name: str, *arguments: str | Path) -> None:
        self.log = folder / f"{name}.jsonl"
        command = [sys.executable, PROGRAMS / f"{name}.py", self.log, *arguments]
        self.process = Process(command, folder / f"{name}.log")
        self.url = self.process.start({}, "listening on")

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def taken(self) -> list[dict[str, Any]]:
        """Everything that came, in order."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def receive(tmp_path: Path, cleanup: ExitStack) -> Callable[..., Receiver]:
    """Starts a receiver: `hooks` or `mail`."""

    def start(name: str, *arguments: str | Path) -> Receiver:
        receiver = Receiver(tmp_path, name, *arguments)
        cleanup.callback(receiver.process.stop)
        return receiver

    return start


class Api:
    """The operator API of a server, as an admin."""

    def __init__(self, server: GuardServer) -> None:
        self.server = server

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(
            method,
            f"{self.server.url}/api/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            timeout=PATIENCE_SECONDS,
        )

    def add(self, **channel: str) -> str:
        """Adds a channel. Returns its id."""
        answer = self.call("POST", "channels", {"label": "Operations", **channel})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def test(self, **channel: str) -> dict[str, Any]:
        """What the test of a new channel says."""
        answer = self.call("POST", f"channels/{self.add(**channel)}/test")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def api_of() -> Callable[[GuardServer], Api]:
    return Api
