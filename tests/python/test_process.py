"""The agent inside its process: exit and fork."""

import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.backend import Backend

from guard_agent import AgentConfig, SyncGuardAgentHandler, get_current_timestamp

Make = Callable[..., AgentConfig]
DEADLINE_SECONDS = 60

IMPORTS = """
    import logging, sys
    logging.basicConfig(level=logging.WARNING)
    from guard_agent import AgentConfig, SecurityEvent, get_current_timestamp, guard_agent

    def event(name):
        return SecurityEvent(timestamp=get_current_timestamp(), event_type=name)
"""
AGENT = """
    agent = guard_agent(AgentConfig(
        api_key="an-api-key-for-tests", endpoint=sys.argv[1], flush_interval=3600, timeout=3600,
    ))
"""


def command(program: str, backend: Backend, before: str = "") -> list[str]:
    parts = (IMPORTS, before, AGENT, program)
    source = "".join(textwrap.dedent(part) for part in parts)
    return [sys.executable, "-W", "error", "-c", source, backend.url]


def run(program: str, backend: Backend, before: str = "") -> "subprocess.CompletedProcess[str]":
    """A whole interpreter, from start to exit; `before` runs before the agent is created."""
    return subprocess.run(
        command(program, backend, before),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise RuntimeError('end')", 1)]
)
def test_queued_records_are_delivered_at_exit(backend: Backend, ending: str, code: int) -> None:
    program = f"""
    for number in range(250):
        agent.send_event(event(str(number)))
    {ending}
    """
    ended = run(program, backend)
    assert ended.returncode == code
    assert [event["event_type"] for event in backend.events] == [str(n) for n in range(250)]


def test_records_of_a_closed_loop_are_delivered_at_exit(backend: Backend) -> None:
    program = """
    import asyncio

    async def main():
        await agent.start()
        await agent.send_event(event("x"))

    asyncio.run(main())
    """
    ended = run(program, backend)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(backend.events) == 1


def test_a_silent_backend_does_not_keep_a_process_from_ending(backend: Backend) -> None:
    backend.hold.clear()
    ended = run("agent.send_event(event('x'))", backend)
    assert ended.returncode == 0
    assert "1 record(s) could be delivered: lost" in ended.stderr


@pytest.mark.parametrize(
    "call",
    [
        "asyncio.create_task(agent.get_dynamic_rules())",
        "asyncio.create_task(agent.flush_buffer())",
        "asyncio.wait_for(agent.flush_buffer(), 0.01)",
        "asyncio.create_task(HTTPTransport(agent.config).send_events([event('y')]))",
        "asyncio.create_task(HTTPTransport(agent.config).fetch_dynamic_rules())",
        "setattr(agent, 'transport', HTTPTransport(agent.config))",
        "setattr(agent, 'buffer', EventBuffer(agent.config))",
    ],
)
def test_a_call_that_waits_for_a_silent_backend_does_not_keep_a_process_from_ending(
    backend: Backend, call: str
) -> None:
    backend.hold.clear()
    program = f"""
    import asyncio, inspect
    from guard_agent import EventBuffer, HTTPTransport

    async def main():
        outcome = {call}
        await agent.send_event(event("x"))
        if inspect.iscoroutine(outcome):
            try:
                await outcome
            except asyncio.TimeoutError:
                pass
        # Whatever it began is under way.
        await asyncio.sleep(0.1)

    asyncio.run(main())
    print("over")
    """
    ended = run(program, backend)
    assert (ended.returncode, ended.stdout) == (0, "over\n"), ended.stderr
    assert "Traceback" not in ended.stderr


def test_waiting_calls_use_no_threads_of_the_program(backend: Backend) -> None:
    backend.hold.clear()
    program = """
    import asyncio

    async def main():
        await agent.send_event(event("x"))
        waiting = [agent.flush_buffer() for _ in range(100)]
        print(await asyncio.to_thread(lambda: "the program's"), await agent.health_check())
        await agent.stop()

    asyncio.run(main())
    """
    ended = run(program, backend)
    assert (ended.returncode, ended.stdout) == (0, "the program's True\n"), ended.stderr


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("agent.stop()", 0), ("sys.exit(3)", 3)])
def test_a_thread_that_waits_for_room_does_not_keep_a_process_from_ending(
    backend: Backend, ending: str, code: int
) -> None:
    program = f"""
    import threading
    from guard_agent import BufferFullError, SyncGuardAgentHandler

    agent = SyncGuardAgentHandler(
        agent.config.model_copy(update={{"buffer_overflow_policy": "block", "max_buffered": 1}})
    )
    agent.send_event(event("taken"))

    def send():
        for _ in range(100):
            try:
                agent.send_event(event("refused"))
            except BufferFullError:
                print("refused")

    threading.Thread(target=send).start()
    {ending}
    """
    backend.hold.clear()
    ended = run(program, backend)
    assert (ended.returncode, ended.stdout) == (code, "refused\n" * 100)


