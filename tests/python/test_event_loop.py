"""The event loop keeps running during network failures."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from support import ROOT
from support.backend import Backend
from support.process import PATIENCE_SECONDS

from guard_agent import AgentConfig, GuardAgentHandler, SecurityEvent
from python.test_buffer import Buffer, ledger

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


# A call that waits for a silent backend or a slow buffer takes three times as long.
LONG_PAUSE_SECONDS = 0.5

Sleep = Callable[[float], Awaitable[object]]


class Pauses:
    """Measures how long a loop stands still.

    Args:
        sleep: Sleeps in the loop.
    """

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._has_ended = False
        self.longest = 0.0

    async def measure(self) -> None:
        last = time.monotonic()
        while not self._has_ended:
            await self._sleep(0.002)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now

    async def during(self, call: Callable[[], object]) -> None:
        await self._sleep(0.02)
        call()
        await self._sleep(0.02)
        self._has_ended = True


def run_in_asyncio(call: Callable[[], object]) -> float:
    async def main() -> float:
        pauses = Pauses(asyncio.sleep)
        await asyncio.gather(pauses.measure(), pauses.during(call))
        return pauses.longest

    return asyncio.run(main())


def run_in_trio(call: Callable[[], object]) -> float:
    async def main() -> float:
        pauses = Pauses(trio.sleep)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pauses.measure)
            nursery.start_soon(pauses.during, call)
        return pauses.longest

    return trio.run(main)


class SlowBuffer(Buffer):
    """Adds no event before `may_add` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_add = threading.Event()

    async def add_event(self, event: SecurityEvent) -> None:
        await asyncio.to_thread(self.may_add.wait, PATIENCE_SECONDS)
        await super().add_event(event)


@pytest.mark.parametrize("run_in_loop", [run_in_asyncio, run_in_trio], ids=["asyncio", "trio"])
@pytest.mark.parametrize("slow", ["buffer", "backend"])
@pytest.mark.parametrize("following", [Buffer, lambda: None], ids=["a buffer", "the queue"])
def test_the_loop_runs_while_a_slow_buffer_is_replaced(
    make_config: Make,
    backend: Backend,
    run_in_loop: Callable[[Callable[[], object]], float],
    slow: str,
    following: Callable[[], Buffer | None],
) -> None:
    replaced = SlowBuffer()
    agent: Any = GuardAgentHandler(make_config(), buffer=replaced)
    if slow == "backend":
        backend.hold.clear()
        replaced.may_add.set()
    sent = [f"event {number}" for number in range(20)]
    for name in sent[:10]:
        agent.send_event({**EVENT, "event_type": name})
    longest = run_in_loop(partial(setattr, agent, "buffer", following()))
    for name in sent[10:]:
        agent.send_event({**EVENT, "event_type": name})
    assert longest < LONG_PAUSE_SECONDS
    assert ledger(agent)["delivered"] == 0

    replaced.may_add.set()
    backend.hold.set()
    agent.flush_buffer()
    assert sorted(event["event_type"] for event in backend.events) == sorted(sent)
    assert ledger(agent)["delivered"] == len(sent)


def test_a_buffer_that_is_assigned_again_delivers_once(make_config: Make, backend: Backend) -> None:
    buffer = SlowBuffer()
    agent: Any = GuardAgentHandler(make_config(), buffer=buffer)
    agent.send_event({**EVENT, "event_type": "first"})
    agent.buffer = None
    agent.buffer = buffer
    assert agent.buffer is buffer
    agent.send_event({**EVENT, "event_type": "second"})
    buffer.may_add.set()
    agent.flush_buffer()
    assert [event["event_type"] for event in backend.events] == ["first", "second"]
    assert buffer.threads == {"guard-buffer"}


def test_a_stop_delivers_what_a_replaced_buffer_holds(make_config: Make, backend: Backend) -> None:
    agent: Any = GuardAgentHandler(make_config(), buffer=Buffer())
    agent.send_event({**EVENT, "event_type": "first"})
    agent.buffer = None
    asyncio.run(agent.stop())
    assert [event["event_type"] for event in backend.events] == ["first"]
    assert ledger(agent)["queued"] == 0


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
