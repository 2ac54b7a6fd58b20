"""An app behind a guard, in its own server, that reports to a backend."""

from pathlib import Path
from threading import Lock
from typing import Any

import requests

from support.guard_server import API_KEY
from support.process import PATIENCE_SECONDS, Process

# The command of a server that logs its address, and the words before the address.
Serve = tuple[list[str | Path], str]


class App:
    """Reports to `endpoint`; `settings` are in its environment, such as GUARD_DETECTION."""

    def __init__(self, serve: Serve, log: Path, endpoint: str, settings: dict[str, str]) -> None:
        command, self.listening = serve
        self.process = Process(command, log)
        self.settings = {
            "GUARD_AGENT_ENDPOINT": endpoint,
            "GUARD_AGENT_API_KEY": API_KEY,
            "GUARD_AGENT_FLUSH_INTERVAL": "1",
            "APP_PORT": "0",
            **settings,
        }
        self.url = ""
        self._starting = Lock()

    def start(self) -> None:
        self.url = self.process.start(self.settings, self.listening)

    def stop(self) -> str:
        """Ends the app as an operator would, so that its agent delivers queued records; returns
        the app's output."""
        self.process.stop()
        return self.process.output()

    def send(
        self, http: requests.Session, path: str, client: str, method: str, **parts: Any
    ) -> requests.Response:
        """Sends a request as `client`, which fastapi-guard takes from X-Forwarded-For."""
        headers = {"X-Forwarded-For": client, **(parts.pop("headers", None) or {})}

        def answer() -> requests.Response:
            url = self.url + path
            return http.request(method, url, headers=headers, timeout=PATIENCE_SECONDS, **parts)

        asked = self.url
        try:
            return answer()
        except requests.ConnectionError:
            # Gunicorn listens before the app is ready.
            with self._starting:
                if self.process.starved():
                    self.start()
            if self.url == asked:
                raise
            return answer()
