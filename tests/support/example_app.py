"""The example app, served by uvicorn on a port that the system chooses."""

import sys
from pathlib import Path
from typing import Any

import requests

from support import ROOT
from support.app import App, Serve

APP_FOLDER = ROOT / "examples" / "fastapi_app"

UVICORN: Serve = (
    [
        *(sys.executable, "-m", "uvicorn", "main:app", "--app-dir", APP_FOLDER),
        *("--port", "0", "--no-proxy-headers"),
    ],
    "Uvicorn running on",
)


class ExampleApp(App):
    """Reports to `endpoint`; `settings` are the app's own, such as GUARD_DETECTION."""

    def __init__(
        self, folder: Path, endpoint: str, serve: Serve = UVICORN, **settings: str
    ) -> None:
        super().__init__(serve, folder / "app.log", endpoint, settings)
        self.session = requests.Session()

    def stop(self) -> str:
        self.session.close()
        return super().stop()

    def request(
        self, path: str, client: str = "198.18.0.1", method: str = "GET", **parts: Any
    ) -> int:
        """Sends a request as `client` and returns the status of the response."""
        return self.send(self.session, path, client, method, **parts).status_code
