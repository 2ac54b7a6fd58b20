"""The example app, served by uvicorn on a port the system chooses."""

import sys
from pathlib import Path
from typing import Any

import requests
from guard_server import API_KEY
from process import Process

APP_FOLDER = Path(__file__).parents[2] / "examples" / "fastapi_app"


class ExampleApp:
    """Reports to `endpoint`; `settings` are the app's own, such as GUARD_DETECTION."""

    def __init__(self, folder: Path, endpoint: str, **settings: str) -> None:
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "uvicorn",
            "main:app",
            "--app-dir",
            APP_FOLDER,
        ]
        self.process = Process([*command, "--port", "0", "--no-proxy-headers"], folder / "app.log")
        self.settings = {
            "GUARD_AGENT_ENDPOINT": endpoint,
            "GUARD_AGENT_API_KEY": API_KEY,
            "GUARD_AGENT_FLUSH_INTERVAL": "1",
            **settings,
        }
        self.url = ""
        self.session = requests.Session()

    def start(self) -> "ExampleApp":
        self.url = self.process.start(self.settings, "Uvicorn running on")
        return self

    def stop(self) -> None:
        """Ends the app as an operator would; its agent delivers what is queued."""
        self.session.close()
        self.process.stop()

    def request(
        self,
        path: str,
        client: str = "198.18.0.1",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> int:
        """Sends a request as `client` and returns the status of the answer.

        Each client address is known to fastapi-guard by X-Forwarded-For.
        """
        sent = {"X-Forwarded-For": client, **(headers or {})}
        answer = self.session.request(
            method,
            self.url + path,
            headers=sent,
            timeout=30,
            **body,
        )
        return answer.status_code
