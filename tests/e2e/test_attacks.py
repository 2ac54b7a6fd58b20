"""Attacks that fastapi-guard blocks arrive at the server as events with client, path and reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.example_app import ExampleApp
from support.guard_server import GuardServer
from support.process import eventually


@pytest.fixture(scope="module")
def server(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardServer]:
    server = GuardServer(server_binary, tmp_path_factory.mktemp("server"))
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def app(server: GuardServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleApp]:
    app = ExampleApp(tmp_path_factory.mktemp("app"), server.url)
    app.start()
    yield app
    app.stop()


def events_of(server: GuardServer, client: str, event_type: str) -> list[dict[str, Any]]:
    return [
        event
        for event in server.records("events")
        if event["ip_address"] == client and event["event_type"] == event_type
    ]


INJECTIONS = {
    "sql injection": "' UNION SELECT password FROM users--",
    "script": "<script>alert(document.cookie)</script>",
    "path traversal": "../../../../etc/passwd",
    "command injection": "; cat /etc/passwd",
}


@pytest.mark.parametrize(
    ("client", "value"),
    [(f"198.18.1.{number}", value) for number, value in enumerate(INJECTIONS.values(), 1)],
    ids=INJECTIONS.keys(),
)
def test_an_injection_arrives_as_a_penetration_attempt(
    app: ExampleApp, server: GuardServer, client: str, value: str
) -> None:
    assert app.request("/search", client, params={"q": value}) == 400

    [event] = eventually(lambda: events_of(server, client, "penetration_attempt"))
    assert event["endpoint"] == "/search"
    assert event["method"] == "GET"
    assert event["action_taken"] == "request_blocked"
    assert event["reason"].startswith("Penetration attempt detected")


REFUSED: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("/", {"headers": {"User-Agent": "sqlmap/1.8"}}, 403, "user_agent_blocked", "request_blocked"),
    ("/account", {}, 401, "authentication_failed", "blocked"),
    ("/admin", {}, 403, "access_denied", "blocked"),
    ("/orders", {}, 400, "access_denied", "blocked"),
    ("/upload", {"method": "POST", "data": "<a/>"}, 415, "content_filtered", "request_blocked"),
    ("/status", {}, 200, "security_bypass", "all_checks_bypassed"),
]


@pytest.mark.parametrize(
    ("number", "path", "request_parts", "status", "event_type", "action"),
    [(number, *case) for number, case in enumerate(REFUSED, 1)],
    ids=[f"{case[3]} at {case[0]}" for case in REFUSED],
)
def test_requests_blocked_by_a_route_arrive_with_type_and_action(
    app: ExampleApp,
    server: GuardServer,
    number: int,
    path: str,
    request_parts: dict[str, Any],
    status: int,
    event_type: str,
    action: str,
) -> None:
    client = f"198.18.2.{number}"

    assert app.request(path, client, **request_parts) == status

    [event] = eventually(lambda: events_of(server, client, event_type))
    assert event["endpoint"] == path
    assert event["method"] == request_parts.get("method", "GET")
    assert event["action_taken"] == action


def test_too_many_logins_arrive_as_rate_limited(app: ExampleApp, server: GuardServer) -> None:
    client = "198.18.3.1"
    guess = {"user": "ada", "password": "guess"}

    statuses = [app.request("/login", client, "POST", json=guess) for _ in range(4)]

    assert statuses == [401, 401, 401, 429]
    event = eventually(lambda: events_of(server, client, "rate_limited"))[0]
    assert event["endpoint"] == "/login"
    assert event["method"] == "POST"


def test_an_address_that_keeps_attacking_is_banned_and_then_blocked(
    app: ExampleApp, server: GuardServer
) -> None:
    client = "198.18.4.1"
    attack = {"q": INJECTIONS["sql injection"]}

    statuses = [app.request("/search", client, params=attack) for _ in range(6)]

    assert statuses == [400, 400, 400, 400, 403, 403]
    [banned] = eventually(lambda: events_of(server, client, "ip_banned"))
    assert banned["action_taken"] == "banned"
    [blocked] = eventually(lambda: events_of(server, client, "ip_blocked"))
    assert blocked["action_taken"] == "request_blocked"
    assert blocked["endpoint"] == "/search"


def test_every_event_has_its_own_key(app: ExampleApp, server: GuardServer) -> None:
    client = "198.18.5.1"
    for _ in range(3):
        app.request("/account", client)

    events = eventually(
        lambda: len(found := events_of(server, client, "authentication_failed")) == 3 and found
    )
    assert len({event["idempotency_key"] for event in events}) == 3
