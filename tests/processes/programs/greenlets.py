"""Calls the agent in a program whose threads are replaced by greenlets of the argument's library.

Greenlets of the same thread serve the backend: a call that blocked the others would wait
forever.
"""

import sys

library = sys.argv[1]
if library == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

import asyncio  # noqa: E402 (what is imported first is the point)
import logging  # noqa: E402
import queue  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from greenlet import getcurrent  # noqa: E402
from support.backend import Backend  # noqa: E402

from guard_agent import (  # noqa: E402
    AgentConfig,
    EventBuffer,
    HTTPTransport,
    SecurityEvent,
    SyncGuardAgentHandler,
    get_current_timestamp,
)

main = getcurrent()
heard: "queue.Queue[tuple[str, Any]]" = queue.Queue()


def is_here() -> bool:
    """Whether this greenlet belongs to the main thread."""
    greenlet = getcurrent()
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet is main


class Log(logging.Handler):
    def emit(self, _: logging.LogRecord) -> None:
        heard.put(("log", is_here()))


class Manager:
    """A stand-in for guard-core's module, which the agent looks up."""

    _instance: "Manager"
    update_task = object()

    def update_rules(self) -> None:
        heard.put(("guard-core", is_here()))


class Transport(HTTPTransport):
    carried = 0

    async def send_events(self, events: list[SecurityEvent]) -> bool:
        await asyncio.sleep(0.01)
        self.carried += len(events)
        return await super().send_events(events)


class Module:
    DynamicRuleManager = Manager


def event() -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type="ip_banned")


def expect(*expected: tuple[str, Any]) -> None:
    waiting = set(expected)
    while waiting:
        waiting.discard(heard.get(timeout=60))


Manager._instance = Manager()
sys.modules["guard_core.sync.handlers.dynamic_rule_handler"] = Module  # type: ignore[assignment]
logging.getLogger("guard_agent").addHandler(Log())

with Backend() as backend:
    config = AgentConfig(
        api_key="an-api-key-for-tests",
        endpoint=backend.url,
        flush_interval=3600,
        timeout=3600,
        retry_attempts=0,
        install_id="test-install",
        on_error=lambda *_: heard.put(("on_error", is_here())),
    )
    agent = SyncGuardAgentHandler(config)

    agent.send_event(event())
    agent.flush_buffer()
    assert len(backend.events) == 1

    agent.on_rules_updated(lambda rules: heard.put(("rules", (rules.version, is_here()))))

    awaited = []

    async def hear(rules: Any) -> None:
        await asyncio.sleep(0)
        awaited.append(rules.version)

    agent.on_rules_updated(hear)
    backend.rules = {"rule_id": "r", "version": 1}
    rules = agent.get_dynamic_rules()
    assert rules is not None
    assert rules.version == 1
    expect(("rules", (1, True)), ("guard-core", True))

    while awaited != [1]:
        time.sleep(0.01)

    backend.status = 500
    agent.send_event(event())
    agent.stop()
    expect(("log", True), ("on_error", True))
    backend.status = 200
    agent.send_event(event())
    agent.flush_buffer()
    assert len(backend.events) == 4, len(backend.events)

    agent.transport = transport = Transport(config)
    agent.send_event(event())
    agent.flush_buffer()
    agent.buffer = EventBuffer(config)
    agent.send_event(event())
    agent.flush_buffer()
    assert transport.carried == 2
    assert len(backend.events) == 6, len(backend.events)
    agent.buffer = agent.transport = None  # type: ignore[assignment]

    agent = SyncGuardAgentHandler(
        config.model_copy(
            update={"buffer_overflow_policy": "block", "max_buffered": 1, "buffer_size": 1}
        )
    )
    for _ in range(3):
        agent.send_event(event())
    agent.stop()
    assert len(backend.events) == 9, len(backend.events)
    agent.send_event(event())
    # The process delivers it at exit, which also needs other greenlets to run.
    agent.stop()
print("done")
