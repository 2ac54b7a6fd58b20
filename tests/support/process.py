"""Child processes of the tests. Output goes to a file; tests wait for conditions and stop by id."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

# Ends a test that would wait forever; it is not a tested limit. Machines sometimes stall for many
# seconds.
PATIENCE_SECONDS = 120
# guard-core's message when its check of a pattern got no processor time within two seconds. The
# app then does not start.
STARVED = "killable-subprocess timeout"
STARTS = 3


def eventually(check: Callable[[], T | Literal[False]], seconds: float = PATIENCE_SECONDS) -> T:
    """Repeats `check` until it returns something true, and returns that.

    Fails with the last value after `seconds`. A refused or cut connection counts as not yet.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            value = check()
        except OSError as error:
            last = error
        else:
            if value:
                return value
            last = value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} seconds; last seen: {last!r}")


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """A process that logs its address."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self.command = command
        self.log = log
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str], listening: str) -> str:
        """Returns the URL that follows the words `listening` in the output.

        Restarts the process if guard-core's check ran out of time.
        """
        for _ in range(STARTS):
            with self.log.open("wb") as log:
                self.child = subprocess.Popen(
                    self.command, env={**os.environ, **environment}, stdout=log, stderr=log
                )
            found = eventually(lambda: self.said(rf"{listening} (http://\S+)") or self.ended())
            if isinstance(found, str):
                return found
            if not self.starved():
                break
        raise AssertionError(f"{self.command[0]} ended: {self.output()}")

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def said(self, pattern: str) -> str | None:
        match = re.search(pattern, self.output())
        return match.group(1) if match else None

    def ended(self) -> bool:
        return self.child is not None and self.child.poll() is not None

    def starved(self) -> bool:
        """Whether it ended because guard-core's check of a pattern ran out of time."""
        return self.ended() and STARVED in self.output()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Sends the signal and waits for the end. Kills a process that does not end, and fails."""
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            self.child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"{self.command[0]} ignores {how.name}") from None
