"""The agent's reports: log lines and `on_error`."""

import asyncio
import functools
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support import ROOT
from support.backend import Backend
from support.log import Log
from support.process import PATIENCE_SECONDS, eventually

from guard_agent import (
    AgentConfig,
    EventBuffer,
    GuardAgentError,
    SecurityEvent,
    SyncGuardAgentHandler,
    _native,
    get_current_timestamp,
)

Make = Callable[..., AgentConfig]


@contextmanager
def refused_event(config: AgentConfig, backend: Backend) -> Iterator[None]:
    """An event for a backend that rejects the key, in delivery until the block ends."""
    backend.status = 401
    agent = SyncGuardAgentHandler(config.model_copy(update={"buffer_size": 1}))
    agent.send_event(SecurityEvent(timestamp=get_current_timestamp(), event_type="x"))
    yield
    backend.status = 200
    agent.flush_buffer()


def test_a_rejected_key_is_logged_without_the_key(
    make_config: Make, backend: Backend, log: Log
) -> None:
    with refused_event(make_config(), backend):
        assert log.wait_for("401").levelno == logging.WARNING
    assert not any("an-api-key-for-tests" in record.getMessage() for record in log.records)


def test_a_report_may_come_before_the_core_has_started(
    make_config: Make, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = _native.Agent

    def report_first(config: AgentConfig, report: Callable[..., None], *others: Any) -> Any:
        report(logging.WARNING, "startup", "an early report", None)
        return start(config, report, *others)

    monkeypatch.setattr(_native, "Agent", report_first)
    SyncGuardAgentHandler(make_config())
    assert log.wait_for("an early report")


def test_on_error_receives_the_failure(make_config: Make, backend: Backend) -> None:
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


class Awaited:
    """An object whose call returns a coroutine."""

    def __init__(self, heard: "queue.Queue[Any]") -> None:
        self._heard = heard

    def __call__(self, *heard: Any) -> Any:
        return self.hear(*heard)

    async def hear(self, stage: str, error: BaseException, _: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self._heard.put((stage, type(error)))


@pytest.mark.parametrize("form", ["method", "object", "lambda", "partial"])
def test_an_asynchronous_on_error_is_awaited(
    make_config: Make, backend: Backend, form: str
) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    awaited = Awaited(heard)
    forms: dict[str, Callable[..., Any]] = {
        "method": awaited.hear,
        "object": awaited,
        "lambda": lambda *said: awaited.hear(*said),
        "partial": functools.partial(awaited.hear),
    }
    with refused_event(make_config(on_error=forms[form]), backend):
        assert heard.get(timeout=PATIENCE_SECONDS) == ("transport_send", GuardAgentError)


def test_an_exception_of_an_asynchronous_on_error_is_logged(
    make_config: Make, backend: Backend, log: Log
) -> None:
    async def on_error(*_: object) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no pager")

    with refused_event(make_config(on_error=on_error), backend):
        assert log.wait_for("on_error raised; the agent goes on").exc_info is not None


@pytest.mark.parametrize(
    ("status", "counts", "size"),
    [(413, {}, 1), (200, {"events_received": 3, "events_processed": 1}, 3)],
    ids=["too large", "left out"],
)
def test_on_error_receives_the_batch_size(
    make_config: Make, backend: Backend, status: int, counts: dict[str, int], size: int
) -> None:
    backend.status = status
    backend.accepted |= counts
    heard: queue.Queue[Any] = queue.Queue()
    agent = SyncGuardAgentHandler(make_config(on_error=lambda *said: heard.put(said)))
    for _ in range(3):
        agent.send_event(SecurityEvent(timestamp=get_current_timestamp(), event_type="x"))
    agent.flush_buffer()
    stage, _, context = heard.get(timeout=PATIENCE_SECONDS)
    assert (stage, context) == ("flush_events", {"batch_size": size})


def test_on_error_receives_the_number_of_records_in_a_program_buffer(
    make_config: Make, backend: Backend
) -> None:
    backend.status = 500
    heard: queue.Queue[Any] = queue.Queue()
    config = make_config(retry_attempts=0, on_error=lambda *said: heard.put(said))
    buffer = EventBuffer(make_config())
    agent = SyncGuardAgentHandler(config, buffer=buffer)
    for _ in range(3):
        agent.send_event(SecurityEvent(timestamp=get_current_timestamp(), event_type="x"))
    agent.flush_buffer()
    contexts = {}
    while "flush_events" not in contexts:
        stage, _, context = heard.get(timeout=PATIENCE_SECONDS)
        contexts[stage] = context
    assert contexts["flush_events"] == {"batch_size": 3}


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        ({"event_type": "x"}, "flush_events"),
        ({"metric_type": "block_rate", "value": 1}, "flush_metrics"),
    ],
)
def test_on_error_reports_each_kind_of_lost_record(
    make_config: Make, backend: Backend, record: dict[str, Any], stage: str
) -> None:
    backend.status = 413
    heard: queue.Queue[tuple[str, str]] = queue.Queue()
    config = make_config(on_error=lambda stage, error, _: heard.put((stage, str(error))))
    agent = SyncGuardAgentHandler(config)
    send = agent.send_event if stage == "flush_events" else agent.send_metric
    send({"timestamp": get_current_timestamp(), **record})
    agent.flush_buffer()
    said, problem = heard.get(timeout=PATIENCE_SECONDS)
    assert said == stage
    assert "lost: each is too large for the backend (413)" in problem


