"""Faults of a Redis in which four processes under load save their records by `redis_url`.

The backend is down until the fault is over, so every record is saved in Redis first.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from support.process import eventually
from support.redis_server import DURABLE, RedisServer

from faults.faults import trial
from faults.outcome import Outcome
from faults.senders import Sender, has_sent

PROCESSES = 4
PER_SECOND = 250
EVENTS = 2500
# How long Redis is down after each kill.
DOWN_SECONDS = 1
NO_MEMORY_SECONDS = 2

Trouble = Callable[[RedisServer], None]


def killed_redis(binary: Path, folder: Path) -> Outcome:
    """SIGKILL to redis-server, twice; it restarts with the data on its disk."""

    def trouble(redis: RedisServer) -> None:
        for _ in range(2):
            wait_for_more(redis)
            redis.kill()
            time.sleep(DOWN_SECONDS)
            redis.start()
            eventually(redis.has_loaded)

    return suffer(binary, folder, "redis-server killed and restarted twice", trouble)


def frozen_redis(binary: Path, folder: Path, seconds: float) -> Outcome:
    """SIGSTOP: connections stay open but get no response."""

    def trouble(redis: RedisServer) -> None:
        redis.freeze()
        time.sleep(seconds)
        redis.thaw()

    return suffer(binary, folder, f"redis-server frozen for {seconds:g} s", trouble)


def full_redis(binary: Path, folder: Path) -> Outcome:
    """Redis rejects writes for a while because it is out of memory."""

    def trouble(redis: RedisServer) -> None:
        with redis.client() as client:
            client.config_set("maxmemory", 1)
            time.sleep(NO_MEMORY_SECONDS)
            client.config_set("maxmemory", 0)

    return suffer(binary, folder, f"Redis out of memory for {NO_MEMORY_SECONDS} s", trouble)


def wait_for_more(redis: RedisServer) -> int:
    """Waits until Redis holds another second's worth of records, or all remaining ones.

    Returns the number of saved records.
    """
    enough = min(redis.waiting() + PROCESSES * PER_SECOND, PROCESSES * EVENTS)
    eventually(lambda: redis.waiting() >= enough)
    return redis.waiting()


def suffer(binary: Path, folder: Path, fault: str, trouble: Trouble) -> Outcome:
    """Lets the processes send during the fault, and then delivers everything."""
    redis = RedisServer(folder, *DURABLE)
    records = [folder / f"sender-{number}" for number in range(PROCESSES)]
    with ExitStack() as cleanup, trial(binary, folder, 0) as run:
        run.server.stop()
        cleanup.callback(redis.stop)
        redis.start()

        def start(record: Path, *rate: int) -> Sender:
            return cleanup.enter_context(closing(Sender(record, redis.url, run.server.url, *rate)))

        senders = [start(record, EVENTS, PER_SECOND) for record in records]
        eventually(lambda: all(map(has_sent, records)))
        wait_for_more(redis)
        trouble(redis)
        saved = wait_for_more(redis)
        run.server.start()
        for sender in senders:
            sender.finish()
        # The next process delivers the records left over when these ended.
        last = start(folder / "last", 0)
        eventually(lambda: redis.waiting() == 0)
        last.finish()
        for record in records:
            run.accepted.add(record)
        fault = f"{fault}: {PROCESSES} processes, {PER_SECOND} events/s each"
        outcome = run.accepted.compare(fault, "none", run.server)
    outcome.notes.append(f"{saved} records were in Redis before any was delivered")
    return outcome
