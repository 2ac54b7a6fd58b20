"""`guard-agent send-test-event`: sends one event as the agent sends its own."""

import argparse
import queue
import threading
from collections.abc import Iterator
from typing import Any

from guard_agent import _native
from guard_agent._report import reporter
from guard_agent.cli.finding import Finding, fail, ok
from guard_agent.cli.settings import SettingsError, read_settings
from guard_agent.config import AgentConfig
from guard_agent.models import SecurityEvent
from guard_agent.utils import get_current_timestamp

_WHAT = "test event"


def send_test_event(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Sends an event, and waits until it is delivered or an attempt fails.

    It is redacted, encrypted, signed and sent by the code of the agent, but by no agent: an agent
    would report its status, and the backend would count this process as one of its agents.
    """
    try:
        config = read_settings(arguments)
    except SettingsError as error:
        yield from error.findings
        return
    if not config.enable_events:
        yield fail(_WHAT, "events are switched off", "unset GUARD_AGENT_ENABLE_EVENTS")
        return
    yield _send(config)


def _send(config: AgentConfig) -> Finding:
    outcomes: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def on_error(_stage: str, error: BaseException, _context: dict[str, Any]) -> None:
        outcomes.put(str(error))

    changed = config.model_copy(update={"on_error": on_error})
    client = _native.DirectClient(changed, reporter(lambda: changed))
    event = SecurityEvent(
        timestamp=get_current_timestamp(),
        event_type="agent_test",
        ip_address="system",
        action_taken="logged",
        reason="sent by guard-agent send-test-event",
    )

    def deliver() -> None:
        client.deliver("events", [event], float(config.timeout))
        outcomes.put(None)

    threading.Thread(target=deliver, daemon=True).start()
    trouble = outcomes.get()
    if client.stats()["ledger"]["delivered"]:
        return ok(_WHAT, f"delivered to {config.endpoint}, idempotency key {event.idempotency_key}")
    why = (trouble or f"no answer within {config.timeout} s").removesuffix("; records are kept")
    return fail(_WHAT, f"not delivered: {why}", "see guard-agent doctor")
