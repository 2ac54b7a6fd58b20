"""Kills guard-server between the evaluation of an alert and the delivery of its notification."""

import json
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Lock, Thread
from typing import Any

import requests
from support.guard_server import ADMIN_TOKEN, API_KEY, PROJECT, GuardServer
from support.process import PATIENCE_SECONDS, eventually

from faults.outcome import Outcome

# The server evaluates at once after its start, and sends within about half a second.
KILLED_WITHIN_SECONDS = 0.8
SEED = 16


class Receiver:
    """Takes notifications, and refuses them while it is not open."""

    def __init__(self) -> None:
        self.is_open = False
        self.lock = Lock()
        self.taken: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    status = 200 if receiver.is_open else 503
                    if receiver.is_open:
                        receiver.taken.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def open(self, is_open: bool) -> None:
        with self.lock:
            self.is_open = is_open

    def started(self, alert: str) -> bool:
        with self.lock:
            return any(it["alert_id"] == alert and it["state"] == "started" for it in self.taken)


def post(server: GuardServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    is_batch = path == "/api/v1/events"
    headers = {"X-API-Key": API_KEY} if is_batch else {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = requests.post(server.url + path, json=body, headers=headers, timeout=PATIENCE_SECONDS)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def alarm(server: GuardServer, channel: str, number: int) -> str:
    """Adds an alert, and the events that start it. Returns its id."""
    address = f"203.0.113.{number}"
    condition = {
        "type": "threshold",
        "filter": f"ip_address:{address}",
        "count": 3,
        "window_s": 3600,
    }
    alert = {"label": f"Alert {number}", "condition": condition, "channels": [channel]}
    made = post(server, f"{PROJECT}/alerts", alert)
    event = {"timestamp": time.time(), "event_type": "x", "ip_address": address}
    events = [{**event, "idempotency_key": f"{number}/{n}"} for n in range(3)]
    post(server, "/api/v1/events", {"events": events, "metrics": []})
    return str(made["id"])


def killed_while_telling(server_binary: Path, folder: Path, kills: int) -> Outcome:
    """Each alert must be told once: no notification is lost, none is accepted twice."""
    random, receiver = Random(SEED), Receiver()
    server = GuardServer(server_binary, folder, ("--allow-private-webhooks",)).start()
    try:
        channel = {"label": "Receiver", "type": "webhook", "url": receiver.url}
        channel_id = str(post(server, "/api/v1/channels", channel)["id"])
        alerts = []
        for number in range(kills):
            receiver.open(False)
            alert = alarm(server, channel_id, number)
            alerts.append(alert)
            server.kill()
            server.start()
            time.sleep(random.uniform(0, KILLED_WITHIN_SECONDS))
            server.kill()
            server.start()
            receiver.open(True)
            eventually(lambda alert=alert: receiver.started(alert))  # type: ignore[misc]
    finally:
        server.stop()
        receiver.server.shutdown()
        receiver.server.server_close()
    told = Counter(it["alert_id"] for it in receiver.taken if it["state"] == "started")
    ids = Counter(it["id"] for it in receiver.taken)
    return Outcome(
        "guard-server killed between evaluating an alert and delivering it",
        accepted=len(alerts),
        delivered=len(told),
        duplicated=sum(told.values()) - len(told) + sum(ids.values()) - len(ids),
        lost=sum(alert not in told for alert in alerts),
        window="none",
    )
