"""Buffers: the agent's queue as programs see it, and buffers that programs supply."""

import asyncio
import copy
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
from support.backend import Backend
from support.log import Log
from support.process import PATIENCE_SECONDS, eventually

from guard_agent import (
    AgentConfig,
    BufferFullError,
    BufferProtocol,
    EventBuffer,
    GuardAgentHandler,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    TransportProtocol,
    _agent,
    get_current_timestamp,
    guard_agent,
)

Make = Callable[..., AgentConfig]


def event(name: str = "ip_banned", **fields: Any) -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type=name, **fields)


def metric() -> SecurityMetric:
    return SecurityMetric(timestamp=get_current_timestamp(), metric_type="block_rate", value=0.5)


def names(events: list[SecurityEvent]) -> list[str]:
    return [event.event_type for event in events]


async def as_they_are(records: list[Any]) -> list[Any]:
    return records


class Buffer:
    """A program's buffer that records the calls it gets."""

    def __init__(self) -> None:
        self.events: list[SecurityEvent] = []
        self.metrics: list[SecurityMetric] = []
        self.confirmed: list[list[str]] = []
        self.requeued: list[list[str]] = []
        self.threads: set[str] = set()
        self.trouble: Exception | None = None

    async def add_event(self, event: SecurityEvent) -> None:
        self.threads.add(threading.current_thread().name)
        if self.trouble is not None:
            raise self.trouble
        self.events.append(event)

    async def add_metric(self, metric: SecurityMetric) -> None:
        self.metrics.append(metric)

    async def flush_events(self) -> list[SecurityEvent]:
        taken, self.events = self.events, []
        return taken

    async def flush_metrics(self) -> list[SecurityMetric]:
        taken, self.metrics = self.metrics, []
        return taken

    async def flush_events_with_keys(self) -> tuple[list[SecurityEvent], list[str]]:
        events = await self.flush_events()
        return events, [f"key of {event.event_type}" for event in events]

    async def flush_metrics_with_keys(self) -> tuple[list[SecurityMetric], list[str]]:
        metrics = await self.flush_metrics()
        return metrics, [""] * len(metrics)

    async def confirm_event_redis_keys(self, keys: list[str]) -> None:
        self.confirmed.append(keys)

    async def confirm_metric_redis_keys(self, keys: list[str]) -> None:
        self.confirmed.append(keys)

    async def requeue_events_in_memory(
        self, events: list[SecurityEvent], keys: list[str]
    ) -> list[str]:
        self.events = events + self.events
        self.requeued.append(keys)
        return []

    async def requeue_metrics_in_memory(
        self, metrics: list[SecurityMetric], keys: list[str]
    ) -> list[str]:
        self.metrics = metrics + self.metrics
        self.requeued.append(keys)
        return []

    async def get_buffer_size(self) -> int:
        return len(self.events) + len(self.metrics)

    async def clear_buffer(self) -> None:
        self.events.clear()
        self.metrics.clear()


def ledger(agent: Any) -> dict[str, Any]:
    found: dict[str, Any] = agent.get_stats()["ledger"]
    lost = sum(found["dropped"].values())
    assert found["accepted"] == found["delivered"] + found["queued"] + found["spooled"] + lost
    return found


# --- the agent's own queue


def test_the_agents_buffer_is_its_queue(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config())
        assert isinstance(agent.buffer, EventBuffer)
        assert isinstance(agent.buffer, BufferProtocol)
        await agent.send_event(event("sent"))
        await agent.buffer.add_event(event("added"))
        await agent.buffer.add_metric(metric())
        assert await agent.buffer.get_buffer_size() == 3
        assert agent.buffer.get_stats() == agent.get_stats()["buffer_stats"]
        await agent.flush_buffer()
        assert await agent.buffer.get_buffer_size() == 0
        assert isinstance(agent.buffer.get_stats()["last_flush_time"], float)

    asyncio.run(program())
    assert [sent["event_type"] for sent in backend.events] == ["sent", "added"]


