"""The handlers that programs and guards hold, all in front of the process's one agent."""

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
    """What both kinds of handler share."""

    def __init__(
        self,
        config: AgentConfig,
        transport: TransportProtocol | None = None,
        buffer: BufferProtocol | None = None,
    ) -> None:
        """Makes the process's agent, or gives it this configuration if there is one.

        Raises:
            TypeError: `transport` or `buffer` lacks a method of its protocol.
            ValueError: The configuration cannot be used; names each field, value and remedy.
            EncryptionConfigError: `project_encryption_key` is no 256-bit key.
        """
        self._agent: ProcessAgent = process_agent(config, transport, buffer)

    @property
    def config(self) -> AgentConfig:
        """The configuration in effect: the one given last in this process."""
        return self._agent.config

    @property
    def redis_handler(self) -> RedisHandlerProtocol | None:
        """Keeps records in Redis until they are delivered; None while nothing does.

        Assigning is the same as `initialize_redis`.
        """
        return self._agent.redis_handler

    @redis_handler.setter
    def redis_handler(self, redis_handler: RedisHandlerProtocol | None) -> None:
        self._agent.initialize_redis(redis_handler)

    @property
    def transport(self) -> TransportProtocol:
        """What carries the records: an `HTTPTransport`, or what a program brought along.

        Assign a transport of your own, or None for HTTP again. Yours is called from an event
        loop in a thread of its own, for `timeout` seconds at most.
        What its `send_events` and `send_metrics` return true for is delivered; anything else, and
        an exception, keeps the batch for another attempt. Assigning takes effect at once.

        Raises:
            TypeError: What is assigned lacks a method of `TransportProtocol`.
        """
        return self._agent.transport

    @transport.setter
    def transport(self, transport: TransportProtocol | None) -> None:
        replace_transport(self._agent, transport)

    @property
    def buffer(self) -> BufferProtocol:
        """What holds the records: an `EventBuffer`, or what a program brought along.

        Assign a buffer of your own, or None for the agent's queue again. Yours is called from an
        event loop in a thread of its own, for `timeout` seconds at most. What it does not take is
        counted and logged as lost. Taking its place again waits for its flush, 1.5 seconds at most.
        It is flushed every `flush_interval` seconds, when
        `high_watermark_ratio` of `buffer_size` records were added, and by `flush_buffer` and
        `stop`: delivered records are confirmed to it, the others given back to it.

        Raises:
            TypeError: What is assigned lacks a method of `BufferProtocol`.
        """
        return self._agent.buffer

    @buffer.setter
    def buffer(self, buffer: BufferProtocol | None) -> None:
        replace_buffer(self._agent, buffer)

    def on_rules_updated(self, callback: RulesCallback) -> Callable[[], None]:
        """Has `callback` called with new rules as they come in, or None when there are none left.

        Inside a running event loop it is called there, and awaited if it is asynchronous.
        Outside of one it is called in a thread of the agent's own, one call after the other; an
        asynchronous one then runs in a loop of its own. What it raises is logged. A forked
        child keeps those that were given outside of a loop.

        Args:
            callback: Takes a `DynamicRules` or None.

        Returns:
            A function that removes the callback again.
        """
        self._agent.native.notice_fork()
        remove = self._agent.rules_feed.add(callback)
        self._agent.native.follow_rules()
        return remove

    def get_stats(self) -> dict[str, Any]:
        """Returns counters of everything the agent took, sent and lost. Never blocks."""
        return self._agent.stats()


