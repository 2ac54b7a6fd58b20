"""Clients that should be answered as quickly as ever, beside many that misbehave."""

import contextlib
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from support.guard_server import GuardServer

from faults.outcome import Outcome
from faults.server_faults import compare
from faults.writers import AGENT, Client, Crowd, Writers, as_person, event

HEALTHY = 200
NOISY = 8
QUOTA = 60
DRIP_SECONDS = 0.5


def healthy(writers: Writers, url: str, name: str) -> float:
    """Sends batches one after another. Each must be taken. Returns the 99th percentile, in ms."""
    took = []
    with closing(Client(url, AGENT)) as client:
        for n in range(HEALTHY):
            key = f"{name} {n}"
            begun = time.monotonic()
            answer = client.ask("POST", "/api/v1/events", {"events": [event(key)]})
            took.append((time.monotonic() - begun) * 1e3)
            assert answer is not None, f"no answer to {key}"
            assert answer[0] == 200, answer
            writers.acknowledged.append(key)
    return statistics.quantiles(took, n=100)[98]


@contextmanager
def hanging(url: str, connections: int) -> Iterator[Crowd]:
    """Connections that say nothing, and as many that send a head a byte at a time."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    address = urlsplit(url)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection((address.hostname, address.port)))
            for _ in range(connections)
        ]

        def drip(crowd: Crowd) -> None:
            while not crowd.is_over.wait(DRIP_SECONDS):
                for stream in opened[::2]:
                    # The server closes those that are late.
                    with contextlib.suppress(OSError):
                        stream.send(b"G")

        with Crowd(drip) as crowd:
            yield crowd


def hanging_clients(binary: Path, folder: Path, connections: int) -> Outcome:
    """Idle and dripping connections, more than the server has places for."""
    server = GuardServer(binary, folder).start()
    try:
        writers = Writers(server.url)
        quiet = healthy(writers, server.url, "quiet")
        with hanging(server.url, connections):
            beside = healthy(writers, server.url, "beside")
        outcome = compare(f"server: {connections:,} idle or dripping connections", server, writers)
    finally:
        server.stop()
    outcome.notes.append(f"p99 of healthy batches {quiet:.1f} ms, beside them {beside:.1f} ms")
    return outcome


def noisy_neighbour(binary: Path, folder: Path) -> Outcome:
    """A project that sends far more than its quota, beside one that does not."""
    server = GuardServer(binary, folder).start()
    try:
        url = server.url
        for method, path, body in (
            ("POST", "/api/v1/projects", {"name": "noisy"}),
            ("PATCH", "/api/v1/projects/noisy", {"settings": {"quota_per_minute": QUOTA}}),
        ):
            assert as_person(url, method, path, body)[0] in (200, 201)
        made = as_person(url, "POST", "/api/v1/projects/noisy/keys", {"label": "app"})[1]
        key = {**AGENT, "X-API-Key": made["key"]}
        refused = []

        def shout(crowd: Crowd) -> None:
            body = {"events": [event("a")] * QUOTA}
            with closing(Client(url, key)) as client:
                while not crowd.is_over.is_set():
                    answer = client.ask("POST", "/api/v1/events", body)
                    if answer and answer[0] == 429:
                        refused.append(answer)

        writers = Writers(url)
        quiet = healthy(writers, url, "quiet")
        with Crowd(*[shout] * NOISY):
            beside = healthy(writers, url, "beside")
        assert refused
        outcome = compare("server: a project far beyond its quota", server, writers)
    finally:
        server.stop()
    outcome.notes.append(
        f"{len(refused)} batches refused; p99 of the other project {quiet:.1f} ms, "
        f"beside them {beside:.1f} ms"
    )
    return outcome
