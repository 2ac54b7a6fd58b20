"""The event loop keeps running during network failures."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.process import PATIENCE_SECONDS

from guard_agent import AgentConfig, GuardAgentHandler

Make = Callable[..., AgentConfig]
EVENT = {"timestamp": "2026-11-22T12:00:00Z", "event_type": "ip_banned"}
STALLED_DNS = ROOT / "bench" / "scripts" / "stalled_dns.c"


class MuteBackend:
    """Accepts one connection and reads from it, but never writes a byte."""

    def __init__(self, listener: socket.socket) -> None:
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.heard = threading.Event()
        self.first = b""
        self.left = threading.Event()
        self._listener = listener
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while chunk := connection.recv(65536):
                self.first = self.first or chunk
                self.heard.set()
        self.left.set()


@contextmanager
def mute_backend() -> Iterator[MuteBackend]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield MuteBackend(listener)


async def send_on(agent: GuardAgentHandler, is_met: Callable[[], bool]) -> None:
    """Sends until the agent has met the failure, then 1000 more."""
    await agent.start()
    while not is_met():
        await agent.send_event(EVENT)
        await asyncio.sleep(0)
    for _ in range(1000):
        await agent.send_event(EVENT)
        await asyncio.sleep(0)


def run(agent: GuardAgentHandler, is_met: Callable[[], bool]) -> None:
    asyncio.run(asyncio.wait_for(send_on(agent, is_met), PATIENCE_SECONDS))


@pytest.mark.parametrize(
    ("scheme", "first"), [("https", b"\x16\x03"), ("http", b"POST /api/v1/")], ids=["tls", "http"]
)
def test_the_loop_runs_while_a_backend_does_not_answer(
    make_config: Make, scheme: str, first: bytes
) -> None:
    with mute_backend() as backend:
        agent = GuardAgentHandler(
            make_config(endpoint=f"{scheme}://{backend.address}", buffer_size=1)
        )
        run(agent, backend.heard.is_set)
        ledger = agent.get_stats()["ledger"]
        assert backend.first.startswith(first)
        assert not backend.left.is_set(), "the request is no longer under way"
        assert ledger["delivered"] == 0
        assert ledger["queued"] == ledger["accepted"] >= 1000


def test_the_loop_runs_while_a_full_queue_drops(make_config: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        away = f"http://127.0.0.1:{listener.getsockname()[1]}"
    agent = GuardAgentHandler(make_config(endpoint=away, max_buffered=10))

    def is_dropping() -> bool:
        return bool(agent.get_stats()["ledger"]["dropped"])

    run(agent, is_dropping)
    ledger = agent.get_stats()["ledger"]
    assert ledger["queued"] == 10
    assert ledger["accepted"] == 10 + ledger["dropped"]["queue_full"]


SENDER = """
import sys
sys.path[:0] = sys.argv[1:]
from python.test_event_loop import stall_and_report
stall_and_report()
"""


def stall_and_report() -> None:
    """Runs in a separate process, in which lookups of stalled.test never end."""
    asked, asks = os.pipe()
    os.set_blocking(asked, False)
    os.environ["STALLED_DNS_FD"] = str(asks)
    config: dict[str, Any] = {"api_key": "an-api-key-for-tests", "endpoint": "https://stalled.test"}
    agent = GuardAgentHandler(AgentConfig(**config, buffer_size=1, install_id="test-install"))

    def is_asked() -> bool:
        try:
            return bool(os.read(asked, 1))
        except BlockingIOError:
            return False

    run(agent, is_asked)
    ledger = agent.get_stats()["ledger"]
    print(ledger["queued"] == ledger["accepted"] >= 1000, flush=True)
    os._exit(0)


def test_the_loop_runs_while_a_lookup_stalls(tmp_path: Path) -> None:
    library = tmp_path / "stalled_dns.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, STALLED_DNS], check=True)
    finished = subprocess.run(
        [sys.executable, "-c", SENDER, Path(__file__).parent, ROOT / "tests"],
        env={**os.environ, "LD_PRELOAD": str(library)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert finished.stdout == "True\n"
