"""How long guard-server's retention holds up those who write, on a real clock."""

import http.client
import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from harness.environment import Environment, say
from harness.ingest import CONNECTIONS, SEED, WINDOW, send
from harness.measurements import measurement
from harness.rules import ADMIN_TOKEN, API_KEY, Host, Server, server
from harness.telemetry import DAYS, Traffic, month

# The design's bound for a step of retention.
BOUND_SECONDS = 0.05
# The pause between two events that are posted while records are removed.
PAUSE_SECONDS = 0.005
# Retention runs once a minute.
LIMIT_SECONDS = 600
EXPIRED = 'guard_server_expired_records_total{kind="event"}'
COMMITS = "guard_server_commit_duration_seconds_count"
SHORT = f'guard_server_commit_duration_seconds_bucket{{le="{BOUND_SECONDS}"}}'


@dataclass(frozen=True)
class Cost:
    """The commits while records were removed, and the times of posts before and during that."""

    removed: int
    commits: int
    over: int
    quiet: Sequence[float]
    meanwhile: Sequence[float]


def measure(environment: Environment, records: int) -> Cost:
    """Stores events of 30 days, and keeps one day of them. Posts single events all the time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(environment, Path(folder)) as backend,
    ):
        fill(backend, records)
        quiet = [post(backend) for _ in range(1000)]
        say(f"retention: {records:,} events stored")
        kept = records // DAYS
        keep_one_day(backend)
        commits = short = 0.0
        meanwhile: list[float] = []
        limit = time.monotonic() + LIMIT_SECONDS
        # One day in thirty, with some events of the hours at both ends.
        while (gone := measurement(backend, EXPIRED)) < records - 2 * kept:
            if not gone:
                # The first run may still be a minute away: what came before it does not count.
                commits, short = measurement(backend, COMMITS), measurement(backend, SHORT)
                meanwhile = []
            meanwhile += [post(backend) for _ in range(50)]
            if time.monotonic() > limit:
                raise SystemExit(f"guard-server did not remove {records - kept} events")
        commits = measurement(backend, COMMITS) - commits
        over = commits - (measurement(backend, SHORT) - short)
        removed = measurement(backend, EXPIRED)
        return Cost(int(removed), int(commits), int(over), quiet, meanwhile)


def fill(backend: Server, records: int) -> None:
    events = Traffic(SEED).events(*month(records), records)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        while window := list(islice(events, WINDOW)):
            send(backend, pool, window)


def keep_one_day(backend: Server) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
    settings = {"settings": {"retention_days": 1}}
    status = Host.at(backend.address).ask("PATCH", "/api/v1/projects/default", headers, settings)
    if status != 200:
        raise SystemExit(f"guard-server answered {status} to another retention")


def post(backend: Server) -> float:
    """Posts one event, and returns how long the answer took."""
    connection = http.client.HTTPConnection(urlsplit(backend.address).netloc, timeout=60)
    now = datetime.now(timezone.utc).isoformat()
    event = {"idempotency_key": str(uuid.uuid4()), "timestamp": now, "event_type": "x"}
    body = json.dumps({"events": [event]})
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
    begun = time.perf_counter()
    connection.request("POST", "/api/v1/events", body, headers)
    status = connection.getresponse().status
    took = time.perf_counter() - begun
    connection.close()
    if status != 200:
        raise SystemExit(f"guard-server answered {status} to an event")
    time.sleep(PAUSE_SECONDS)
    return took
