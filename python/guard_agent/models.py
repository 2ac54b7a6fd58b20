"""What agents and backends exchange, as pydantic models."""

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

# One record is built for every request: instrumentation of pydantic stays off for them.
_UNTRACED: dict[str, object] = {"logfire": {"record": "off"}}


def _now() -> datetime:
    return datetime.now(timezone.utc)


class _Record(BaseModel):
    """What is sent, stored once for each idempotency key."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "Self":
        """Returns a new record: it has a key of its own, unless `update` names one.

        `copy.copy`, `copy.deepcopy` and pickle give the same record again, with its key.
        """
        copied = super().model_copy(update=update, deep=deep)
        if "idempotency_key" not in (update or {}):
            # That of a metric stands beside its fields.
            copied.__dict__.pop("idempotency_key", None)
            if (field := type(self).model_fields.get("idempotency_key")) is not None:
                copied.__dict__["idempotency_key"] = field.get_default(call_default_factory=True)
        return copied


class SecurityEvent(_Record):
    """Something that the guard saw or did. Further fields are allowed and sent.

    A `model_copy` is a new event with a key of its own, unless its `update` names the key.

    Attributes:
        idempotency_key: Tells this event from all others; backends store it once.
        timestamp: When it happened; taken as UTC if naive.
        event_type: One of `KNOWN_EVENT_TYPES` or any other text.
        ip_address: The client's address, "system" or "".
        country: ISO 3166-1 alpha-2.
        user_agent: The client's User-Agent.
        action_taken: What the guard did.
        reason: Why, in words.
        endpoint: The path of the request.
        method: The method of the request.
        status_code: The status of the answer.
        response_time: Seconds until the answer.
        decorator_type: The decorator that acted.
        rule_type: The rule that acted.
        pattern_matched: The pattern that matched.
        handler_name: The part of the guard that reports.
        metadata: Anything else. Redacted, and long text cut, before it is sent.
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
    """One measured number. It has no key: the agent gives it one when it is sent.

    Attributes:
        timestamp: When it was measured; taken as UTC if naive.
        metric_type: What was measured.
        value: How much: seconds, bytes, a count or a ratio, by type.
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
    """Rules that a backend wants the guard to apply. None leaves the guard's own setting.

    Attributes:
        rule_id: Which document this is.
        version: Rises with every change; the guard ignores what is not above its own.
        timestamp: When it was made.
        expires_at: When it ends, if ever.
        ttl: Seconds for which an agent may answer from memory.
        ip_blacklist: Addresses and networks to ban.
        ip_whitelist: Addresses to unban.
        ip_ban_duration: Seconds of a ban.
        blocked_countries: ISO 3166-1 alpha-2.
        whitelist_countries: ISO 3166-1 alpha-2.
        global_rate_limit: Requests in one window.
        global_rate_window: Seconds of one window.
        endpoint_rate_limits: Requests and seconds, by path.
        blocked_cloud_providers: AWS, GCP, Azure, DigitalOcean, Linode, Vultr.
        blocked_user_agents: Regular expressions.
        suspicious_patterns: Regular expressions.
        enable_penetration_detection: Switches the guard's detection.
        enable_ip_banning: Switches the guard's bans.
        enable_rate_limiting: Switches the guard's rate limits.
        auto_ban_threshold: Offences until a ban, at least 1.
        auto_ban_duration: Seconds of such a ban, at least 1.
        enable_rate_limit_auto_ban: Whether rate limiting leads to bans.
        emergency_mode: Let nobody in but `emergency_whitelist`.
        emergency_whitelist: Addresses let in then.
        emergency_whitelist_only: Kept for completeness.
        message: For people.
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
    """How the agent is.

    Attributes:
        timestamp: When this was written.
        status: "healthy", "degraded" (few sends succeed, the breaker is open or the buffer
            is nearly full) or "failed".
        uptime: Seconds since start.
        events_sent: Events delivered.
        events_failed: Events lost.
        buffer_size: Records in memory.
        last_flush: When a batch was last delivered.
        errors: What went wrong lately.
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
        created_at: When it was put together.
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
"""Types that guards of the fastapi-guard family report. The field is open to others."""