def test_daemon_threads_that_wait_for_room_end_with_the_process(backend: Backend) -> None:
    program = """
    import itertools, threading
    from guard_agent import SyncGuardAgentHandler

    agent = SyncGuardAgentHandler(
        agent.config.model_copy(update={"buffer_overflow_policy": "block", "max_buffered": 1})
    )
    agent.send_event(event("taken"))

    def send():
        for _ in itertools.count():
            agent.send_event(event("waits"))

    for _ in range(4):
        threading.Thread(target=send, daemon=True).start()
    """
    backend.hold.clear()
    ended = run(program, backend)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_a_thread_outlives_the_main_thread_and_still_waits_for_room(backend: Backend) -> None:
    program = """
    import threading
    from guard_agent import SyncGuardAgentHandler, buffer

    # A machine may stand still for longer than that.
    buffer.LAST_ROOM_SECONDS = 3600.0
    agent = SyncGuardAgentHandler(agent.config.model_copy(
        update={"buffer_overflow_policy": "block", "max_buffered": 10, "buffer_size": 10}
    ))

    def send():
        threading.main_thread().join()
        for number in range(200):
            agent.send_event(event(str(number)))

    threading.Thread(target=send).start()
    """
    ended = run(program, backend)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [event["event_type"] for event in backend.events] == [str(n) for n in range(200)]


def test_a_daemon_thread_may_send_until_the_very_end(backend: Backend) -> None:
    program = """
    import itertools, threading

    started = threading.Event()

    def send():
        for number in itertools.count():
            agent.send_event(event(str(number)))
            agent.send_event({"invalid": number})
            started.set()

    for _ in range(4):
        threading.Thread(target=send, daemon=True).start()
    started.wait()
    """
    ended = run(program, backend)
    assert ended.returncode == 0
    assert "Fatal" not in ended.stderr


TRANSPORT = """
    import asyncio

    class Transport:
        async def send_events(self, events):
            print(*(event.event_type for event in events))
            await asyncio.sleep(WAIT)
            return True

        async def send_metrics(self, metrics):
            return True

        async def fetch_dynamic_rules(self):
            return None

        async def send_status(self, status):
            return True

    agent.transport = Transport()
    agent.send_event(event("x"))
"""


def test_a_program_transport_delivers_at_exit(backend: Backend) -> None:
    ended = run(TRANSPORT.replace("WAIT", "0"), backend)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "x\n", "")
    assert backend.received == []


def test_a_silent_transport_does_not_keep_a_process_from_ending(backend: Backend) -> None:
    ended = run(TRANSPORT.replace("WAIT", "3600"), backend)
    assert (ended.returncode, ended.stdout) == (0, "x\n")
    assert "1 record(s) could be delivered: lost" in ended.stderr


BUFFER = """
    import os, threading

    def say(words):
        # At once, as one: a forked child writes to the same pipe.
        os.write(1, words.encode() + b"\\n")

    class Buffer:
        def __init__(self):
            self.events = []

        async def add_event(self, event):
            self.events.append(event)

        async def flush_events_with_keys(self):
            events, self.events = self.events, []
            return events, [""] * len(events)

        async def flush_metrics_with_keys(self):
            return [], []

        async def confirm_event_redis_keys(self, keys):
            say(f"confirmed {len(keys)}")

        async def requeue_events_in_memory(self, events, keys):
            say(f"given back {len(events)}")
            return []

    for name in (
        "add_metric", "flush_events", "flush_metrics", "confirm_metric_redis_keys",
        "requeue_metrics_in_memory", "get_buffer_size", "clear_buffer",
    ):
        setattr(Buffer, name, lambda *_: None)

    agent.buffer = Buffer()
"""


def test_a_program_buffer_is_flushed_at_exit(backend: Backend) -> None:
    ended = run(BUFFER + "\n    agent.send_event(event('x'))", backend)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "confirmed 1\n", "")
    assert [event["event_type"] for event in backend.events] == ["x"]