SEALED = """
import logging, sys, threading
from support.randomness import withhold_randomness
from guard_agent import AgentConfig, SyncGuardAgentHandler, get_current_timestamp

logging.basicConfig(format="%(message)s")
heard = threading.Event()

def on_error(stage, error, context):
    print(stage, type(error).__name__, error)
    heard.set()

config = {"api_key": "an-api-key-for-tests", "endpoint": sys.argv[1], "install_id": "test"}
key = {"project_encryption_key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
agent = SyncGuardAgentHandler(AgentConfig(**config, **key, buffer_size=1, on_error=on_error))
agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
agent.flush_buffer()
withhold_randomness()
agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
assert heard.wait(60)
ledger = agent.get_stats()["ledger"]
print(ledger["delivered"], "delivered", ledger["queued"], "queued", ledger["dropped"], "dropped")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no seccomp")
def test_on_error_reports_a_payload_that_cannot_be_encrypted_and_is_kept(backend: Backend) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SEALED, backend.url],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    error = "the payload could not be encrypted: no random bytes from the system"
    remedy = "kept; let the process have them, by getrandom or /dev/urandom"
    assert ended.stdout.splitlines() == [
        f"encryption GuardAgentError {error}: {remedy}",
        "1 delivered 1 queued {} dropped",
    ]
    assert ended.stderr.splitlines()[0] == f"{error}: {remedy}"
    assert len([post for post in backend.received if post.path == "/api/v1/events/encrypted"]) == 1


def test_the_same_error_is_logged_once_a_minute(
    make_config: Make, backend: Backend, log: Log
) -> None:
    backend.status = 500
    agent = SyncGuardAgentHandler(make_config(retry_attempts=20, backoff_factor=0.001))
    agent.send_event({"timestamp": get_current_timestamp(), "event_type": "x"})
    done = threading.Thread(target=agent.flush_buffer)
    done.start()
    eventually(lambda: len(backend.events) >= 4)
    backend.status = 200
    done.join()
    log.wait_for("backend answered 500")
    agent.send_event({"timestamp": "never", "event_type": "x"})
    # Each report has its own thread; this one comes after all earlier ones.
    log.wait_for("record not sent")
    said = [record.getMessage() for record in log.records]
    assert (
        len([line for line in said if "answered 500; see the backend's log; records" in line]) == 1
    ), said
    assert all(record.name == "guard_agent" for record in log.records)


def test_an_on_error_that_raises_is_logged(make_config: Make, backend: Backend, log: Log) -> None:
    def on_error(*_: object) -> None:
        raise RuntimeError

    with refused_event(make_config(on_error=on_error), backend):
        log.wait_for("on_error raised")
