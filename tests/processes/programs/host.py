"""The common part of these programs: an agent, and senders that count."""

import itertools
import os
import threading
from datetime import datetime, timezone
from uuid import uuid4

from guard_agent import AgentConfig, SyncGuardAgentHandler

# With "block" no record is dropped, however fast the senders are.
CONFIG = AgentConfig(
    api_key=os.environ["HOST_API_KEY"],
    endpoint=os.environ["HOST_ENDPOINT"],
    flush_interval=int(os.environ["HOST_FLUSH_INTERVAL"]),
    # Small, so that a slow machine delivers all that is queued at exit within two seconds.
    buffer_size=500,
    # A long timeout makes a process that waits for an answer at exit visibly hang.
    timeout=3600,
    buffer_overflow_policy="block",
    redis_url=os.environ.get("HOST_REDIS_URL"),
)
# The server removes single metrics that are older than a day, and looks once a minute.
NOW = datetime.now(timezone.utc).isoformat()
# With this many records on their way a process counts as under load.
LOADED = 300

agent = SyncGuardAgentHandler(CONFIG)


class Sender:
    """Sends numbered metrics; the agent gives them their idempotency keys."""

    def __init__(self) -> None:
        self.name = f"{os.getpid()}-{uuid4().hex}"
        self.accepted = 0
        self.loaded = threading.Event()
        self.stopped = False

    def metric(self) -> dict[str, object]:
        return {
            "timestamp": NOW,
            "metric_type": "request_count",
            "value": self.accepted,
            "tags": {"id": f"{self.name}:{self.accepted}"},
        }

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            agent.send_metric(self.metric())
            self.accepted += 1

    def send_on(self) -> None:
        """Sends as fast as it can until stopped, or until the process ends."""
        for _ in itertools.takewhile(lambda _: not self.stopped, itertools.count()):
            self.send()
            if self.accepted == LOADED:
                self.loaded.set()

    def start(self) -> threading.Thread:
        """Starts sending in a daemon thread; returns when the process is under load."""
        thread = threading.Thread(target=self.send_on, daemon=True)
        thread.start()
        self.loaded.wait()
        return thread

    def tell(self) -> None:
        """Writes the number of accepted records atomically."""
        line = f"{self.name} {self.accepted}\n".encode()
        file = os.open(os.environ["HOST_ACCEPTED"], os.O_WRONLY | os.O_APPEND)
        os.write(file, line)
        os.close(file)


def send_and_tell(count: int = 3) -> None:
    """The work of a child."""
    sender = Sender()
    sender.send(count)
    sender.tell()