def test_a_buffer_and_a_silent_backend_do_not_keep_a_process_from_ending(backend: Backend) -> None:
    backend.hold.clear()
    ended = run(BUFFER + "\n    agent.send_event(event('x'))", backend)
    assert ended.returncode == 0
    assert "confirmed" not in ended.stdout


def test_records_that_a_silent_buffer_never_accepted_are_reported_at_exit(backend: Backend) -> None:
    program = """
    import asyncio

    async def never(self, event):
        await asyncio.sleep(3600)

    Buffer.add_event = never
    agent.buffer = Buffer()
    agent.send_event(event("x"))
    agent.send_event(event("y"))
    """
    ended = run(BUFFER + program, backend)
    assert (ended.returncode, ended.stdout, backend.events) == (0, "", [])
    assert "own buffer did not take a record (its time was over): lost" in ended.stderr


def test_a_child_that_exits_does_not_close_the_parents_connections(backend: Backend) -> None:
    program = """
    import asyncio, os
    from guard_agent import HTTPTransport

    transport = HTTPTransport(agent.config)
    print(asyncio.run(transport.send_events([event("before")])), flush=True)
    if (child := os.fork()) == 0:
        sys.exit()
    os.waitpid(child, 0)
    print(asyncio.run(transport.send_events([event("after")])), flush=True)
    """
    ended = run(program, backend)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\nTrue\n", "")


CLOSING = """
    import os

    # As a daemon does, which opens files of its own then: they get the same numbers.
    os.closerange(3, 4096)
    own = [os.pipe() for _ in range(20)]
    for number in range(3):
        agent.send_event(event(f"after {number}"))
    agent.flush_buffer()
    agent.stop()
    for reader, writer in own:
        os.set_blocking(reader, False)
        try:
            print("not its own:", os.read(reader, 1))
        except BlockingIOError:
            os.close(reader)
            os.close(writer)
"""
AFTER = [f"after {number}" for number in range(3)]


def test_a_daemon_that_closes_all_descriptors_delivers_and_its_files_are_untouched(
    backend: Backend,
) -> None:
    program = """
    from guard_agent import SyncGuardAgentHandler

    agent = SyncGuardAgentHandler(agent.config)
    agent.send_event(event("before"))
    agent.flush_buffer()
    """
    ended = run(program + CLOSING, backend)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert [event["event_type"] for event in backend.events] == ["before", *AFTER]
    assert "the program closed the agent's file descriptors" in ended.stderr


def test_a_daemon_that_closes_all_descriptors_keeps_its_transport(backend: Backend) -> None:
    program = """
    from guard_agent import SyncGuardAgentHandler

    agent = SyncGuardAgentHandler(agent.config)
    agent.flush_buffer()
    """
    ended = run(TRANSPORT.replace("WAIT", "0") + program + CLOSING, backend)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["x", *" ".join(AFTER).split()], ended.stderr


def test_a_daemon_that_closes_all_descriptors_keeps_its_buffer(backend: Backend) -> None:
    program = """
    from guard_agent import SyncGuardAgentHandler

    agent = SyncGuardAgentHandler(agent.config)
    agent.send_event(event("before"))
    agent.flush_buffer()
    """
    ended = run(BUFFER + program + CLOSING, backend)
    assert (ended.returncode, ended.stdout) == (0, "confirmed 1\nconfirmed 3\n"), ended.stderr
    assert [event["event_type"] for event in backend.events] == ["before", *AFTER]


# A thread that waits for the interpreter while C forks leaves the interpreter's lock unusable in
# the child. The pause lets all threads come to rest; hosts that fork in C do so before they serve.
UNSEEN = """
    import ctypes, time

    time.sleep(0.2)
    # Of C, which tells Python nothing of it.
    child = ctypes.PyDLL(None).fork()
    agent.send_event(event("parent" if child else "child"))
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_child_forked_by_c_has_its_own_buffer_loop(backend: Backend) -> None:
    ended = run(BUFFER + UNSEEN, backend)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "confirmed 1\n" * 2, "")
    assert sorted(event["event_type"] for event in backend.events) == ["child", "parent"]


def test_a_child_forked_by_c_has_its_own_transport_loop(backend: Backend) -> None:
    program = TRANSPORT.replace("WAIT", "0") + "\n    import os\n    agent.flush_buffer()\n"
    # Written at once, because the child leaves by os._exit.
    program = program.replace("events))", "events), flush=True)")
    ended = run(program + UNSEEN, backend)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.split()) == ["child", "parent", "x"]


def test_a_child_forked_by_c_receives_rules(backend: Backend) -> None:
    backend.rules = {"rule_id": "r", "version": 1}
    program = """
    import ctypes, os, threading, time

    heard = threading.Event()
    agent.on_rules_updated(lambda rules: heard.set())
    heard.wait()
    heard.clear()
    time.sleep(0.2)
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        agent.send_event(event("child"))
        os._exit(0 if heard.wait(60) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    ended = run(program, backend)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")


def test_a_forked_child_has_its_own_buffer_loop(backend: Backend) -> None:
    program = """
    child = os.fork()
    agent.send_event(event("parent" if child else "child"))
    agent.flush_buffer()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    """
    ended = run(BUFFER + program, backend)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "confirmed 1\n" * 2, "")
    assert sorted(event["event_type"] for event in backend.events) == ["child", "parent"]


