"""The app of `programs/served.py` under its servers."""

import sys
from pathlib import Path

import requests
from support.process import PATIENCE_SECONDS, Process, eventually

from processes.program import PROGRAMS, Settings

UVICORN = ["uvicorn", "served:app", "--port", "0"]
GUNICORN = [
    *("gunicorn", "served:app", "--bind", "127.0.0.1:0", "--preload", "--workers", "4"),
    *("--worker-class", "uvicorn.workers.UvicornWorker"),
]
LISTENING = {"uvicorn": "Uvicorn running on", "gunicorn": "Listening at:"}


class Served:
    """A server that has started and listens."""

    def __init__(self, command: list[str], settings: Settings, log: Path, *how: str) -> None:
        """`how` lists environment variables for `programs/served.py`, such as UNDER_LOAD."""
        self.process = Process([sys.executable, "-m", *command], log)
        environment = settings.environment() | {"PYTHONPATH": str(PROGRAMS)}
        environment |= {f"HOST_{each}": "yes" for each in how}
        self.url = self.process.start(environment, LISTENING[command[0]])

    def get(self) -> int:
        """Makes a request on a new connection; returns the process that answered it."""
        return int(requests.get(self.url, timeout=PATIENCE_SECONDS).text)

    def wait_for_workers(self, count: int) -> None:
        """Waits until the given number of workers serve."""
        eventually(lambda: self.process.output().count("Application startup complete") >= count)

    def stop(self) -> int:
        """Ends the server as an operator would; returns its exit code."""
        self.process.stop()
        assert self.process.child
        code: int = self.process.child.returncode
        return code
