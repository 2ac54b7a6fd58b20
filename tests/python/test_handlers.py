"""The handlers, called as programs call them."""

import asyncio
import gc
import inspect
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.backend import Backend
from support.log import Log
from support.process import PATIENCE_SECONDS, eventually

from guard_agent import (
    AgentConfig,
    AgentHandlerProtocol,
    BufferFullError,
    DynamicRules,
    GuardAgentHandler,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    get_current_timestamp,
    guard_agent,
)

Make = Callable[..., AgentConfig]

# A full queue that never drains.
STUCK: dict[str, Any] = {
    "endpoint": "http://127.0.0.1:1",
    "buffer_overflow_policy": "block",
    "max_buffered": 1,
}


def event(name: str = "ip_banned") -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type=name)


def metric() -> SecurityMetric:
    return SecurityMetric(timestamp=get_current_timestamp(), metric_type="request_count", value=1)


def sent_types(backend: Backend) -> list[str]:
    return [event["event_type"] for event in backend.events]


def test_asynchronous_code_awaits_everything(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config())
        await agent.start()
        await agent.send_event(event("first"))
        await agent.send_metric(metric())
        await agent.flush_buffer()
        assert sent_types(backend) == ["first"]
        assert await agent.health_check() is True
        assert (await agent.get_status()).status == "healthy"
        await agent.send_event(event("last"))
        await agent.stop()
        await agent.close()

    asyncio.run(program())
    assert sent_types(backend) == ["first", "last"]
    assert len(backend.metrics) == 1


def test_synchronous_code_gets_values(make_config: Make, backend: Backend) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.start()
    agent.send_event(event())
    agent.send_metric(metric())
    agent.flush_buffer()
    assert agent.health_check() is True
    assert agent.get_status().events_sent == 1
    assert agent.get_dynamic_rules() is None
    agent.close()
    assert agent.health_check() is False
    assert len(backend.events) == len(backend.metrics) == 1


def test_a_handler_made_at_module_level_serves_synchronous_code(
    make_config: Make, backend: Backend
) -> None:
    agent: Any = guard_agent(make_config())
    agent.start()
    agent.send_event(event())
    agent.flush_buffer()
    assert sent_types(backend) == ["ip_banned"]
    assert agent.health_check() is True
    assert agent.get_status().status == "healthy"
    assert agent.get_dynamic_rules() is None
    agent.stop()


def test_a_handler_made_at_module_level_serves_asynchronous_code(
    make_config: Make, backend: Backend
) -> None:
    agent: Any = guard_agent(make_config())

    async def program() -> None:
        await agent.start()
        await agent.send_event(event())
        assert await agent.health_check() is True
        assert (await agent.get_status()).status == "healthy"
        assert await agent.get_dynamic_rules() is None
        await agent.stop()

    asyncio.run(program())
    assert sent_types(backend) == ["ip_banned"]


def test_results_from_outside_a_loop_can_be_awaited_in_one(
    make_config: Make, backend: Backend
) -> None:
    agent: Any = GuardAgentHandler(make_config())
    asyncio.run(agent.send_event(event()))
    asyncio.run(agent.flush_buffer())
    assert asyncio.run(agent.health_check()) is True
    assert sent_types(backend) == ["ip_banned"]


def test_results_can_be_ignored_gathered_or_made_tasks(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config())
        agent.start()
        agent.send_event(event("ignored"))
        await asyncio.create_task(agent.send_event(event("task")))
        await asyncio.gather(*(agent.send_event(event("gathered")) for _ in range(2)))
        await asyncio.wait_for(agent.send_event(event("timed")), 5)
        await asyncio.create_task(agent.flush_buffer())
        agent.get_status()
        await agent.stop()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(program())
        gc.collect()
    assert sent_types(backend) == ["ignored", "task", "gathered", "gathered", "timed"]


