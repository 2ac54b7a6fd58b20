"""Transports that programs supply."""

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
from support.backend import Backend
from support.log import Log
from support.process import PATIENCE_SECONDS

from guard_agent import (
    AgentConfig,
    AgentStatus,
    DynamicRules,
    GuardAgentHandler,
    HTTPTransport,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    TransportProtocol,
    get_current_timestamp,
    guard_agent,
)

Make = Callable[..., AgentConfig]


class Transport:
    """Stores what it is sent, and returns scripted answers."""

    def __init__(self) -> None:
        self.events: list[SecurityEvent] = []
        self.metrics: list[SecurityMetric] = []
        self.statuses: queue.Queue[AgentStatus] = queue.Queue()
        self.rules: DynamicRules | None = None
        self.answers: list[Any] = []
        self.calls = 0

    async def send_events(self, events: list[SecurityEvent]) -> bool:
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        if answer is True:
            self.events += events
        return bool(answer)

    async def send_metrics(self, metrics: list[SecurityMetric]) -> bool:
        self.metrics += metrics
        return True

    async def fetch_dynamic_rules(self) -> DynamicRules | None:
        return self.rules

    async def send_status(self, status: AgentStatus) -> bool:
        self.statuses.put(status)
        return True

    @property
    def names(self) -> list[str]:
        return [event.event_type for event in self.events]


def event(name: str = "ip_banned", **fields: Any) -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type=name, **fields)


def metric() -> SecurityMetric:
    return SecurityMetric(
        timestamp=get_current_timestamp(), metric_type="response_time", value=0.5, tags={"a": "b"}
    )


def test_a_transport_replaces_http(make_config: Make, backend: Backend) -> None:
    transport = Transport()
    agent = SyncGuardAgentHandler(make_config(), transport=transport)
    sent, measured = event(tenant="shop", metadata={"n": 1}), metric()
    agent.send_event(sent)
    agent.send_metric(measured)
    agent.flush_buffer()
    assert transport.events == [sent]
    assert transport.metrics == [measured]
    assert transport.statuses.get(timeout=PATIENCE_SECONDS).status == "healthy"
    assert agent.transport is transport
    assert isinstance(transport, TransportProtocol)
    assert agent.get_stats()["ledger"]["delivered"] == 2
    assert backend.received == []


def test_encryption_and_compression_are_for_http_only(make_config: Make) -> None:
    transport = Transport()
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    config = make_config(project_encryption_key=key, compression_threshold=0)
    agent = SyncGuardAgentHandler(config, transport)
    agent.send_event(event())
    agent.flush_buffer()
    assert transport.names == ["ip_banned"]


def test_a_transport_can_be_assigned_before_start_and_removed_after(
    make_config: Make, backend: Backend
) -> None:
    async def program() -> None:
        transport = Transport()
        agent: Any = guard_agent(make_config())
        assert isinstance(agent.transport, HTTPTransport)
        agent.transport = transport
        await agent.start()
        await agent.send_event(event("first"))
        await agent.flush_buffer()
        agent.transport = None
        await agent.send_event(event("second"))
        await agent.flush_buffer()
        assert transport.names == ["first"]

    asyncio.run(program())
    assert [sent["event_type"] for sent in backend.events] == ["second"]


def test_a_transport_assigned_after_start_gets_unconfirmed_records(
    make_config: Make, backend: Backend
) -> None:
    first, second = Transport(), Transport()
    first.answers = [False] * 100
    agent = SyncGuardAgentHandler(make_config(), first)
    agent.send_event(event())
    agent.transport = second
    agent.flush_buffer()
    assert (first.names, second.names, backend.events) == ([], ["ip_banned"], [])


def test_a_later_configuration_keeps_the_transport(make_config: Make) -> None:
    transport = Transport()
    agent = GuardAgentHandler(make_config(), transport)
    other = SyncGuardAgentHandler(make_config(project_id="shop"))
    other.send_event(event())
    other.flush_buffer()
    assert agent.transport is transport
    assert transport.names == ["ip_banned"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (False, "send_events returned False"),
        (None, "send_events returned False"),
        (RuntimeError("no way"), "raised RuntimeError('no way')"),
    ],
)
def test_unconfirmed_records_are_kept_and_resent(
    make_config: Make, log: Log, answer: Any, words: str
) -> None:
    transport = Transport()
    transport.answers = [answer]
    agent = SyncGuardAgentHandler(make_config(backoff_factor=0.01), transport)
    sent = event()
    agent.send_event(sent)
    agent.flush_buffer()
    assert (transport.calls, transport.events) == (2, [sent])
    assert log.wait_for(words).levelno == logging.WARNING
    ledger = agent.get_stats()["ledger"]
    assert (ledger["accepted"], ledger["delivered"], ledger["dropped"]) == (1, 1, {})


def test_a_transport_that_never_answers_blocks_neither_senders_nor_rules(
    make_config: Make,
) -> None:
    class Silent(Transport):
        async def send_events(self, events: list[SecurityEvent]) -> bool:
            entered.set()
            await asyncio.Event().wait()
            return await super().send_events(events)

    entered = threading.Event()
    transport = Silent()
    transport.rules = DynamicRules(version=7)
    agent = SyncGuardAgentHandler(make_config(buffer_size=1), transport)
    agent.send_event(event("first"))
    assert entered.wait(PATIENCE_SECONDS)
    for _ in range(1000):
        agent.send_event(event())
    rules = agent.get_dynamic_rules()
    assert rules is not None
    assert rules.version == 7
    healthy = Transport()
    agent.transport = healthy
    agent.flush_buffer()
    assert len(healthy.events) == 1001
    assert healthy.names[0] == "first"


