"""The single agent of this process, shared by all handlers."""

import logging
from datetime import datetime, timezone
from functools import partial
from time import monotonic
from typing import Any

from guard_agent import _guard_core, _native
from guard_agent._buffer import BufferLoop
from guard_agent._decode import read_rules
from guard_agent._exit import ProcessEnd
from guard_agent._greenlets import Lock, callbacks, wait_for
from guard_agent._own import AgentBuffer, AgentTransport
from guard_agent._redis import RedisLoop
from guard_agent._report import reporter
from guard_agent._rules import RulesFeed
from guard_agent._stats import agent_stats
from guard_agent._transport import TransportLoop
from guard_agent._uvicorn import await_at_shutdown
from guard_agent.buffer import LAST_ROOM_SECONDS, until_taken
from guard_agent.config import AgentConfig, validate_config
from guard_agent.encryption import create_encryptor
from guard_agent.models import AgentStatus, DynamicRules
from guard_agent.protocols import BufferProtocol, RedisHandlerProtocol, TransportProtocol

_logger = logging.getLogger("guard_agent")

# The time limit for stopping the agent, and the share of it that a program's own buffer may use.
_END_SECONDS = 2.0
_BUFFER_SECONDS = 1.5


class ProcessAgent:
    """The core's agent and its Python-side state.

    Args:
        config: Already checked by `validate_config`.

    Raises:
        ValueError: The core rejects the configuration.
    """

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self._tell = reporter(lambda: self.config)
        self.rules_feed = RulesFeed(self.rules)
        self.native = _native.Agent(
            config, self._report, self.rules_feed.changed, self._begin_again, self._send
        )
        self.handlers: dict[type, Any] = {}
        self._applied = config.model_dump()
        self._transport_loop: TransportLoop | None = None
        self._buffer_loop: BufferLoop | None = None
        # Replaced ones, until what they hold is delivered.
        self._retired_loops: list[BufferLoop] = []
        self._route_lock = Lock()
        self._own_buffer: AgentBuffer | None = None
        self._no_flush_before = 0.0
        self._own_transport: AgentTransport | None = None
        self._redis_loop: RedisLoop | None = None
        self._rules_lock = Lock()
        # The core's JSON and the rules it means, replaced together.
        self._read_rules: tuple[str | None, DynamicRules | None] = (None, None)

    def _report(self, level: int, stage: str, message: str, batch_size: int | None) -> None:
        self._tell(level, stage, message, batch_size)
        # The report may be about closed descriptors, and no other call may follow. The core also
        # reports while its constructor still runs.
        if hasattr(self, "native"):
            self.native.notice_fork()

    def _send(self, kind: str, record: Any) -> _native.Ready[None] | None:
        """Sends a record that must not go straight into the native queue.

        The native agent calls this until `_meet_host` has found the host, and for each record if
        the program has its own buffer. Returns None if the caller must wait for room.
        """
        self._meet_host()
        while (loop := self._buffer_loop) is not None:
            if loop.send(kind, record):
                return _SENT
        return self.native.enqueue(kind, record)

    def _meet_host(self) -> None:
        """Detects which server runs in this process and registers for its shutdown."""
        self.native.notice_fork()
        callbacks.meet()
        _end.await_use()
        if await_at_shutdown(self._stop_before_a_signal):
            with self._route_lock:
                # Records for a program's own buffer always take the detour through Python.
                self.native.set_direct(self._buffer_loop is None)

    def _route_to(self, loop: BufferLoop | None) -> None:
        """Sends records to the buffer of `loop` from now on, or to the native queue."""
        with self._route_lock:
            self._buffer_loop = loop
            self.native.set_direct(False)

    def reconfigure(self, config: AgentConfig) -> None:
        """Applies `config`; queued records stay queued."""
        wanted = config.model_dump()
        if wanted != self._applied:
            self._apply(config, self._transport_loop)
            self._applied = wanted
        self.config = config

    def _apply(self, config: AgentConfig, loop: TransportLoop | None) -> None:
        requests = loop.requests if loop else None
        calls = None
        if self._redis_loop and _own_place(config) is None:
            calls = self._redis_loop.calls
        rules_changed = self.rules_feed.changed
        self.native.reconfigure(config, self._report, rules_changed, requests, calls)

    @property
    def transport(self) -> TransportProtocol:
        self.native.notice_fork()
        if self._transport_loop is not None:
            return self._transport_loop.transport
        if self._own_transport is None or self._own_transport.config is not self.config:
            self._own_transport = AgentTransport(self)
        return self._own_transport

    def use_transport(self, transport: TransportProtocol | None) -> None:
        """Sends records through `transport` from now on, or over HTTP if it is None."""
        if transport is self.transport:
            return
        old, new = self._transport_loop, self._make_transport_loop(transport)
        self._apply(self.config, new)
        self._transport_loop = new
        if old is not None:
            old.close()

    def _make_transport_loop(self, transport: TransportProtocol | None) -> TransportLoop | None:
        if transport is None or isinstance(transport, AgentTransport):
            return None
        return TransportLoop(transport, lambda: self.config.timeout)

    @property
    def buffer(self) -> BufferProtocol:
        self.native.notice_fork()
        if self._buffer_loop is not None:
            return self._buffer_loop.buffer
        if self._own_buffer is None or self._own_buffer.config is not self.config:
            self._own_buffer = AgentBuffer(self)
        return self._own_buffer

    def use_buffer(self, buffer: BufferProtocol | None) -> None:
        """Holds records in `buffer` from now on, or in the agent's queue if it is None.

        Returns at once. What the old buffer holds is delivered in the background.
        """
        if buffer is self.buffer:
            return
        old = self._buffer_loop
        self._route_to(self._loop_for(buffer))
        if old is not None:
            self._retire(old)

    def _retire(self, loop: BufferLoop) -> None:
        self._retired_loops = [*self._unfinished_loops(), loop]
        loop.retire()

    def _unfinished_loops(self) -> list[BufferLoop]:
        return [loop for loop in self._retired_loops if not loop.is_closed]

    def _loop_for(self, buffer: BufferProtocol | None) -> BufferLoop | None:
        # One buffer must not serve two event loops.
        for loop in self._unfinished_loops():
            if loop.buffer is buffer and loop.resume():
                self._retired_loops.remove(loop)
                return loop
        return self._make_buffer_loop(buffer)

    def _make_buffer_loop(self, buffer: BufferProtocol | None) -> BufferLoop | None:
        if buffer is None or isinstance(buffer, AgentBuffer):
            return None
        return BufferLoop(buffer, self.native, lambda: self.config, self._send_past_the_queue)

    async def _send_past_the_queue(self, name: str, records: list[Any]) -> Any:
        if self._transport_loop is not None:
            return await self._transport_loop.send(name, records)
        return await getattr(self.transport, name)(records)

    def _begin_again(self, is_forked: bool) -> None:
        """Replaces the Python event loops that no longer run.

        Runs on the first call in a forked child, which has only one thread. Python may not have
        noticed the fork. Also runs after the program closed the agent's descriptors.
        """
        transport_loop, buffer_loop = self._transport_loop, self._buffer_loop
        redis_loop = self._redis_loop if is_forked else None
        retired_loops, self._retired_loops = self._unfinished_loops(), []
        # Garbage collection would close descriptors that the parent still waits for, or that by now
        # belong to other code.
        _left_behind.extend((transport_loop, buffer_loop, redis_loop, *retired_loops))
        if is_forked:
            self.rules_feed.begin_in_child()
        if transport_loop is not None:
            self._transport_loop = self._make_transport_loop(transport_loop.transport)
        if redis_loop is not None:
            self._redis_loop = redis_loop.for_child()
        if transport_loop is not None or redis_loop is not None:
            self._apply(self.config, self._transport_loop)
        if buffer_loop is None:
            self._route_to(None)
        elif is_forked:
            self._route_to(self._make_buffer_loop(buffer_loop.buffer))
        else:
            self._route_to(buffer_loop.again())
        # In a forked child, the parent delivers what these hold.
        for loop in () if is_forked else retired_loops:
            self._retire(loop.again())
        self._meet_host()

    def start(self) -> None:
        # A guard starts the agent through its composite handler.
        _guard_core.complete_composites()
        self._meet_host()
        self.native.start()

    def stop(self) -> None:
        self.native.notice_fork()
        seconds = self._end_buffer()
        wait_for(lambda: self.native.stop(seconds))
        # A signal may end the process next, so report undelivered records now.
        callbacks.run_waiting()

    def _stop_before_a_signal(self) -> None:
        """Stops, and stops again if records arrived meanwhile: the signal ends all delivery."""
        self.stop()
        if self.native.stats()["running"]:
            self.stop()

    def close(self) -> None:
        """Shuts the agent down when the interpreter exits."""
        seconds = self._end_buffer()
        for loop in self._buffer_loops():
            loop.close()
        self.native.close(seconds)

    def _end_buffer(self) -> float:
        """Flushes a program's own buffer. After a failed flush, skips as long as the flush took.

        Returns:
            The number of seconds left for the queue.
        """
        began = monotonic()
        if began >= self._no_flush_before and not self.flush_buffer(_BUFFER_SECONDS):
            gave_up = monotonic()
            self._no_flush_before = gave_up + (gave_up - began)
        return max(0.0, began + _END_SECONDS - monotonic())

    def flush_buffer(self, seconds: float) -> bool:
        """Flushes a program's own buffer; returns whether everything was delivered in time."""
        self.native.notice_fork()
        end = monotonic() + seconds
        flushed: dict[BufferLoop, bool] = {}
        # `notice_fork` replaces loops whose descriptors were closed.
        while new := [loop for loop in self._buffer_loops() if loop not in flushed]:
            waits = [loop.flush() for loop in new]
            flushed |= {
                loop: wait(max(0.0, end - monotonic()))
                for loop, wait in zip(new, waits, strict=True)
            }
            self.native.notice_fork()
        if all(flushed.get(loop, True) for loop in self._buffer_loops()):
            return True
        _logger.warning(
            "Not everything in the program's own buffer was delivered within %s s; it stays there. "
            "Check the backend.",
            seconds,
        )
        return False

    def _buffer_loops(self) -> list[BufferLoop]:
        """Returns the loops that may hold records."""
        current = () if self._buffer_loop is None else (self._buffer_loop,)
        return [*self._unfinished_loops(), *current]

    def flush(self) -> None:
        seconds = float(self.config.timeout)
        self.flush_buffer(seconds)
        if not wait_for(lambda: self.native.flush(seconds)):
            _logger.warning(
                "Not everything was delivered within %s s; it stays queued. "
                "Check the backend, or raise timeout.",
                self.config.timeout,
            )

    def send_when_room(self, kind: str, record: Any) -> None:
        """Blocks until the full queue accepts `record`.

        Raises:
            BufferFullError: See `until_taken`.
        """
        for stops in until_taken(self.native, kind, record):
            wait_for(partial(self.native.wait_for_room, LAST_ROOM_SECONDS, stops))

    @property
    def redis_handler(self) -> RedisHandlerProtocol | None:
        return self._redis_loop.handler if self._redis_loop else None

    def initialize_redis(self, handler: RedisHandlerProtocol | None) -> None:
        """Saves records through the Redis `handler` until they are delivered; None stops that.

        Raises:
            TypeError: `handler` lacks a method of `RedisHandlerProtocol`.
        """
        _check_part("redis_handler", handler, RedisHandlerProtocol)
        self.native.notice_fork()
        place = _own_place(self.config)
        if handler is not None and place is not None:
            _logger.info("Records are kept by %s, not by the Redis handler.", place)
        with _lock:
            self._use_redis(handler)

    def _use_redis(self, handler: RedisHandlerProtocol | None) -> None:
        if self._redis_loop is not None:
            self._redis_loop.use(handler)
        elif handler is not None:
            self._redis_loop = RedisLoop(handler)
            self._apply(self.config, self._transport_loop)

    def rules(self) -> DynamicRules | None:
        """The rules in force. The first call subscribes to them and waits for a response."""
        self.native.notice_fork()
        rules_json = wait_for(self.native.rules)
        known_json, rules = self._read_rules
        if rules_json != known_json:
            rules = read_rules(rules_json, rules)
            with self._rules_lock:
                # All callers get the same object for the same JSON.
                if self._read_rules[0] == rules_json:
                    return self._read_rules[1]
                self._read_rules = (rules_json, rules)
        return rules

    def is_healthy(self) -> bool:
        stats = self.native.stats()
        delivers = stats["health"] != "failed" and stats["circuit_breaker_state"] == "CLOSED"
        return bool(stats["running"] and delivers)

    def status(self) -> AgentStatus:
        stats = self.native.stats()
        return AgentStatus(
            timestamp=datetime.now(timezone.utc),
            status=stats["health"],
            uptime=stats["uptime"],
            events_sent=stats["events"]["delivered"],
            events_failed=stats["events"]["dropped"],
            buffer_size=stats["events"]["queued"] + stats["metrics"]["queued"],
            last_flush=stats["last_delivery"],
            errors=stats["recent_errors"],
        )

    def stats(self) -> dict[str, Any]:
        return agent_stats(self.native.stats())


