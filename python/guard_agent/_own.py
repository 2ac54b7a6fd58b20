"""The agent's own queue and transport, in the form that programs see."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from guard_agent import _native
from guard_agent._stats import buffer_stats, transport_stats
from guard_agent.buffer import EventBuffer, until_taken
from guard_agent.protocols import RedisHandlerProtocol
from guard_agent.transport import HTTPTransport

if TYPE_CHECKING:
    from guard_agent._agent import ProcessAgent


class AgentBuffer(EventBuffer):
    """The queue of the process's agent."""

    def __init__(self, agent: "ProcessAgent") -> None:
        self._agent = agent
        super().__init__(agent.config)

    def _open_queue(self) -> _native.Agent:
        return self._agent.native

    def _until_taken(self, kind: str, record: Any) -> Iterator[object]:
        return until_taken(self._agent.native, kind, record)

    async def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> None:
        self._agent.initialize_redis(redis_handler)

    def get_stats(self) -> dict[str, Any]:
        return buffer_stats(self._agent.native.stats())


class AgentTransport(HTTPTransport):
    """The agent's connection to the backend. Calls by a program bypass the queue."""

    def __init__(self, agent: "ProcessAgent") -> None:
        self._agent = agent
        super().__init__(agent.config)

    def get_stats(self) -> dict[str, Any]:
        stats = transport_stats(self._agent.native.stats())
        passed = super().get_stats()
        for name in ("requests_sent", "requests_failed", "bytes_sent"):
            stats[name] += passed[name]
        return stats