def test_work_that_blocks_leaves_the_loop_running(make_config: Make, backend: Backend) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config())
        agent.send_event(event())
        backend.hold.clear()
        flushing = asyncio.ensure_future(agent.flush_buffer())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not flushing.done()
        backend.hold.set()
        await flushing

    asyncio.run(program())
    assert sent_types(backend) == ["ip_banned"]


def test_all_handlers_of_a_process_share_one_agent(make_config: Make, backend: Backend) -> None:
    one = SyncGuardAgentHandler(make_config())
    other: Any = guard_agent(make_config())
    one.send_event(event("one"))
    other.send_event(event("other"))
    one.flush_buffer()
    assert sent_types(backend) == ["one", "other"]
    assert one.get_stats()["events_sent"] == other.get_stats()["events_sent"] == 2
    assert len([request for request in backend.received if request.path == "/api/v1/events"]) == 1


def test_the_factory_returns_one_handler(make_config: Make) -> None:
    agent = guard_agent(make_config())

    async def program() -> GuardAgentHandler:
        return guard_agent(make_config(project_id="shop"))

    assert guard_agent(make_config()) is agent
    assert asyncio.run(program()) is agent
    assert agent.config.project_id == "shop"


def test_a_later_configuration_applies_to_queued_records(
    make_config: Make, backend: Backend
) -> None:
    first = SyncGuardAgentHandler(make_config(endpoint="http://127.0.0.1:9"))
    first.send_event(event())
    later = make_config(project_id="shop")
    second = SyncGuardAgentHandler(later)
    second.flush_buffer()
    assert first.config is later
    assert sent_types(backend) == ["ip_banned"]
    assert backend.received[0].headers["x-project-id"] == "shop"


def test_events_and_metrics_can_be_switched_off(make_config: Make) -> None:
    agent = SyncGuardAgentHandler(make_config(enable_events=False, enable_metrics=False))
    agent.send_event(event())
    agent.send_metric(metric())
    agent.flush_buffer()
    assert agent.get_stats()["ledger"]["accepted"] == 0


def test_raise_rejects_a_record_when_the_queue_is_full(make_config: Make) -> None:
    agent: Any = GuardAgentHandler(make_config(buffer_overflow_policy="raise", max_buffered=2))
    agent.send_event(event())
    agent.send_event(event())
    with pytest.raises(BufferFullError, match=r"full \(2 records\); wait, or raise buffer_size"):
        agent.send_event(event())
    assert agent.get_stats()["ledger"]["accepted"] == 2


def test_block_waits_for_room_without_blocking_the_loop(
    make_config: Make, backend: Backend
) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config(buffer_overflow_policy="block", max_buffered=1))
        backend.hold.clear()
        await agent.send_event(event("first"))
        waiting = asyncio.ensure_future(agent.send_event(event("second")))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        backend.hold.set()
        agent.flush_buffer()
        await waiting
        await agent.flush_buffer()

    asyncio.run(program())
    assert sent_types(backend) == ["first", "second"]


def test_block_makes_synchronous_code_wait(make_config: Make, backend: Backend) -> None:
    agent = SyncGuardAgentHandler(
        make_config(buffer_overflow_policy="block", max_buffered=1, buffer_size=1)
    )
    for number in range(5):
        agent.send_event(event(str(number)))
    agent.flush_buffer()
    assert sent_types(backend) == ["0", "1", "2", "3", "4"]


def test_stop_releases_a_thread_that_waits_for_room(make_config: Make) -> None:
    agent = SyncGuardAgentHandler(make_config(**STUCK))
    agent.send_event(event("first"))
    refused: list[BufferFullError] = []

    def send() -> None:
        try:
            agent.send_event(event("second"))
        except BufferFullError as error:
            refused.append(error)

    waiting = threading.Thread(target=send, daemon=True)
    waiting.start()

    def is_released() -> bool:
        agent.stop()
        return not waiting.is_alive()

    eventually(is_released)
    assert len(refused) == 1
    stats = agent.get_stats()
    assert (stats["running"], stats["ledger"]["accepted"]) == (False, 1)


