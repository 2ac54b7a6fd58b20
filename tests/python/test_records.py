"""Conversion of the objects that programs pass."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import logging
import pathlib
import types
import uuid
from collections.abc import Callable
from typing import Any, cast

import pytest
from pydantic import BaseModel, TypeAdapter
from support.backend import Backend
from support.log import Log

from guard_agent import (
    AgentConfig,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
    hash_ip,
)

Make = Callable[..., AgentConfig]
NOON = dt.datetime(2026, 11, 22, 12, 0, 0, 250, tzinfo=dt.timezone.utc)


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str, enum.Enum):
    ADA = "ada"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2


class Inner(BaseModel):
    n: int = 1


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


def sent_metadata(make_config: Make, backend: Backend, metadata: Any) -> Any:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event({"timestamp": NOON, "event_type": "ip_banned", "metadata": metadata})
    agent.flush_buffer()
    return backend.events[0]["metadata"]


def test_an_event_arrives_with_all_its_fields(make_config: Make, backend: Backend) -> None:
    event = SecurityEvent.model_validate(
        {
            "timestamp": NOON,
            "event_type": "penetration_attempt",
            "ip_address": "192.0.2.7",
            "status_code": 403,
            "response_time": 0.25,
            "metadata": {"guard.threat_score": 90},
            "tenant": "shop",
        }
    )
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(event)
    agent.flush_buffer()
    assert backend.events == [
        {
            "idempotency_key": str(event.idempotency_key),
            "timestamp": "2026-11-22T12:00:00.000250+00:00",
            "event_type": "penetration_attempt",
            "ip_address": "192.0.2.7",
            "action_taken": "",
            "reason": "",
            "status_code": 403,
            "response_time": 0.25,
            "metadata": {"guard.threat_score": 90},
            "tenant": "shop",
        }
    ]


@pytest.mark.parametrize("score", [0, 50, 100])
def test_fields_that_guard_core_adds_to_an_event_arrive_unchanged(
    make_config: Make, backend: Backend, score: int
) -> None:
    added = {
        "guard.threat_score": score,
        "guard.project_id": "shop",
        "guard.rule.id": "r",
        "guard.rule.version": 7,
        "guard.behavior.correlation_key": "0f",
        "guard.behavior.recent_event_count": 3,
        "guard.service.name": "till",
        "guard.deployment.environment": "live",
        "traceparent": "00-ab",
    }
    arrived = sent_metadata(make_config, backend, added)
    assert arrived == added
    assert type(arrived["guard.threat_score"]) is int


def test_a_metric_arrives_with_all_its_fields(make_config: Make, backend: Backend) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_metric(
        SecurityMetric(timestamp=NOON, metric_type="error_rate", value=1, tags={"status": "404"})
    )
    agent.flush_buffer()
    (metric,) = backend.metrics
    assert uuid.UUID(metric.pop("idempotency_key"))
    assert metric == {
        "timestamp": "2026-11-22T12:00:00.000250+00:00",
        "metric_type": "error_rate",
        "value": 1.0,
        "tags": {"status": "404"},
    }


@pytest.mark.parametrize(
    "record",
    [
        SecurityEvent(timestamp=NOON, event_type="ip_banned"),
        {"timestamp": NOON, "event_type": "ip_banned"},
        types.MappingProxyType({"timestamp": NOON, "event_type": "ip_banned"}),
        types.SimpleNamespace(timestamp=NOON, event_type="ip_banned"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_models_mappings_and_objects_are_accepted(
    make_config: Make, backend: Backend, record: Any
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(record)
    agent.flush_buffer()
    assert [event["event_type"] for event in backend.events] == ["ip_banned"]


class Undumped(SecurityEvent):
    """Fails if anything calls it to serialise it."""

    def model_dump(self, **_: Any) -> dict[str, Any]:
        raise AssertionError

    def model_dump_json(self, **_: Any) -> str:
        raise AssertionError


def test_a_model_without_serializers_is_read_without_pydantics_serialisation(
    make_config: Make, backend: Backend
) -> None:
    class Unwritten:
        def to_python(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise AssertionError

    event = Undumped(timestamp=NOON, event_type="ip_banned", metadata={"n": 1})
    Undumped.__pydantic_serializer__ = cast(Any, Unwritten())
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(event)
    agent.flush_buffer()
    assert backend.events[0]["metadata"] == {"n": 1}


@pytest.mark.parametrize(
    ("timestamp", "sent"),
    [
        (NOON.replace(tzinfo=None), dt.datetime(2026, 11, 22, 12, 0, 0, 250)),
        (
            NOON.astimezone(dt.timezone(dt.timedelta(hours=2))),
            dt.datetime(2026, 11, 22, 12, 0, 0, 250),
        ),
        ("2026-11-22 12:00:00.000250", dt.datetime(2026, 11, 22, 12, 0, 0, 250)),
        (0, dt.datetime(1970, 1, 1)),
    ],
    ids=["naive", "other zone", "text", "unix"],
)
def test_a_timestamp_of_any_form_is_the_same_moment_in_utc(
    make_config: Make, backend: Backend, timestamp: Any, sent: dt.datetime
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event({"timestamp": timestamp, "event_type": "x"})
    agent.flush_buffer()
    received = TypeAdapter(dt.datetime).validate_python(backend.events[0]["timestamp"])
    assert received == sent.replace(tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        ("é", "é"),
        ("\ud800", "\ufffd\ufffd\ufffd"),
        (b"\xffx", "\ufffdx"),
        (bytearray(b"x"), "x"),
        ((1, [2]), [1, [2]]),
        ({3}, [3]),
        (frozenset([3]), [3]),
        (collections.deque([1]), [1]),
        (range(3), [0, 1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
        (NOON, "2026-11-22T12:00:00.000250+00:00"),
        (dt.datetime(2026, 1, 2), "2026-01-02T00:00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(1, 2), "01:02:00"),
        (dt.timedelta(seconds=1.5), 1.5),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.50"), "1.50"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Name.ADA, "ada"),
        (Point(1), {"x": 1, "y": 2}),
        (Inner(), {"n": 1}),
        (pathlib.PurePosixPath("/x"), "/x"),
        (1j, "1j"),
        (Unprintable(), "<Unprintable>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_has_a_form_in_json(
    make_config: Make, backend: Backend, value: Any, sent: Any
) -> None:
    assert sent_metadata(make_config, backend, {"value": value}) == {"value": sent}


def test_a_cycle_ends_at_the_redaction_depth(make_config: Make, backend: Backend) -> None:
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    sent = sent_metadata(make_config, backend, cycle)
    depth = 0
    while isinstance(sent, dict):
        sent = sent["again"]
        depth += 1
    assert (sent, depth) == ("[REDACTED]", 11)


@pytest.mark.parametrize("size", [60_000, 10**12])
def test_a_value_with_too_many_elements_is_replaced_by_a_remark(
    make_config: Make, backend: Backend, size: int
) -> None:
    sent = sent_metadata(make_config, backend, {"numbers": range(size)})
    assert sent == {"truncated": "more than 50000 values in one record; shorten its metadata"}


def test_text_is_truncated_and_secrets_are_not_sent(make_config: Make, backend: Backend) -> None:
    metadata = {"long": "x" * 10_000_000, "headers": {"Cookie": "s=1"}, "list": [["Cookie", "s"]]}
    assert sent_metadata(make_config, backend, metadata) == {
        "long": "x" * 1024 + "...[TRUNCATED]",
        "headers": {"Cookie": "[REDACTED]"},
        "list": [["Cookie", "[REDACTED]"]],
    }


def test_a_value_may_change_while_it_is_read(make_config: Make, backend: Backend) -> None:
    metadata: dict[Any, Any] = {}

    class Meddler:
        def __str__(self) -> str:
            metadata["more"] = 1
            return "meddled"

    metadata["value"] = Meddler()
    assert sent_metadata(make_config, backend, metadata) == {"value": "meddled"}


def test_a_record_may_change_while_it_is_read(make_config: Make, backend: Backend) -> None:
    event: dict[str, Any] = {"timestamp": NOON, "event_type": "ip_banned"}

    class Meddler:
        def __str__(self) -> str:
            event.clear()
            return "meddled"

    event |= {"reason": Meddler(), "method": "GET"}
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(event)
    agent.flush_buffer()
    assert backend.events[0]["reason"] == "meddled"
    assert backend.events[0]["method"] == "GET"


def test_an_event_sent_while_another_is_read_arrives_too(
    make_config: Make, backend: Backend
) -> None:
    agent = SyncGuardAgentHandler(make_config())

    class Sender:
        def __str__(self) -> str:
            agent.send_event({"timestamp": NOON, "event_type": "inner"})
            return "sent"

    agent.send_event({"reason": Sender(), "timestamp": NOON, "event_type": "outer"})
    agent.flush_buffer()
    assert [event["event_type"] for event in backend.events] == ["inner", "outer"]
    assert backend.events[1]["reason"] == "sent"


def test_a_field_is_known_by_its_name_in_any_order_and_from_any_source(
    make_config: Make, backend: Backend
) -> None:
    # Text created at run time is a different object from the same text in code.
    event = {
        "".join(["event", "_type"]): "ip_banned",
        "".join(["ip_", "address"]): "192.0.2.7",
        "timestamp": "2026-11-22 12:00:00",
        "tenant": "shop",
    }
    agent = SyncGuardAgentHandler(make_config(anonymize_ip="truncate"))
    agent.send_event(event)
    agent.flush_buffer()
    (sent,) = backend.events
    assert sent.pop("idempotency_key")
    assert sent == {
        "event_type": "ip_banned",
        "ip_address": "192.0.2.0",
        "timestamp": "2026-11-22T12:00:00Z",
        "tenant": "shop",
    }


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"event_type": "x"}, "event without `timestamp`"),
        ({"timestamp": NOON}, "event without `event_type`"),
        ({"timestamp": "soon", "event_type": "x"}, "unreadable `timestamp`"),
        (None, "event without `timestamp`"),
        (7, "event without `timestamp`"),
    ],
)
def test_an_event_that_cannot_be_sent_is_counted_and_logged_but_not_raised(
    make_config: Make, log: Log, record: Any, problem: str
) -> None:
    agent = SyncGuardAgentHandler(make_config())
    agent.send_event(record)
    assert log.wait_for(problem).levelno == logging.WARNING
    assert agent.get_stats()["ledger"] == {
        "accepted": 1,
        "delivered": 0,
        "queued": 0,
        "spooled": 0,
        "dropped": {"invalid": 1},
    }


@pytest.mark.parametrize(
    ("anonymize_ip", "address", "sent"),
    [
        ("none", "192.0.2.77", "192.0.2.77"),
        ("truncate", "192.0.2.77", "192.0.2.0"),
        ("truncate", "2001:db8:1:2::3", "2001:db8:1::"),
        ("truncate", "system", "system"),
        ("hash", "192.0.2.77", hash_ip("192.0.2.77", "an-api-key-for-tests")),
        ("hash", "::ffff:192.0.2.77", hash_ip("192.0.2.77", "an-api-key-for-tests")),
        ("hash", "system", "system"),
    ],
)
def test_addresses_are_anonymized_as_configured(
    make_config: Make, backend: Backend, anonymize_ip: str, address: str, sent: str
) -> None:
    agent = SyncGuardAgentHandler(make_config(anonymize_ip=anonymize_ip))
    agent.send_event({"timestamp": NOON, "event_type": "ip_banned", "ip_address": address})
    agent.flush_buffer()
    assert [event["ip_address"] for event in backend.events] == [sent]
