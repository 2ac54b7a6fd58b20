"""The models, as guards use them."""

import asyncio
import copy
import datetime as dt
import itertools
import os
import pickle
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError
from support.backend import Backend

from guard_agent import (
    AgentConfig,
    DynamicRules,
    EventBatch,
    EventBuffer,
    SecurityEvent,
    SecurityMetric,
    SyncGuardAgentHandler,
)
from guard_agent.models import KNOWN_EVENT_TYPES

Make = Callable[..., AgentConfig]
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.timezone.utc)


def test_an_event_needs_a_type_and_a_time_only() -> None:
    event = SecurityEvent(timestamp=NOON, event_type="anything_goes")
    assert (event.ip_address, event.action_taken, event.reason) == ("", "", "")
    for fields in ({"timestamp": NOON}, {"event_type": "x"}):
        with pytest.raises(ValidationError, match="Field required"):
            SecurityEvent.model_validate(fields)


def test_every_event_has_its_own_random_key() -> None:
    keys = {SecurityEvent(timestamp=NOON, event_type="x").idempotency_key for _ in range(1000)}
    assert len(keys) == 1000
    assert all(key.version == 4 and key.variant == uuid.RFC_4122 for key in keys)


def test_a_forked_child_creates_different_keys_than_its_parent() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    key = str(SecurityEvent(timestamp=NOON, event_type="x").idempotency_key).encode()
    if child == 0:
        os.write(writer, key)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 36) != key
    os.close(reader)
    os.close(writer)


def test_a_model_copy_is_a_new_event_unless_it_sets_the_key() -> None:
    event = SecurityEvent(timestamp=NOON, event_type="x", metadata={"n": [1]})
    copies = [
        event.model_copy(),
        event.model_copy(update={"reason": "again"}),
        event.model_copy(deep=True),
        *(event.model_copy(update={"status_code": n}) for n in range(10)),
    ]
    assert len({copied.idempotency_key for copied in [event, *copies]}) == 14
    assert all(copied.idempotency_key.version == 4 for copied in copies)
    assert copies[1].reason == "again"
    assert copies[2].metadata == event.metadata
    assert copies[2].metadata is not event.metadata
    named = uuid.uuid4()
    assert event.model_copy(update={"idempotency_key": named}).idempotency_key == named


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copying_and_pickling_keep_an_events_key(
    again: Callable[[SecurityEvent], SecurityEvent],
) -> None:
    event = SecurityEvent(timestamp=NOON, event_type="x")
    assert again(event) == event


def test_an_event_of_a_subclass_makes_the_keys_of_its_copies_itself() -> None:
    class Numbered(SecurityEvent):
        idempotency_key: Any = Field(default_factory=itertools.count().__next__)

    event = Numbered(timestamp=NOON, event_type="x")
    assert [event.idempotency_key, event.model_copy().idempotency_key] == [0, 1]


def test_ten_copies_are_stored_ten_times(make_config: Make, backend: Backend) -> None:
    agent = SyncGuardAgentHandler(make_config())
    event = SecurityEvent(timestamp=NOON, event_type="x")
    metric = SecurityMetric(timestamp=NOON, metric_type="block_rate", value=1)
    for number in range(10):
        agent.send_event(event.model_copy(update={"status_code": number}))
        agent.send_metric(metric.model_copy(update={"value": number}))
    agent.flush_buffer()
    assert len({sent["idempotency_key"] for sent in backend.events}) == 10
    assert len({sent["idempotency_key"] for sent in backend.metrics}) == 10


def test_a_copy_of_a_metric_out_of_a_buffer_is_a_new_one(
    make_config: Make, backend: Backend
) -> None:
    buffer = EventBuffer(make_config())
    metric = SecurityMetric(timestamp=NOON, metric_type="block_rate", value=1)
    asyncio.run(buffer.add_metric(metric))
    (taken,) = asyncio.run(buffer.flush_metrics())
    agent = SyncGuardAgentHandler(make_config())
    for sent in (taken, copy.deepcopy(taken), taken.model_copy()):
        agent.send_metric(sent)
    agent.flush_buffer()
    keys = [metric["idempotency_key"] for metric in backend.metrics]
    assert keys[0] == keys[1] != keys[2]


def test_additional_fields_are_kept() -> None:
    event = SecurityEvent.model_validate({"timestamp": NOON, "event_type": "x", "tenant": "a"})
    assert event.model_dump()["tenant"] == "a"


def test_a_metric_is_of_one_of_seven_types() -> None:
    assert SecurityMetric(timestamp=NOON, metric_type="block_rate", value=1).tags == {}
    with pytest.raises(ValidationError, match="metric_type"):
        SecurityMetric.model_validate({"timestamp": NOON, "metric_type": "speed", "value": 1})


@pytest.mark.parametrize("model", [SecurityEvent, SecurityMetric, EventBatch])
def test_models_support_guard_cores_operations(model: type[BaseModel]) -> None:
    assert model.model_config["plugin_settings"] == {"logfire": {"record": "off"}}
    fields = set(model.model_fields)
    model.model_config["plugin_settings"]["logfire"] = {"record": "off"}
    assert model.model_rebuild(force=True) is True
    assert set(model.model_fields) == fields


def test_rules_without_content_have_no_effect() -> None:
    rules = DynamicRules()
    assert (rules.rule_id, rules.version, rules.ttl) == ("default-rule", 1, 300)
    assert rules.endpoint_rate_limits == {}
    assert rules.enable_ip_banning is None
    with pytest.raises(ValidationError, match="auto_ban_threshold"):
        DynamicRules(auto_ban_threshold=0)


def test_event_types_are_known_once_each() -> None:
    assert "penetration_attempt" in KNOWN_EVENT_TYPES
    assert len(set(KNOWN_EVENT_TYPES)) == len(KNOWN_EVENT_TYPES)
