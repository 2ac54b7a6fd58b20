"""Redis, through the handler that a guard supplies."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from typing import Any
from unittest.mock import AsyncMock

import pytest
import redis
from guard_core.handlers.redis_handler import RedisManager
from guard_core.models import SecurityConfig
from guard_core.sync.handlers.redis_handler import RedisManager as SyncRedisManager
from support.backend import Backend
from support.ending_loop import never_awaited
from support.log import Log
from support.process import PATIENCE_SECONDS, eventually

from guard_agent import (
    AgentConfig,
    RedisHandlerProtocol,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    _redis,
    get_current_timestamp,
    guard_agent,
)

Make = Callable[..., AgentConfig]

PUBLIC_EVENT = {
    "idempotency_key": "404076e3-ae76-46a6-bbdc-e233116f412a",
    "timestamp": "2026-11-24 00:17:47.267256+00:00",
    "event_type": "penetration_attempt",
    "ip_address": "192.0.2.7",
    "country": None,
    "action_taken": "blocked",
    "reason": "x",
    "metadata": {},
}
PUBLIC_METRIC = {
    "timestamp": "2026-11-24 00:17:47.280384+00:00",
    "metric_type": "response_time",
    "value": 2.0,
    "endpoint": None,
    "tags": {},
}


def event(name: str = "ip_banned") -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type=name)


def metric() -> SecurityMetric:
    return SecurityMetric(timestamp=get_current_timestamp(), metric_type="response_time", value=0.5)


class Handler:
    """A program's own handler, whose Redis is a dict."""

    def __init__(self, shown_prefix: str = "") -> None:
        self.shown_prefix = shown_prefix
        self.values: dict[str, Any] = {}
        self.trouble: Exception | None = None

    def _check(self) -> None:
        if self.trouble:
            raise self.trouble

    async def get_key(self, namespace: str, key: str) -> Any:
        self._check()
        return self.values.get(f"{namespace}:{key}")

    async def set_key(self, namespace: str, key: str, value: Any, ttl: int | None = None) -> None:
        self._check()
        assert ttl is None or ttl > 0
        self.values[f"{namespace}:{key}"] = value

    async def delete(self, namespace: str, key: str) -> int:
        self._check()
        return 0 if self.values.pop(f"{namespace}:{key}", None) is None else 1

    async def keys(self, pattern: str) -> list[str]:
        self._check()
        return [self.shown_prefix + key for key in self.values if fnmatch(key, pattern)]

    async def initialize(self) -> None:
        self._check()

    def get_connection(self) -> None:
        raise NotImplementedError

    @property
    def records(self) -> list[dict[str, Any]]:
        """All stored values."""
        groups = [value for key, value in list(self.values.items()) if ":group_" in key]
        return [record for group in groups for record in json.loads(group)]


@pytest.fixture
def held(backend: Backend) -> Iterator[Backend]:
    """A backend that does not answer until told to."""
    backend.hold.clear()
    yield backend
    backend.hold.set()


@pytest.fixture
def client(redis_url: str, cleanup: ExitStack) -> Any:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    cleanup.callback(client.close)
    return client


@pytest.fixture
def manager(redis_url: str) -> Iterator[RedisManager]:
    """The handler that fastapi-guard passes."""
    manager = RedisManager(SecurityConfig(enable_redis=True, redis_url=redis_url))
    yield manager
    manager._redis = None


@pytest.fixture
def sync_manager(redis_url: str) -> Iterator[SyncRedisManager]:
    """The handler that flaskapi-guard and djapi-guard pass."""
    manager = SyncRedisManager(SecurityConfig(enable_redis=True, redis_url=redis_url))
    manager.initialize()
    yield manager
    manager.close()


def kept(client: Any) -> list[dict[str, Any]]:
    keys = client.keys("guard_core:agent_*:group_*")
    return [record for key in keys for record in json.loads(client.get(key) or "[]")]


