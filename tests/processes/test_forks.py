"""The agent keeps working in parent and child after a fork: no record is lost or sent twice, and
no call waits for a lock that a thread of the parent held.
"""

import time
from collections.abc import Callable

import pytest
from support.guard_server import GuardServer
from support.process import eventually
from support.redis_server import RedisServer

from processes.accepted import Accepted
from processes.program import Program, Settings
from processes.served import GUNICORN, Served

Start = Callable[..., Program]


@pytest.mark.parametrize(
    ("way", "children"),
    [
        ("plain", 1000),
        ("early", 4),
        ("nested", 5),
        ("leaving", 20),
        ("abrupt", 20),
        ("unseen", 20),
        ("replaced", 4),
        *[(f"process-{method}", 4) for method in ("fork", "forkserver", "spawn")],
        *[(f"executor-{method}", 40) for method in ("fork", "forkserver", "spawn")],
        *[(f"pool-{method}", 40) for method in ("fork", "forkserver", "spawn")],
    ],
)
def test_records_of_parent_and_children_arrive_once(
    way: str, children: int, start: Start, server: GuardServer, accepted: Accepted
) -> None:
    ended = start("forks", way, str(children)).end()

    assert (ended.code, ended.errors) == (0, "")
    # The parent sends too, and in a nest so does the child that forks again.
    assert len(accepted.senders()) == children + (2 if way == "nested" else 1)
    accepted.assert_stored_once(server)


def test_a_childs_first_records_arrive_within_two_flush_intervals(
    settings: Settings, start: Start, server: GuardServer, accepted: Accepted
) -> None:
    settings.flush_interval = 1
    program = start("forks", "living", "4")
    assert program.line() == "forked"

    def parents() -> int:
        ids = [metric["tags"]["id"] for metric in server.records("metrics")]
        return sum(each.startswith(f"{program.child.pid}-") for each in ids)

    eventually(lambda: len(accepted.senders()) == 4 and parents() == 1)
    # If the parent sends each record after the previous one is stored, each takes one interval.
    for sent in (2, 3):
        program.ask()
        eventually(lambda sent=sent: parents() == sent)
    assert all_stored(accepted, server)

    assert program.end().code == 0
    accepted.assert_stored_once(server)


def test_every_process_saves_its_records_in_redis_over_its_own_connection(
    settings: Settings,
    start: Start,
    start_redis: Callable[..., RedisServer],
    server: GuardServer,
    accepted: Accepted,
) -> None:
    redis = start_redis()
    settings.redis_url = redis.url
    settings.flush_interval = 1
    server.stop()
    program = start("forks", "living", "4")
    assert program.line() == "forked"
    # One metric from the parent, three from each child.
    assert eventually(lambda: sorted(redis.pending().values()) == [1, 3, 3, 3, 3])
    with redis.client() as client:
        others = {each["id"] for each in client.client_list() if each["cmd"] != "client|list"}
    assert len(others) == 5

    server.start()
    assert eventually(lambda: len(accepted.senders()) == 4 and all_stored(accepted, server))
    ended = program.end()
    assert (ended.code, "Redis" in ended.errors) == (0, False), ended.errors
    accepted.assert_stored_once(server)
    assert redis.waiting() == 0


def test_every_worker_of_a_preloaded_gunicorn_reports(
    settings: Settings,
    serve: Callable[..., Served],
    server: GuardServer,
    accepted: Accepted,
) -> None:
    settings.flush_interval = 1
    gunicorn = serve(GUNICORN)
    gunicorn.wait_for_workers(4)
    answered: set[int] = set()
    eventually(lambda: answered.add(gunicorn.get()) or len(answered) == 4)
    asked = time.monotonic()

    # The counts of the master and the workers so far: they are still running.
    eventually(lambda: all_stored(accepted, server))
    print(f"4 workers, flush interval 1 s: stored after {time.monotonic() - asked:.2f} s")

    assert gunicorn.stop() == 0
    pids = {int(name.partition("-")[0]) for name in accepted.senders()}
    assert pids > answered, "the master or a worker told nothing"
    assert len(pids) == 5
    accepted.assert_stored_once(server)


def all_stored(accepted: Accepted, server: GuardServer) -> bool:
    stored = {metric["tags"]["id"] for metric in server.records("metrics")}
    return accepted.ids() <= stored
