"""What the agent says of itself: log lines and `on_error`."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def refused_event(config: AgentConfig, backend: Backend) -> Iterator[None]:
    """An event on its way to a backend that refuses the key, until the block ends."""
    backend.status = 401
    agent = SyncGuardAgentHandler(config.model_copy(update={"buffer_size": 1}))
    agent.send_event(SecurityEvent(timestamp=get_current_timestamp(), event_type="x"))
    yield
    backend.status = 200
    agent.flush_buffer()


def test_a_refused_key_is_logged_without_the_key(
    make_config: Make, backend: Backend, log: Log
) -> None:
    with refused_event(make_config(), backend):
        assert log.wait_for("401").levelno == logging.WARNING
    assert not any("an-api-key-for-tests" in record.getMessage() for record in log.records)


def test_on_error_hears_what_failed(make_config: Make, backend: Backend) -> None:
    heard: list[tuple[str, BaseException, dict[str, Any]]] = []
    called = threading.Event()

    def on_error(stage: str, error: BaseException, context: dict[str, Any]) -> None:
        heard.append((stage, error, context))
        called.set()

    with refused_event(make_config(on_error=on_error), backend):
        assert called.wait(PATIENCE_SECONDS)
    stage, error, _ = heard[0]
    assert stage == "transport_send"
    assert isinstance(error, GuardAgentError)
    assert "401" in str(error)


def test_an_on_error_that_raises_is_logged(make_config: Make, backend: Backend, log: Log) -> None:
    def on_error(*_: object) -> None:
        raise RuntimeError

    with refused_event(make_config(on_error=on_error), backend):
        log.wait_for("on_error raised")
