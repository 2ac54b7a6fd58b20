"""The one agent of this process, which all handlers stand in front of."""

import atexit
import logging
import multiprocessing
import multiprocessing.util
import os
import threading
from datetime import datetime, timezone
from typing import Any

from pydantic import ValidationError

from guard_agent import _native
from guard_agent._transport import TransportLoop
from guard_agent.config import AgentConfig, validate_config
from guard_agent.encryption import create_encryptor
from guard_agent.exceptions import GuardAgentError
from guard_agent.models import AgentStatus, DynamicRules
from guard_agent.protocols import RedisHandlerProtocol, TransportProtocol

_logger = logging.getLogger("guard_agent")

# What `on_error` is called for; other troubles are logged only.
_ON_ERROR_STAGES = frozenset({"transport_send", "encryption", "flush_events", "flush_metrics"})

# The interpreter handles signals, such as Ctrl-C, between two waits.
_ROOM_SECONDS = 0.5


class ProcessAgent:
    """The core's agent, and what Python keeps beside it.

    Args:
        config: Checked by `validate_config` before.

    Raises:
        ValueError: The core refuses the configuration.
    """

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.redis_handler: RedisHandlerProtocol | None = None
        self.native = _native.Agent(config, self._report)
        self.handlers: dict[type, Any] = {}
        self._applied = config.model_dump()
        self._transport_loop: TransportLoop | None = None
        self._rules_json: str | None = None
        self._rules: DynamicRules | None = None

    def reconfigure(self, config: AgentConfig) -> None:
        """Puts `config` in force; what is queued stays queued."""
        wanted = config.model_dump()
        if wanted != self._applied:
            self._apply(config, self._transport_loop)
            self._applied = wanted
        self.config = config

    def _apply(self, config: AgentConfig, loop: TransportLoop | None) -> None:
        self.native.reconfigure(config, self._report, loop.requests if loop else None)

    @property
    def transport(self) -> TransportProtocol | None:
        return self._transport_loop.transport if self._transport_loop else None

    def use_transport(self, transport: TransportProtocol | None) -> None:
        """Has `transport` carry the records from now on, or HTTP if it is None."""
        if transport is self.transport:
            return
        old, new = self._transport_loop, self._make_transport_loop(transport)
        self._apply(self.config, new)
        self._transport_loop = new
        if old is not None:
            old.close()

    def _make_transport_loop(self, transport: TransportProtocol | None) -> TransportLoop | None:
        if transport is None:
            return None
        return TransportLoop(transport, lambda: self.config.timeout)

    def after_fork(self) -> None:
        """Gives the child, which has no thread but one, a transport loop of its own."""
        if self._transport_loop is not None:
            # Collecting the parent's would close here what the parent waits for there.
            _of_parents.append(self._transport_loop)
            self._transport_loop = self._make_transport_loop(self._transport_loop.transport)
            self._apply(self.config, self._transport_loop)

    def start(self) -> None:
        self.native.start()

    def stop(self) -> None:
        self.native.stop()

    def flush(self) -> None:
        if not self.native.flush(float(self.config.timeout)):
            _logger.warning(
                "Not everything was delivered within %s s; it stays queued. "
                "Check the backend, or raise timeout.",
                self.config.timeout,
            )

    def wait_for_room(self) -> None:
        """Blocks until a full queue may have room, or a signal may be waiting."""
        self.native.wait_for_room(_ROOM_SECONDS)

    def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> None:
        if self.redis_handler is None:
            _logger.info("Records are not persisted to Redis yet; they are kept in memory.")
        self.redis_handler = redis_handler

    def rules(self) -> DynamicRules | None:
        """Asks the backend unless what it answered last is still fresh."""
        rules_json = self.native.rules()
        if rules_json != self._rules_json:
            self._rules_json = rules_json
            self._rules = _read_rules(rules_json)
        return self._rules

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
            errors=stats["troubles"],
        )

    def stats(self) -> dict[str, Any]:
        stats = self.native.stats()
        events, metrics = stats["events"], stats["metrics"]
        return {
            "running": stats["running"],
            "uptime": stats["uptime"],
            "events_sent": events["delivered"],
            "metrics_sent": metrics["delivered"],
            "events_failed": events["dropped"],
            "metrics_failed": metrics["dropped"],
            "rules_fetched": stats["rules_fetched"],
            "buffer_stats": {
                "events_buffered": events["accepted"],
                "metrics_buffered": metrics["accepted"],
                "events_flushed": events["delivered"],
                "metrics_flushed": metrics["delivered"],
                "events_dropped": events["dropped"],
                "metrics_dropped": metrics["dropped"],
                "current_event_buffer_size": events["queued"],
                "current_metric_buffer_size": metrics["queued"],
                "redis_persist_failures": 0,
                "durability_degraded": False,
                "last_flush_time": stats["last_delivery"],
                "auto_flush_running": stats["running"],
            },
            "transport_stats": {
                "requests_sent": stats["requests_sent"],
                "requests_failed": stats["requests_failed"],
                "bytes_sent": stats["bytes_sent"],
                "circuit_breaker_state": stats["circuit_breaker_state"],
                "failure_count": stats["failure_count"],
                "session_closed": not stats["running"],
            },
            "cached_rules": stats["has_rules"],
            "rules_last_update": stats["rules_updated"] or 0,
            "loop_failures": {
                "flush": stats["requests_failed"],
                "status": stats["status_failures"],
                "rules": stats["rules_failures"],
            },
            "last_status_push_ok": stats["last_status_ok"],
            "ledger": stats["ledger"],
        }

    def _report(self, level: int, stage: str, message: str) -> None:
        """Called from a thread of its own when the core has something to say."""
        _logger.log(level, "%s", message)
        on_error = self.config.on_error
        if on_error is None or level < logging.WARNING or stage not in _ON_ERROR_STAGES:
            return
        try:
            on_error(stage, GuardAgentError(message), {})
        except Exception:
            _logger.exception("on_error raised; the agent goes on")


