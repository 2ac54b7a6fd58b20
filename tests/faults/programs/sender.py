"""Sends events, and writes down the key of each once the agent has accepted it.

    sender.py RECORD PLACE ENDPOINT         a thousand a second, until it is killed
    sender.py RECORD PLACE ENDPOINT COUNT   COUNT events, then waits until its input ends
    sender.py RECORD PLACE ENDPOINT COUNT PER_SECOND

PLACE is where records are saved: a directory, or the URL of a Redis.

Each line of the record: when the event was accepted, in nanoseconds of the machine's monotonic
clock, and its idempotency key. Lines are written at once, so they survive a kill. After a normal
end the ledger is printed.
"""

import itertools
import json
import logging
import os
import sys
import time
from datetime import datetime, timezone

from guard_agent import AgentConfig, SecurityEvent, SyncGuardAgentHandler

PER_SECOND = 1000


class Sender:
    """An agent that saves its records at a place, and the list of records it accepted."""

    def __init__(self, record: str, place: str, endpoint: str) -> None:
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.agent = SyncGuardAgentHandler(
            AgentConfig(
                api_key=os.environ["FAULTS_API_KEY"],
                endpoint=endpoint,
                **{"redis_url" if place.startswith("redis") else "spool_dir": place},
                flush_interval=1,
            )
        )

    def send(self) -> None:
        event = SecurityEvent(timestamp=datetime.now(timezone.utc), event_type="ip_banned")
        # Shows in the store whether a record was sent again under another key.
        event.metadata["own_key"] = key = str(event.idempotency_key)
        self.agent.send_event(event)
        os.write(self.record, f"{time.monotonic_ns()} {key}\n".encode())

    def send_on(self, count: int | None = None, per_second: int = PER_SECOND) -> None:
        """Keeps the rate, and catches up after delays."""
        start = time.monotonic()
        for number in range(count) if count is not None else itertools.count():
            time.sleep(max(0, start + number / per_second - time.monotonic()))
            self.send()


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    sender = Sender(*sys.argv[1:4])
    sender.agent.start()
    sender.send_on(*map(int, sys.argv[4:]))
    sys.stdin.read()
    sender.agent.stop()
    print(json.dumps(sender.agent.get_stats()["ledger"]))


if __name__ == "__main__":
    main()
