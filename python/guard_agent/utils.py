"""Helpers for events and backends. Python and the agent's core share the implementation."""

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from guard_agent import _native
from guard_agent.config import validate_config
from guard_agent.logging_utils import setup_agent_logging
from guard_agent.resilience import CircuitBreaker, RateLimiter

__all__ = [
    "CircuitBreaker",
    "RateLimitedError",
    "RateLimiter",
    "SerializationError",
    "calculate_backoff_delay",
    "generate_batch_id",
    "get_current_timestamp",
    "hash_ip",
    "parse_retry_after_seconds",
    "safe_json_deserialize",
    "safe_json_serialize",
    "sanitize_headers",
    "setup_agent_logging",
    "summarize_response_body",
    "truncate_payload",
    "validate_config",
]

_logger = logging.getLogger("guard_agent.utils")


class SerializationError(Exception):
    """An object cannot be serialized as JSON."""


class RateLimitedError(Exception):
    """A backend asked the client to wait.

    Attributes:
        retry_after_seconds: The time to wait.
    """

    def __init__(self, retry_after_seconds: float, message: str | None = None) -> None:
        """Describes the wait."""
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message or f"the backend asked to wait {retry_after_seconds} s")


def generate_batch_id() -> str:
    """Returns a new batch identifier, "<unix milliseconds>-<8 hexadecimal digits>"."""
    return _native.batch_id()


def get_current_timestamp() -> datetime:
    """Returns the current time as an aware datetime in UTC."""
    return datetime.now(timezone.utc)


def sanitize_headers(headers: Any, sensitive_headers: Iterable[str]) -> Any:
    """Returns a copy of `headers` in which every sensitive value is "[REDACTED]".

    Names are compared case-insensitively. The function also searches objects up to depth 10, lists
    of pairs, and strings that hold JSON. It redacts deeper objects completely.
    "proxy-authorization" and "set-cookie" are always sensitive.

    Example:
        >>> sanitize_headers({"Cookie": "s=1", "host": "h"}, ["cookie"])
        {'Cookie': '[REDACTED]', 'host': 'h'}
    """
    return json.loads(_native.redact(headers, list(sensitive_headers)))


def truncate_payload(payload: str, max_size: int) -> str:
    """Returns `payload`, truncated to `max_size` bytes of UTF-8, with a mark if it was longer.

    Example:
        >>> truncate_payload("abcd", 3)
        'abc...[TRUNCATED]'
    """
    return _native.truncate(payload, max(max_size, 0))


def summarize_response_body(text: str, max_length: int = 300) -> str:
    """Returns `text` on one line, truncated to `max_length` characters, with a mark if longer."""
    line = " ".join(text.split())
    if len(line) <= max_length:
        return line
    return f"{line[:max_length]}... ({len(line)} characters)"


def hash_ip(ip: str, salt: str = "") -> str:
    """Returns the first 16 hexadecimal digits of SHA-256 over `salt` and `ip`.

    Without a secret salt, an attacker can find an IPv4 address by trying them all.
    """
    return _native.hash_ip(ip, salt)


def calculate_backoff_delay(
    attempt: int, base_delay: float = 1.0, max_delay: float = 60.0
) -> float:
    """Returns `base_delay * 2**attempt` seconds, at most `max_delay`."""
    return _native.backoff_delay(max(attempt, 0), base_delay, max_delay)


def parse_retry_after_seconds(header_value: str | None, default: float = 60.0) -> float:
    """Returns the seconds that a Retry-After header asks for.

    Accepts a number of seconds or an HTTP date; anything else returns `default`.
    """
    return _native.retry_after_seconds(header_value, default)


async def safe_json_serialize(obj: Any) -> str:
    """Returns `obj` as JSON; values without a JSON form are written as their `str()`.

    Raises:
        SerializationError: `obj` contains itself, or its `str()` fails.
    """
    try:
        return json.dumps(obj, separators=(",", ":"), ensure_ascii=False, default=str)
    except Exception as error:
        raise SerializationError(f"not serialisable as JSON: {error}") from error


async def safe_json_deserialize(json_str: str) -> dict[str, Any] | None:
    """Returns the object in `json_str`. If there is none, logs that and returns None."""
    try:
        data = json.loads(json_str)
    except (TypeError, ValueError, RecursionError) as error:
        _logger.warning("Not JSON: %s", error)
        return None
    return data if isinstance(data, dict) else None
