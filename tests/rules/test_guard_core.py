"""guard-core's own manager accepts and applies each document that the server composes.

There is no application and no agent: the documents go from the server to guard-core.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from guard_core.handlers.dynamic_rule_handler import DynamicRuleManager
from guard_core.handlers.ipban_handler import ip_ban_manager
from guard_core.handlers.ipinfo_handler import IPInfoManager
from guard_core.handlers.suspatterns_handler import sus_patterns_handler
from guard_core.models import DynamicRules, SecurityConfig
from support.guard_server import GuardServer
from support.process import eventually
from support.rules import Rules

ADDRESS, NEIGHBOUR = "203.0.113.7", "203.0.113.8"


@dataclass
class Guard:
    """guard-core with its manager, for which this object is the agent."""

    rules: Rules
    manager: DynamicRuleManager
    config: SecurityConfig
    events: list[Any] = field(default_factory=list)

    async def get_dynamic_rules(self) -> DynamicRules:
        return DynamicRules.model_validate(self.rules.document())

    async def send_event(self, event: Any) -> None:
        self.events.append(event)

    def update(self) -> None:
        """Makes the manager apply the rules in force; fails if it does not."""
        asyncio.run(self.manager.update_rules())
        document = self.rules.document()
        applied = self.manager.current_rules
        assert applied is not None
        assert (applied.rule_id, applied.version) == (document["rule_id"], document["version"])

    def bans(self, address: str) -> bool:
        return asyncio.run(ip_ban_manager.is_ip_banned(address))


@pytest.fixture(scope="module")
def rules(server_binary: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    server = GuardServer(server_binary, tmp_path_factory.mktemp("rules")).start()
    yield Rules(server)
    server.stop()


@pytest.fixture
def guard(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> Guard:
    """The state of a guard in a process that has just started."""
    config = SecurityConfig(
        enable_redis=False,
        enable_agent=True,
        enable_dynamic_rules=True,
        agent_api_key=rules.server.api_key,
        auto_ban_threshold=10,
        auto_ban_duration=300,
        # Never called: it only lets country rules take effect.
        geo_ip_handler=IPInfoManager("token"),
    )
    monkeypatch.setattr(DynamicRuleManager, "_instance", None)
    ip_ban_manager.banned_ips.clear()
    ip_ban_manager.banned_networks.clear()
    manager = DynamicRuleManager(config)
    guard = Guard(rules, manager, config)
    manager.agent_handler = guard
    return guard


Effect = Callable[[Guard], object]


def setting(name: str) -> Effect:
    return lambda guard: getattr(guard.config, name)


def several(*names: str) -> Effect:
    return lambda guard: tuple(getattr(guard.config, name) for name in names)


def add(
    rules: Rules, guard: Guard, collection: str, body: dict[str, Any], effect: Effect
) -> object:
    """Applies the operation; returns the guard's state. On a busy machine guard-core's check of
    patterns can time out and leave some out; a new version repeats the check."""
    rules.add(collection, **body)
    guard.update()
    return effect(guard)


FEATURES = ("penetration_detection", "ip_banning", "rate_limiting", "rate_limit_auto_ban")
OPERATIONS: list[tuple[str, dict[str, Any], Effect, object]] = [
    ("bans", {"ip": ADDRESS}, lambda guard: guard.bans(ADDRESS), True),
    ("countries", {"country": "FR"}, setting("blocked_countries"), {"FR"}),
    (
        "limits",
        {"endpoint": "/items", "requests": 2, "window_s": 30},
        setting("endpoint_rate_limits"),
        {"/items": (2, 30)},
    ),
    (
        "user-agents",
        {"pattern": "scraper/[0-9]"},
        setting("blocked_user_agents"),
        ["scraper/[0-9]"],
    ),
    ("clouds", {"cloud": "AWS"}, setting("block_cloud_providers"), {"AWS"}),
    *[
        (
            "features",
            # Turning off attack detection or banning needs a confirmation.
            {"feature": name, "enabled": enabled, "confirm": True},
            setting(f"enable_{name}"),
            enabled,
        )
        for name in FEATURES
        for enabled in (False, True)
    ],
    (
        "rate-limit",
        {"requests": 7, "window_s": 8},
        several("rate_limit", "rate_limit_window"),
        (7, 8),
    ),
    (
        "auto-ban",
        {"threshold": 3, "ban_s": 60},
        several("auto_ban_threshold", "auto_ban_duration"),
        (3, 60),
    ),
    ("auto-ban", {"threshold": 3}, several("auto_ban_threshold", "auto_ban_duration"), (3, 300)),
    (
        "emergency",
        {"allowed": [NEIGHBOUR, "198.51.100.0/24"]},
        several("emergency_mode", "emergency_whitelist"),
        (True, [NEIGHBOUR, "198.51.100.0/24"]),
    ),
]


@pytest.mark.parametrize(
    ("collection", "body", "effect", "expected"),
    OPERATIONS,
    ids=[" ".join([name, *map(str, body.values())]) for name, body, _, _ in OPERATIONS],
)
def test_an_operation_is_applied_and_its_end_too(
    rules: Rules, guard: Guard, collection: str, body: dict[str, Any], effect: Effect, expected: Any
) -> None:
    before = effect(guard)
    assert eventually(lambda: add(rules, guard, collection, body, effect) == expected)
    rules.remove(collection, **body)
    guard.update()
    assert effect(guard) == before


def test_a_pattern_is_added_for_as_long_as_the_process_lives(rules: Rules, guard: Guard) -> None:
    body = {"pattern": "zz-[a-z]{3}-attack"}

    def is_known(_guard: Guard) -> bool:
        return body["pattern"] in sus_patterns_handler.patterns

    assert eventually(lambda: add(rules, guard, "patterns", body, is_known))
    rules.remove("patterns", **body)
    guard.update()
    assert is_known(guard)


def test_a_block_is_banned_for_no_longer_than_its_ban(rules: Rules, guard: Guard) -> None:
    rules.add("bans", ip="203.0.113.0/24", duration_s=120)
    guard.update()
    assert guard.bans(NEIGHBOUR)
    [(network, end)] = ip_ban_manager.banned_networks
    assert str(network) == "203.0.113.0/24"
    assert end <= time.time() + 120
    rules.remove("bans", ip="203.0.113.0/24")


def test_bans_with_different_expiry_form_one_document(rules: Rules, guard: Guard) -> None:
    rules.add("bans", ip=ADDRESS, duration_s=120)
    rules.add("bans", ip=NEIGHBOUR)
    guard.update()
    assert guard.bans(ADDRESS)
    assert guard.bans(NEIGHBOUR)
    rules.remove("bans", ip=ADDRESS)
    guard.update()
    assert not guard.bans(ADDRESS)
    assert guard.bans(NEIGHBOUR)
    rules.remove("bans", ip=NEIGHBOUR)


def test_an_address_that_is_no_longer_published_is_unbanned(rules: Rules, guard: Guard) -> None:
    before = rules.publish()
    rules.publish(ip_blacklist=[ADDRESS, NEIGHBOUR])
    guard.update()
    assert guard.bans(ADDRESS)
    rules.publish(ip_blacklist=[NEIGHBOUR])
    guard.update()
    assert not guard.bans(ADDRESS)
    assert guard.bans(NEIGHBOUR)
    rules.roll_back(before)
    guard.update()
    assert not guard.bans(NEIGHBOUR)


def test_ipv4_that_is_written_as_ipv6_is_banned_as_ipv4(rules: Rules, guard: Guard) -> None:
    rules.add("bans", ip=f"::ffff:{ADDRESS}")
    rules.add("bans", ip="::ffff:198.51.100.0/120")
    guard.update()
    assert guard.bans(ADDRESS)
    assert guard.bans("198.51.100.7")
    rules.remove("bans", ip=f"::ffff:{ADDRESS}")
    rules.remove("bans", ip="::ffff:198.51.100.0/120")


def test_an_unban_lifts_the_guards_own_ban(rules: Rules, guard: Guard) -> None:
    asyncio.run(ip_ban_manager.ban_ip("198.51.100.1", 600, "threshold_exceeded"))
    asyncio.run(ip_ban_manager.ban_ip("198.51.100.2", 600, "threshold_exceeded"))
    rules.add("unbans", ip="198.51.100.1")
    guard.update()
    assert not guard.bans("198.51.100.1")
    assert guard.bans("198.51.100.2")


def test_guard_cores_model_reads_the_published_document(rules: Rules, guard: Guard) -> None:
    published = {
        "rule_id": "shop",
        "ttl": 60,
        "ip_blacklist": ["198.51.100.7"],
        "ip_ban_duration": 120,
        "ip_whitelist": ["198.51.100.8"],
        "whitelist_countries": ["NZ"],
        "global_rate_limit": 7,
        "global_rate_window": 8,
        "endpoint_rate_limits": {"/items": (2, 30)},
        "blocked_cloud_providers": {"AWS"},
        "blocked_user_agents": ["scraper/[0-9]"],
        "suspicious_patterns": ["zz-[a-z]{3}-attack"],
        "enable_penetration_detection": True,
        "enable_ip_banning": True,
        "enable_rate_limiting": True,
        "enable_rate_limit_auto_ban": True,
        "auto_ban_threshold": 3,
        "auto_ban_duration": 60,
        "emergency_mode": True,
        "emergency_whitelist": [NEIGHBOUR],
    }
    rules.publish(confirm=True, **{**published, "blocked_cloud_providers": ["AWS"]})
    guard.update()
    assert guard.manager.current_rules is not None
    read = guard.manager.current_rules.model_dump()
    # The list keeps addresses for a while after they are unbanned.
    assert "198.51.100.8" in read.pop("ip_whitelist")
    del published["ip_whitelist"]
    assert {name: read[name] for name in published} == published
    rules.publish()