def metric() -> dict[str, object]:
    return {"timestamp": get_current_timestamp(), "metric_type": "block_rate", "value": 1}


def test_parent_and_forked_child_each_send_their_own_records_once(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_metric(metric())
    child = os.fork()
    for _ in range(10):
        agent.send_metric(metric())
    if child == 0:
        agent.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    agent.flush_buffer()
    assert len(backend.metrics) == 21
    assert len({metric["idempotency_key"] for metric in backend.metrics}) == 21


LATE = """
    import os, threading
    from guard_agent import SyncGuardAgentHandler

    sync = SyncGuardAgentHandler(agent.config)
    sync.start()

    def send():
        for number in range(300):
            sync.send_event(event(str(number)))
            begun.set()

    begun = threading.Event()
    sender = threading.Thread(target=send)
    sender.start()
    begun.wait()
    sync.stop()
    sender.join()
"""
PROCESSES = 40
AT_ONCE = 4


def test_no_record_is_lost_if_a_thread_sends_during_stop(backend: Backend) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        exits = list(pool.map(lambda _: run(LATE, backend), range(PROCESSES)))
    assert [(ended.returncode, ended.stderr) for ended in exits] == [(0, "")] * PROCESSES
    counts = Counter(event["event_type"] for event in backend.events)
    assert counts == {str(number): PROCESSES for number in range(300)}


def test_a_record_that_a_task_sends_while_stop_delivers_is_delivered(backend: Backend) -> None:
    backend.hold.clear()
    program = """
    import asyncio

    async def main():
        await agent.send_event(event("early"))
        stopping = asyncio.ensure_future(agent.stop())
        # The backend has the first batch by then.
        await asyncio.to_thread(sys.stdin.readline)
        await agent.send_event(event("late"))
        print("sent", flush=True)
        await stopping

    asyncio.run(main())
    """
    with subprocess.Popen(
        command(program, backend),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert backend.asked.wait(DEADLINE_SECONDS)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "sent\n"
        backend.hold.set()
    assert process.returncode == 0
    assert [event["event_type"] for event in backend.events] == ["early", "late"]


def test_records_sent_by_an_atexit_function_are_delivered(backend: Backend) -> None:
    # It runs after all functions that are registered later.
    before = """
    import atexit
    atexit.register(lambda: agent.send_event(event("last")))
    """
    ended = run("", backend, before)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [event["event_type"] for event in backend.events] == ["last"]


def test_python_code_run_by_the_agents_imports_may_send(backend: Backend) -> None:
    """A destructor may do the same when garbage is collected during the import."""
    before = """
    import builtins, collections, datetime, enum

    class Sends:
        is_busy = False

        def __del__(self):
            # The same: what is being made for the one is needed for the other.
            Sends.is_busy = True
            agent.send_event(record)
            Sends.is_busy = False

    def import_and_send(*args, real=builtins.__import__, **kwargs):
        if record is not None and not Sends.is_busy:
            Sends()
        return real(*args, **kwargs)

    record = None
    builtins.__import__ = import_and_send
    """
    program = """
    class Color(enum.Enum):
        RED = 1

    values = [Color.RED, datetime.timedelta(1), datetime.date.today(), collections.deque([1])]
    fields = {"timestamp": get_current_timestamp(), "event_type": "x"}
    mapping = fields | {"metadata": {"values": values}}
    for record in event("x"), mapping, collections.UserDict(fields):
        agent.send_event(record)
    record = None
    """
    ended = run(program, backend, before)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(backend.events) > 3
