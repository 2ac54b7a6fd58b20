"""Many live readers of one guard-server, each with its own filter, while events come in."""

import gzip
import re
import selectors
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import Process
from pathlib import Path

from harness.environment import Environment, say
from harness.held import connect, cpu_seconds, memory, raise_file_limit
from harness.ingest import SEED, post
from harness.rules import ADMIN_TOKEN, Server, server
from harness.telemetry import Record, Traffic, month

# Events are sent in batches at this interval.
INTERVAL_SECONDS = 0.05
# How long nothing may arrive before the run counts as failed.
LIMIT_SECONDS = 30
SENT = re.compile(rb'"sent":([0-9.]+)')
MISSED = re.compile(rb'"missed":(\d+)')


@dataclass
class Reader:
    """A client and what it has received."""

    connection: socket.socket
    delays: list[float] = field(default_factory=list[float])
    missed: int = 0
    rest: bytes = b""

    def read(self) -> int:
        """Takes what has arrived. Returns how many events that was, with those that are missing."""
        text = self.rest + self.connection.recv(1 << 18)
        now = time.perf_counter()
        if text == self.rest:
            raise SystemExit("guard-server ended a live stream")
        frames, _, self.rest = text.rpartition(b"\n\n")
        delays = [now - float(sent) for sent in SENT.findall(frames)]
        missed = sum(int(number) for number in MISSED.findall(frames))
        self.delays += delays
        self.missed += missed
        return len(delays) + missed


@dataclass(frozen=True)
class Cost:
    """What live readers cost the server, and how late their events are."""

    events: int
    missed: int
    delays: Sequence[float]
    cores: float
    peak_mib: float


def measure(environment: Environment, readers: int, per_second: int, seconds: int) -> Cost:
    """Lets readers follow one endpoint each, and sends events at this rate."""
    raise_file_limit(readers)
    count, traffic = per_second * seconds, Traffic(SEED)
    events = list(traffic.events(*month(count), count))
    by_endpoint = Counter(event.row[4] for event in events)
    paths = [path for path, _ in traffic.endpoints]
    endpoints = [paths[number % len(paths)] for number in range(readers)]
    expected = sum(by_endpoint[endpoint] for endpoint in endpoints)
    limits = {
        "GUARD_SERVER_MAX_TAILS": str(readers),
        "GUARD_SERVER_MAX_TAILS_PER_CREDENTIAL": str(readers),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder), limits) as backend,
        ExitStack() as connections,
    ):
        clients = [
            Reader(connections.enter_context(follow(backend, endpoint))) for endpoint in endpoints
        ]
        say(f"tail: {readers} readers follow")
        # Another process, so that making batches takes no time from the readers.
        sender = Process(target=send, args=(backend, events, per_second))
        cpu, begun = cpu_seconds(backend), time.perf_counter()
        sender.start()
        receive(clients, expected)
        took, used = time.perf_counter() - begun, cpu_seconds(backend) - cpu
        sender.join()
        delays = [delay for client in clients for delay in client.delays]
        missed = sum(client.missed for client in clients)
        return Cost(len(delays), missed, delays, used / took, memory(backend, "VmHWM"))


def follow(backend: Server, endpoint: str) -> socket.socket:
    """A reader whose stream has begun."""
    connection = connect(backend)
    path = f"/api/v1/projects/default/events/tail?filter=endpoint:{endpoint}"
    connection.sendall(
        f"GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode()
    )
    head = b""
    while b": heartbeat\n\n" not in head:
        part = connection.recv(4096)
        if not part:
            raise SystemExit(f"guard-server refused a live reader: {head!r}")
        head += part
    return connection


def send(backend: Server, events: Sequence[Record], per_second: int) -> None:
    """Sends events at a steady rate. Each says when it was sent."""
    size = round(per_second * INTERVAL_SECONDS)
    begun = time.perf_counter()
    for number, at in enumerate(range(0, len(events), size)):
        time.sleep(max(0.0, begun + number * INTERVAL_SECONDS - time.perf_counter()))
        sent = f'{{"sent":{time.perf_counter():.6f},'
        bodies = ",".join(sent + event.body[1:] for event in events[at : at + size])
        post(backend, [gzip.compress(f'{{"events":[{bodies}]}}'.encode(), 1)])


def receive(clients: Sequence[Reader], expected: int) -> None:
    """Reads until all clients have what was sent for them, or know what they missed."""
    left = expected
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.connection, selectors.EVENT_READ, client)
        while left > 0:
            ready = selector.select(LIMIT_SECONDS)
            if not ready:
                raise SystemExit(f"{left} of {expected} events did not reach their readers")
            for key, _ in ready:
                client: Reader = key.data
                left -= client.read()
