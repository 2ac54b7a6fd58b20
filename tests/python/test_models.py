"""The models, as guards use them."""

import datetime as dt
import os
import uuid

import pytest
from pydantic import BaseModel, ValidationError

from guard_agent import DynamicRules, EventBatch, SecurityEvent, SecurityMetric
from guard_agent.models import KNOWN_EVENT_TYPES

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.timezone.utc)


def test_an_event_needs_a_type_and_a_time_only() -> None:
    event = SecurityEvent(timestamp=NOON, event_type="anything_goes")
    assert (event.ip_address, event.action_taken, event.reason) == ("", "", "")
    for fields in ({"timestamp": NOON}, {"event_type": "x"}):
        with pytest.raises(ValidationError, match="Field required"):
            SecurityEvent.model_validate(fields)


def test_every_event_has_a_random_key_of_its_own() -> None:
    keys = {SecurityEvent(timestamp=NOON, event_type="x").idempotency_key for _ in range(1000)}
    assert len(keys) == 1000
    assert all(key.version == 4 and key.variant == uuid.RFC_4122 for key in keys)


def test_a_forked_child_makes_other_keys_than_its_parent() -> None:
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


def test_further_fields_are_kept() -> None:
    event = SecurityEvent.model_validate({"timestamp": NOON, "event_type": "x", "tenant": "a"})
    assert event.model_dump()["tenant"] == "a"


def test_a_metric_is_of_one_of_seven_types() -> None:
    assert SecurityMetric(timestamp=NOON, metric_type="block_rate", value=1).tags == {}
    with pytest.raises(ValidationError, match="metric_type"):
        SecurityMetric.model_validate({"timestamp": NOON, "metric_type": "speed", "value": 1})


@pytest.mark.parametrize("model", [SecurityEvent, SecurityMetric, EventBatch])
def test_models_stand_what_guard_core_does_to_them(model: type[BaseModel]) -> None:
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
