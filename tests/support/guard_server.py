"""A real guard-server, with data in a temporary folder."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from support.process import PATIENCE_SECONDS, Process

API_KEY = "fg_end_to_end_0123456789abcdef"
# Reads and changes everything, as people do.
ADMIN_TOKEN = "gt_end_to_end_0123456789abcdef"
# The routes of the project.
PROJECT = "/api/v1/projects/default"
# The only paths that agents read, with their key.
FOR_AGENTS = ("/api/v1/rules", "/api/v1/status")


class GuardServer:
    """Starts on a port that the system chooses, or, after a restart, on its previous port."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        options: tuple[str, ...] = (),
        api_key: str = API_KEY,
        *,
        within: Sequence[str] = (),
        data: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`within` begins a command that runs the server elsewhere, such as in a namespace."""
        self.binary = binary
        self.folder = folder
        self.options = options
        self.api_key = api_key
        self.within = within
        self.data = data or folder / "data"
        self.environment = environment or {}
        self.url = ""
        self.process: Process | None = None

    def start(self, port: int | None = None) -> "GuardServer":
        port = port or urlsplit(self.url).port or 0
        command: list[str | Path] = [
            *self.within,
            self.binary,
            "--listen",
            f"127.0.0.1:{port}",
            "--data-dir",
            self.data,
        ]
        self.process = Process([*command, *self.options], self.folder / "server.log")
        self.url = self.process.start(
            {
                "GUARD_SERVER_API_KEY": self.api_key,
                "GUARD_SERVER_ADMIN_TOKEN": ADMIN_TOKEN,
                **self.environment,
            },
            "guard-server listening on",
        )
        return self

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        """Kills the server, as in a crash."""
        assert self.process
        self.process.stop(signal.SIGKILL)

    def get(self, path: str, **query: int | str) -> Any:
        """Reads a path of agents with the API key, and any other with the admin token."""
        key, token = {"X-API-Key": self.api_key}, {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        answer = requests.get(
            self.url + path,
            params=query,
            headers=key if path in FOR_AGENTS else token,
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def counts(self, kind: str) -> dict[str, int]:
        """The number of stored records of a kind ("events" or "metrics"), by type."""
        by_type: dict[str, int] = self.summary()[kind]["by_type"]
        return by_type

    def summary(self) -> dict[str, Any]:
        """What the project sent: counts by kind and type, duplicates, agents."""
        summary: dict[str, Any] = self.get(f"{PROJECT}/summary")
        return summary

    def adoption(self) -> dict[str, Any]:
        """The processes that have the rules in force."""
        found: dict[str, Any] = self.get(f"{PROJECT}/rules/adoption")
        return found

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Every stored record of a kind ("events" or "metrics"), newest first."""
        found: list[dict[str, Any]] = []
        always = {"from": "1970-01-01T00:00:00Z", "to": "2200-01-01T00:00:00Z"}
        cursor: dict[str, str] = {}
        while True:
            page = self.get(f"{PROJECT}/{kind}", limit=1000, **always, **cursor)
            found += [item[kind.removesuffix("s")] for item in page["items"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}