def _read_rules(rules_json: str | None) -> DynamicRules | None:
    if rules_json is None:
        return None
    try:
        return DynamicRules.model_validate_json(rules_json)
    except ValidationError as error:
        _logger.warning("The backend's rules are not usable and ignored: %s", error)
        return None


# Of multiprocessing's finalizers; those of the standard library are above it.
_AFTER_ALL_OTHERS = -1000

_lock = threading.Lock()
_agent: ProcessAgent | None = None
_of_parents: list[TransportLoop] = []


def process_agent(config: AgentConfig, transport: TransportProtocol | None = None) -> ProcessAgent:
    """Returns the process's agent, made now or given `config`, and `transport` if there is one.

    Raises:
        TypeError: `transport` lacks a method of `TransportProtocol`.
        ValueError: The configuration cannot be used; names each field, value and remedy.
        EncryptionConfigError: `project_encryption_key` is no 256-bit key.
    """
    global _agent
    errors = validate_config(config)
    if errors:
        raise ValueError(f"Invalid agent configuration: {'; '.join(errors)}")
    create_encryptor(config.project_encryption_key)
    _check_transport(transport)
    with _lock:
        try:
            if _agent is None:
                _agent = ProcessAgent(config)
                _register_exit()
            else:
                _agent.reconfigure(config)
        except ValueError as error:
            raise ValueError(f"Invalid agent configuration: {error}") from None
        if transport is not None:
            _agent.use_transport(transport)
        return _agent


def replace_transport(agent: ProcessAgent, transport: TransportProtocol | None) -> None:
    """Has `transport` carry the agent's records, or HTTP if it is None.

    Raises:
        TypeError: `transport` lacks a method of `TransportProtocol`.
    """
    _check_transport(transport)
    with _lock:
        agent.use_transport(transport)


def _check_transport(transport: TransportProtocol | None) -> None:
    if transport is None or isinstance(transport, TransportProtocol):
        return
    names = [name for name in vars(TransportProtocol) if not name.startswith("_")]
    lacking = ", ".join(name for name in names if not hasattr(transport, name))
    raise TypeError(f"transport: {type(transport).__name__} lacks {lacking}; add what it lacks")


def _register_exit() -> None:
    """Has `_at_exit` called at every end that the interpreter itself brings about."""
    atexit.register(_at_exit)
    # The children of multiprocessing call its own finalizers, which each of them starts
    # without, and then leave by os._exit.
    multiprocessing.util.register_after_fork(_at_exit, _register_finalizer)
    if multiprocessing.parent_process() is not None:
        _register_finalizer()


def _register_finalizer(_: object = None) -> None:
    multiprocessing.util.Finalize(None, _at_exit, exitpriority=_AFTER_ALL_OTHERS)


def _at_exit() -> None:
    """Delivers what is left, within a bounded time, before the interpreter ends."""
    if _agent is not None:
        _agent.native.close()
    # Nothing may enter the interpreter from another thread while it is taken down.
    _native.silence_reports()


def _after_fork() -> None:
    """Forgets what another thread of the parent may have held at the moment of the fork."""
    global _lock
    _lock = threading.Lock()
    _native.after_fork()
    if _agent is not None:
        _agent.after_fork()


os.register_at_fork(after_in_child=_after_fork)
