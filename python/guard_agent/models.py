"""The data that agents and backends exchange, as pydantic models."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from guard_agent import _native
from guard_agent.config import AgentConfig

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "KNOWN_EVENT_TYPES",
    "AgentConfig",
    "AgentStatus",
    "DynamicRules",
    "EventBatch",
    "SecurityEvent",
    "SecurityMetric",
]

# One record is created per request, so pydantic instrumentation stays off for records.
_UNTRACED: dict[str, object] = {"logfire": {"record": "off"}}


def _now() -> datetime:
    return datetime.now(timezone.utc)


class _Record(BaseModel):
    """A record to send. Backends store it once per idempotency key."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "Self":
        """Returns a new record with its own key, unless `update` sets one.

        `copy.copy`, `copy.deepcopy` and pickle return the same record with the same key.
        """
        copied = super().model_copy(update=update, deep=deep)
        if "idempotency_key" not in (update or {}):
            # A metric's key is not a field; it is stored beside the fields.
            copied.__dict__.pop("idempotency_key", None)
            if (field := type(self).model_fields.get("idempotency_key")) is not None:
                copied.__dict__["idempotency_key"] = field.get_default(call_default_factory=True)
        return copied


class SecurityEvent(_Record):
    """Something that the guard saw or did. Additional fields are allowed and sent.

    A `model_copy` is a new event with its own key, unless its `update` sets the key.

    Attributes:
        idempotency_key: Identifies the event; backends store it once.
        timestamp: When it happened; a naive time is taken as UTC.
        event_type: One of `KNOWN_EVENT_TYPES` or any other text.
        ip_address: The client's address, "system" or "".
        country: ISO 3166-1 alpha-2.
        user_agent: The client's User-Agent.
        action_taken: What the guard did.
        reason: The reason, as text.
        endpoint: The path of the request.
        method: The method of the request.
        status_code: The status of the response.
        response_time: Seconds until the response.
        decorator_type: The decorator that acted.
        rule_type: The rule that acted.
        pattern_matched: The pattern that matched.
        handler_name: The part of the guard that reports.
        metadata: Anything else. Redacted, and long text truncated, before it is sent.
    """

    model_config = ConfigDict(extra="allow", plugin_settings=dict(_UNTRACED))

    idempotency_key: UUID = Field(default_factory=_native.new_key)
    timestamp: datetime
    event_type: str
    ip_address: str = ""
    country: str | None = None
    user_agent: str | None = None
    action_taken: str = ""
    reason: str = ""
    endpoint: str | None = None
    method: str | None = None
    status_code: int | None = None
    response_time: float | None = None
    decorator_type: str | None = None
    rule_type: str | None = None
    pattern_matched: str | None = None
    handler_name: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class SecurityMetric(_Record):
    """One measured value. It has no key: the agent assigns one when it sends the metric.

    Attributes:
        timestamp: When it was measured; a naive time is taken as UTC.
        metric_type: What was measured.
        value: The value: seconds, bytes, a count or a ratio, depending on the type.
        endpoint: The path of the request.
        tags: Names and values to group by.
    """

    model_config = ConfigDict(plugin_settings=dict(_UNTRACED))

    timestamp: datetime
    metric_type: Literal[
        "request_count",
        "response_time",
        "error_rate",
        "bandwidth_usage",
        "threat_level",
        "block_rate",
        "cache_hit_rate",
    ]
    value: float
    endpoint: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class DynamicRules(BaseModel):
    """Rules that a backend wants the guard to apply. None keeps the guard's own setting.

    Attributes:
        rule_id: Identifies the document.
        version: Rises with every change; the guard ignores versions not above its own.
        timestamp: When the document was created.
        expires_at: When it expires, if ever.
        ttl: How many seconds an agent may cache the rules.
        ip_blacklist: Addresses and networks to ban.
        ip_whitelist: Addresses to unban.
        ip_ban_duration: The duration of a ban, in seconds.
        blocked_countries: ISO 3166-1 alpha-2.
        whitelist_countries: ISO 3166-1 alpha-2.
        global_rate_limit: The number of requests allowed per window.
        global_rate_window: The length of the window, in seconds.
        endpoint_rate_limits: Allowed requests and window in seconds, by path.
        blocked_cloud_providers: AWS, GCP, Azure, DigitalOcean, Linode, Vultr.
        blocked_user_agents: Regular expressions.
        suspicious_patterns: Regular expressions.
        enable_penetration_detection: Turns the guard's detection on or off.
        enable_ip_banning: Turns the guard's bans on or off.
        enable_rate_limiting: Turns the guard's rate limits on or off.
        auto_ban_threshold: The number of offences before a ban, at least 1.
        auto_ban_duration: The duration of such a ban in seconds, at least 1.
        enable_rate_limit_auto_ban: Whether rate limiting leads to bans.
        emergency_mode: Allows only the addresses in `emergency_whitelist`.
        emergency_whitelist: The addresses allowed in emergency mode.
        emergency_whitelist_only: Kept for completeness.
        message: A message for people.
    """

    rule_id: str = "default-rule"
    version: int = 1
    timestamp: datetime = Field(default_factory=_now)
    expires_at: datetime | None = None
    ttl: int = 300
    ip_blacklist: list[str] = Field(default_factory=list)
    ip_whitelist: list[str] = Field(default_factory=list)
    ip_ban_duration: int = 3600
    blocked_countries: list[str] = Field(default_factory=list)
    whitelist_countries: list[str] = Field(default_factory=list)
    global_rate_limit: int | None = None
    global_rate_window: int | None = None
    endpoint_rate_limits: dict[str, tuple[int, int]] = Field(default_factory=dict)
    blocked_cloud_providers: set[str] = Field(default_factory=set)
    blocked_user_agents: list[str] = Field(default_factory=list)
    suspicious_patterns: list[str] = Field(default_factory=list)
    enable_penetration_detection: bool | None = None
    enable_ip_banning: bool | None = None
    enable_rate_limiting: bool | None = None
    auto_ban_threshold: int | None = Field(default=None, ge=1)
    auto_ban_duration: int | None = Field(default=None, ge=1)
    enable_rate_limit_auto_ban: bool | None = None
    emergency_mode: bool = False
    emergency_whitelist: list[str] = Field(default_factory=list)
    emergency_whitelist_only: bool = False
    message: str | None = None