async def until(check: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(eventually, check)


def test_records_are_kept_in_groups_until_they_are_delivered(
    make_config: Make, held: Backend, client: Any, manager: RedisManager
) -> None:
    async def program() -> None:
        await manager.initialize()
        agent: Any = guard_agent(make_config())
        await agent.initialize_redis(manager)
        for number in range(50):
            await agent.send_event(event(f"event_{number}"))
            await agent.send_metric(metric())
        await until(lambda: len(kept(client)) == 100)
        assert len(client.keys("guard_core:agent_events:group_*")) < 10
        assert all(client.ttl(key) == -1 for key in client.keys("guard_core:agent_*:group_*"))
        held.hold.set()
        await agent.flush_buffer()
        await until(lambda: not kept(client))
        stats = agent.get_stats()
        assert stats["ledger"]["delivered"] == 100
        assert stats["buffer_stats"]["redis_persist_failures"] == 0
        await agent.stop()
        await manager.close()

    asyncio.run(program())
    assert len(held.events) == len(held.metrics) == 50


def test_a_synchronous_guards_records_are_saved_too(
    make_config: Make, held: Backend, client: Any, sync_manager: Any
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.initialize_redis(sync_manager)
    agent.send_event(event())
    assert eventually(lambda: kept(client))
    held.hold.set()
    agent.flush_buffer()
    assert eventually(lambda: not kept(client))
    assert len(held.events) == 1


def test_records_of_other_processes_are_delivered(
    make_config: Make, backend: Backend, client: Any, sync_manager: Any
) -> None:
    left = [{**PUBLIC_EVENT, "idempotency_key": key} for key in ("a", "b")]
    client.set("guard_core:agent_events:group_1795479467280674101_dead_1", json.dumps(left))
    name = "guard_core:agent_events:event_1795479467280674101_0b8cb8a5"
    client.set(name, json.dumps(PUBLIC_EVENT), ex=3600)
    name = "guard_core:agent_metrics:metric_1795479467315291015_2a6de236"
    client.set(name, json.dumps(PUBLIC_METRIC), ex=3600)
    agent = SyncGuardAgentHandler(make_config(flush_interval=1))
    agent.initialize_redis(sync_manager)
    agent.start()
    assert eventually(lambda: len(backend.events) == 3 and backend.metrics)
    keys = {record["idempotency_key"] for record in backend.events}
    assert keys == {"a", "b", PUBLIC_EVENT["idempotency_key"]}
    assert eventually(lambda: not client.keys("guard_core:agent_*:[^lr]*"))
    ledger = agent.get_stats()["ledger"]
    assert (ledger["accepted"], ledger["delivered"]) == (4, 4)


@pytest.mark.parametrize("shown_prefix", ["", "guard_core:"])
def test_keys_are_found_with_their_prefix_or_without(
    make_config: Make, backend: Backend, shown_prefix: str
) -> None:
    handler = Handler(shown_prefix)
    handler.values["agent_events:event_1_ab"] = json.dumps(PUBLIC_EVENT).encode()
    agent = SyncGuardAgentHandler(make_config(flush_interval=1))
    agent.initialize_redis(handler)
    agent.start()
    assert eventually(lambda: len(backend.events) == 1)
    assert isinstance(handler, RedisHandlerProtocol)


def test_a_fake_handler_does_no_harm(make_config: Make, backend: Backend) -> None:
    agent = SyncGuardAgentHandler(make_config())
    handler = AsyncMock()
    agent.initialize_redis(handler)
    agent.send_event(event())
    agent.flush_buffer()
    assert len(backend.events) == 1
    assert agent.redis_handler is handler


def test_errors_are_counted_and_logged_until_redis_is_back(
    make_config: Make, held: Backend, log: Log
) -> None:
    handler = Handler()
    handler.trouble = ConnectionError("redis://:secret@example.com:6379 refused")
    agent = SyncGuardAgentHandler(make_config())
    agent.initialize_redis(handler)
    agent.send_event(event())

    def stats() -> Any:
        return agent.get_stats()["buffer_stats"]

    assert eventually(lambda: stats()["durability_degraded"])
    assert stats()["redis_persist_failures"] > 0
    said = log.wait_for("//example.com:6379 refused")
    assert "secret" not in said.getMessage()
    handler.trouble = None
    assert eventually(lambda: len(handler.records) == 1)
    assert eventually(lambda: not stats()["durability_degraded"])
    held.hold.set()
    agent.flush_buffer()
    assert len(held.events) == 1


def test_a_hanging_redis_blocks_nothing(
    make_config: Make, backend: Backend, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(_redis, "_CALL_SECONDS", 0.01)

    async def program() -> None:
        handler = Handler()

        async def hang(*_: Any) -> None:
            await asyncio.Event().wait()

        handler.set_key = hang  # type: ignore[assignment, method-assign]
        agent: Any = guard_agent(make_config())
        await agent.initialize_redis(handler)
        await agent.send_event(event())
        await agent.flush_buffer()
        assert len(backend.events) == 1
        await until(lambda: agent.get_stats()["buffer_stats"]["redis_persist_failures"])

    asyncio.run(program())
    log.wait_for("took longer than")


class BoundHandler(Handler):
    """Its connections belong to the event loop in which it was initialized."""

    home: Any = None

    async def initialize(self) -> None:
        self.home = asyncio.get_running_loop()

    def _check(self) -> None:
        if asyncio.get_running_loop() is not self.home:
            raise RuntimeError("attached to a different loop")


def test_a_handler_runs_in_its_event_loop_and_reconnects_when_the_loop_has_ended(
    make_config: Make, held: Backend
) -> None:
    agent: Any = guard_agent(make_config())
    handler = BoundHandler()

    async def program() -> None:
        await handler.initialize()
        await agent.initialize_redis(handler)
        agent.send_event(event())
        await until(lambda: handler.records)

    asyncio.run(program())
    assert handler.home.is_closed()
    agent.send_event(event())
    assert eventually(lambda: len(handler.records) == 2)
    held.hold.set()
    agent.flush_buffer()
    assert eventually(lambda: not handler.records)


def test_calls_that_a_closed_event_loop_did_not_start_run_elsewhere(
    make_config: Make, held: Backend
) -> None:
    agent: Any = guard_agent(make_config())
    handler = Handler()

    async def program() -> None:
        await agent.initialize_redis(handler)
        agent.send_event(event())
        # The loop does nothing else from here on: calls wait in it, and are dropped.
        blocked = asyncio.get_running_loop()
        blocked.call_soon_threadsafe = lambda *_, **__: None  # type: ignore[method-assign]

    asyncio.run(program())
    assert eventually(lambda: handler.records)
    agent.send_event(event())
    assert eventually(lambda: len(handler.records) == 2)
    assert agent.get_stats()["durability"]["failures"] == 0
    held.hold.set()


def test_a_call_cancelled_by_its_loop_before_it_starts_leaves_no_coroutine(
    make_config: Make, held: Backend
) -> None:
    agent: Any = guard_agent(make_config())
    handler = Handler()

    def start() -> None:
        agent.initialize_redis(handler)
        agent.send_event(event())

    assert never_awaited(start) == []
    assert eventually(lambda: handler.records)
    held.hold.set()


ENDS = """
import asyncio
from unittest.mock import AsyncMock
from guard_agent import AgentConfig, guard_agent

async def save(namespace, key, value, ttl=None):
    await asyncio.get_running_loop().getaddrinfo("localhost", 6379)
    print(value)

agent = guard_agent(AgentConfig(api_key="an-api-key-for-tests", endpoint="http://127.0.0.1:9"))
handler = AsyncMock()
handler.set_key = save

async def main():
    await agent.initialize_redis(handler)

asyncio.run(main())
agent.send_event({"timestamp": "2026-11-24T00:00:00Z", "event_type": "the_last"})
"""


def test_the_last_records_are_saved_when_the_event_loop_is_gone_and_redis_has_a_name() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert "the_last" in ended.stdout, ended.stderr


def in_child(work: Callable[[], None]) -> None:
    """Forks; the child does the work and ends."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.usefixtures("held")
def test_a_forked_child_saves_its_records_in_redis_over_its_own_connection(
    make_config: Make, client: Any, sync_manager: Any
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.initialize_redis(sync_manager)
    agent.send_event(event("parent"))
    eventually(lambda: kept(client))

    def child() -> None:
        agent.send_event(event("child"))
        # One group from each of the two processes.
        eventually(lambda: len(client.keys("guard_core:agent_events:group_*")) == 2)

    in_child(child)
    agent.send_event(event("parent"))
    types = eventually(lambda: len(kept(client)) == 3 and kept(client))
    assert sorted(record["event_type"] for record in types) == ["child", "parent", "parent"]
    assert agent.get_stats()["durability"]["failures"] == 0


def test_a_forked_child_does_not_use_a_handler_with_the_parents_connections(
    make_config: Make, backend: Backend
) -> None:
    agent: Any = guard_agent(make_config())
    handler = BoundHandler()

    def child() -> None:
        handler.trouble = AssertionError("used in the child")
        SyncGuardAgentHandler(agent.config).send_event(event("child"))
        SyncGuardAgentHandler(agent.config).flush_buffer()
        assert agent.get_stats()["durability"] is None
        assert agent.redis_handler is None

    async def program() -> None:
        await handler.initialize()
        await agent.initialize_redis(handler)
        in_child(child)
        agent.send_event(event("parent"))
        await agent.flush_buffer()
        assert agent.get_stats()["durability"]["failures"] == 0

    asyncio.run(program())
    assert sorted(record["event_type"] for record in backend.events) == ["child", "parent"]


@pytest.mark.usefixtures("held")
def test_a_handler_can_be_replaced_and_removed(make_config: Make) -> None:
    first, second = Handler(), Handler()
    agent = SyncGuardAgentHandler(make_config())
    agent.redis_handler = first
    agent.send_event(event())
    assert eventually(lambda: first.records)
    agent.redis_handler = second
    agent.send_event(event())
    assert eventually(lambda: second.records)
    agent.redis_handler = None
    assert agent.redis_handler is None
    assert len(first.records) == len(second.records) == 1
    agent.send_event(event())
    third = Handler()
    agent.redis_handler = third
    agent.send_event(event())
    assert eventually(lambda: len(third.records) == 2)
    assert len(first.records) == len(second.records) == 1


def test_exit_does_not_wait_for_a_removed_handler(make_config: Make, log: Log) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.redis_handler = Handler()
    agent.send_event(event())
    agent.flush_buffer()
    agent.redis_handler = None
    agent.stop()
    assert not [record for record in log.records if "does not answer" in record.getMessage()]


def test_a_handler_without_a_method_is_rejected_by_name(make_config: Make) -> None:
    agent: Any = SyncGuardAgentHandler(make_config())
    with pytest.raises(TypeError, match="redis_handler: object lacks get_key, set_key, delete"):
        agent.initialize_redis(object())
    assert agent.redis_handler is None
