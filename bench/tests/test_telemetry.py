import json
from datetime import datetime, timedelta, timezone

from harness.telemetry import DAYS, TYPES, Record, Traffic, month

BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
STEP = timedelta(seconds=1)


def events(seed: int, count: int = 2_000) -> list[Record]:
    return list(Traffic(seed).events(BEGIN, STEP, count))


def test_the_same_seed_makes_the_same_records() -> None:
    assert events(1) == events(1)
    assert events(1)[0] != events(2)[0]


def test_records_are_valid_and_in_the_order_of_their_times() -> None:
    made = events(1) + list(Traffic(1).metrics(BEGIN, STEP, 100))
    bodies = [json.loads(record.body) for record in made]
    assert len({body["idempotency_key"] for body in bodies[:2_000]}) == 2_000
    times = [datetime.fromisoformat(body["timestamp"]) for body in bodies]
    assert times[:2_000] == [BEGIN + n * STEP for n in range(2_000)]


def test_a_few_addresses_and_endpoints_make_most_of_the_events() -> None:
    made = events(1)
    addresses = [record.row[3] for record in made]
    top = max(addresses.count(address) for address in set(addresses))
    assert top > 20
    assert len(set(addresses)) > 500
    assert len({record.row[4] for record in made}) == 40
    assert {record.row[2] for record in made} <= {kind for kind, *_ in TYPES}


def test_a_month_ends_now() -> None:
    begin, step = month(1_000)
    assert step * 1_000 == timedelta(days=DAYS)
    assert begin + timedelta(days=DAYS) <= datetime.now(timezone.utc)