_SENT: _native.Ready[None] = _native.Ready(None)

_lock = Lock()
_agent: ProcessAgent | None = None
_left_behind: list[object] = []


def process_agent(
    config: AgentConfig,
    transport: TransportProtocol | None = None,
    buffer: BufferProtocol | None = None,
) -> ProcessAgent:
    """Returns the process's agent. Creates it or applies `config`, then sets the given parts.

    Raises:
        TypeError: A part lacks a method of its protocol.
        ValueError: The configuration is invalid. The error names each field, value and remedy.
        EncryptionConfigError: `project_encryption_key` is not a 256-bit key.
    """
    global _agent
    errors = validate_config(config)
    if errors:
        raise ValueError(f"Invalid agent configuration: {'; '.join(errors)}")
    create_encryptor(config.project_encryption_key)
    _check_part("transport", transport, TransportProtocol)
    _check_part("buffer", buffer, BufferProtocol)
    with _lock:
        try:
            if _agent is not None:
                _agent.native.notice_fork()
            if _agent is None:
                _agent = ProcessAgent(config)
            else:
                _agent.reconfigure(config)
        except ValueError as error:
            raise ValueError(f"Invalid agent configuration: {error}") from None
        if transport is not None:
            _agent.use_transport(transport)
        if buffer is not None:
            _agent.use_buffer(buffer)
        return _agent


