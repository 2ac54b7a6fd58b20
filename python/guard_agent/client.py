"""The handlers that programs and guards use. All share the process's single agent."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from guard_agent._agent import ProcessAgent, process_agent, replace_buffer, replace_transport
from guard_agent._home import home
from guard_agent._native import Ready, Sender
from guard_agent._rules import RulesCallback
from guard_agent.awaitables import Pending, in_background
from guard_agent.buffer import until_taken, when_taken
from guard_agent.config import AgentConfig
from guard_agent.models import AgentStatus, DynamicRules
from guard_agent.protocols import BufferProtocol, RedisHandlerProtocol, TransportProtocol

__all__ = ["GuardAgentHandler", "SyncGuardAgentHandler", "guard_agent"]

T = TypeVar("T")
_DONE: Coroutine[Any, Any, None] = Ready(None)


class _Handler:
    """The common part of both kinds of handler."""

    def __init__(
        self,
        config: AgentConfig,
        transport: TransportProtocol | None = None,
        buffer: BufferProtocol | None = None,
    ) -> None:
        """Creates the process's agent, or applies this configuration to the existing one.

        Raises:
            TypeError: `transport` or `buffer` lacks a method of its protocol.
            ValueError: The configuration is invalid. The error names each field, value and remedy.
            EncryptionConfigError: `project_encryption_key` is not a 256-bit key.
        """
        self._agent: ProcessAgent = process_agent(config, transport, buffer)

    @property
    def config(self) -> AgentConfig:
        """The configuration in force: the last one given in this process."""
        return self._agent.config

    @property
    def redis_handler(self) -> RedisHandlerProtocol | None:
        """Saves records in Redis until they are delivered; None if records are not saved there.

        Assigning is the same as `initialize_redis`.
        """
        return self._agent.redis_handler

    @redis_handler.setter
    def redis_handler(self, redis_handler: RedisHandlerProtocol | None) -> None:
        self._agent.initialize_redis(redis_handler)

    @property
    def transport(self) -> TransportProtocol:
        """Carries the records: an `HTTPTransport`, or the program's own transport.

        Assign your own transport, or None to return to HTTP. The agent calls it from an event
        loop in a dedicated thread, for at most `timeout` seconds per call.
        If its `send_events` or `send_metrics` returns true, the batch is delivered. Any other value
        or an exception keeps the batch for another attempt. An assignment takes effect at once.

        Raises:
            TypeError: The assigned object lacks a method of `TransportProtocol`.
        """
        return self._agent.transport

    @transport.setter
    def transport(self, transport: TransportProtocol | None) -> None:
        replace_transport(self._agent, transport)

    @property
    def buffer(self) -> BufferProtocol:
        """Holds the records: an `EventBuffer`, or the program's own buffer.

        Assign your own buffer, or None to return to the agent's queue. The agent calls it from an
        event loop in a dedicated thread, for at most `timeout` seconds per call. Records that it
        does not accept are counted and logged as lost. The agent flushes it every `flush_interval`
        seconds, when `high_watermark_ratio` of `buffer_size` records were added, and by
        `flush_buffer` and `stop`. It confirms delivered records to the buffer and gives the others
        back. An assignment takes effect at once and never waits: the agent flushes the replaced
        buffer once more in the background.

        Raises:
            TypeError: The assigned object lacks a method of `BufferProtocol`.
        """
        return self._agent.buffer

    @buffer.setter
    def buffer(self, buffer: BufferProtocol | None) -> None:
        replace_buffer(self._agent, buffer)

    def on_rules_updated(self, callback: RulesCallback) -> Callable[[], None]:
        """Calls `callback` with new rules as they arrive, or with None when there are none left.

        Inside a running event loop the callback runs there, and is awaited if it is asynchronous.
        Outside a loop it runs in an agent thread, one call after the other; an asynchronous
        callback then runs in its own event loop. Its exceptions are logged. A forked child keeps
        the callbacks that were registered outside a loop.

        Args:
            callback: Takes a `DynamicRules` or None.

        Returns:
            A function that removes the callback.
        """
        self._agent.native.notice_fork()
        remove = self._agent.rules_feed.add(callback)
        self._agent.native.follow_rules()
        return remove

    def get_stats(self) -> dict[str, Any]:
        """Returns counters of everything the agent accepted, sent and lost. Never blocks."""
        return self._agent.stats()


class GuardAgentHandler(Sender, _Handler):
    """The agent, for asynchronous code.

    Each call does or starts its work at once. You can await the return value, make a task of it,
    or ignore it.

    Args:
        config: Configures what to collect and where to deliver.
        transport: Carries the records instead of HTTP, for all handlers of the process.
        buffer: Holds the records instead of the agent's queue, for all handlers of the process.

    Example:
        >>> import asyncio
        >>> config = AgentConfig(api_key="YOUR_API_KEY", endpoint="http://127.0.0.1:8400")
        >>> async def main() -> None:
        ...     agent = GuardAgentHandler(config)
        ...     await agent.start()
        ...     await agent.stop()
        >>> asyncio.run(main())
    """

    def start(self) -> Coroutine[Any, Any, None]:
        """Starts delivering and reporting status. The first record does so too."""
        self._agent.start()
        return _DONE

    def stop(self) -> Coroutine[Any, Any, None]:
        """Delivers the queued records, for at most 2 seconds, and stops.

        Calls that wait for room then raise `BufferFullError`.
        """
        return in_background(self._agent.stop)

    def close(self) -> Coroutine[Any, Any, None]:
        """The same as `stop`."""
        return self.stop()

    def flush_buffer(self) -> Coroutine[Any, Any, None]:
        """Delivers the queued records now; gives up after `timeout` seconds and keeps the rest."""
        return in_background(self._agent.flush)

    def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> Coroutine[Any, Any, None]:
        """Saves records in Redis until they are delivered, and delivers the records found there.

        Returns at once: the agent talks to Redis in the background, so a slow or unreachable Redis
        blocks nothing. Coroutines run in the event loop of this call.

        Args:
            redis_handler: The guard's Redis handler, or any object with its methods, as coroutines
                or plain functions.

        Raises:
            TypeError: `redis_handler` lacks a method of `RedisHandlerProtocol`.
        """
        self._agent.initialize_redis(redis_handler)
        return _DONE

    def get_dynamic_rules(self) -> Coroutine[Any, Any, DynamicRules | None]:
        """Returns the rules in force, or None if there are none.

        The first call subscribes to the rules and waits for the backend. Later calls return the
        latest known rules at once.
        """
        return self._answer(self._agent.rules)

    def get_status(self) -> Coroutine[Any, Any, AgentStatus]:
        """Returns the agent's status."""
        return self._given(self._agent.status())

    def health_check(self) -> Coroutine[Any, Any, bool]:
        """Returns whether the agent runs and delivers most of its records."""
        return self._given(self._agent.is_healthy())

    def _answer(self, ask: Callable[[], T]) -> Coroutine[Any, Any, T]:
        return in_background(ask)

    def _given(self, value: T) -> Coroutine[Any, Any, T]:
        return Ready(value)

    def _when_room(self, kind: str, record: Any) -> Coroutine[Any, Any, None]:
        """Sends `record` as soon as the full queue has room for it."""
        where = home()
        if where is None:
            self._agent.send_when_room(kind, record)
            return _DONE
        tries = until_taken(self._agent.native, kind, record)
        return Pending(where.task(lambda: when_taken(tries)))


