"""Runs a buffer that the program supplies."""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from guard_agent import _native
from guard_agent._decode import make_record
from guard_agent._greenlets import Lock, Outcome, wait_for
from guard_agent._loop import LoopThread, within
from guard_agent.config import AgentConfig
from guard_agent.models import SecurityEvent, SecurityMetric
from guard_agent.protocols import BufferProtocol

_logger = logging.getLogger("guard_agent")

# The maximum number of characters passed on from an exception's text.
_MAX_WORDS = 300


class BufferLoop:
    """Passes records to `buffer` and flushes it, on an event loop in a dedicated thread.

    A slow or failing `buffer` blocks only this loop. Records that it does not accept are counted
    and reported as lost. Records that the transport does not accept go back to it.

    Args:
        buffer: What holds the records.
        native: Encodes and counts them.
        config: The configuration in force.
        send: Delivers records through the transport method with the given name.
    """

    def __init__(
        self,
        buffer: BufferProtocol,
        native: _native.Agent,
        config: Callable[[], AgentConfig],
        send: Callable[[str, list[Any]], Awaitable[Any]],
    ) -> None:
        self.buffer = buffer
        self._native = native
        self._config = config
        self._deliver = send
        self._kinds = {
            "events": _Kind(SecurityEvent, buffer.add_event),
            "metrics": _Kind(SecurityMetric, buffer.add_metric),
        }
        self._lock = Lock()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._is_retired = False
        self._is_closed = False
        self._successor: BufferLoop | None = None
        self._unflushed = 0
        self._wake = asyncio.Event()
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        # How many tasks use the buffer or wait for their turn.
        self._turns = 0
        self._thread = LoopThread("guard-buffer")
        self._thread.post(lambda: self._thread.spawn(self._add_all()))
        self._thread.post(lambda: self._thread.spawn(self._flush_regularly()))

    def send(self, kind: str, record: Any) -> bool:
        """Queues a record for the buffer. Never blocks.

        Returns:
            False if the loop was closed after `retire`. The record must go elsewhere then.
        """
        encoded = self._native.encode_external(kind, record)
        if encoded is None or self._put(kind, encoded):
            return True
        self._native.external_returned(kind)
        return False

    def _put(self, kind: str, encoded: bytes) -> bool:
        with self._lock:
            successor = self._successor
            is_first = not self._waiting
            has_room = not self._is_closed and len(self._waiting) < _room(self._config())
            if has_room and successor is None:
                self._waiting.append((kind, encoded))
        if successor is not None:
            return successor._put(kind, encoded)
        if self._is_closed and self._is_retired:
            return False
        if not has_room:
            self._native.external_lost(kind, f"{len(self._waiting)} wait for it to take them")
        elif is_first:
            # If the loop closed just now, `close` has already counted the waiting records.
            self._thread.post(self._wake.set)
        return True

    def flush(self) -> Callable[[float], bool]:
        """Starts to flush the buffer.

        Returns:
            A function that waits at most the given seconds, and returns whether everything was
            delivered by then. The flush goes on after that: cancelling it would return records
            a second time.
        """
        flushed: Outcome[bool] = Outcome()

        def settle(task: "asyncio.Task[bool]") -> None:
            # The task is cancelled if the loop closes; nothing is left to flush then.
            flushed.run(lambda: self._is_closed if task.cancelled() else task.result())

        def begin() -> None:
            self._thread.spawn(self._flush()).add_done_callback(settle)

        if not self._thread.post(begin):
            return lambda _: self._is_closed
        return lambda seconds: wait_for(lambda: flushed.wait(seconds)) and flushed.get()

    def retire(self) -> None:
        """Flushes the buffer in the background and then closes the loop. Returns at once."""
        with self._lock:
            self._is_retired = True
        if not self._thread.post(lambda: self._thread.spawn(self._flush())):
            self.close()

    def resume(self) -> bool:
        """Takes back `retire`; returns false if the loop was closed meanwhile."""
        with self._lock:
            self._is_retired = False
            return not self._is_closed

    @property
    def is_closed(self) -> bool:
        """Whether the loop was closed."""
        return self._is_closed

    def again(self) -> "BufferLoop":
        """Returns a loop that takes over the waiting records if this loop's descriptors closed."""
        with self._lock:
            self._successor = BufferLoop(self.buffer, self._native, self._config, self._deliver)
            self._successor._waiting.extend(self._waiting)
            self._waiting.clear()
        self._successor._thread.post(self._successor._wake.set)
        return self._successor

    def close(self) -> None:
        """Ends the thread. The buffer keeps its records; records it never accepted are lost."""
        with self._lock:
            self._is_closed = True
            left = [kind for kind, _ in self._waiting]
            self._waiting.clear()
        for kind in left:
            self._native.external_lost(kind, "its time was over")
        self._thread.close()

    async def _add_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._take_turn():
                await self._add_waiting()
            if self._unflushed >= _watermark(self._config()):
                self._due.set()

    async def _add_waiting(self) -> None:
        while next_one := self._take():
            name, encoded = next_one
            kind = self._kinds[name]
            # The first record starts status reports and rules.
            self._native.start()
            try:
                await self._within_timeout(kind.add(make_record(kind.model, json.loads(encoded))))
            except asyncio.CancelledError:
                self._native.external_lost(name, "its time was over")
                raise
            except Exception as error:
                _logger.debug("The buffer raised", exc_info=True)
                self._native.external_lost(name, _words(error))
            else:
                self._note_added(kind)

    def _note_added(self, kind: "_Kind") -> None:
        self._unflushed += 1
        if kind.is_new:
            kind.is_new = False
            self._thread.loop.call_later(_native.FIRST_SEND_SECONDS, self._due.set)

    def _take(self) -> "tuple[str, bytes] | None":
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    async def _flush_regularly(self) -> None:
        while self._successor is None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._due.wait(), self._config().flush_interval)
            self._due.clear()
            await self._flush()

    async def _flush(self) -> bool:
        """Sends the buffer's records through the transport; returns whether all were delivered."""
        async with self._take_turn():
            await self._add_waiting()
            self._unflushed = 0
            outcomes = [await self._flush_kind(kind) for kind in self._kinds]
            return all(outcomes)

    @contextlib.asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[None]:
        """Lets one task at a time use the buffer. The last one closes a retired loop."""
        self._turns += 1
        try:
            async with self._turn:
                yield
        finally:
            self._turns -= 1
            self._close_if_retired()

    def _close_if_retired(self) -> None:
        with self._lock:
            if self._is_closed or self._turns or not self._is_retired:
                return
            # A thread that read the old reference may have sent a record just now.
            has_more = bool(self._waiting) or self._unflushed > 0
            self._is_closed = not has_more
        if has_more:
            self._thread.spawn(self._flush())
        else:
            self._thread.close()

    async def _flush_kind(self, kind: str) -> bool:
        try:
            flush = getattr(self.buffer, f"flush_{kind}_with_keys")
            records, keys = await self._within_timeout(flush())
        except Exception as error:
            self._report_kept(kind, 0, error)
            return False
        if not records:
            return True
        try:
            taken = await self._deliver(f"send_{kind}", records)
            trouble = f"the transport's send_{kind} returned {taken!r:.{_MAX_WORDS}}"
        except asyncio.CancelledError:
            await self._settle(kind, records, keys, taken=False)
            raise
        except Exception as error:
            taken, trouble = False, f"the transport raised {error!r:.{_MAX_WORDS}}"
        try:
            await self._settle(kind, records, keys, taken=bool(taken))
        except Exception as error:
            self._report_kept(kind, len(records), error)
            return False
        if not taken:
            self._native.external_kept(kind, len(records), trouble)
        return bool(taken)

    async def _settle(self, kind: str, records: list[Any], keys: list[str], *, taken: bool) -> None:
        if taken:
            self._native.external_delivered(kind, len(records))
            confirm = getattr(self.buffer, f"confirm_{kind[:-1]}_redis_keys")
            await self._within_timeout(confirm(keys))
        else:
            requeue = getattr(self.buffer, f"requeue_{kind}_in_memory")
            await self._within_timeout(requeue(records, keys))

    def _report_kept(self, kind: str, records: int, error: Exception) -> None:
        # The agent logs one warning per minute. This debug line shows the traceback.
        _logger.debug("The buffer raised", exc_info=True)
        self._native.external_kept(kind, records, _words(error))

    async def _within_timeout(self, answer: Any) -> Any:
        return await within(self._config().timeout, answer)


class _Kind:
    """The differences between events and metrics."""

    def __init__(self, model: type[Any], add: Callable[[Any], Awaitable[None]]) -> None:
        self.model = model
        self.add = add
        self.is_new = True


def _room(config: AgentConfig) -> int:
    """Returns how many records may wait for the buffer."""
    return config.max_buffered or int(_native.DEFAULTS["max_buffered"])


def _watermark(config: AgentConfig) -> float:
    return max(1.0, config.buffer_size * config.high_watermark_ratio)


def _words(error: Exception) -> str:
    return f"it raised {error!r:.{_MAX_WORDS}}"
