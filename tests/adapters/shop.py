"""The same small shop behind each of the guards, in the server its framework is run by."""

import sys
from pathlib import Path
from typing import Any

import requests
from guard_server import API_KEY
from process import Process

APPS = Path(__file__).with_name("apps")
EXAMPLES = Path(__file__).parents[2] / "examples"

UVICORN: list[str | Path] = [sys.executable, "-m", "uvicorn", "--port", "0", "--no-proxy-headers"]
GUNICORN: list[str | Path] = [
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"),
    # Each request is logged with the process that served it.
    *("--access-logfile", "-", "--access-logformat", "served by %(p)s"),
]

# By name: the command, and the words its server says before its URL.
COMMANDS: dict[str, tuple[list[str | Path], str]] = {
    "fastapi": ([*UVICORN, "--app-dir", APPS, "fastapi_shop:app"], "Uvicorn running on"),
    "flask": ([*GUNICORN, "--chdir", EXAMPLES / "flask", "app:app"], "Listening at:"),
    "django": ([*GUNICORN, "--chdir", EXAMPLES / "django", "wsgi"], "Listening at:"),
    "django-asgi": (
        [*UVICORN, "--app-dir", EXAMPLES / "django", "asgi:application"],
        "Uvicorn running on",
    ),
    "tornado": ([sys.executable, EXAMPLES / "tornado" / "app.py"], "listening on"),
    "fastapi-moments": ([*UVICORN, "--app-dir", APPS, "fastapi_moments:app"], "Uvicorn running on"),
    "flask-moments": ([*GUNICORN, "--chdir", APPS, "flask_moments:make_app()"], "Listening at:"),
}
SHOPS = ["fastapi", "flask", "django", "django-asgi", "tornado"]

# What none of the apps may say, whatever is done to it.
WRONG = [
    "was never awaited",
    "failed to start",
    "Failed to",
    "Traceback",
    "ERROR",
    "RuntimeWarning",
]


class Shop:
    """An app of `COMMANDS`, with `options` for its server and `settings` in its environment."""

    def __init__(
        self,
        name: str,
        folder: Path,
        endpoint: str,
        options: tuple[str, ...],
        settings: dict[str, str],
    ) -> None:
        command, self.listening = COMMANDS[name]
        self.process = Process([*command, *options], folder / "shop.log")
        self.settings = {
            "GUARD_AGENT_ENDPOINT": endpoint,
            "GUARD_AGENT_API_KEY": API_KEY,
            "GUARD_AGENT_FLUSH_INTERVAL": "1",
            "APP_PORT": "0",
            **settings,
        }
        self.url = ""

    def start(self) -> "Shop":
        self.url = self.process.start(self.settings, self.listening)
        return self

    def stop(self) -> str:
        """Ends the app as an operator would; returns all that it said."""
        self.process.stop()
        return self.process.output()

    def request(
        self, path: str, client: str = "198.18.0.1", method: str = "GET", **parts: Any
    ) -> requests.Response:
        """Sends a request as `client`, on a connection of its own."""
        headers = {"X-Forwarded-For": client, **parts.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **parts)

    def status(self, path: str, client: str = "198.18.0.1", **parts: Any) -> int:
        return self.request(path, client, **parts).status_code


def wrong_words(log: str) -> list[str]:
    """The lines that tell of something that went wrong."""
    return [line for line in log.splitlines() if any(word in line for word in WRONG)]
