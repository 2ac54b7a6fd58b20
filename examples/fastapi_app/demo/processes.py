"""Starts and stops the demo's two processes."""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp


class DemoError(Exception):
    """A reason why the demo cannot run, as text for its user."""


def require_free_port(port: int, setting: str) -> None:
    """Raises DemoError, naming the setting that chooses another port, when `port` is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(
                f"port {port} cannot be used ({error.strerror}): set {setting} to a free one"
            ) from None


class Process:
    """A process whose output goes to a log file, in its own session.

    In a separate session, a Ctrl-C for the demo does not reach the process. The demo stops the
    process itself.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(
        self, command: Sequence[str | Path], environment: Mapping[str, str], ready_url: str
    ) -> None:
        """Returns when `ready_url` answers 200.

        Raises DemoError when the process ends first or is not ready within 60 seconds.
        """
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await asyncio.wait_for(self.until_ready(ready_url), 60)
        except asyncio.TimeoutError:
            raise DemoError(
                f"{self.name} does not answer at {ready_url}: {self.last_words()}"
            ) from None

    async def until_ready(self, url: str) -> None:
        async with aiohttp.ClientSession() as session:
            while not await answers(session, url):
                self.require_running()
                await asyncio.sleep(0.05)

    def require_running(self) -> None:
        """Raises DemoError when the process has ended."""
        if self.process is None or self.process.returncode is not None:
            raise DemoError(f"{self.name} has ended: {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        return "\n  ".join([f"see {self.log}", *lines])

    async def stop(self) -> None:
        """Asks the process to stop, and kills it if it still runs after 30 seconds."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), 30)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
