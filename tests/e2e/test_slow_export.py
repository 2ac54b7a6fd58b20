"""A client that takes an export slowly does not let the log of the database grow."""

import base64
import http.client
import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import requests
from support.guard_server import ADMIN_TOKEN, API_KEY, PROJECT, GuardServer
from support.process import PATIENCE_SECONDS

# Far more than the log and the buffers of a connection hold.
EVENTS = 100
BYTES = 200_000
NOW = datetime.now(timezone.utc).isoformat()
# The log is moved into the database at 16 MiB; one commit may come on top.
MOST_BYTES = 32 << 20


def send(server: GuardServer, name: str) -> None:
    """Sends 20 MB of events whose text does not compress well."""
    for n in range(EVENTS):
        event = {
            "idempotency_key": f"{name} {n}",
            "timestamp": NOW,
            "event_type": "ip_banned",
            "reason": base64.b64encode(os.urandom(BYTES * 3 // 4)).decode(),
        }
        answer = requests.post(
            f"{server.url}/api/v1/events",
            json={"events": [event]},
            headers={"X-API-Key": API_KEY},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200, answer.text


def test_the_log_stays_small_while_an_export_is_taken_slowly(
    new_server: Callable[..., GuardServer], tmp_path: Path
) -> None:
    server = new_server("--write-timeout", "600").start()
    send(server, "before")
    log = tmp_path / "data" / "guard.db-wal"
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_SECONDS)
    path = f"{PROJECT}/events/export?format=ndjson&from=2026-01-01T00:00:00Z"
    connection.request("GET", path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    export = connection.getresponse()
    begun = export.read(1000)
    for name in ("a", "b", "c"):
        send(server, name)
        assert log.stat().st_size < MOST_BYTES
    lines = (begun + export.read()).splitlines()
    connection.close()
    keys = {json.loads(line)["event"]["idempotency_key"] for line in lines}
    assert {f"before {n}" for n in range(EVENTS)} <= keys
