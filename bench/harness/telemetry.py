"""Realistic telemetry, the same for the same seed: what an app with a guard sends in 30 days."""

import random
import uuid
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T")

DAYS = 30
# Addresses are skewed: a few attack a lot, most come a few times.
ADDRESSES = 20_000
ENDPOINTS = 40
TENANTS = 500
# Each type with its action, status and how often it occurs.
TYPES = (
    ("suspicious_request", "request_blocked", 403, 220),
    ("rate_limited", "rate_limited", 429, 200),
    ("ip_blocked", "request_blocked", 403, 160),
    ("penetration_attempt", "request_blocked", 400, 120),
    ("penetration_attempt_logged", "logged_only", 200, 70),
    ("user_agent_blocked", "request_blocked", 403, 60),
    ("country_blocked", "request_blocked", 403, 50),
    ("cloud_blocked", "request_blocked", 403, 40),
    ("ip_banned", "ip_banned", 403, 25),
    ("authentication_failed", "logged_only", 401, 20),
    ("decorator_violation", "request_blocked", 403, 14),
    ("https_enforced", "redirected", 301, 9),
    ("custom_request_check", "request_blocked", 400, 7),
    ("ip_unbanned", "ip_unbanned", 200, 3),
    ("emergency_mode_block", "request_blocked", 503, 2),
)
COUNTRIES = ("US", "CN", "RU", "DE", "FR", "GB", "BR", "IN", "NL", "VN", "ID", "UA", "KR", "JP")
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "python-requests/2.{}.0",
    "sqlmap/1.{}#stable (https://sqlmap.org)",
    "curl/8.{}.0",
)
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
CHECKS = ("sql injection", "path traversal", "xss", "rate limit", "blocked address", "bad agent")
SERVICES = ("shop", "shop", "shop", "billing", "search")
STATUSES = (200, 200, 200, 200, 200, 201, 304, 404, 500)


@dataclass(frozen=True)
class Record:
    """An event or a metric, as a row of an ordinary table. Its last value is what is sent."""

    row: tuple[str, int, str, str, str, str]

    @property
    def body(self) -> str:
        return self.row[-1]


class Skewed:
    """Chooses numbers below `count`; the first ones are chosen most."""

    def __init__(self, count: int, exponent: float) -> None:
        self.sums = list(accumulate((n + 1) ** -exponent for n in range(count)))

    def choose(self, chance: float) -> int:
        return bisect(self.sums, chance * self.sums[-1])


class Traffic:
    """Makes records in the order of their times."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        rng = self.rng
        self.addresses = Skewed(ADDRESSES, 0.8)
        self.paths = Skewed(ENDPOINTS, 1.0)
        self.tenants = Skewed(TENANTS, 0.5)
        self.types = list(accumulate(weight for *_, weight in TYPES))
        # What belongs to an address: its text, its country, its user agent, its correlation key.
        self.clients = [
            (
                f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.{n % 256}",
                f'"{pick(rng, COUNTRIES)}"' if rng.random() < 0.9 else "null",
                pick(rng, AGENTS).format(rng.randrange(60, 140)),
                f"{rng.getrandbits(64):016x}",
            )
            for n in range(ADDRESSES)
        ]
        self.endpoints = [
            (f"/api/v1/resource-{n}/items", pick(rng, METHODS)) for n in range(ENDPOINTS)
        ]

    def events(self, begin: datetime, step: timedelta, count: int) -> Iterator[Record]:
        """Events of about 700 bytes."""
        rng = self.rng
        for number in range(count):
            at = begin + number * step
            kind, action, status, _ = TYPES[bisect(self.types, rng.random() * self.types[-1])]
            address, country, agent, correlation = self.clients[self.addresses.choose(rng.random())]
            endpoint, method = self.endpoints[self.paths.choose(rng.random())]
            check = rng.randrange(len(CHECKS) * 5)
            key = str(uuid.UUID(int=rng.getrandbits(128), version=4))
            body = (
                f'{{"idempotency_key":"{key}","timestamp":"{at.isoformat()}","event_type":"{kind}",'
                f'"ip_address":"{address}","country":{country},"user_agent":"{agent}",'
                f'"action_taken":"{action}",'
                f'"reason":"{CHECKS[check // 5]} detected by check {check}",'
                f'"endpoint":"{endpoint}",'
                f'"method":"{method}","status_code":{status},"response_time":{rng.random():.6f},'
                f'"metadata":{{"guard.project_id":"shop","guard.threat_score":{rng.randrange(100)},'
                f'"guard.rule.id":"rule-{check}","guard.rule.version":{1 + check % 3},'
                f'"guard.service.name":"{pick(rng, SERVICES)}",'
                f'"guard.deployment.environment":"production",'
                f'"guard.behavior.correlation_key":"{correlation}",'
                f'"guard.behavior.recent_event_count":{rng.randrange(50)},'
                f'"tenant":"tenant-{self.tenants.choose(rng.random())}"}}}}'
            )
            yield Record((key, microseconds(at), kind, address, endpoint, body))

    def metrics(self, begin: datetime, step: timedelta, count: int) -> Iterator[Record]:
        """Response times and counts of requests, in turn."""
        rng = self.rng
        for number in range(count):
            at = begin + number * step
            kind = ("response_time", "request_count")[number % 2]
            endpoint, method = self.endpoints[self.paths.choose(rng.random())]
            value = rng.lognormvariate(-3, 1) if number % 2 == 0 else 1.0
            key = str(uuid.UUID(int=rng.getrandbits(128), version=4))
            body = (
                f'{{"idempotency_key":"{key}","timestamp":"{at.isoformat()}",'
                f'"metric_type":"{kind}","value":{value:.6f},"endpoint":"{endpoint}",'
                f'"tags":{{"method":"{method}","status":"{pick(rng, STATUSES)}",'
                f'"guard.service.name":"{pick(rng, SERVICES)}"}}}}'
            )
            yield Record((key, microseconds(at), kind, "", endpoint, body))


def pick(rng: random.Random, choices: Sequence[T]) -> T:
    return choices[int(rng.random() * len(choices))]


def microseconds(at: datetime) -> int:
    return int(at.timestamp() * 1e6)


def month(count: int) -> tuple[datetime, timedelta]:
    """Returns the time of the first of `count` records that are spread evenly over the days until
    now, and the time between two of them."""
    days = timedelta(days=DAYS)
    return datetime.now(timezone.utc) - days, days / count
