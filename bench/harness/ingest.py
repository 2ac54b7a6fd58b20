"""How fast guard-server stores batches of realistic events, and how that changes as it grows."""

import gzip
import http.client
import json
import random
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from harness.environment import Environment, say
from harness.held import cpu_seconds
from harness.rules import API_KEY, Server, server

BATCH = 600
CONNECTIONS = 4
# Records that are made before they are sent, so that making them takes no time from the server.
WINDOW = 60_000
# Addresses, endpoints, types and so on are skewed, as in an attack.
ADDRESSES = 20_000
ENDPOINTS = 40
TYPES = 15
COUNTRIES = ("US", "CN", "RU", "DE", "FR", "GB", "BR", "IN", "NL", "VN", "ID", "UA", "KR", "JP")
ACTIONS = ("request_blocked", "ip_banned", "logged_only", "rate_limited")
AGENTS = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "sqlmap/1.7.2#stable", "curl/8.4.0")
# The records of a run spread over this time.
DAYS = 30
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


@dataclass(frozen=True)
class Event:
    """One event, as a row and as it is sent."""

    row: tuple[str, int, str, str, str, str]

    @property
    def body(self) -> str:
        return self.row[-1]


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
        events = generated(max(sizes))
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


def generated(count: int) -> Iterator[Event]:
    """Events in the order of their times, which end now. Each is about 524 bytes."""
    rng = random.Random(14)
    begin = datetime.now(timezone.utc) - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / count
    for number in range(count):
        at = begin + number * step
        kind = f"event_type_{skewed(rng, TYPES)}"
        address = skewed(rng, ADDRESSES)
        ip = f"10.{address >> 16}.{address >> 8 & 255}.{address & 255}"
        endpoint = f"/api/v1/resource/{skewed(rng, ENDPOINTS)}"
        key = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        body = json.dumps(
            {
                "idempotency_key": key,
                "timestamp": at.isoformat(),
                "event_type": kind,
                "ip_address": ip,
                "country": COUNTRIES[skewed(rng, len(COUNTRIES))],
                "user_agent": AGENTS[skewed(rng, len(AGENTS))],
                "action_taken": ACTIONS[skewed(rng, len(ACTIONS))],
                "reason": f"blocked by check {skewed(rng, 30)}",
                "endpoint": endpoint,
                "method": "GET",
                "status_code": 403,
                "response_time": round(rng.random(), 6),
                "metadata": {
                    "guard.threat_score": rng.randrange(100),
                    "guard.service.name": "shop",
                    "guard.deployment.environment": "production",
                    "guard.behavior.correlation_key": f"{address:016x}",
                },
            },
            separators=(",", ":"),
        )
        yield Event((key, int(at.timestamp() * 1e6), kind, ip, endpoint, body))


def skewed(rng: random.Random, below: int) -> int:
    return int(below * rng.random() ** 3)


def send(backend: Server, pool: ThreadPoolExecutor, events: Sequence[Event]) -> tuple[float, float]:
    """Sends events in gzipped batches over several connections. Returns wall and CPU seconds."""
    batches = [
        gzip.compress(
            f'{{"events":[{",".join(event.body for event in events[at : at + BATCH])}]}}'.encode(),
            6,
        )
        for at in range(0, len(events), BATCH)
    ]
    cpu, begun = cpu_seconds(backend), time.perf_counter()
    shares = [batches[at::CONNECTIONS] for at in range(CONNECTIONS)]
    for done in [pool.submit(post, backend, share) for share in shares]:
        done.result()
    return time.perf_counter() - begun, cpu_seconds(backend) - cpu


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


def insert(bare: sqlite3.Connection, events: Sequence[Event]) -> float:
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
