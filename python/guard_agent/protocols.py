"""Interfaces of the agent's parts, checkable at run time."""

from typing import Any, Protocol, runtime_checkable

from guard_agent.models import AgentStatus, DynamicRules, SecurityEvent, SecurityMetric


@runtime_checkable
class RedisHandlerProtocol(Protocol):
    """A key-value store on Redis, such as guard-core's RedisManager."""

    async def get_key(self, namespace: str, key: str) -> Any:
        """Returns the value of `key`, or None."""

    async def set_key(
        self, namespace: str, key: str, value: Any, ttl: int | None = None
    ) -> bool | None:
        """Sets `key`, with a lifetime of `ttl` seconds if given."""

    async def delete(self, namespace: str, key: str) -> int | None:
        """Removes `key`."""

    async def keys(self, pattern: str) -> list[str] | None:
        """Returns the keys that match `pattern`."""

    async def initialize(self) -> None:
        """Connects."""

    def get_connection(self) -> Any:
        """Returns an async context manager around a connection."""


@runtime_checkable
class TransportProtocol(Protocol):
    """Delivers records to a backend and fetches rules."""

    async def send_events(self, events: list[SecurityEvent]) -> bool:
        """Returns whether the events were delivered."""

    async def send_metrics(self, metrics: list[SecurityMetric]) -> bool:
        """Returns whether the metrics were delivered."""

    async def fetch_dynamic_rules(self) -> DynamicRules | None:
        """Returns the rules, or None if there are none."""

    async def send_status(self, status: AgentStatus) -> bool:
        """Returns whether the status was delivered."""


@runtime_checkable
class BufferProtocol(Protocol):
    """Holds records until they are delivered."""

    async def add_event(self, event: SecurityEvent) -> None:
        """Adds an event."""

    async def add_metric(self, metric: SecurityMetric) -> None:
        """Adds a metric."""

    async def flush_events(self) -> list[SecurityEvent]:
        """Removes and returns the events."""

    async def flush_metrics(self) -> list[SecurityMetric]:
        """Removes and returns the metrics."""

    async def flush_events_with_keys(self) -> tuple[list[SecurityEvent], list[str]]:
        """Removes and returns the events, and the Redis keys that hold them."""

    async def flush_metrics_with_keys(self) -> tuple[list[SecurityMetric], list[str]]:
        """Removes and returns the metrics, and the Redis keys that hold them."""

    async def confirm_event_redis_keys(self, keys: list[str]) -> None:
        """Removes the Redis keys of delivered events."""

    async def confirm_metric_redis_keys(self, keys: list[str]) -> None:
        """Removes the Redis keys of delivered metrics."""

    async def requeue_events_in_memory(
        self, events: list[SecurityEvent], keys: list[str]
    ) -> list[str]:
        """Takes back undelivered events; returns the keys that it does not keep."""

    async def requeue_metrics_in_memory(
        self, metrics: list[SecurityMetric], keys: list[str]
    ) -> list[str]:
        """Takes back undelivered metrics; returns the keys that it does not keep."""

    async def get_buffer_size(self) -> int:
        """Returns how many records it holds."""

    async def clear_buffer(self) -> None:
        """Discards all records."""


@runtime_checkable
class AgentHandlerProtocol(Protocol):
    """The interface that guards call. `GuardAgentHandler` implements it."""

    async def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> None:
        """Receives the guard's Redis handler."""

    async def send_event(self, event: Any) -> None:
        """Sends an event."""

    async def send_metric(self, metric: Any) -> None:
        """Sends a metric."""

    async def start(self) -> None:
        """Starts delivering."""

    async def stop(self) -> None:
        """Delivers the remaining records, within a time limit, and stops."""

    async def flush_buffer(self) -> None:
        """Delivers the queued records now."""

    async def get_dynamic_rules(self) -> DynamicRules | None:
        """Returns the rules, or None if there are none."""

    async def health_check(self) -> bool:
        """Returns whether records are being delivered."""

    async def get_status(self) -> AgentStatus:
        """Returns the agent's status."""

    async def close(self) -> None:
        """The same as `stop`."""
