"""Converts the core's JSON to models."""

import json
import logging
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from guard_agent.models import DynamicRules

_logger = logging.getLogger("guard_agent")

Record = TypeVar("Record", bound=BaseModel)


def read_records(model: type[Record], records: Iterable[bytes]) -> list[Record]:
    """Decodes each record from the core's JSON."""
    return [make_record(model, json.loads(record)) for record in records]


def make_record(model: type[Record], fields: dict[str, Any]) -> Record:
    """Decodes one record with its key. A record that fails validation is kept anyway."""
    try:
        record = model.model_validate(fields)
    except ValidationError:
        record = model.model_construct(None, **fields)
    # Metrics have no field for the key. It is stored in `__dict__`, like a cached_property of
    # functools: it does not count for equality, but it is sent with the record.
    if key := fields.get("idempotency_key"):
        record.__dict__.setdefault("idempotency_key", key)
    return record


def read_rules(rules_json: str | None, before: DynamicRules | None = None) -> DynamicRules | None:
    """Decodes a backend's rules. If they are invalid, logs a warning and returns `before`."""
    if rules_json is None:
        return None
    try:
        return DynamicRules.model_validate_json(rules_json)
    except ValidationError as error:
        _logger.warning(
            "The backend's rules are not usable and ignored; correct them there: %s", error
        )
        return before
