"""Telemetry and monitoring agent for FastAPI Guard.

Collects what the guard sees and does, delivers it to a backend, and fetches rules.

Example:
    >>> from guard_agent import AgentConfig, SecurityEvent, get_current_timestamp, guard_agent
    >>> agent = guard_agent(AgentConfig(api_key="YOUR_API_KEY", endpoint="http://127.0.0.1:8400"))
    >>> event = SecurityEvent(timestamp=get_current_timestamp(), event_type="ip_banned")
    >>> _ = agent.send_event(event)
"""

from guard_agent._native import __version__
from guard_agent.buffer import EventBuffer
from guard_agent.client import GuardAgentHandler, SyncGuardAgentHandler, guard_agent
from guard_agent.config import AgentConfig, validate_config
from guard_agent.exceptions import BufferFullError, GuardAgentError
from guard_agent.logging_utils import setup_agent_logging
from guard_agent.models import (
    AgentStatus,
    DynamicRules,
    EventBatch,
    SecurityEvent,
    SecurityMetric,
)
from guard_agent.protocols import (
    AgentHandlerProtocol,
    BufferProtocol,
    RedisHandlerProtocol,
    TransportProtocol,
)
from guard_agent.resilience import CircuitBreaker, RateLimiter
from guard_agent.transport import HTTPTransport
from guard_agent.utils import (
    generate_batch_id,
    get_current_timestamp,
    hash_ip,
    sanitize_headers,
    truncate_payload,
)

__all__ = [
    "AgentConfig",
    "AgentHandlerProtocol",
    "AgentStatus",
    "BufferFullError",
    "BufferProtocol",
    "CircuitBreaker",
    "DynamicRules",
    "EventBatch",
    "EventBuffer",
    "GuardAgentError",
    "GuardAgentHandler",
    "HTTPTransport",
    "RateLimiter",
    "RedisHandlerProtocol",
    "SecurityEvent",
    "SecurityMetric",
    "SyncGuardAgentHandler",
    "TransportProtocol",
    "__version__",
    "generate_batch_id",
    "get_current_timestamp",
    "guard_agent",
    "hash_ip",
    "sanitize_headers",
    "setup_agent_logging",
    "truncate_payload",
    "validate_config",
]