class _AdaptableHandler(GuardAgentHandler):
    """A handler for synchronous and asynchronous callers.

    Inside a running loop each call works as on a `GuardAgentHandler`. Outside a loop, calls with a
    result return it directly. The return value of the other calls can be awaited or ignored.
    """

    def _answer(self, ask: Callable[[], T]) -> Any:
        return ask() if home() is None else in_background(ask)

    def _given(self, value: T) -> Any:
        return self._answer(lambda: value)


class SyncGuardAgentHandler(_Handler):
    """The agent, for synchronous code: every call returns its value.

    Args:
        config: Configures what to collect and where to deliver.
        transport: Carries the records instead of HTTP, for all handlers of the process.
        buffer: Holds the records instead of the agent's queue, for all handlers of the process.

    Example:
        >>> config = AgentConfig(api_key="YOUR_API_KEY", endpoint="http://127.0.0.1:8400")
        >>> agent = SyncGuardAgentHandler(config)
        >>> agent.start()
        >>> agent.stop()
    """

    def send_event(self, event: Any) -> None:
        """Queues a security event. Blocks only under `buffer_overflow_policy="block"`.

        Raises:
            BufferFullError: The queue is full and `buffer_overflow_policy` is "raise", or the agent
                stopped while the call waited for room.
        """
        if self._agent.native.send_event(event) is None:
            self._agent.send_when_room("events", event)

    def send_metric(self, metric: Any) -> None:
        """Queues a metric. Blocks only under `buffer_overflow_policy="block"`.

        Raises:
            BufferFullError: The queue is full and `buffer_overflow_policy` is "raise", or the agent
                stopped while the call waited for room.
        """
        if self._agent.native.send_metric(metric) is None:
            self._agent.send_when_room("metrics", metric)

    def start(self) -> None:
        """Starts delivering and reporting status. The first record does so too."""
        self._agent.start()

    def stop(self) -> None:
        """Delivers the queued records, for at most 2 seconds, and stops.

        Calls that wait for room then raise `BufferFullError`.
        """
        self._agent.stop()

    def close(self) -> None:
        """The same as `stop`."""
        self._agent.stop()

    def flush_buffer(self) -> None:
        """Delivers the queued records now; gives up after `timeout` seconds and keeps the rest."""
        self._agent.flush()

    def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> None:
        """Saves records in Redis until they are delivered, and delivers the records found there.

        Returns at once: the agent talks to Redis in the background, so a slow or unreachable Redis
        blocks nothing.

        Args:
            redis_handler: The guard's Redis handler, or any object with its methods, as coroutines
                or plain functions.

        Raises:
            TypeError: `redis_handler` lacks a method of `RedisHandlerProtocol`.
        """
        self._agent.initialize_redis(redis_handler)

    def get_dynamic_rules(self) -> DynamicRules | None:
        """Returns the rules in force, or None if there are none.

        The first call subscribes to the rules and waits for the backend. Later calls return the
        latest known rules at once.
        """
        return self._agent.rules()

    def get_status(self) -> AgentStatus:
        """Returns the agent's status."""
        return self._agent.status()

    def health_check(self) -> bool:
        """Returns whether the agent runs and delivers most of its records."""
        return self._agent.is_healthy()


def guard_agent(config: AgentConfig) -> GuardAgentHandler:
    """Applies `config` to the process's agent and returns its handler, always the same object.

    The handler serves asynchronous code that awaits it and synchronous code that calls it directly,
    wherever it was created: each call checks whether an event loop runs in its
    thread. A server may import a synchronous application inside its event loop.

    Raises:
        ValueError: The configuration is invalid. The error names each field, value and remedy.
        EncryptionConfigError: `project_encryption_key` is not a 256-bit key.
    """
    handler = _AdaptableHandler(config)
    shared: GuardAgentHandler = handler._agent.handlers.setdefault(_AdaptableHandler, handler)
    return shared
