"""`guard-agent send-test-event`: sends one event through the whole pipeline."""

import argparse
import queue
import threading
from collections.abc import Iterator
from typing import Any

from guard_agent.cli.finding import Finding, fail, ok
from guard_agent.cli.settings import SettingsError, read_settings
from guard_agent.client import SyncGuardAgentHandler
from guard_agent.config import AgentConfig
from guard_agent.models import SecurityEvent
from guard_agent.utils import get_current_timestamp

_WHAT = "test event"
_INSTALL_ID = "guard-agent-send-test-event"


def send_test_event(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Sends an event with the agent itself, and waits until it is delivered or an attempt fails."""
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

    # With the installation's own identifier, this process's report would replace the program's.
    changed = {"on_error": on_error, "install_id": _INSTALL_ID}
    agent = SyncGuardAgentHandler(config.model_copy(update=changed))

    def deliver() -> None:
        agent.flush_buffer()
        outcomes.put(None)

    event = SecurityEvent(
        timestamp=get_current_timestamp(),
        event_type="agent_test",
        ip_address="system",
        action_taken="logged",
        reason="sent by guard-agent send-test-event",
    )
    agent.send_event(event)
    threading.Thread(target=deliver, daemon=True).start()
    trouble = outcomes.get()
    if agent.get_stats()["ledger"]["delivered"]:
        return ok(_WHAT, f"delivered to {config.endpoint}, idempotency key {event.idempotency_key}")
    why = (trouble or f"no answer within {config.timeout} s").removesuffix("; records are kept")
    return fail(_WHAT, f"not delivered: {why}", "see guard-agent doctor")
