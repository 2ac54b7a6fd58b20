"""A process under full load neither crashes nor hangs when it ends, keeps its exit code, and all
records that its agent accepted are stored. This holds for every way to end.
"""

import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from support.guard_server import GuardServer
from support.silence import silent_backend

from processes.accepted import Accepted
from processes.program import Ended, Program, Settings
from processes.served import GUNICORN, UVICORN, Served

Start = Callable[..., Program]
Serve = Callable[..., Served]
CODES = {"return": 0, "loop": 0, "exit": 3, "raise": 1, "handler": 5}
EXITS_OF_EACH = 30
AT_ONCE = 2


def run(start: Start, way: str) -> Ended:
    program = start("exits", way)
    if way == "handler":
        assert program.line() == "ready"
        program.signal(signal.SIGTERM)
    return program.end()


def assert_clean(ended: Ended, way: str) -> None:
    assert ended.code == CODES[way], ended.errors
    for sign in ("Fatal", "panicked", "thread '", "Exception ignored"):
        assert sign not in ended.errors
    assert ("Traceback" in ended.errors) == (way == "raise")


@pytest.mark.parametrize("way", CODES)
def test_accepted_records_are_delivered_at_exit(
    way: str, start: Start, server: GuardServer, accepted: Accepted
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        exits = list(pool.map(lambda _: run(start, way), range(EXITS_OF_EACH)))

    for ended in exits:
        assert_clean(ended, way)
    senders = EXITS_OF_EACH * (2 if way == "loop" else 1)
    assert len(accepted.senders()) == senders
    accepted.assert_stored_once(server)
    print(f"{way}: {EXITS_OF_EACH} exits in {seconds(exits)}")


def stop(serve: Serve, command: list[str], workers: int, turn: int) -> tuple[int, str]:
    """Ends a server under load; returns its exit code and its output.

    In alternate turns, the app stops the agent or leaves that to the agent.
    """
    served = serve(command, "UNDER_LOAD", *(["STOPS_AGENT"] if turn % 2 else []))
    served.wait_for_workers(workers)
    return served.stop(), served.process.output()


def test_accepted_records_are_delivered_when_uvicorn_stops(
    serve: Serve, server: GuardServer, accepted: Accepted
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        stops = list(pool.map(lambda turn: stop(serve, UVICORN, 1, turn), range(10)))

    # uvicorn shuts down, and then the signal ends the process.
    assert [code for code, _ in stops] == [-signal.SIGTERM] * 10
    assert not any("Error" in said or "lost" in said for _, said in stops)
    assert len(accepted.senders()) == 10 * 2
    accepted.assert_stored_once(server)


def test_accepted_records_are_delivered_when_gunicorn_stops(
    serve: Serve, server: GuardServer, accepted: Accepted
) -> None:
    """A master and four workers each: forty exits."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        stops = list(pool.map(lambda turn: stop(serve, GUNICORN, 4, turn), range(8)))

    assert [code for code, _ in stops] == [0] * 8
    assert not any("Error" in said or "lost" in said for _, said in stops)
    assert len(accepted.senders()) == 8 * (1 + 4)
    accepted.assert_stored_once(server)


def test_the_agent_leaves_signals_alone(start: Start) -> None:
    ended = start("signals").end()
    assert (ended.code, ended.output) == (0, "unchanged\n"), ended.errors


@pytest.mark.parametrize("way", ["return", "exit", "raise", "handler"])
def test_a_backend_that_never_answers_does_not_keep_a_process_from_ending(
    way: str, settings: Settings, cleanup: ExitStack, start: Start
) -> None:
    settings.endpoint = cleanup.enter_context(silent_backend())

    ended = run(start, way)

    assert_clean(ended, way)
    assert "the process ended before" in ended.errors
    print(f"{way}, silent backend: {seconds([ended])}")


@pytest.mark.parametrize(
    ("command", "workers", "code", "how"),
    [
        (UVICORN, 1, -signal.SIGTERM, []),
        (UVICORN, 1, -signal.SIGTERM, ["STOPS_AGENT"]),
        (GUNICORN, 4, 0, []),
    ],
    ids=["uvicorn", "uvicorn, stopped by the app", "gunicorn"],
)
def test_a_backend_that_never_answers_does_not_keep_a_server_from_ending(
    command: list[str],
    workers: int,
    code: int,
    how: list[str],
    settings: Settings,
    cleanup: ExitStack,
    serve: Serve,
) -> None:
    settings.endpoint = cleanup.enter_context(silent_backend())
    served = serve(command, *how)
    served.wait_for_workers(workers)
    served.get()
    told = time.monotonic()

    assert served.stop() == code

    said = served.process.output()
    assert "record(s) undelivered; they wait in memory" in said
    assert "Traceback" not in said
    print(f"silent backend: ended {time.monotonic() - told:.2f} s after the signal")


def seconds(exits: list[Ended]) -> str:
    """The median and the maximum time from the program's last line to its end."""
    took = [ended.at - float(ended.output.split()[-1]) for ended in exits]
    return f"{statistics.median(took):.2f} s, at most {max(took):.2f} s"
