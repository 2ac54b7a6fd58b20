"""How fast guard-server stores batches of realistic events, and how that changes as it grows."""

import gzip
import http.client
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from harness.environment import Environment, say
from harness.held import cpu_seconds
from harness.rules import API_KEY, Server, server
from harness.telemetry import Record, Traffic, month

BATCH = 600
CONNECTIONS = 4
# Records that are made before they are sent, so that making them takes no time from the server.
WINDOW = 60_000
SEED = 14
# The file that takes the same rows without a server: the pragmas and commits of the server.
BARE = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 4096;
PRAGMA cache_size = -65536;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, key TEXT, timestamp INTEGER, type TEXT, ip TEXT, endpoint TEXT,
    body TEXT
);
"""


@dataclass(frozen=True)
class Stage:
    """The figures of the store while it grew to this many records."""

    records: int
    per_second: float
    cpu_us: float
    bytes_per_record: float
    bare_per_second: float


def measure(environment: Environment, sizes: Sequence[int]) -> list[Stage]:
    """Sends events until the store has each of these sizes. Measures the last tenth before it."""
    stages = []
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder)) as backend,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        bare = sqlite3.connect(Path(folder) / "bare.sqlite", isolation_level=None)
        bare.executescript(BARE)
        events = Traffic(SEED).events(*month(max(sizes)), max(sizes))
        stored = 0
        for size in sizes:
            taken: list[tuple[int, float, float, float]] = []
            while stored < size:
                window = list(islice(events, min(WINDOW, size - stored)))
                stored += len(window)
                taken.append((len(window), *send(backend, pool, window), insert(bare, window)))
            # The windows before only make the store grow.
            last = taken[-max(1, len(taken) // 10) :]
            records = sum(n for n, *_ in last)
            stages.append(
                Stage(
                    size,
                    records / sum(seconds for _, seconds, _, _ in last),
                    1e6 * sum(cpu for _, _, cpu, _ in last) / records,
                    database_bytes(Path(folder)) / size,
                    records / sum(seconds for *_, seconds in last),
                )
            )
            say(f"ingest: {stages[-1]}")
        bare.close()
    return stages


def send(
    backend: Server, pool: ThreadPoolExecutor, events: Sequence[Record]
) -> tuple[float, float]:
    """Sends events in gzipped batches over several connections. Returns wall and CPU seconds."""
    batches = [batch(events[at : at + BATCH]) for at in range(0, len(events), BATCH)]
    cpu, begun = cpu_seconds(backend), time.perf_counter()
    shares = [batches[at::CONNECTIONS] for at in range(CONNECTIONS)]
    for done in [pool.submit(post, backend, share) for share in shares]:
        done.result()
    return time.perf_counter() - begun, cpu_seconds(backend) - cpu


def batch(events: Sequence[Record], metrics: Sequence[Record] = ()) -> bytes:
    kinds = {"events": events, "metrics": metrics}
    lists = (
        f'"{kind}":[{",".join(record.body for record in records)}]'
        for kind, records in kinds.items()
    )
    # An agent compresses at this level, too.
    return gzip.compress(f"{{{','.join(lists)}}}".encode(), 1)


def post(backend: Server, batches: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection(urlsplit(backend.address).netloc, timeout=60)
    headers = {
        "X-API-Key": API_KEY,
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }
    for batch in batches:
        connection.request("POST", "/api/v1/events", batch, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"guard-server answered a batch with {answer.status}: {text!r}")
    connection.close()


def insert(bare: sqlite3.Connection, events: Sequence[Record]) -> float:
    """Inserts the same rows by a prepared statement, in commits of four batches."""
    begun = time.perf_counter()
    size = BATCH * CONNECTIONS
    for at in range(0, len(events), size):
        bare.execute("BEGIN")
        bare.executemany(
            "INSERT INTO events (key, timestamp, type, ip, endpoint, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (event.row for event in events[at : at + size]),
        )
        bare.execute("COMMIT")
    return time.perf_counter() - begun


def database_bytes(folder: Path) -> int:
    """The size of the server's database, without its log."""
    return sum(file.stat().st_size for file in folder.rglob("guard.db"))