@pytest.mark.parametrize("way", ["handler", "buffer"])
def test_stop_releases_a_task_that_waits_for_room(make_config: Make, way: str) -> None:
    async def program() -> None:
        agent: Any = guard_agent(make_config(**STUCK))
        await agent.send_event(event("first"))
        send = agent.send_event if way == "handler" else agent.buffer.add_event
        waiting = asyncio.ensure_future(send(event("second")))
        await asyncio.sleep(0)
        await agent.stop()
        with pytest.raises(BufferFullError):
            await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        stats = agent.get_stats()
        assert (stats["running"], stats["ledger"]["accepted"]) == (False, 1)

    asyncio.run(program())


def test_drop_discards_the_oldest_and_counts_it(make_config: Make, backend: Backend) -> None:
    backend.hold.clear()
    agent = SyncGuardAgentHandler(make_config(max_buffered=2, buffer_size=1000))
    for number in range(4):
        agent.send_event(event(str(number)))
    backend.hold.set()
    agent.flush_buffer()
    ledger = agent.get_stats()["ledger"]
    assert ledger["dropped"] == {"queue_full": 2}
    assert ledger["accepted"] == 4
    assert sent_types(backend) == ["2", "3"]


def test_the_first_records_of_each_kind_are_sent_at_once(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config(flush_interval=3600))
    agent.send_event(event("first"))
    assert eventually(lambda: sent_types(backend) == ["first"])
    agent.send_metric(metric())
    eventually(lambda: len(backend.metrics) == 1)


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/srv/shop/main.py", "main"),
        ("/usr/bin/gunicorn", "gunicorn"),
        ("/lib/uvicorn/__main__.py", "uvicorn"),
        ("-c", "python"),
        ("", "python"),
    ],
)
def test_the_status_names_the_agent_by_its_program_and_host(
    make_config: Make,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    name: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    SyncGuardAgentHandler(make_config()).start()
    assert agent_name(backend) == f"{name}@{socket.gethostname()}"


def test_the_name_comes_from_the_configuration_or_the_environment(
    make_config: Make, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_AGENT_NAME", "shop")
    assert make_config(name="till").name == "till"
    SyncGuardAgentHandler(make_config()).start()
    assert agent_name(backend) == "shop"


def agent_name(backend: Backend) -> Any:
    def reports() -> list[Any]:
        return [each.body for each in backend.received if each.path == "/api/v1/status"]

    return eventually(reports)[0]["agent_name"]


def test_rules_are_a_model_and_are_cached_for_their_ttl(
    make_config: Make, backend: Backend
) -> None:
    backend.rules = {"rule_id": "r", "version": 3, "ip_blacklist": ["192.0.2.7"], "ttl": 60}
    agent = SyncGuardAgentHandler(make_config())
    rules = agent.get_dynamic_rules()
    assert isinstance(rules, DynamicRules)
    assert (rules.version, rules.ip_blacklist) == (3, ["192.0.2.7"])
    assert agent.get_dynamic_rules() is rules
    assert [request.path for request in backend.received].count("/api/v1/rules") == 1
    stats = agent.get_stats()
    assert (stats["cached_rules"], stats["rules_fetched"]) == (True, 1)


def test_invalid_rules_are_logged_and_ignored(
    make_config: Make, backend: Backend, log: Log
) -> None:
    backend.rules = {"auto_ban_threshold": 0}
    agent = SyncGuardAgentHandler(make_config())
    assert agent.get_dynamic_rules() is None
    log.wait_for("auto_ban_threshold")


def test_stats_have_the_keys_that_status_pages_read(make_config: Make) -> None:
    stats = SyncGuardAgentHandler(make_config()).get_stats()
    assert stats.keys() >= {
        "running", "uptime", "events_sent", "metrics_sent", "events_failed", "metrics_failed",
        "rules_fetched", "buffer_stats", "transport_stats", "cached_rules", "rules_last_update",
        "loop_failures", "last_status_push_ok", "ledger",
    }  # fmt: skip
    assert stats["buffer_stats"].keys() >= {
        "events_buffered", "metrics_buffered", "events_flushed", "metrics_flushed",
        "events_dropped", "metrics_dropped", "current_event_buffer_size",
        "current_metric_buffer_size", "redis_persist_failures", "durability_degraded",
        "last_flush_time", "auto_flush_running",
    }  # fmt: skip
    assert stats["transport_stats"].keys() >= {
        "requests_sent", "requests_failed", "bytes_sent", "circuit_breaker_state",
        "failure_count", "session_closed",
    }  # fmt: skip
    assert stats["loop_failures"] == {"flush": 0, "status": 0, "rules": 0}
    assert stats["ledger"].keys() == {"accepted", "delivered", "queued", "spooled", "dropped"}


@pytest.mark.parametrize("call", ["close", "stop"])
def test_a_panic_in_the_native_agent_is_counted_logged_and_no_base_exception(
    make_config: Make, log: Log, call: str
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    beyond_what_a_clock_holds = 1e19
    with pytest.raises(RuntimeError, match="the agent failed in this call and goes on"):
        getattr(agent._agent.native, call)(beyond_what_a_clock_holds)
    log.wait_for("a call failed in the agent, which goes on; please report this")
    assert agent.get_stats()["internal_errors"] == 1


def test_stats_count_each_step(make_config: Make) -> None:
    agent = SyncGuardAgentHandler(make_config())
    assert agent.get_stats()["running"] is False
    agent.send_event(event())
    stats = agent.get_stats()
    assert stats["running"] is True
    assert stats["buffer_stats"]["current_event_buffer_size"] == 1
    agent.flush_buffer()
    stats = agent.get_stats()
    assert (stats["events_sent"], stats["buffer_stats"]["current_event_buffer_size"]) == (1, 0)
    assert stats["transport_stats"]["bytes_sent"] > 0
    assert stats["transport_stats"]["circuit_breaker_state"] == "CLOSED"
    assert stats["buffer_stats"]["last_flush_time"] is not None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"api_key": "short"}, "api_key must be at least 10 characters long"),
        ({"buffer_size": 0}, "buffer_size must be greater than 0, not 0"),
        ({"flush_interval": -1}, "flush_interval must be greater than 0, not -1"),
        ({"timeout": 0}, "timeout must be greater than 0"),
        ({"backoff_factor": 0}, "backoff_factor must be greater than 0"),
        ({"retry_attempts": -1}, "retry_attempts cannot be negative"),
        ({"buffer_size": 10**30}, "buffer_size: out of range"),
        ({"project_id": "a\nb"}, "project_id"),
    ],
)
def test_an_invalid_configuration_is_rejected_with_its_field(
    make_config: Make, fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"Invalid agent configuration: .*{problem}"):
        guard_agent(make_config(**fields))


def test_a_rejected_configuration_leaves_the_agent_unchanged(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(event())
    with pytest.raises(ValueError, match="project_id"):
        guard_agent(make_config(project_id="a\nb"))
    assert agent.config.project_id is None
    agent.flush_buffer()
    assert sent_types(backend) == ["ip_banned"]


def test_handlers_implement_the_protocol(make_config: Make) -> None:
    def is_asynchronous(method: Callable[..., Any]) -> bool:
        returned = inspect.signature(method).return_annotation
        return getattr(returned, "__origin__", None) is Coroutine

    handler = guard_agent(make_config())
    assert isinstance(handler, AgentHandlerProtocol)
    # Native methods have no annotations, so the calls check what they return.
    assert isinstance(handler.send_event(event()), Coroutine)
    assert isinstance(handler.send_metric(metric()), Coroutine)
    names = [name for name in vars(AgentHandlerProtocol) if not name.startswith(("_", "send_"))]
    assert all(is_asynchronous(getattr(GuardAgentHandler, name)) for name in names)
    assert not any(is_asynchronous(getattr(SyncGuardAgentHandler, name)) for name in names)
