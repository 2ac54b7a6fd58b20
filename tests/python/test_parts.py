"""Faulty parts supplied by programs: callers never notice."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.backend import Backend
from support.process import PATIENCE_SECONDS

from guard_agent import AgentConfig, GuardAgentHandler, SecurityEvent, get_current_timestamp
from python.test_buffer import Buffer
from python.test_redis import Handler
from python.test_transport import Transport

Make = Callable[..., AgentConfig]
MANY = 200


class Trouble:
    """A fault that affects every caller of a part until it ends."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.is_met = threading.Event()
        self.is_over = threading.Event()

    async def befall(self) -> None:
        if self.is_over.is_set():
            return
        self.is_met.set()
        if self.what == "raises":
            raise RuntimeError("in trouble")
        if self.what == "blocks its thread":
            self.is_over.wait(PATIENCE_SECONDS)
        else:
            await asyncio.to_thread(self.is_over.wait, PATIENCE_SECONDS)


class TroubledTransport(Transport):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble

    async def send_events(self, events: list[SecurityEvent]) -> bool:
        await self.trouble.befall()
        return await super().send_events(events)


class TroubledBuffer(Buffer):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.troubled = trouble

    async def add_event(self, event: SecurityEvent) -> None:
        await self.troubled.befall()
        await super().add_event(event)

    async def flush_events_with_keys(self) -> Any:
        await self.troubled.befall()
        return await super().flush_events_with_keys()


class TroubledRedis(Handler):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.troubled = trouble

    async def set_key(self, namespace: str, key: str, value: Any, ttl: int | None = None) -> None:
        await self.troubled.befall()
        await super().set_key(namespace, key, value, ttl)


PARTS: dict[str, Callable[[Trouble], Any]] = {
    "transport": TroubledTransport,
    "buffer": TroubledBuffer,
    "redis_handler": TroubledRedis,
}


async def give(name: str, way: str, part: Any, agent: Any, config: AgentConfig) -> None:
    if way == "given to the constructor":
        GuardAgentHandler(config, **{name: part})
    elif way == "assigned":
        # A handler with coroutines belongs to the loop in which it is supplied. One that blocks
        # its thread needs a different loop.
        await asyncio.to_thread(setattr, agent, name, part)
    else:
        await agent.initialize_redis(part)


def cases() -> list[Any]:
    ways = {
        "transport": ["given to the constructor", "assigned"],
        "buffer": ["given to the constructor", "assigned"],
        "redis_handler": ["initialize_redis", "assigned"],
    }
    return [
        pytest.param(name, what, way, started, id=f"{name} {what}, {way} {when} start")
        for name in PARTS
        for what in ("raises", "is slow", "blocks its thread")
        for way in ways[name]
        for started, when in ((False, "before"), (True, "after"))
        if (what, way) != ("blocks its thread", "initialize_redis")
    ]


@pytest.mark.parametrize(("name", "what", "way", "started"), cases())
def test_a_failing_part_never_affects_the_sender(
    make_config: Make, backend: Backend, name: str, what: str, way: str, started: bool
) -> None:
    trouble = Trouble(what)
    part = PARTS[name](trouble)

    async def program() -> None:
        config = make_config(buffer_size=10, backoff_factor=0.01)
        agent: Any = GuardAgentHandler(config)
        if started:
            await agent.start()
        await give(name, way, part, agent, config)
        await agent.start()
        for _ in range(MANY):
            await agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
        assert await asyncio.to_thread(trouble.is_met.wait, PATIENCE_SECONDS)
        for _ in range(MANY):
            await agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
        ledger = agent.get_stats()["ledger"]
        assert ledger["accepted"] == 2 * MANY
        trouble.is_over.set()
        backend.hold.set()
        await agent.send_event({"timestamp": get_current_timestamp(), "event_type": "last"})
        await agent.flush_buffer()
        await agent.stop()

    if name == "redis_handler":
        # Records that are delivered quickly are never saved.
        backend.hold.clear()
    asyncio.run(asyncio.wait_for(program(), PATIENCE_SECONDS))

    arrived = part.names if name == "transport" else [e["event_type"] for e in backend.events]
    assert "last" in arrived
    lost = 2 * MANY + 1 - len(arrived)
    # Only a buffer that raises may lose a record, and the loss is counted.
    stats = GuardAgentHandler(make_config()).get_stats()
    assert sum(stats["ledger"]["dropped"].values()) == lost
    assert lost == 0 or (name, what) == ("buffer", "raises")
