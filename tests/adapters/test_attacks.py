"""Each guard is attacked over HTTP, and its reactions arrive at the server."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.guard_server import GuardServer

from adapters.shop import SHOPS, Shop, wrong_words

SQL_INJECTION = "' UNION SELECT password FROM users--"


@dataclass
class Visit:
    """The results of one visit to a shop, from its start until after it has stopped."""

    statuses: dict[str, list[int]]
    stats: dict[str, Any]
    log: str
    events: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    stored: dict[str, int]

    def event(self, client: str, event_type: str) -> dict[str, Any]:
        """The only event of a type about a client."""
        [event] = [
            event
            for event in self.events
            if event["ip_address"] == client and event["event_type"] == event_type
        ]
        return event


def call_on(shop: Shop) -> dict[str, list[int]]:
    """Sends orders, mistakes and attacks; each kind of attack comes from its own address."""
    scanner = {"User-Agent": "sqlmap/1.8"}
    injection = {"q": SQL_INJECTION}
    return {
        "home": [shop.status("/") for _ in range(12)],
        "missing": [shop.status("/items/99") for _ in range(5)],
        "injection": [shop.status("/search", "198.18.1.1", params=injection)],
        "traversal": [shop.status("/search", "198.18.1.2", params={"q": "../../../etc/passwd"})],
        "scanner": [shop.status("/", "198.18.1.3", headers=scanner)],
        "guesses": [shop.status("/login", "198.18.1.4", method="POST") for _ in range(4)],
        "blacklisted": [shop.status("/", "192.0.2.66")],
        "persistent": [shop.status("/search", "198.18.1.5", params=injection) for _ in range(6)],
    }


@pytest.fixture(scope="module", params=SHOPS)
def visit(
    request: pytest.FixtureRequest,
    server_binary: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Visit:
    folder = tmp_path_factory.mktemp("visit")
    server = GuardServer(server_binary, folder)
    shop = Shop(request.param, folder, server.start().url, (), {})
    try:
        shop.start()
        statuses = call_on(shop)
        stats = shop.request("/telemetry").json()
        log = shop.stop()
        events, metrics = server.records("events"), server.records("metrics")
        stored = {kind: sum(server.counts(kind).values()) for kind in ("events", "metrics")}
    finally:
        shop.stop()
        server.stop()
    return Visit(statuses, stats, log, events, metrics, stored)


def test_the_guard_admits_customers_and_blocks_attackers(visit: Visit) -> None:
    assert visit.statuses == {
        "home": [200] * 12,
        "missing": [404] * 5,
        "injection": [400],
        "traversal": [400],
        "scanner": [403],
        "guesses": [401, 401, 401, 429],
        "blacklisted": [403],
        "persistent": [400, 400, 400, 400, 403, 403],
    }


@pytest.mark.parametrize(
    ("client", "event_type", "endpoint"),
    [
        ("198.18.1.1", "penetration_attempt", "/search"),
        ("198.18.1.2", "penetration_attempt", "/search"),
        ("198.18.1.3", "user_agent_blocked", "/"),
        ("198.18.1.4", "rate_limited", "/login"),
        ("192.0.2.66", "ip_blocked", "/"),
        ("198.18.1.5", "ip_blocked", "/search"),
    ],
    ids=["injection", "traversal", "scanner", "guesses", "blacklisted", "banned"],
)
def test_an_attack_arrives_as_an_event(
    visit: Visit, client: str, event_type: str, endpoint: str
) -> None:
    event = visit.event(client, event_type)
    assert event["endpoint"] == endpoint
    assert event["action_taken"] == "request_blocked"


def test_the_ban_of_a_persistent_attacker_is_reported(visit: Visit) -> None:
    assert visit.event("198.18.1.5", "ip_banned")["action_taken"] == "banned"


def test_every_request_that_reached_the_shop_is_measured_exactly_once(visit: Visit) -> None:
    counted = Counter(
        (metric["metric_type"], metric["tags"]["endpoint"], metric["tags"].get("status"))
        for metric in visit.metrics
    )
    assert counted == {
        ("response_time", "/", "200"): 12,
        ("request_count", "/", None): 12,
        ("response_time", "/items/99", "404"): 5,
        ("request_count", "/items/99", None): 5,
        ("error_rate", "/items/99", "404"): 5,
        ("response_time", "/login", "401"): 3,
        ("request_count", "/login", None): 3,
        ("error_rate", "/login", "401"): 3,
        ("response_time", "/telemetry", "200"): 1,
        ("request_count", "/telemetry", None): 1,
    }


def test_everything_the_agent_accepted_has_arrived(visit: Visit) -> None:
    # The status page does not count its own request, so one more record arrives.
    buffer = visit.stats["buffer_stats"]
    assert visit.stored["metrics"] == buffer["metrics_buffered"] + 2
    assert visit.stored["events"] >= buffer["events_buffered"]
    assert visit.stats["ledger"]["dropped"] == {}


def test_the_status_page_shows_a_working_agent(visit: Visit) -> None:
    assert visit.stats["running"] is True
    assert visit.stats["transport_stats"]["circuit_breaker_state"] == "CLOSED"
    ledger = visit.stats["ledger"]
    assert ledger["accepted"] == ledger["delivered"] + ledger["queued"] + ledger["spooled"]


def test_the_log_reports_no_problem(visit: Visit) -> None:
    assert "Guard Agent initialized successfully" in visit.log
    assert wrong_words(visit.log) == []
