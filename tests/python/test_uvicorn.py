"""uvicorn waits for the agent when it shuts down. tests/processes covers server processes."""

import asyncio
import signal
from collections.abc import Callable

import pytest
import uvicorn
from support.backend import Backend

from guard_agent import AgentConfig, SyncGuardAgentHandler

Make = Callable[..., AgentConfig]


class Server(uvicorn.Server):
    """Has nothing to shut down, and records when it did."""

    def __init__(self) -> None:
        super().__init__(uvicorn.Config("no:app"))
        self.at_shutdown: list[int] = []
        self.delivered: Callable[[], int] = int

    async def shutdown(self, *_: object) -> None:
        self.at_shutdown.append(self.delivered())


def event(name: str) -> dict[str, str]:
    return {"timestamp": "2026-11-22T12:00:00Z", "event_type": name}


@pytest.mark.parametrize("starting", ["by a record", "by start"])
def test_accepted_records_are_delivered_after_the_server_shuts_down(
    make_config: Make, backend: Backend, starting: str
) -> None:
    server = Server()
    server.delivered = lambda: len(backend.events)
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(event("before it serves"))
    with server.capture_signals():
        if starting == "by start":
            agent.start()
        else:
            agent.send_event(event("while it serves"))
        handler = signal.getsignal(signal.SIGTERM)
        agent.send_event(event("last"))
        asyncio.run(server.shutdown())

    assert handler == server.handle_exit
    assert server.at_shutdown == [0]
    sent = [each["event_type"] for each in backend.events]
    assert (sent[0], sent[-1]) == ("before it serves", "last")


def test_a_server_with_a_replaced_signal_handler_is_left_unchanged(
    make_config: Make, backend: Backend
) -> None:
    server = Server()
    agent = SyncGuardAgentHandler(make_config())
    with server.capture_signals():
        signal.signal(signal.SIGTERM, lambda *_: None)
        agent.send_event(event("x"))
        asyncio.run(server.shutdown())
    assert backend.events == []
