"""New rules reach callbacks and guard-core's managers at once."""

import asyncio
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import pytest
from support.backend import Backend
from support.ending_loop import never_awaited
from support.log import Log
from support.process import PATIENCE_SECONDS

from guard_agent import AgentConfig, DynamicRules, GuardAgentHandler, SyncGuardAgentHandler
from guard_agent._decode import read_rules

Make = Callable[..., AgentConfig]


@pytest.fixture(autouse=True)
def holding(backend: Backend) -> None:
    """A backend without rules that holds requests until there are some."""
    backend.publish({})


def rules(version: int) -> dict[str, Any]:
    return {"rule_id": "r", "version": version, "ttl": 60}


def versions(told: "SimpleQueue[DynamicRules | None]", count: int) -> list[int | None]:
    found = [told.get(timeout=PATIENCE_SECONDS) for _ in range(count)]
    return [each and each.version for each in found]


def test_callers_at_the_same_time_all_get_the_new_rules(
    make_config: Make, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.publish(rules(1))
    agent = SyncGuardAgentHandler(make_config())
    is_reading, may_read = threading.Event(), threading.Event()

    def read_slowly(*arguments: Any) -> DynamicRules | None:
        if not is_reading.is_set():
            is_reading.set()
            may_read.wait(PATIENCE_SECONDS)
        return read_rules(*arguments)

    monkeypatch.setattr("guard_agent._agent.read_rules", read_slowly)
    found: SimpleQueue[DynamicRules | None] = SimpleQueue()
    first = threading.Thread(target=lambda: found.put(agent.get_dynamic_rules()))
    first.start()
    assert is_reading.wait(PATIENCE_SECONDS)
    second = agent.get_dynamic_rules()
    may_read.set()
    first.join(PATIENCE_SECONDS)
    assert second is not None
    assert second.version == 1
    assert found.get(timeout=PATIENCE_SECONDS) is second


def test_a_change_is_passed_on_although_no_thread_could_start_for_the_one_before(
    make_config: Make, backend: Backend, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    backend.publish(rules(1))
    agent = SyncGuardAgentHandler(make_config())
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("guard_agent._greenlets.start_thread", refuse)
        agent.on_rules_updated(told.put)
        log.wait_for("New rules could not be passed on (can't start new thread)")
    assert told.empty()
    backend.publish(rules(2))
    assert versions(told, 1) == [2]


def test_a_change_is_passed_on_although_a_callback_ended_the_thread_of_the_one_before(
    make_config: Make, backend: Backend
) -> None:
    backend.publish(rules(1))
    agent = SyncGuardAgentHandler(make_config())
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()

    def leave(rules: DynamicRules | None) -> None:
        told.put(rules)
        raise SystemExit

    agent.on_rules_updated(leave)
    assert versions(told, 1) == [1]
    backend.publish(rules(2))
    assert versions(told, 1) == [2]


def test_a_synchronous_callback_is_called_in_a_thread_for_each_change(
    make_config: Make, backend: Backend
) -> None:
    backend.publish(rules(1))
    agent = SyncGuardAgentHandler(make_config())
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()
    threads = set()

    def callback(rules: DynamicRules | None) -> None:
        threads.add(threading.current_thread().name)
        told.put(rules)

    agent.on_rules_updated(callback)
    assert versions(told, 1) == [1]
    backend.publish(rules(2))
    assert versions(told, 1) == [2]
    found = agent.get_dynamic_rules()
    assert found is not None
    assert found.version == 2
    backend.publish({})
    assert versions(told, 1) == [None]
    assert agent.get_dynamic_rules() is None
    assert threads == {"guard-rules"}


def test_callbacks_registered_in_a_loop_run_in_that_loop(
    make_config: Make, backend: Backend
) -> None:
    async def main() -> list[tuple[str, int | None]]:
        agent = GuardAgentHandler(make_config())
        told: asyncio.Queue[tuple[str, int | None]] = asyncio.Queue()
        here = asyncio.get_running_loop()

        async def asynchronous(rules: DynamicRules | None) -> None:
            await asyncio.sleep(0)
            assert asyncio.get_running_loop() is here
            told.put_nowait(("asynchronous", rules and rules.version))

        def synchronous(rules: DynamicRules | None) -> None:
            assert asyncio.get_running_loop() is here
            told.put_nowait(("synchronous", rules and rules.version))

        agent.on_rules_updated(asynchronous)
        agent.on_rules_updated(synchronous)
        backend.publish(rules(7))
        return sorted([await asyncio.wait_for(told.get(), PATIENCE_SECONDS) for _ in range(2)])

    assert asyncio.run(main()) == [("asynchronous", 7), ("synchronous", 7)]


def test_a_callback_cancelled_by_its_loop_before_it_starts_leaves_no_coroutine(
    make_config: Make, backend: Backend
) -> None:
    agent = GuardAgentHandler(make_config())
    told: list[DynamicRules | None] = []

    async def callback(rules: DynamicRules | None) -> None:
        told.append(rules)

    def start() -> None:
        agent.on_rules_updated(callback)
        backend.publish(rules(7))

    assert never_awaited(start) == []
    assert told == []


def test_an_asynchronous_callback_registered_outside_a_loop_gets_its_own_loop(
    make_config: Make, backend: Backend
) -> None:
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()

    async def callback(rules: DynamicRules | None) -> None:
        await asyncio.sleep(0)
        told.put(rules)

    SyncGuardAgentHandler(make_config()).on_rules_updated(callback)
    backend.publish(rules(3))
    assert versions(told, 1) == [3]


def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    make_config: Make, backend: Backend, log: Log
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()

    def failing(_: DynamicRules | None) -> None:
        raise LookupError("of the program's")

    agent.on_rules_updated(failing)
    agent.on_rules_updated(told.put)
    for version in (1, 2):
        backend.publish(rules(version))
        assert versions(told, 1) == [version]
    log.wait_for("A callback of on_rules_updated raised")


def test_a_removed_callback_is_not_called(make_config: Make, backend: Backend) -> None:
    agent = SyncGuardAgentHandler(make_config())
    removed: SimpleQueue[DynamicRules | None] = SimpleQueue()
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()
    remove = agent.on_rules_updated(removed.put)
    agent.on_rules_updated(told.put)
    remove()
    remove()
    backend.publish(rules(1))
    assert versions(told, 1) == [1]
    assert removed.empty()


@pytest.mark.parametrize(
    "ends", ["20300101", "20300101T000000Z", "2030-06-30T23:59:60Z", "2030-01-01T00:00:00+24:00"]
)
def test_an_ambiguous_expiry_is_rejected_by_its_field_and_the_last_rules_stay(
    make_config: Make, backend: Backend, log: Log, ends: str
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    told: SimpleQueue[DynamicRules | None] = SimpleQueue()
    agent.on_rules_updated(told.put)
    backend.publish(rules(1))
    assert versions(told, 1) == [1]
    backend.publish(rules(2) | {"expires_at": ends})
    log.wait_for(f'rules field `expires_at`: "{ends}" is not a timestamp')
    backend.publish(rules(3) | {"expires_at": "2030-01-01T01:00:00+01:00"})
    assert versions(told, 1) == [3]
    found = agent.get_dynamic_rules()
    assert found is not None
    assert found.expires_at == datetime(2030, 1, 1, tzinfo=timezone.utc)


def test_invalid_rules_leave_the_previous_rules_in_force(log: Log) -> None:
    before = DynamicRules(rule_id="r", version=1)
    assert read_rules('{"rule_id": "r", "version": "second"}', before) is before
    log.wait_for("not usable and ignored")
    assert read_rules(None, before) is None


def test_rules_are_not_requested_before_the_first_subscriber(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.start()
    agent.flush_buffer()
    agent.stop()
    assert all(request.path != "/api/v1/rules" for request in backend.received)


class AsyncManager:
    """A stand-in for guard-core's manager, of which a process can have only one."""

    def __init__(self) -> None:
        self.update_task: Any = None
        self.updates: SimpleQueue[str] = SimpleQueue()

    async def update_rules(self) -> None:
        self.updates.put(threading.current_thread().name)


def test_a_manager_of_guard_core_updates_in_the_loop_of_its_polls(
    make_config: Make, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = AsyncManager()
    install(monkeypatch, "guard_core.handlers.dynamic_rule_handler", manager)
    started, over = threading.Event(), threading.Event()

    async def polls() -> None:
        manager.update_task = asyncio.current_task()
        started.set()
        await asyncio.to_thread(over.wait)

    loop = threading.Thread(target=lambda: asyncio.run(polls()), name="the-loop-of-the-guard")
    loop.start()
    try:
        assert started.wait(PATIENCE_SECONDS)
        agent = SyncGuardAgentHandler(make_config())
        agent.get_dynamic_rules()
        backend.publish(rules(1))
        assert manager.updates.get(timeout=PATIENCE_SECONDS) == "the-loop-of-the-guard"
    finally:
        over.set()
        loop.join()


def test_a_synchronous_manager_of_guard_core_updates_in_a_thread(
    make_config: Make, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Manager:
        update_task = threading.Thread()
        updates: SimpleQueue[str] = SimpleQueue()

        def update_rules(self) -> None:
            self.updates.put(threading.current_thread().name)
            raise LookupError("of the guard's")

    install(monkeypatch, "guard_core.sync.handlers.dynamic_rule_handler", Manager())
    agent = SyncGuardAgentHandler(make_config())
    agent.get_dynamic_rules()
    for version in (1, 2):
        backend.publish(rules(version))
        assert Manager.updates.get(timeout=PATIENCE_SECONDS) == "guard-rules"


def install(monkeypatch: pytest.MonkeyPatch, name: str, manager: object) -> None:
    module = ModuleType(name)
    module.DynamicRuleManager = type("DynamicRuleManager", (), {"_instance": manager})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


def test_a_forked_child_subscribes_to_rules_with_its_first_record(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    context = multiprocessing.get_context("fork")
    told: Any = context.SimpleQueue()
    agent.on_rules_updated(lambda rules: told.put((multiprocessing.current_process().name, rules)))
    backend.publish(rules(1))
    assert told.get()[0] == "MainProcess"
    over = context.Event()

    def work() -> None:
        agent.send_event({"event_type": "of_the_child", "timestamp": "2026-11-22T14:28:58Z"})
        over.wait(PATIENCE_SECONDS)

    child = context.Process(target=work, name="child")
    child.start()
    try:
        name, first = told.get()
        assert (name, first.version) == ("child", 1)
    finally:
        over.set()
        child.join()


def test_rules_are_stored_for_a_start_without_a_backend(
    make_config: Make, backend: Backend, tmp_path: Any
) -> None:
    kept = tmp_path / "rules.json"
    backend.publish(rules(5))
    program = (
        "import sys, time\n"
        "from guard_agent import AgentConfig, SyncGuardAgentHandler\n"
        "config = AgentConfig.model_validate_json(sys.argv[1])\n"
        "found = SyncGuardAgentHandler(config).get_dynamic_rules()\n"
        "while not config.rules_cache_path.exists():\n"
        "    time.sleep(0.01)\n"
        "print(found and found.version)\n"
    )
    config = make_config(rules_cache_path=kept, timeout=5)

    def version() -> str:
        command = [sys.executable, "-c", program, config.model_dump_json()]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_SECONDS
        )
        return done.stdout.strip()

    assert version() == "5"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert config.api_key not in kept.read_text()
    backend.go_away()
    assert version() == "5"
