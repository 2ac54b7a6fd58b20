"""What the agent says of itself: log lines and `on_error`."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from backend import Backend
from log import PATIENCE_SECONDS, Log

from guard_agent import (
    AgentConfig,
    GuardAgentError,
    SecurityEvent,
    SyncGuardAgentHandler,
    get_current_timestamp,
)

Make = Callable[..., AgentConfig]


def send_to_refusing_backend(config: AgentConfig, backend: Backend) -> None:
    backend.status = 401
    agent = SyncGuardAgentHandler(config)
    agent.send_event(SecurityEvent(timestamp=get_current_timestamp(), event_type="x"))
    agent.stop()


def test_a_refused_key_is_logged_without_the_key(
    make_config: Make, backend: Backend, log: Log
) -> None:
    send_to_refusing_backend(make_config(), backend)
    assert log.wait_for("401").levelno == logging.WARNING
    assert not any("an-api-key-for-tests" in record.getMessage() for record in log.records)


def test_on_error_hears_what_failed(make_config: Make, backend: Backend) -> None:
    heard: list[tuple[str, BaseException, dict[str, Any]]] = []
    called = threading.Event()

    def on_error(stage: str, error: BaseException, context: dict[str, Any]) -> None:
        heard.append((stage, error, context))
        called.set()

    send_to_refusing_backend(make_config(on_error=on_error), backend)
    assert called.wait(PATIENCE_SECONDS)
    stage, error, _ = heard[0]
    assert stage == "transport_send"
    assert isinstance(error, GuardAgentError)
    assert "401" in str(error)


def test_an_on_error_that_raises_is_logged(make_config: Make, backend: Backend, log: Log) -> None:
    def on_error(*_: object) -> None:
        raise RuntimeError

    send_to_refusing_backend(make_config(on_error=on_error), backend)
    log.wait_for("on_error raised")
