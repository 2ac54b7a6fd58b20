"""The same small shop behind each guard, in the usual server of its framework."""

import re
import sys
from pathlib import Path
from typing import Any

import requests
from support import ROOT
from support.app import App, Serve
from support.process import STARVED

APPS = Path(__file__).with_name("apps")
EXAMPLES = ROOT / "examples"

UVICORN: list[str | Path] = [sys.executable, "-m", "uvicorn", "--port", "0", "--no-proxy-headers"]
GUNICORN: list[str | Path] = [
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"),
    # Logs each request with the process that served it.
    *("--access-logfile", "-", "--access-logformat", "served by %(p)s"),
]

COMMANDS: dict[str, Serve] = {
    "fastapi": ([*UVICORN, "--app-dir", APPS, "fastapi_shop:app"], "Uvicorn running on"),
    "fastapi-pure-asgi": (
        [*UVICORN, "--app-dir", APPS, "fastapi_pure_asgi:app"],
        "Uvicorn running on",
    ),
    "flask": ([*GUNICORN, "--chdir", EXAMPLES / "flask", "app:app"], "Listening at:"),
    "django": ([*GUNICORN, "--chdir", EXAMPLES / "django", "wsgi"], "Listening at:"),
    "django-asgi": (
        [*UVICORN, "--app-dir", EXAMPLES / "django", "asgi:application"],
        "Uvicorn running on",
    ),
    "tornado": ([sys.executable, EXAMPLES / "tornado" / "app.py"], "listening on"),
    "fastapi-moments": ([*UVICORN, "--app-dir", APPS, "fastapi_moments:app"], "Uvicorn running on"),
    "fastapi-redis": ([*UVICORN, "--app-dir", APPS, "fastapi_redis:app"], "Uvicorn running on"),
    "flask-redis": ([*GUNICORN, "--chdir", APPS, "flask_redis:app"], "Listening at:"),
    "flask-moments": ([*GUNICORN, "--chdir", APPS, "flask_moments:make_app()"], "Listening at:"),
}
SHOPS = ["fastapi", "fastapi-pure-asgi", "flask", "django", "django-asgi", "tornado"]

# Text that must not appear in any app's log.
WRONG = [
    "was never awaited",
    "failed to start",
    "Failed to",
    "Traceback",
    "ERROR",
    "RuntimeWarning",
]
STARVED_WORKER = re.compile(rf"^Traceback .*\n(?:(?!Traceback).*\n)*?.*{STARVED}.*$", re.MULTILINE)


class Shop(App):
    """An app of `COMMANDS`, with `options` for its server and `settings` in its environment."""

    def __init__(
        self,
        name: str,
        folder: Path,
        endpoint: str,
        options: tuple[str, ...],
        settings: dict[str, str],
    ) -> None:
        command, listening = COMMANDS[name]
        super().__init__(([*command, *options], listening), folder / "shop.log", endpoint, settings)

    def request(
        self, path: str, client: str = "198.18.0.1", method: str = "GET", **parts: Any
    ) -> requests.Response:
        """Sends a request as `client`, on a new connection."""
        with requests.Session() as http:
            return self.send(http, path, client, method, **parts)

    def status(self, path: str, client: str = "198.18.0.1", **parts: Any) -> int:
        return self.request(path, client, **parts).status_code


def wrong_words(log: str) -> list[str]:
    """Returns the log lines that report a problem.

    Ignores a worker that guard-core starved of CPU time: uvicorn starts another one.
    """
    lines = STARVED_WORKER.sub("", log).splitlines()
    return [line for line in lines if any(word in line for word in WRONG)]
