"""Clients of a server that comes to harm: they send records as agents do, change things as people
do, and write down what the server acknowledged."""

import http.client
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from support.guard_server import ADMIN_TOKEN, API_KEY, PROJECT

EVENTS = 5
# The server removes what is old. A batch that is sent again has the same time.
NOW = datetime.now(timezone.utc).isoformat()
# The pause after a refusal. An agent waits longer, so this presses harder.
PAUSE_SECONDS = 0.02
AGENT = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
PERSON = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}


class Client:
    """One connection, which is opened again after the server closed it."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._address = urlsplit(url).netloc
        self._headers = headers
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any] | None:
        """The status and the body of the answer; nothing if there was none.

        Every 503 and 429 must say when to come back.
        """
        connection = self._connection or http.client.HTTPConnection(self._address, timeout=60)
        self._connection = connection
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, self._headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if answer.status in (429, 503):
            assert answer.getheader("Retry-After"), (answer.status, content)
        return answer.status, json.loads(content) if content else None


class Crowd:
    """Threads that work until the end of a `with` block. A failure in one fails the block."""

    def __init__(self, *works: Callable[["Crowd"], None]) -> None:
        self.is_over = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures

    def _run(self, work: Callable[["Crowd"], None]) -> None:
        try:
            work(self)
        except BaseException as failure:
            self._failures.append(failure)

    def insists(self, ask: Callable[[], tuple[int, Any] | None]) -> Any:
        """Asks until the server does it. Returns the answer, or nothing when time is over."""
        while not self.is_over.is_set():
            answer = ask()
            if answer and answer[0] not in (429, 503):
                status, body = answer
                assert 200 <= status < 300, (status, body)
                return body
            self.is_over.wait(PAUSE_SECONDS)
        return None


class Writers:
    """Sends batches, each until it is acknowledged.

    Attributes:
        acknowledged: The idempotency keys of the records that the server acknowledged.
        refused: How many answers said that records cannot be taken now.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = itertools.count()
        self.acknowledged: list[str] = []
        self.refused = 0

    def write(self, crowd: Crowd) -> None:
        name = next(self._names)
        with closing(Client(self._url, AGENT)) as client:
            for batch in itertools.count():
                keys = [f"{name}-{batch}-{n}" for n in range(EVENTS)]
                body = {"batch_id": f"{name}-{batch}", "events": [event(key) for key in keys]}

                def send(body: object = body) -> tuple[int, Any] | None:
                    answer = client.ask("POST", "/api/v1/events", body)
                    self.refused += bool(answer and answer[0] == 503)
                    return answer

                if crowd.insists(send) is None:
                    return
                self.acknowledged += keys


def event(key: str) -> dict[str, object]:
    return {
        "idempotency_key": key,
        "timestamp": NOW,
        "event_type": "ip_banned",
        "ip_address": "192.0.2.7",
        "reason": key * 20,
    }


class Changes:
    """Changes rules and keys without end, as an operator does."""

    def __init__(self, url: str) -> None:
        self._url = url

    def change(self, crowd: Crowd) -> None:
        with closing(Client(self._url, PERSON)) as client:
            for n in itertools.count():
                ban = {"ip": f"198.51.{n // 250 % 250}.{n % 250}"}
                ask = partial(client.ask, "POST")
                crowd.insists(partial(ask, f"{PROJECT}/rules/bans", ban))
                made = crowd.insists(partial(ask, f"{PROJECT}/keys", {"label": f"key {n}"}))
                if made is None:
                    return
                # If there is no answer, the key stays, or it is gone already.
                client.ask("DELETE", f"{PROJECT}/keys/{made['id']}")


def as_person(url: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """The status and the body of the answer to a person."""
    with closing(Client(url, PERSON)) as client:
        answer = client.ask(method, path, body)
    assert answer, f"no answer to {method} {path}"
    return answer


def read(url: str, path: str) -> Any:
    status, body = as_person(url, "GET", path)
    assert status == 200, (path, status, body)
    return body


def audited(url: str, action: str) -> list[dict[str, Any]]:
    """The entries of the audit log about an action."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        path = f"/api/v1/audit?project=default&action={action}&from=-1d&limit=1000{cursor}"
        page = read(url, path)
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


def check_audit(url: str) -> None:
    """Every change is in the audit log, and the log has no change that was not made."""
    versions = read(url, f"{PROJECT}/rules/versions?limit=1")["versions"]
    newest = versions[0]["version"] if versions else 0
    told = sorted(entry["after"]["version"] for entry in audited(url, "rules.add"))
    assert told == list(range(1, newest + 1)), (newest, told)
    keys = read(url, f"{PROJECT}/keys")["items"]
    made = Counter(entry["object"] for entry in audited(url, "key.add"))
    revoked = Counter(entry["object"] for entry in audited(url, "key.revoke"))
    live = Counter(key["id"] for key in keys if key["created_by"] != "server")
    assert made - revoked == live, (made, revoked, live)
    assert not revoked - made
