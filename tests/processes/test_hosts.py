"""Programs with foreign processes or threads: celery, gevent, eventlet and trio."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from support import ROOT
from support.backend import Backend
from support.guard_server import GuardServer
from support.process import PATIENCE_SECONDS, eventually
from support.silence import silent_backend

from guard_agent import (
    AgentConfig,
    DynamicRules,
    GuardAgentHandler,
    HTTPTransport,
    SecurityEvent,
    get_current_timestamp,
)
from processes.accepted import Accepted
from processes.program import Program, Settings
from processes.served import Served

Start = Callable[..., Program]
GEVENT = ["gunicorn", "flask_app:app", "--bind", "127.0.0.1:0", "--worker-class", "gevent"]


def test_records_of_celery_children_are_stored(
    start: Start,
    server: GuardServer,
    accepted: Accepted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first child is replaced after four tasks, the second ends with the worker."""
    broker = tmp_path / "broker"
    broker.mkdir()
    monkeypatch.setenv("HOST_BROKER", str(broker))
    options = ["--pool", "prefork", "--concurrency", "1", "--max-tasks-per-child", "4"]
    quick = ["--without-mingle", "--without-gossip", "--loglevel", "ERROR"]
    worker = start("celery", "-A", "celery_tasks", "worker", *options, *quick)
    assert start("celery_tasks", "6").end().code == 0
    eventually(lambda: len(accepted.senders()) == 6)

    worker.signal(signal.SIGTERM)

    assert worker.end().code == 0
    accepted.assert_stored_once(server)


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_run_while_one_waits_and_callbacks_run_in_greenlets(
    library: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    ended = start("greenlets", library).end()
    assert (ended.code, ended.output) == (0, "done\n"), ended.errors


def test_a_gevent_worker_serves_while_a_backend_withholds_the_rules(
    settings: Settings, cleanup: ExitStack, serve: Callable[..., Served]
) -> None:
    settings.endpoint = cleanup.enter_context(silent_backend())
    served = serve(GEVENT)
    # If waiting for rules blocked the worker, it would take the default timeout of 30 seconds.
    assert len({served.get() for _ in range(3)}) == 1
    assert "TIMEOUT" not in served.process.output()


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


def test_the_trio_loop_runs_while_calls_wait(backend: Backend) -> None:
    agent = GuardAgentHandler(trio_config(backend))
    told: list[int] = []
    has_heard = trio.Event()

    async def hear(rules: DynamicRules | None) -> None:
        await trio.lowlevel.checkpoint()
        assert rules is not None
        told.append(rules.version)
        has_heard.set()

    def send() -> object:
        return agent.send_event(event())

    async def tick_then_answer() -> None:
        for _ in range(20):
            await trio.sleep(0.001)
        backend.hold.set()

    async def while_the_loop_goes_on(*calls: Callable[[], object]) -> None:
        backend.hold.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick_then_answer)
            for call in calls:
                await call()  # type: ignore[misc]
        assert not watchdog.finished.is_set(), "a call held up the loop"

    async def main() -> None:
        backend.rules = {"rule_id": "r", "version": 1}
        agent.on_rules_updated(hear)
        rules = await agent.get_dynamic_rules()
        assert rules is not None
        assert rules.version == 1
        await while_the_loop_goes_on(send, agent.flush_buffer)
        await while_the_loop_goes_on(send, send, agent.stop)
        transport = HTTPTransport(agent.config)
        await while_the_loop_goes_on(lambda: transport.send_events([event()]))
        with trio.fail_after(PATIENCE_SECONDS):
            await has_heard.wait()

    watchdog = threading.Timer(PATIENCE_SECONDS, backend.hold.set)
    watchdog.start()
    try:
        trio.run(main)
    finally:
        watchdog.cancel()
    assert told == [1]
    assert len(backend.events) == 4


def trio_config(backend: Backend) -> AgentConfig:
    return AgentConfig(
        api_key="an-api-key-for-tests",
        endpoint=backend.url,
        flush_interval=3600,
        timeout=3600,
        install_id="test-install",
        buffer_overflow_policy="block",
        buffer_size=1,
        max_buffered=1,
    )


def event() -> SecurityEvent:
    return SecurityEvent(timestamp=get_current_timestamp(), event_type="ip_banned")
