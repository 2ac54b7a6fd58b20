"""The agent's configuration.

Each field's description states the valid values. It appears in the error for an invalid value
and in docs/configuration.md.
"""

import difflib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from guard_agent._native import DEFAULTS, MINIMUMS

_logger = logging.getLogger("guard_agent.config")

OnError: TypeAlias = Callable[[str, BaseException, dict[str, Any]], object]
"""Called with the stage that failed, the error, and what is known about it; may be asynchronous."""

SECRETS = frozenset({"api_key", "project_encryption_key", "payload_signing_secret", "redis_url"})
"""Fields whose values are never shown."""

_API_PATH = "/api/v1"


class AgentConfig(BaseModel):
    """How the agent collects and where it delivers.

    Raises:
        pydantic.ValidationError: A value cannot be used; names field, value and remedy.

    Example:
        >>> AgentConfig(api_key="YOUR_API_KEY", endpoint="http://127.0.0.1:8400/").endpoint
        'http://127.0.0.1:8400'
    """

    # Errors must not show neighbouring fields: they may hold a secret.
    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True)

    api_key: str = Field(
        repr=False, description=f"The project's API key: {MINIMUMS['api_key']} characters or more."
    )
    endpoint: str = Field(
        default=DEFAULTS["endpoint"],
        description="The backend: an http or https URL with a host, without user and password. "
        "Trailing slashes and a trailing /api/v1 are removed.",
    )
    project_id: str | None = Field(
        default=None, description="The project that the records belong to."
    )
    buffer_size: int = Field(
        default=DEFAULTS["buffer_size"],
        description="The number of queued records at which the agent sends: a whole number above "
        "0.",
    )
    flush_interval: int = Field(
        default=DEFAULTS["flush_interval"],
        description="Seconds after which queued records are sent at the latest: a whole number "
        "above 0. The first records of a process are sent within a second.",
    )
    dynamic_rule_interval: int = Field(
        default=DEFAULTS["dynamic_rule_interval"],
        ge=MINIMUMS["dynamic_rule_interval"],
        description="Seconds between requests for new rules, at a backend that does not hold "
        "requests until the rules change: a whole number from "
        f"{MINIMUMS['dynamic_rule_interval']} up.",
    )
    status_interval: int = Field(
        default=DEFAULTS["status_interval"],
        ge=MINIMUMS["status_interval"],
        description="Seconds between status reports: a whole number from "
        f"{MINIMUMS['status_interval']} up.",
    )
    high_watermark_ratio: float = Field(
        default=DEFAULTS["high_watermark_ratio"],
        gt=0,
        le=1,
        description="The share of buffer_size at which a send starts: a number above 0, at most 1.",
    )
    max_concurrent_flushes: int = Field(
        default=DEFAULTS["max_concurrent_flushes"],
        ge=1,
        description="How many requests may be in flight at the same time: a whole number from 1 "
        "up.",
    )
    buffer_overflow_policy: Literal["drop", "block", "raise"] = Field(
        default="drop",
        description='What a full queue does: "drop" the oldest record, "block" the sender or '
        '"raise" BufferFullError.',
    )
    enable_metrics: bool = Field(
        default=True, description="Whether metrics are sent: true or false."
    )
    enable_events: bool = Field(default=True, description="Whether events are sent: true or false.")
    retry_attempts: int = Field(
        default=DEFAULTS["retry_attempts"],
        description="How often a failed batch is sent again in one round, before a longer pause: "
        "a whole number from 0 up.",
    )
    timeout: int = Field(
        default=DEFAULTS["timeout"],
        description="Seconds that one request may take: a whole number above 0.",
    )
    backoff_factor: float = Field(
        default=DEFAULTS["backoff_factor"],
        description="Seconds until the first retry; each further retry doubles it: a number above "
        "0.",
    )
    sensitive_headers: list[str] = Field(
        default_factory=lambda: list(DEFAULTS["sensitive_headers"]),
        description="Names of headers and fields whose values are redacted, in addition to "
        "proxy-authorization and set-cookie: a list of names in any case.",
    )
    max_payload_size: int = Field(
        default=DEFAULTS["max_payload_size"],
        ge=0,
        description="Longer text in a record is truncated to this many bytes: a whole number from "
        "0 up.",
    )
    project_encryption_key: str | None = Field(
        default=None,
        repr=False,
        description="Encrypts every payload: 32 bytes as URL-safe base64.",
    )
    guard_version: str | None = Field(
        default=None, description="The version of the guard that uses the agent."
    )
    guard_core_version: str | None = Field(default=None, description="The version of guard-core.")
    compression_enabled: bool = Field(
        default=True, description="Whether bodies are compressed: true or false."
    )
    compression_threshold: int = Field(
        default=DEFAULTS["compression_threshold"],
        ge=0,
        description="Bodies of at least this many bytes are compressed: a whole number from 0 up.",
    )
    install_id: str | None = Field(
        default=None,
        description="Identifies the installation; by default it is kept in "
        "~/.guard-agent/install-id.",
    )
    name: str | None = Field(
        default_factory=lambda: os.environ.get("GUARD_AGENT_NAME", "").strip() or None,
        description="The agent's name in the backend, for people; by default the program and the "
        "host, such as uvicorn@web-1. The default is the environment variable GUARD_AGENT_NAME, "
        "which also applies to the AgentConfig that a guard makes.",
    )
    payload_signing_secret: str | None = Field(
        default=None, repr=False, description="Signs every body: a text that the backend has too."
    )
    on_error: OnError | None = Field(
        default=None,
        repr=False,
        description="Called as on_error(stage, exception, context) from a thread of the agent "
        "when a send fails, for the same error at most once a minute; get_stats() has the counts: "
        "a function, asynchronous or not, so it cannot come from the environment.",
    )
    max_buffered: int | None = Field(
        default=None,
        ge=1,
        description="The most records that are queued: a whole number from 1 up; by default "
        f"{DEFAULTS['max_buffered']:,} under "
        '"drop", and buffer_size under "block" and "raise".',
    )
    max_buffer_bytes: int = Field(
        default=DEFAULTS["max_buffer_bytes"],
        ge=1,
        description="The most bytes of records that are queued: a whole number from 1 up.",
    )
    max_batch_bytes: int = Field(
        default=DEFAULTS["max_batch_bytes"],
        ge=MINIMUMS["max_batch_bytes"],
        description="The most bytes of one uncompressed body: a whole number from "
        f"{MINIMUMS['max_batch_bytes']:,} up.",
    )
    rules_cache_path: Path | None = Field(
        default=None,
        description="Keeps the last good rules for a start without the backend: the path of a "
        "file; ~ at its beginning is the home directory, and a relative path starts at the working "
        "directory of this moment.",
    )
    spool_dir: str | None = Field(
        default_factory=lambda: os.environ.get("GUARD_AGENT_SPOOL_DIR", "").strip() or None,
        validate_default=True,
        description="Saves records below this directory until they are delivered, so that they "
        "outlive the process: a path; ~ at its beginning is the home directory, and a relative "
        "path starts at the working directory of this moment. The default is "
        "the environment variable GUARD_AGENT_SPOOL_DIR, which also applies to the AgentConfig "
        "that a guard makes. None saves nothing.",
    )
    spool_max_bytes: int = Field(
        default=DEFAULTS["spool_max_bytes"],
        ge=MINIMUMS["spool_max_bytes"],
        description="The most bytes of the spool: a whole number from "
        f"{MINIMUMS['spool_max_bytes']:,} up, and at least {MINIMUMS['spool_batches']} times "
        "max_batch_bytes.",
    )
    spool_fsync: Literal["interval", "always"] = Field(
        default="interval",
        description='When saved records are safe against a power cut: with "interval" within 200 '
        'ms, with "always" as soon as the disk is ready.',
    )
    redis_url: str | None = Field(
        default_factory=lambda: os.environ.get("GUARD_AGENT_REDIS_URL", "").strip() or None,
        repr=False,
        pattern=r"^rediss?://[^/]",
        description="Saves records in Redis until they are delivered, for all processes of the "
        "project together: redis://user:password@host:port/database, or rediss:// for TLS. The "
        "default is the environment variable GUARD_AGENT_REDIS_URL, which also applies to the "
        "AgentConfig that a guard makes. Cannot be combined with spool_dir.",
    )
    redis_max_bytes: int = Field(
        default=DEFAULTS["redis_max_bytes"],
        ge=MINIMUMS["redis_max_bytes"],
        description="The most bytes of the project's records in Redis, counting 200 extra for "
        f"each record: a whole number from {MINIMUMS['redis_max_bytes']:,} up.",
    )
    anonymize_ip: Literal["none", "truncate", "hash"] = Field(
        default_factory=lambda: os.environ.get("GUARD_AGENT_ANONYMIZE_IP", "").strip() or "none",
        validate_default=True,
        description='What events contain as ip_address: "none" leaves it unchanged; "truncate" '
        'zeroes the last 8 bits of an IPv4 and the last 80 of an IPv6 address; "hash" replaces it '
        "by its SHA-256, salted with api_key. The default is the environment variable "
        "GUARD_AGENT_ANONYMIZE_IP, which also applies to the AgentConfig that a guard makes.",
    )

    @classmethod
    def from_env(cls, **values: Any) -> "AgentConfig":
        """Reads GUARD_AGENT_API_KEY, GUARD_AGENT_ENDPOINT and so on, one variable per field.

        Commas separate list items. Empty variables count as unset.

        Args:
            **values: These fields override the environment.
        """
        found: dict[str, Any] = {}
        for name in cls.model_fields:
            text = os.environ.get(f"GUARD_AGENT_{name.upper()}", "").strip()
            if text and name != "on_error":
                found[name] = text.split(",") if name == "sensitive_headers" else text
        return cls(**(found | values))

    @model_validator(mode="before")
    @classmethod
    def _warn_of_unknown(cls, data: Any) -> Any:
        """Warns of unknown fields: other versions have other fields, so they are no error."""
        if isinstance(data, dict):
            for name in data.keys() - cls.model_fields.keys():
                near = difflib.get_close_matches(str(name), cls.model_fields, n=1)
                hint = f"did you mean {near[0]}?" if near else "remove it"
                _logger.warning("AgentConfig has no field %s and ignores it; %s", name, hint)
        return data

    @field_validator("endpoint")
    @classmethod
    def _normalise_endpoint(cls, endpoint: str) -> str:
        # Check this before parsing, because a parse error could show the whole URL.
        if "@" in endpoint:
            raise ValueError("leave user and password out of it; the API key is the credential")
        url = endpoint.strip().rstrip("/").removesuffix(_API_PATH).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http or https URL with a host")
        return url

    @field_validator("rules_cache_path", "spool_dir", mode="before")
    @classmethod
    def _make_absolute(cls, path: Any) -> Any:
        if not isinstance(path, (str, Path)):
            return path
        found = os.path.expanduser(path)
        if not found.strip():
            raise ValueError("an empty path")
        if "\0" in found:
            raise ValueError("a path with a NUL in it")
        if found.startswith("~"):
            raise ValueError("a user whose home directory is not known")
        try:
            # Make the path absolute now: a daemon changes its directory later.
            return os.path.abspath(found)
        except FileNotFoundError:
            raise ValueError("a relative path in a working directory that is gone") from None

    # The last validator is the outermost one: it sees the errors of all others.
    @field_validator("*", mode="wrap")
    @classmethod
    def _explain(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Adds the expected value to the error, and the given value unless it is secret."""
        try:
            return check(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = info.field_name or ""
        # The part of a URL before an @ is the user and password.
        is_secret = name in SECRETS or (name == "endpoint" and "@" in str(value))
        shown = "a value that is not shown" if is_secret else f"{value!r:.200}"
        raise PydanticCustomError(
            "agent_config",
            "{problem}; got {shown}. Expected: {expected}",
            {
                "problem": first["msg"],
                "shown": shown,
                "expected": cls.model_fields[name].description or name,
            },
        )


def validate_config(config: AgentConfig) -> list[str]:
    """Returns the problems of `config` beyond wrong types; an empty list if there are none.

    The handlers reject a configuration with problems by a ValueError.
    """
    errors = []
    least = MINIMUMS["api_key"]
    if len(config.api_key) < least:
        errors.append(f"api_key must be at least {least} characters long")
    for name in ("buffer_size", "flush_interval", "timeout", "backoff_factor"):
        value = getattr(config, name)
        if not value > 0:
            errors.append(f"{name} must be greater than 0, not {value}")
    if config.retry_attempts < 0:
        errors.append(f"retry_attempts cannot be negative, such as {config.retry_attempts}")
    return errors
