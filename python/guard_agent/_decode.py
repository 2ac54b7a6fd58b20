"""From the core's JSON to models."""

import json
import logging
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from guard_agent.models import DynamicRules

_logger = logging.getLogger("guard_agent")

Record = TypeVar("Record", bound=BaseModel)


def read_records(model: type[Record], records: Iterable[bytes]) -> list[Record]:
    """Each record, from the JSON that the core made of it."""
    return [make_record(model, json.loads(record)) for record in records]


def make_record(model: type[Record], fields: dict[str, Any]) -> Record:
    """One record, with its key; what passes no validation is not lost for that."""
    try:
        record = model.model_validate(fields)
    except ValidationError:
        record = model.model_construct(None, **fields)
    # A metric has no field for it. Beside its fields the key is no part of its value, as what
    # functools.cached_property leaves there, and is sent with it all the same.
    if key := fields.get("idempotency_key"):
        record.__dict__.setdefault("idempotency_key", key)
    return record


def read_rules(rules_json: str | None, before: DynamicRules | None = None) -> DynamicRules | None:
    """A backend's rules; those from before, with a warning, where they are none."""
    if rules_json is None:
        return None
    try:
        return DynamicRules.model_validate_json(rules_json)
    except ValidationError as error:
        _logger.warning(
            "The backend's rules are not usable and ignored; correct them there: %s", error
        )
        return before