def replace_transport(agent: ProcessAgent, transport: TransportProtocol | None) -> None:
    """Sends the agent's records through `transport`, or over HTTP if it is None.

    Raises:
        TypeError: `transport` lacks a method of `TransportProtocol`.
    """
    _check_part("transport", transport, TransportProtocol)
    with _lock:
        agent.use_transport(transport)


def replace_buffer(agent: ProcessAgent, buffer: BufferProtocol | None) -> None:
    """Holds the agent's records in `buffer`, or in its own queue if it is None.

    Raises:
        TypeError: `buffer` lacks a method of `BufferProtocol`.
    """
    _check_part("buffer", buffer, BufferProtocol)
    with _lock:
        agent.use_buffer(buffer)


def _own_place(config: AgentConfig) -> str | None:
    """Returns the name of the field that makes the agent persist records."""
    fields = ("redis_url", "spool_dir")
    return next((name for name in fields if getattr(config, name) is not None), None)


def _check_part(name: str, part: object, protocol: type) -> None:
    if part is None or isinstance(part, protocol):
        return
    methods = [method for method in vars(protocol) if not method.startswith("_")]
    lacking = ", ".join(method for method in methods if getattr(part, method, None) is None)
    raise TypeError(f"{name}: {type(part).__name__} lacks {lacking}; add what it lacks")


def _close() -> None:
    """Delivers the remaining records, within a time limit, before the process ends."""
    if _agent is not None:
        _agent.close()
    # No other thread may enter the interpreter during its shutdown.
    _native.silence_reports()
    callbacks.run_waiting()


def _stop() -> None:
    if _agent is not None:
        _agent.stop()


_end = ProcessEnd(_close, _stop)
# Registered on import, not with the first agent: `atexit` runs functions in reverse order, and
# functions that a program registers later may still send.
_end.register()
