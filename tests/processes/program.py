"""Programs that use the agent: whole interpreters, from start to exit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.guard_server import API_KEY

PROGRAMS = Path(__file__).parent / "programs"
# Stops a hanging test; it is not a tested limit.
HANG_SECONDS = 120


@dataclass
class Settings:
    """The settings that `programs/host.py` reads from the environment."""

    endpoint: str
    accepted: Path
    flush_interval: int = 3600
    redis_url: str | None = None

    def environment(self) -> dict[str, str]:
        redis = {"HOST_REDIS_URL": self.redis_url} if self.redis_url else {}
        return {
            **os.environ,
            **redis,
            "HOST_ENDPOINT": self.endpoint,
            "HOST_API_KEY": API_KEY,
            "HOST_ACCEPTED": str(self.accepted),
            "HOST_FLUSH_INTERVAL": str(self.flush_interval),
        }


@dataclass
class Ended:
    """How a program ended; `at` is in seconds of `time.monotonic`, which all processes share."""

    code: int
    output: str
    errors: str
    at: float


class Program:
    """A running interpreter, started as `python -m` with `arguments` in the programs' folder."""

    def __init__(self, arguments: Sequence[str], settings: Settings) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=PROGRAMS,
            env=settings.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Waits for the next line of the program's output."""
        assert self.child.stdout
        line = self.child.stdout.readline()
        assert line, f"the program ended: {self.end().errors}"
        return line.rstrip()

    def ask(self) -> None:
        """Writes a line to the program's input."""
        assert self.child.stdin
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def end(self) -> Ended:
        """Closes the program's input and waits for its end."""
        output, errors = self.child.communicate(timeout=HANG_SECONDS)
        return Ended(self.child.returncode, output, errors, time.monotonic())

    def kill(self) -> None:
        """Kills a process that a failed test left running."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.communicate()
