"""Delivery over HTTP without the agent's queue."""

import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

from guard_agent import _native
from guard_agent._decode import read_rules
from guard_agent._report import reporter
from guard_agent._stats import transport_stats
from guard_agent.awaitables import in_background
from guard_agent.config import AgentConfig
from guard_agent.models import AgentStatus, DynamicRules, SecurityEvent, SecurityMetric

__all__ = ["HTTPTransport"]

_logger = logging.getLogger("guard_agent")

T = TypeVar("T")


class HTTPTransport:
    """Sends records to the backend at once, as the agent does, and keeps nothing.

    Batches are redacted, compressed, encrypted, signed, retried and split like the agent's
    own. Calls never raise and never block the event loop; they run one after the other. The first
    call connects. A forked child opens its own connections.

    Args:
        config: Configures the delivery. The limits of the agent's queue have no effect here.

    Raises:
        ValueError: The configuration is invalid. The error names the field, value and remedy.

    Example:
        >>> import asyncio
        >>> from guard_agent import get_current_timestamp
        >>> config = AgentConfig(api_key="YOUR_API_KEY", endpoint="http://127.0.0.1:9", timeout=1)
        >>> event = SecurityEvent(timestamp=get_current_timestamp(), event_type="ip_banned")
        >>> asyncio.run(HTTPTransport(config).send_events([event]))
        False
    """

    def __init__(self, config: AgentConfig) -> None:
        """Prepares for delivery."""
        self.config = config
        self._pid = os.getpid()
        self._client = self._new_client()

    def _new_client(self) -> _native.DirectClient:
        config = self.config
        return _native.DirectClient(config, reporter(lambda: config))

    def _own_client(self) -> _native.DirectClient:
        if self._pid != os.getpid():
            # The existing connections belong to the parent.
            self._pid = os.getpid()
            self._client = self._new_client()
        return self._client

    async def initialize(self) -> None:
        """Prepares to connect. The first call would do this too."""
        await self._ask(_native.DirectClient.open, None)

    async def close(self) -> None:
        """Closes the connections. A later call opens new ones."""
        await self._ask(_native.DirectClient.close, None)

    async def send_events(self, events: list[SecurityEvent]) -> bool:
        """Delivers events; returns true if none of them needs another attempt.

        Gives up after `retry_attempts` retries, and after `timeout` seconds. An event is lost,
        logged and counted if the backend rejects it but accepts others, or if it cannot be
        encoded: sending it again would not help.
        """
        return await self._deliver("events", events)

    async def send_metrics(self, metrics: list[SecurityMetric]) -> bool:
        """Delivers metrics, exactly as `send_events` delivers events."""
        return await self._deliver("metrics", metrics)

    async def _deliver(self, kind: str, records: list[Any]) -> bool:
        seconds = float(self.config.timeout)
        return await self._ask(lambda client: client.deliver(kind, records, seconds), False)

    async def fetch_dynamic_rules(self) -> DynamicRules | None:
        """Returns the backend's rules, or the last known rules if it cannot be reached."""
        return read_rules(await self._ask(_native.DirectClient.rules, None))

    async def send_status(self, status: AgentStatus) -> bool:
        """Delivers a status report in one attempt; returns whether the backend accepted it."""
        report = status.model_dump_json()
        return await self._ask(lambda client: client.push_status(report), False)

    async def _ask(self, question: Callable[[_native.DirectClient], T], otherwise: T) -> T:
        client = self._own_client()
        try:
            return await in_background(lambda: question(client))
        except OSError as error:
            _logger.warning("No connection can be made (%s); check the limit of open files", error)
            return otherwise

    def get_stats(self) -> dict[str, Any]:
        """Returns how many requests and bytes were sent, and the circuit breaker's state."""
        return transport_stats(self._own_client().stats())
