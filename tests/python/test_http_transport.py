"""`HTTPTransport`: delivery without the agent's queue."""

import asyncio
import os
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from support.backend import Backend
from support.log import Log

from guard_agent import (
    AgentConfig,
    AgentStatus,
    GuardAgentHandler,
    HTTPTransport,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    TransportProtocol,
    get_current_timestamp,
)

Make = Callable[..., AgentConfig]


def event(name: str = "ip_banned") -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type=name)


def metric() -> SecurityMetric:
    return SecurityMetric(timestamp=get_current_timestamp(), metric_type="block_rate", value=0.5)


def status() -> AgentStatus:
    return AgentStatus(
        timestamp=datetime(2026, 1, 2, tzinfo=timezone.utc),
        status="healthy",
        uptime=1.5,
        events_sent=1,
        events_failed=0,
        buffer_size=0,
    )


def test_it_delivers_the_same_records_as_the_agent(make_config: Make, backend: Backend) -> None:
    backend.rules = {"rule_id": "r", "version": 7, "ip_blacklist": ["192.0.2.1"]}

    async def program() -> None:
        transport = HTTPTransport(make_config(project_id="shop"))
        assert isinstance(transport, TransportProtocol)
        assert transport.get_stats()["session_closed"] is True
        await transport.initialize()
        assert await transport.send_events([event("first"), event("second")])
        assert await transport.send_metrics([metric()])
        assert await transport.send_status(status())
        rules = await transport.fetch_dynamic_rules()
        assert rules is not None
        assert (rules.version, rules.ip_blacklist) == (7, ["192.0.2.1"])
        stats = transport.get_stats()
        assert (stats["requests_sent"], stats["requests_failed"]) == (4, 0)
        assert stats["session_closed"] is False
        await transport.close()
        assert transport.get_stats()["session_closed"] is True

    asyncio.run(program())
    assert [sent["event_type"] for sent in backend.events] == ["first", "second"]
    assert [sent["value"] for sent in backend.metrics] == [0.5]
    bodies = {request.path: request.body for request in backend.received}
    assert bodies["/api/v1/events"]["project_id"] == "shop"
    assert bodies["/api/v1/status"]["uptime"] == 1.5


def test_nothing_to_send_is_delivered_without_a_request(
    make_config: Make, backend: Backend
) -> None:
    transport = HTTPTransport(make_config())
    assert asyncio.run(transport.send_events([])) is True
    assert backend.received == []


@pytest.mark.parametrize("answer", [401, 404, 500])
def test_rejected_records_stay_with_the_caller(
    make_config: Make, backend: Backend, answer: int
) -> None:
    async def program() -> None:
        backend.status = answer
        transport = HTTPTransport(make_config(retry_attempts=1, backoff_factor=0.001))
        assert await transport.send_events([event("kept")]) is False
        assert await transport.send_status(status()) is False
        assert transport.get_stats()["requests_failed"] == 2
        backend.status = 200
        assert await transport.send_events([event("later")]) is True

    asyncio.run(program())
    # Rejected twice in the first call; the second call sends none of the first call's records.
    assert [sent["event_type"] for sent in backend.events] == ["kept", "kept", "later"]


def test_an_unreachable_backend_returns_false_without_an_exception(
    make_config: Make, log: Log
) -> None:
    config = make_config(endpoint="http://127.0.0.1:9", retry_attempts=0)
    transport = HTTPTransport(config)
    assert asyncio.run(transport.send_events([event()])) is False
    assert asyncio.run(transport.fetch_dynamic_rules()) is None
    assert asyncio.run(transport.send_status(status())) is False
    log.wait_for("backend unreachable")


def test_calls_of_many_tasks_are_all_delivered(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        transport = HTTPTransport(make_config())
        names = [f"event_{n}" for n in range(20)]
        delivered = await asyncio.gather(*(transport.send_events([event(name)]) for name in names))
        assert delivered == [True] * 20
        await transport.close()

    asyncio.run(program())
    assert len({sent["event_type"] for sent in backend.events}) == len(backend.events) == 20


def test_after_close_it_connects_again(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        transport = HTTPTransport(make_config())
        await transport.send_events([event("before")])
        await transport.close()
        await transport.close()
        assert await transport.send_events([event("after")])

    asyncio.run(program())
    assert [sent["event_type"] for sent in backend.events] == ["before", "after"]


def test_a_forked_child_connects_by_itself(make_config: Make, backend: Backend) -> None:
    transport = HTTPTransport(make_config())
    assert asyncio.run(transport.send_events([event("parent")]))
    child = os.fork()
    if child == 0:
        delivered = asyncio.run(transport.send_events([event("child")]))
        os._exit(0 if delivered else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(transport.send_events([event("parent again")]))
    names = [sent["event_type"] for sent in backend.events]
    assert names == ["parent", "child", "parent again"]


def test_the_agents_own_transport_bypasses_the_queue_and_shows_the_agents_stats(
    make_config: Make, backend: Backend
) -> None:
    async def program() -> None:
        agent = GuardAgentHandler(make_config())
        transport = agent.transport
        assert isinstance(transport, HTTPTransport)
        assert agent.transport is transport
        await agent.send_event(event("queued"))
        assert await transport.send_events([event("at once")])
        assert [sent["event_type"] for sent in backend.events] == ["at once"]
        await agent.flush_buffer()
        stats = transport.get_stats()
        assert stats["requests_sent"] > agent.get_stats()["transport_stats"]["requests_sent"]
        assert stats["circuit_breaker_state"] == "CLOSED"

    asyncio.run(program())
    assert [sent["event_type"] for sent in backend.events] == ["at once", "queued"]


def test_the_agent_accepts_a_transport_for_another_backend(
    make_config: Make, backend: Backend
) -> None:
    with Backend() as other:
        mine = HTTPTransport(make_config(endpoint=other.url))
        agent = SyncGuardAgentHandler(make_config(), transport=mine)
        former = agent.transport
        agent.send_event(event("elsewhere"))
        agent.flush_buffer()
        agent.transport = None
        own = agent.transport
        agent.transport = former
        agent.transport = own
        agent.send_event(event("here"))
        agent.flush_buffer()
        assert [sent["event_type"] for sent in other.events] == ["elsewhere"]
    assert [sent["event_type"] for sent in backend.events] == ["here"]