def test_records_that_a_program_takes_out_are_not_sent(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        agent = GuardAgentHandler(make_config())
        sent = event("taken", metadata={"n": 1}, tenant="shop")
        await agent.send_event(sent)
        events, keys = await agent.buffer.flush_events_with_keys()
        assert (events, keys) == ([sent], [""])
        assert ledger(agent)["dropped"] == {"withdrawn": 1}
        stats = agent.get_stats()
        assert (stats["events_failed"], stats["buffer_stats"]["events_flushed"]) == (0, 1)
        await agent.buffer.confirm_event_redis_keys(keys)
        assert await agent.buffer.requeue_events_in_memory(events, keys) == []
        assert await agent.buffer.get_buffer_size() == 1
        await agent.flush_buffer()

    asyncio.run(program())
    assert [sent["event_type"] for sent in backend.events] == ["taken"]


def test_clearing_sends_nothing_and_counts_the_discarded_records(
    make_config: Make, backend: Backend
) -> None:
    async def program() -> None:
        agent = GuardAgentHandler(make_config())
        await agent.send_event(event())
        await agent.send_metric(metric())
        await agent.buffer.clear_buffer()
        await agent.flush_buffer()
        assert ledger(agent)["dropped"] == {"withdrawn": 2}

    asyncio.run(program())
    assert backend.events == backend.metrics == []


# --- EventBuffer by itself


def test_an_event_buffer_returns_its_records_redacted(make_config: Make) -> None:
    async def program() -> None:
        buffer = EventBuffer(make_config())
        given = event("first", metadata={"authorization": "Bearer secret"})
        await buffer.add_event(given)
        await buffer.add_event(event("second"))
        await buffer.add_metric(metric())
        assert await buffer.get_buffer_size() == 3
        events = await buffer.flush_events()
        assert names(events) == ["first", "second"]
        assert events[0].idempotency_key == given.idempotency_key
        assert "secret" not in str(events[0].metadata)
        assert len(await buffer.flush_metrics()) == 1
        stats = buffer.get_stats()
        assert (stats["events_buffered"], stats["events_flushed"]) == (2, 2)
        assert stats["current_event_buffer_size"] == 0

    asyncio.run(program())


def test_an_event_buffer_returns_records_as_they_are_sent(make_config: Make) -> None:
    async def program() -> None:
        buffer = EventBuffer(make_config())
        sent = metric()
        await buffer.add_metric(sent)
        metrics = await buffer.flush_metrics()
        assert metrics == [sent]
        assert metrics[0].model_dump() == sent.model_dump()

    asyncio.run(program())


def test_a_full_event_buffer_follows_its_policy(make_config: Make) -> None:
    async def program() -> None:
        dropping = EventBuffer(make_config(max_buffered=2))
        for name in ("first", "second", "third"):
            await dropping.add_event(event(name))
        assert dropping.get_stats()["events_dropped"] == 1
        assert names(await dropping.flush_events()) == ["second", "third"]

        raising = EventBuffer(make_config(buffer_size=1, buffer_overflow_policy="raise"))
        await raising.add_event(event())
        with pytest.raises(BufferFullError):
            await raising.add_event(event())

        blocking = EventBuffer(make_config(buffer_size=1, buffer_overflow_policy="block"))
        await blocking.add_event(event("first"))
        waiting = asyncio.create_task(blocking.add_event(event("second")))
        await asyncio.sleep(0)
        assert names(await blocking.flush_events()) == ["first"]
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        assert names(await blocking.flush_events()) == ["second"]

    asyncio.run(program())


def test_an_event_buffer_calls_back_at_the_watermark(make_config: Make) -> None:
    async def program() -> None:
        flushed = asyncio.Event()
        calls = 0

        async def flush() -> None:
            nonlocal calls
            calls += 1
            assert len(await buffer.flush_events()) == 4
            flushed.set()

        buffer = EventBuffer(make_config(buffer_size=5), flush)
        await buffer.start()
        assert buffer.get_stats()["auto_flush_running"] is True
        for _ in range(4):
            await buffer.add_event(event())
        await asyncio.wait_for(flushed.wait(), PATIENCE_SECONDS)
        await buffer.stop()
        assert buffer.get_stats()["auto_flush_running"] is False
        assert calls == 1

    asyncio.run(program())


# --- buffers that programs supply


def test_a_program_buffer_holds_the_records_until_a_flush(
    make_config: Make, backend: Backend
) -> None:
    buffer = Buffer()
    agent = SyncGuardAgentHandler(make_config(), buffer=buffer)
    assert agent.buffer is buffer
    sent = event("held", tenant="shop", metadata={"cookie": "secret", "n": 1})
    agent.send_event(sent)
    agent.send_metric(metric())
    assert ledger(agent)["queued"] == 2
    agent.flush_buffer()
    assert [received["tenant"] for received in backend.events] == ["shop"]
    assert backend.events[0]["idempotency_key"] == str(sent.idempotency_key)
    assert "secret" not in str(backend.events)
    assert len(backend.metrics) == 1
    assert buffer.confirmed == [["key of held"], [""]]
    assert ledger(agent)["delivered"] == 2
    assert buffer.threads == {"guard-buffer"}


def test_the_first_records_of_a_program_buffer_are_sent_at_once(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config(flush_interval=3600), buffer=Buffer())
    agent.send_event(event("first"))
    eventually(lambda: len(backend.events) == 1)
    agent.send_metric(metric())
    eventually(lambda: len(backend.metrics) == 1)


def test_undelivered_records_return_to_the_buffer(make_config: Make, backend: Backend) -> None:
    backend.status = 500
    buffer = Buffer()
    config = make_config(retry_attempts=0)
    agent = SyncGuardAgentHandler(config, buffer=buffer)
    agent.send_event(event("kept"))
    agent.flush_buffer()
    assert names(buffer.events) == ["kept"]
    assert (buffer.requeued, buffer.confirmed) == ([["key of kept"]], [])
    assert ledger(agent)["queued"] == 1
    backend.status = 200
    agent.flush_buffer()
    assert (buffer.events, buffer.confirmed) == ([], [["key of kept"]])
    assert ledger(agent)["delivered"] == 1


def test_a_record_returned_twice_by_a_buffer_keeps_its_key(
    make_config: Make, backend: Backend
) -> None:
    buffer: Any = Buffer()
    # A copy of the process would do this: the original does not see its confirmation.
    buffer.flush_events = lambda: as_they_are(buffer.events)
    buffer.flush_metrics = lambda: as_they_are(copy.deepcopy(buffer.metrics))
    agent = SyncGuardAgentHandler(make_config(), buffer=buffer)
    agent.send_event(event())
    agent.send_metric(metric())
    agent.send_metric(metric())
    agent.flush_buffer()
    agent.flush_buffer()
    assert (len(backend.events), len(backend.metrics)) == (2, 4)
    assert len({sent["idempotency_key"] for sent in backend.events}) == 1
    assert len({sent["idempotency_key"] for sent in backend.metrics}) == 2


@pytest.mark.parametrize("answer", [False, OSError("no route")])
def test_a_program_buffer_and_a_program_transport_work_together(
    make_config: Make, answer: Any, log: Log
) -> None:
    buffer = Buffer()
    transport = AsyncMock(spec=TransportProtocol)
    agent = SyncGuardAgentHandler(make_config(), transport, buffer)
    transport.send_events.side_effect = [answer, True]
    agent.send_event(event("held"))
    agent.flush_buffer()
    assert names(buffer.events) == ["held"]
    log.wait_for("its records stay in it")
    agent.flush_buffer()
    assert names(transport.send_events.call_args.args[0]) == ["held"]
    assert buffer.confirmed == [["key of held"]]


def test_a_buffer_is_flushed_at_the_watermark_and_at_stop(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config(buffer_size=5), buffer=Buffer())
    held = threading.Event()
    transport = AsyncMock(spec=TransportProtocol)

    async def take(_: list[SecurityEvent]) -> bool:
        held.set()
        return True

    transport.send_events.side_effect = take
    agent.transport = transport
    for _ in range(4):
        agent.send_event(event())
    assert held.wait(PATIENCE_SECONDS)
    agent.transport = None
    agent.send_event(event("last"))
    agent.stop()
    assert "last" in [sent["event_type"] for sent in backend.events]
    assert ledger(agent)["delivered"] == 5


def test_records_in_a_removed_transport_return_and_are_sent_by_the_next(
    make_config: Make,
) -> None:
    buffer, is_met = Buffer(), threading.Event()
    hanging = AsyncMock(spec=TransportProtocol)

    async def hang(_: list[SecurityEvent]) -> bool:
        is_met.set()
        await asyncio.Event().wait()
        return False

    hanging.send_events.side_effect = hang
    agent = SyncGuardAgentHandler(make_config(buffer_size=1), hanging, buffer)
    agent.send_event(event("first"))
    assert is_met.wait(PATIENCE_SECONDS)
    agent.transport = AsyncMock(spec=TransportProtocol)
    # It flushes at the watermark as before, without a request.
    agent.send_event(event("second"))
    assert eventually(lambda: ledger(agent)["delivered"] == 2)


def test_a_long_failed_flush_is_not_repeated_by_the_next_stop(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(_agent, "monotonic", lambda: now)
    transport = AsyncMock(spec=TransportProtocol)

    async def refuse(_: list[SecurityEvent]) -> bool:
        nonlocal now
        now += 2
        return False

    transport.send_events.side_effect = refuse
    agent = SyncGuardAgentHandler(make_config(), transport, Buffer())
    agent.send_event(event())
    agent.stop()
    agent.stop()
    assert transport.send_events.await_count == 1
    now += 2
    agent.stop()
    assert transport.send_events.await_count == 2


def test_a_buffer_assigned_after_start_can_be_removed(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config())
        await agent.start()
        await agent.send_event(event("queue"))
        own, mine = agent.buffer, Buffer()
        agent.buffer = mine
        await agent.send_event(event("mine"))
        agent.buffer = own
        await agent.send_event(event("queue again"))
        await agent.flush_buffer()
        assert mine.confirmed == [["key of mine"]]
        await agent.stop()

    asyncio.run(program())
    sent = {sent["event_type"] for sent in backend.events}
    assert sent == {"queue", "mine", "queue again"}


def test_a_buffer_that_raises_loses_the_record_and_nothing_else(
    make_config: Make, backend: Backend, log: Log
) -> None:
    buffer = Buffer()
    agent = SyncGuardAgentHandler(make_config(), buffer=buffer)
    buffer.trouble = RuntimeError("out of order")
    agent.send_event(event("lost"))
    agent.flush_buffer()
    log.wait_for("own buffer did not take a record (it raised RuntimeError('out of order')): lost")
    buffer.trouble = None
    agent.send_event(event("held"))
    agent.flush_buffer()
    assert ledger(agent)["dropped"] == {"buffer_failed": 1}
    assert [sent["event_type"] for sent in backend.events] == ["held"]


def test_a_hanging_buffer_blocks_no_caller(make_config: Make, log: Log) -> None:
    buffer = Buffer()
    release = threading.Event()

    async def hang(_: SecurityEvent) -> None:
        release.wait(PATIENCE_SECONDS)

    buffer.add_event = hang  # type: ignore[method-assign]
    agent = SyncGuardAgentHandler(make_config(max_buffered=3), buffer=buffer)
    for _ in range(10):
        agent.send_event(event())
    found = ledger(agent)
    # One record is in the buffer or waits like the others.
    assert found["dropped"]["buffer_failed"] >= 10 - 3 - 1
    log.wait_for("wait for it to take them")
    release.set()


def test_mocks_and_plain_functions_are_buffers_too(make_config: Make, backend: Backend) -> None:
    mock = AsyncMock(spec=BufferProtocol)
    sent = event("from the mock")
    mock.flush_events_with_keys.return_value = ([sent], ["k"])
    mock.flush_metrics_with_keys.return_value = ([], [])
    agent = SyncGuardAgentHandler(make_config(), buffer=mock)
    agent.send_event(event("to the mock"))
    agent.flush_buffer()
    assert names([mock.add_event.await_args.args[0]]) == ["to the mock"]
    mock.confirm_event_redis_keys.assert_awaited_once_with(["k"])

    plain: Any = Buffer()
    plain.flush_events_with_keys = lambda: ([sent], ["k"])
    plain.flush_metrics_with_keys = lambda: ([], [])
    agent.buffer = plain
    agent.flush_buffer()
    assert plain.confirmed == [["k"]]
    assert len(backend.events) >= 2


def test_a_mock_without_return_values_is_reported_and_harmless(make_config: Make, log: Log) -> None:
    agent = SyncGuardAgentHandler(make_config(), buffer=AsyncMock(spec=BufferProtocol))
    agent.send_event(event())
    agent.flush_buffer()
    log.wait_for("own buffer was not flushed")


def test_an_object_without_the_buffer_methods_is_rejected(make_config: Make) -> None:
    class Half:
        async def add_event(self, event: SecurityEvent) -> None: ...

    wrong: Any = Half()
    with pytest.raises(TypeError, match="buffer: Half lacks add_metric, flush_events, "):
        SyncGuardAgentHandler(make_config(), buffer=wrong)


def test_an_invalid_record_reaches_no_buffer(make_config: Make, log: Log) -> None:
    buffer = Buffer()
    agent = SyncGuardAgentHandler(make_config(), buffer=buffer)
    agent.send_event({"timestamp": get_current_timestamp()})
    agent.flush_buffer()
    assert buffer.events == []
    assert ledger(agent)["dropped"] == {"invalid": 1}
    log.wait_for("record not sent")
