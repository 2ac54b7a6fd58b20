"""An application of the quickstart, in its own server."""

import sys
from pathlib import Path

from support.process import Process


class App:
    """A FastAPI application, served by uvicorn on a port that the system chooses."""

    def __init__(self, main: Path, folder: Path) -> None:
        uvicorn = [sys.executable, "-m", "uvicorn", f"{main.stem}:app", "--app-dir", main.parent]
        self.process = Process([*uvicorn, "--port", "0"], folder / "app.log")
        self.url = ""

    def start(self, settings: dict[str, str]) -> "App":
        self.url = self.process.start(settings, "Uvicorn running on")
        return self

    def stop(self) -> str:
        """Ends the application as an operator would; returns its output."""
        self.process.stop()
        return self.process.output()
