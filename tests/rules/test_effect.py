"""An operator's change takes effect in the example app at once.

At once means long before the next poll: guard-core asks for rules every five minutes.
"""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import count

import pytest
from support.example_app import ExampleApp
from support.process import eventually
from support.rules import Rules

ATTACK = "/search?q=<script>alert(1)</script>"

_numbers = count(1)


@pytest.fixture
def client() -> str:
    """An address in a block that no other test uses."""
    return f"198.18.{next(_numbers)}.7"


@pytest.fixture
def other() -> str:
    """Another such address."""
    return f"198.19.{next(_numbers)}.7"


def is_answered(app: ExampleApp, status: int, client: str, path: str = "/items") -> bool:
    """Whether a request of the client soon gets this status."""
    return eventually(lambda: app.request(path, client) == status)


def is_applied(rules: Rules, version: int) -> bool:
    """Whether the guard has logged that it applied the version."""
    return any(
        event["event_type"] == "dynamic_rule_applied" and event["metadata"]["version"] == version
        for event in rules.server.records("events")
    )


def takes(rules: Rules, collection: str, pattern: str, has_effect: Callable[[], bool]) -> bool:
    """Whether the pattern takes effect once it is applied. On a busy machine guard-core's check of
    patterns can time out and leave some out; a new version repeats the check."""

    def is_taken() -> bool:
        version = rules.add(collection, pattern=pattern)
        return eventually(lambda: is_applied(rules, version)) and has_effect()

    return eventually(is_taken)


def test_an_address_is_banned_and_unbanned(
    app: ExampleApp, rules: Rules, client: str, other: str
) -> None:
    assert app.request("/items", client) == 200
    rules.add("bans", ip=client, reason="scans")
    assert is_answered(app, 403, client)
    assert app.request("/items", other) == 200
    rules.remove("bans", ip=client)
    assert is_answered(app, 200, client)


def test_a_block_of_addresses_is_banned(
    app: ExampleApp, rules: Rules, client: str, other: str
) -> None:
    rules.add("bans", ip=f"{client}/24")
    assert is_answered(app, 403, client)
    assert app.request("/items", other) == 200


def test_an_expired_ban_is_lifted(app: ExampleApp, rules: Rules, client: str) -> None:
    rules.add("bans", ip=client)
    assert is_answered(app, 403, client)
    rules.add("bans", ip=client, duration_s=1)
    assert is_answered(app, 200, client)


def test_emergency_mode_admits_only_its_whitelist_until_it_ends(
    app: ExampleApp, rules: Rules, client: str, other: str
) -> None:
    rules.add("emergency", allowed=[other])
    assert is_answered(app, 503, client)
    assert app.request("/items", other) == 200
    rules.remove("emergency")
    assert is_answered(app, 200, client)


def test_an_endpoint_limit_ends_when_removed_and_returns_with_a_rollback(
    app: ExampleApp, rules: Rules, client: str
) -> None:
    limited = rules.add("limits", endpoint="/items", requests=1, window_s=3600)
    assert is_answered(app, 429, client)
    assert app.request("/search", client) == 200
    rules.remove("limits", endpoint="/items")
    assert is_answered(app, 200, client)
    rules.roll_back(limited)
    assert is_answered(app, 429, client)


def test_all_requests_of_a_client_are_limited(app: ExampleApp, rules: Rules, client: str) -> None:
    rules.add("rate-limit", requests=1, window_s=3600, confirm=True)
    assert is_answered(app, 429, client, "/search")
    rules.remove("rate-limit")
    assert is_answered(app, 200, client, "/search")


def test_a_user_agent_is_blocked(app: ExampleApp, rules: Rules, client: str) -> None:
    def visit(name: str) -> int:
        return app.request("/items", client, headers={"User-Agent": name})

    assert visit("scraper/2") == 200
    assert takes(rules, "user-agents", "scraper/[0-9]", lambda: visit("scraper/2") == 403)
    assert visit("browser/2") == 200


def test_an_attack_is_let_through_while_its_detection_is_off(
    app: ExampleApp, rules: Rules, client: str
) -> None:
    version = rules.add("features", feature="penetration_detection", enabled=False, confirm=True)
    # If asked before, the guard would soon ban the client.
    assert eventually(lambda: is_applied(rules, version))
    assert app.request(ATTACK, client) == 200
    rules.remove("features", feature="penetration_detection")
    assert is_answered(app, 400, client, ATTACK)


def test_a_pattern_counts_as_an_attack(app: ExampleApp, rules: Rules, client: str) -> None:
    path = "/search?q=zz-attack"
    assert app.request(path, client) == 200
    assert takes(rules, "patterns", "zz-attack", lambda: app.request(path, client) == 400)


def test_one_attack_leads_to_a_ban_at_threshold_one(
    app: ExampleApp, rules: Rules, client: str, other: str
) -> None:
    app.request(ATTACK, other)
    assert app.request("/items", other) == 200
    version = rules.add("auto-ban", threshold=1)
    assert eventually(lambda: is_applied(rules, version))
    app.request(ATTACK, client)
    assert app.request("/items", client) == 403


def test_a_rollback_restores_what_was_in_force(
    app: ExampleApp, rules: Rules, client: str, other: str
) -> None:
    before = rules.add("bans", ip=client)
    rules.remove("bans", ip=client)
    rules.add("bans", ip=other)
    assert is_answered(app, 403, other)
    assert is_answered(app, 200, client)
    rules.roll_back(before)
    assert is_answered(app, 403, client)
    assert is_answered(app, 200, other)


def test_an_expired_document_is_lifted(app: ExampleApp, rules: Rules, client: str) -> None:
    document = {"emergency_mode": True, "emergency_whitelist": ["192.0.2.1"]}
    rules.publish(**document)
    assert is_answered(app, 503, client)
    end = datetime.now(timezone.utc) + timedelta(seconds=1)
    rules.publish(**document, expires_at=end.isoformat())
    assert is_answered(app, 200, client)
