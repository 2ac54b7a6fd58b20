"""A queue of records that the program controls."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from guard_agent import _native
from guard_agent._decode import read_records
from guard_agent._home import sleep
from guard_agent._report import reporter
from guard_agent._stats import buffer_stats
from guard_agent.config import AgentConfig
from guard_agent.exceptions import BufferFullError
from guard_agent.models import SecurityEvent, SecurityMetric
from guard_agent.protocols import RedisHandlerProtocol

__all__ = ["EventBuffer"]

_logger = logging.getLogger("guard_agent")

# The interval between checks for room in a full buffer, under
# `buffer_overflow_policy="block"`.
_LOOK_SECONDS = 0.005

LAST_ROOM_SECONDS = 2.0
"""The maximum time for which a full queue keeps a program from ending."""


def until_taken(agent: _native.Agent, kind: str, record: Any) -> Iterator[int]:
    """Retries a record that a full queue refused. The caller waits between iterations.

    Yields:
        How often the agent had stopped before.

    Raises:
        BufferFullError: The agent stopped meanwhile; or the interpreter waits for this thread to
            end, and the queue accepted nothing for 2 seconds.
    """
    stops = agent.stops()
    while agent.try_again(kind, record, stops, _patience()) is None:
        yield stops


async def when_taken(tries: Iterator[object]) -> None:
    """Ends when the record was accepted."""
    for _ in tries:
        await sleep(_LOOK_SECONDS)


def _patience() -> float | None:
    """Returns how long to wait while the full queue accepts nothing.

    When the main thread has ended, the interpreter waits for all non-daemon threads. These could
    otherwise wait forever for a backend that never comes back.
    """
    keeps_running = threading.main_thread().is_alive() or threading.current_thread().daemon
    return None if keeps_running else LAST_ROOM_SECONDS


class EventBuffer:
    """Holds records in memory, redacted and truncated as the agent sends them.

    Bounded by `max_buffered` records and `max_buffer_bytes`, under `buffer_overflow_policy`.
    `handler.buffer` is an `EventBuffer` for the agent's own queue: adding sends, and flushing takes
    records out of the queue and gives them to the program. Use it from one event loop.

    Args:
        config: Sets the limits and the redaction.
        flush_callback: Awaited when `high_watermark_ratio` of `buffer_size` records wait, and
            every `flush_interval` seconds between `start` and `stop`. It should flush.

    Raises:
        ValueError: The configuration is invalid. The error names the field, value and remedy.

    Example:
        >>> from guard_agent import get_current_timestamp
        >>> async def main() -> int:
        ...     buffer = EventBuffer(AgentConfig(api_key="YOUR_API_KEY"))
        ...     now = get_current_timestamp()
        ...     await buffer.add_event(SecurityEvent(timestamp=now, event_type="ip_banned"))
        ...     return len(await buffer.flush_events())
        >>> asyncio.run(main())
        1
    """

    def __init__(
        self, config: AgentConfig, flush_callback: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Creates an empty buffer."""
        self.config = config
        self.redis_handler: RedisHandlerProtocol | None = None
        self._queue = self._open_queue()
        self._flush_callback = flush_callback
        self._auto_flush: asyncio.Task[None] | None = None
        self._early_flush: asyncio.Task[None] | None = None

    def _open_queue(self) -> "_native.Agent | _native.Buffer":
        config = self.config
        return _native.Buffer(config, reporter(lambda: config))

    async def add_event(self, event: SecurityEvent) -> None:
        """Adds an event. Waits for room under `buffer_overflow_policy="block"`.

        Raises:
            BufferFullError: The buffer is full and `buffer_overflow_policy` is "raise"; or it is
                the agent's queue, and the agent stopped while the event waited for room.
        """
        if not self._queue.enqueue("events", event):
            await when_taken(self._until_taken("events", event))
        self._flush_early()

    async def add_metric(self, metric: SecurityMetric) -> None:
        """Adds a metric, exactly as `add_event` adds an event."""
        if not self._queue.enqueue("metrics", metric):
            await when_taken(self._until_taken("metrics", metric))
        self._flush_early()

    def _until_taken(self, kind: str, record: Any) -> Iterator[object]:
        # A flush makes room.
        while not self._queue.enqueue(kind, record):
            yield None

    async def flush_events(self) -> list[SecurityEvent]:
        """Removes the events and returns them, oldest first."""
        return read_records(SecurityEvent, self._queue.withdraw("events"))

    async def flush_metrics(self) -> list[SecurityMetric]:
        """Removes the metrics and returns them, oldest first."""
        return read_records(SecurityMetric, self._queue.withdraw("metrics"))

    async def flush_events_with_keys(self) -> tuple[list[SecurityEvent], list[str]]:
        """Like `flush_events`, with each record's Redis key, or "" if it has none."""
        events = await self.flush_events()
        return events, [""] * len(events)

    async def flush_metrics_with_keys(self) -> tuple[list[SecurityMetric], list[str]]:
        """Like `flush_metrics`, with each record's Redis key, or "" if it has none."""
        metrics = await self.flush_metrics()
        return metrics, [""] * len(metrics)

    async def confirm_event_redis_keys(self, keys: list[str]) -> None:
        """Removes the Redis keys of delivered events; this buffer has none."""

    async def confirm_metric_redis_keys(self, keys: list[str]) -> None:
        """Removes the Redis keys of delivered metrics; this buffer has none."""

    async def requeue_events_in_memory(
        self, events: list[SecurityEvent], keys: list[str]
    ) -> list[str]:
        """Takes back undelivered events; returns the keys that it does not keep.

        Raises:
            BufferFullError: There is no room, and the policy forbids dropping other records.
        """
        for event in events:
            self._requeue("events", event)
        return [key for key in keys if key]

    async def requeue_metrics_in_memory(
        self, metrics: list[SecurityMetric], keys: list[str]
    ) -> list[str]:
        """Takes back metrics, exactly as `requeue_events_in_memory` takes back events."""
        for metric in metrics:
            self._requeue("metrics", metric)
        return [key for key in keys if key]

    def _requeue(self, kind: str, record: Any) -> None:
        if not self._queue.enqueue(kind, record):
            raise BufferFullError(
                "the buffer is full; flush it, or raise buffer_size or max_buffered"
            )

    async def get_buffer_size(self) -> int:
        """Returns how many records wait or are being sent."""
        stats = self._queue.stats()
        size: int = stats["events"]["queued"] + stats["metrics"]["queued"]
        return size

    async def clear_buffer(self) -> None:
        """Discards all waiting records; the ledger counts them as withdrawn."""
        self._queue.withdraw("events")
        self._queue.withdraw("metrics")

    def get_stats(self) -> dict[str, Any]:
        """Returns counters of accepted, flushed and dropped records."""
        running = self._auto_flush is not None
        return buffer_stats(self._queue.stats()) | {"auto_flush_running": running}

    async def initialize_redis(self, redis_handler: RedisHandlerProtocol) -> None:
        """Stores the Redis handler. This buffer does not persist records in Redis."""
        self.redis_handler = redis_handler

    async def start(self) -> None:
        """The same as `start_auto_flush`."""
        await self.start_auto_flush()

    async def stop(self) -> None:
        """The same as `stop_auto_flush`."""
        await self.stop_auto_flush()

    async def start_auto_flush(self) -> None:
        """Starts to await `flush_callback` every `flush_interval` seconds."""
        if self._auto_flush is None and self._flush_callback is not None:
            self._auto_flush = asyncio.create_task(self._flush_regularly(self._flush_callback))

    async def stop_auto_flush(self) -> None:
        """Stops the automatic flush. Waiting records stay."""
        task, self._auto_flush = self._auto_flush, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _flush_regularly(self, flush: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.config.flush_interval)
            await _flush_safely(flush)

    def _flush_early(self) -> None:
        """Flushes when the buffer reaches its watermark, unless a flush is running."""
        if self._flush_callback is None or self._early_flush is not None:
            return
        stats = self._queue.stats()
        size = stats["events"]["queued"] + stats["metrics"]["queued"]
        if size >= self.config.buffer_size * self.config.high_watermark_ratio:
            self._early_flush = asyncio.create_task(_flush_safely(self._flush_callback))
            self._early_flush.add_done_callback(self._forget_early_flush)

    def _forget_early_flush(self, _: object) -> None:
        self._early_flush = None


async def _flush_safely(flush: Callable[[], Awaitable[None]]) -> None:
    try:
        await flush()
    except Exception:
        _logger.exception("flush_callback raised; what it did not flush stays in the buffer")