def test_a_call_that_takes_too_long_is_cancelled_and_retried(make_config: Make) -> None:
    class SilentOnce(Transport):
        async def send_events(self, events: list[SecurityEvent]) -> bool:
            if not self.calls:
                self.calls = 1
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            return await super().send_events(events)

    cancelled = threading.Event()
    transport = SilentOnce()
    agent = SyncGuardAgentHandler(make_config(timeout=1, backoff_factor=0.01), transport)
    agent.send_event(event())
    while not transport.events:
        agent.flush_buffer()
    assert cancelled.wait(PATIENCE_SECONDS)
    assert transport.names == ["ip_banned"]


def test_a_transport_that_blocks_its_thread_blocks_nothing_else(make_config: Make) -> None:
    class Blocking(Transport):
        async def send_events(self, events: list[SecurityEvent]) -> bool:
            entered.set()
            released.wait(PATIENCE_SECONDS)
            return await super().send_events(events)

    entered, released = threading.Event(), threading.Event()
    transport = Blocking()
    agent = SyncGuardAgentHandler(make_config(buffer_size=1), transport)
    agent.send_event(event())
    assert entered.wait(PATIENCE_SECONDS)
    agent.send_event(event())
    assert agent.get_stats()["ledger"]["accepted"] == 2
    released.set()
    agent.flush_buffer()
    assert len(transport.events) == 2


def test_rules_come_from_the_transport(make_config: Make, backend: Backend) -> None:
    transport = Transport()
    transport.rules = DynamicRules(version=3, ip_blacklist=["192.0.2.7"])
    agent = SyncGuardAgentHandler(make_config(), transport)
    assert agent.get_dynamic_rules() == transport.rules
    assert backend.received == []


def test_a_transport_without_rules_has_none(make_config: Make) -> None:
    agent = SyncGuardAgentHandler(make_config(), Transport())
    assert agent.get_dynamic_rules() is None
    assert agent.get_stats()["loop_failures"]["rules"] == 0


def test_invalid_rules_are_rejected(make_config: Make, log: Log) -> None:
    transport = AsyncMock(spec=Transport)
    agent = SyncGuardAgentHandler(make_config(), transport)
    assert agent.get_dynamic_rules() is None
    log.wait_for("rules not fetched")


def test_a_mock_works_as_a_transport(make_config: Make) -> None:
    async def program() -> None:
        transport = AsyncMock()
        transport.send_events.side_effect = [False, True]
        agent: Any = guard_agent(make_config(backoff_factor=0.01))
        agent.transport = transport
        await agent.start()
        sent = event()
        await agent.send_event(sent)
        await agent.flush_buffer()
        assert [call.args for call in transport.send_events.await_args_list] == [([sent],)] * 2

    asyncio.run(program())


def test_a_record_that_is_no_model_is_passed_unchanged(make_config: Make) -> None:
    transport = Transport()
    agent = SyncGuardAgentHandler(make_config(), transport)
    agent.send_event(
        {"timestamp": get_current_timestamp(), "event_type": "x", "status_code": "unknown"}
    )
    agent.flush_buffer()
    (sent,) = transport.events
    assert isinstance(sent, SecurityEvent)
    assert sent.status_code == "unknown"


def test_an_object_without_the_transport_methods_is_rejected(make_config: Make) -> None:
    wrong: Any = object()
    problem = "transport: object lacks send_events, send_metrics, fetch_dynamic_rules, send_status"
    with pytest.raises(TypeError, match=problem):
        SyncGuardAgentHandler(make_config(), wrong)
    agent = SyncGuardAgentHandler(make_config())
    with pytest.raises(TypeError, match=problem):
        agent.transport = wrong
    assert isinstance(agent.transport, HTTPTransport)


def test_a_replaced_transport_leaves_no_thread(make_config: Make) -> None:
    def loops() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "guard-transport"]

    agent = SyncGuardAgentHandler(make_config(), Transport())
    replaced = loops()
    agent.transport = Transport()
    agent.transport = None
    for thread in replaced:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in replaced)


def test_a_forked_child_sends_by_its_own_transport_loop(make_config: Make) -> None:
    class ToParent(Transport):
        async def send_events(self, events: list[SecurityEvent]) -> bool:
            for sent in events:
                os.write(write_end, f"{os.getpid()} {sent.event_type}\n".encode())
            return await super().send_events(events)

    read_end, write_end = os.pipe()
    transport = ToParent()
    agent = SyncGuardAgentHandler(make_config(), transport)
    agent.send_event(event("before"))
    child = os.fork()
    if child == 0:
        try:
            agent.send_event(event("in_child"))
            agent.flush_buffer()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    agent.flush_buffer()
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        lines = pipe.read().splitlines()
    assert lines == [f"{child} in_child", f"{os.getpid()} before"]
    assert transport.names == ["before"]