class AgentStatus(BaseModel):
    """The agent's status.

    Attributes:
        timestamp: When this was written.
        status: "healthy", "degraded" (few sends succeed, the breaker is open or the buffer
            is nearly full) or "failed".
        uptime: Seconds since start.
        events_sent: Events delivered.
        events_failed: Events lost.
        buffer_size: Records in memory.
        last_flush: When a batch was last delivered.
        errors: Recent errors.
    """

    timestamp: datetime
    status: Literal["healthy", "degraded", "failed"]
    uptime: float
    events_sent: int
    events_failed: int
    buffer_size: int
    last_flush: datetime | None = None
    errors: list[str] = Field(default_factory=list)


class EventBatch(BaseModel):
    """The body of one request with records.

    Attributes:
        project_id: The project, "default" if none is configured.
        events: The events.
        metrics: The metrics.
        batch_id: "<unix milliseconds>-<8 hexadecimal digits>".
        created_at: When it was assembled.
        compressed: Whether the body is compressed.
        agent_version: The agent's version.
        guard_version: The guard's version.
        guard_core_version: The version of guard-core.
    """

    model_config = ConfigDict(plugin_settings=dict(_UNTRACED))

    project_id: str
    events: list[SecurityEvent] = Field(default_factory=list)
    metrics: list[SecurityMetric] = Field(default_factory=list)
    batch_id: str
    created_at: datetime
    compressed: bool = False
    agent_version: str | None = None
    guard_version: str | None = None
    guard_core_version: str | None = None


KNOWN_EVENT_TYPES: list[str] = [
    "access_denied",
    "authentication_failed",
    "behavioral_violation",
    "cloud_blocked",
    "config_violation",
    "content_filtered",
    "country_blocked",
    "csp_violation",
    "custom_request_check",
    "custom_rule_triggered",
    "decoding_error",
    "decorator_violation",
    "detection_engine_callback_error",
    "dynamic_rule_applied",
    "dynamic_rule_updated",
    "dynamic_rule_violation",
    "emergency_mode_activated",
    "emergency_mode_block",
    "geo_lookup_failed",
    "https_enforced",
    "ip_ban_failed",
    "ip_banned",
    "ip_blocked",
    "ip_unbanned",
    "path_excluded",
    "pattern_added",
    "pattern_anomaly_slow_execution",
    "pattern_anomaly_statistical_anomaly",
    "pattern_anomaly_timeout",
    "pattern_detected",
    "pattern_removed",
    "penetration_attempt",
    "protocol_violation",
    "rate_limit_script_reloaded",
    "rate_limited",
    "redis_connection",
    "redis_error",
    "route_unresolved",
    "security_bypass",
    "security_headers_applied",
    "suspicious_request",
    "user_agent_blocked",
]
"""Event types that guards of the fastapi-guard family report. Other values are allowed."""