class GuardAgentHandler(Sender, _Handler):
    """The agent, for asynchronous code.

    Each call does its work, or starts it, at once; what it returns can be awaited, made a
    task of, or ignored.

    Args:
        config: How to collect and where to deliver.
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
        """Delivers what is queued, for 2 seconds at most, and stops.

        Calls that wait for room then raise `BufferFullError`.
        """
        return in_background(self._agent.stop)

    def close(self) -> Coroutine[Any, Any, None]:
        """The same as `stop`."""
        return self.stop()

    def flush_buffer(self) -> Coroutine[Any, Any, None]:
        """Delivers what is queued now; gives up after `timeout` seconds, keeping the rest."""
        return in_background(self._agent.flush)

    def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> Coroutine[Any, Any, None]:
        """Has records kept in Redis until they are delivered, and delivers what is found there.

        Returns at once: Redis is spoken to in the background, and a Redis that is slow or away
        holds up nothing. Coroutines run in the event loop of this call.

        Args:
            redis_handler: What a guard passes, or any object with its methods, as coroutines or
                plain functions.

        Raises:
            TypeError: `redis_handler` lacks a method of `RedisHandlerProtocol`.
        """
        self._agent.initialize_redis(redis_handler)
        return _DONE

    def get_dynamic_rules(self) -> Coroutine[Any, Any, DynamicRules | None]:
        """Returns the rules in force; None if there are none.

        The first call has the agent follow them from then on, and waits for the backend; later
        ones answer at once, with the newest that is known.
        """
        return self._answer(self._agent.rules)

    def get_status(self) -> Coroutine[Any, Any, AgentStatus]:
        """Returns how the agent is."""
        return self._given(self._agent.status())

    def health_check(self) -> Coroutine[Any, Any, bool]:
        """Returns whether the agent runs and delivers most of its records."""
        return self._given(self._agent.is_healthy())

    def _answer(self, ask: Callable[[], T]) -> Coroutine[Any, Any, T]:
        return in_background(ask)

    def _given(self, value: T) -> Coroutine[Any, Any, T]:
        return Ready(value)

    def _send(self, kind: str, record: Any) -> Coroutine[Any, Any, None]:
        """Sends what the native agent did not take at once."""
        send = self._agent.send_event if kind == "events" else self._agent.send_metric
        return send(record) or self._when_room(kind, record)

    def _when_room(self, kind: str, record: Any) -> Coroutine[Any, Any, None]:
        """Sends `record` as soon as the full queue has room for it."""
        where = home()
        if where is None:
            self._agent.send_when_room(kind, record)
            return _DONE
        tries = until_taken(self._agent.native, kind, record)
        return Pending(where.task(lambda: when_taken(tries)))


class _AdaptableHandler(GuardAgentHandler):
    """A handler for whoever calls it: where it was made does not tell who that will be.

    Called inside a running loop it is a `GuardAgentHandler`. Outside of one, calls that answer
    something return the answer itself; those that answer nothing can be awaited or not anyway.
    """

    def _answer(self, ask: Callable[[], T]) -> Any:
        return ask() if home() is None else in_background(ask)

    def _given(self, value: T) -> Any:
        return self._answer(lambda: value)


class SyncGuardAgentHandler(_Handler):
    """The agent, for synchronous code: every call returns its value.

    Args:
        config: How to collect and where to deliver.
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
        if self._agent.send_event(event) is None:
            self._agent.send_when_room("events", event)

    def send_metric(self, metric: Any) -> None:
        """Queues a metric. Blocks only under `buffer_overflow_policy="block"`.

        Raises:
            BufferFullError: The queue is full and `buffer_overflow_policy` is "raise", or the agent
                stopped while the call waited for room.
        """
        if self._agent.send_metric(metric) is None:
            self._agent.send_when_room("metrics", metric)

    def start(self) -> None:
        """Starts delivering and reporting status. The first record does so too."""
        self._agent.start()

    def stop(self) -> None:
        """Delivers what is queued, for 2 seconds at most, and stops.

        Calls that wait for room then raise `BufferFullError`.
        """
        self._agent.stop()

    def close(self) -> None:
        """The same as `stop`."""
        self._agent.stop()

    def flush_buffer(self) -> None:
        """Delivers what is queued now; gives up after `timeout` seconds, keeping the rest."""
        self._agent.flush()

    def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> None:
        """Has records kept in Redis until they are delivered, and delivers what is found there.

        Returns at once: Redis is spoken to in the background, and a Redis that is slow or away
        holds up nothing.

        Args:
            redis_handler: What a guard passes, or any object with its methods, as coroutines or
                plain functions.

        Raises:
            TypeError: `redis_handler` lacks a method of `RedisHandlerProtocol`.
        """
        self._agent.initialize_redis(redis_handler)

    def get_dynamic_rules(self) -> DynamicRules | None:
        """Returns the rules in force; None if there are none.

        The first call has the agent follow them from then on, and waits for the backend; later
        ones answer at once, with the newest that is known.
        """
        return self._agent.rules()

    def get_status(self) -> AgentStatus:
        """Returns how the agent is."""
        return self._agent.status()

    def health_check(self) -> bool:
        """Returns whether the agent runs and delivers most of its records."""
        return self._agent.is_healthy()


def guard_agent(config: AgentConfig) -> GuardAgentHandler:
    """Returns the process's handler, always the same one, and has its agent take over `config`.

    Wherever it is made, the handler serves asynchronous code that awaits it as well as
    synchronous code that calls it plainly: each call looks whether an event loop runs in its
    thread. A server may import a synchronous application inside its event loop.

    Raises:
        ValueError: The configuration cannot be used; names each field, value and remedy.
        EncryptionConfigError: `project_encryption_key` is no 256-bit key.
    """
    handler = _AdaptableHandler(config)
    shared: GuardAgentHandler = handler._agent.handlers.setdefault(_AdaptableHandler, handler)
    return shared
