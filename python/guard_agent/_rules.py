"""New rules, passed on to whoever wants to know of them."""

import asyncio
import contextlib
import inspect
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from guard_agent import _guard_core
from guard_agent.models import DynamicRules

_logger = logging.getLogger("guard_agent")

RulesCallback: TypeAlias = Callable[[DynamicRules | None], object]
"""Called with the rules in force, or None when there are none any more; may be asynchronous."""

# A guard that waited for these very rules is about to apply them itself.
_HEAD_START_SECONDS = 0.05

_RAISED = "A callback of on_rules_updated raised; the agent goes on"


class RulesFeed:
    """Tells guard-core and callbacks of new rules, from a thread that starts with the first.

    Args:
        current: Returns the rules in force.
    """

    def __init__(self, current: Callable[[], DynamicRules | None]) -> None:
        self._current = current
        self._callbacks: list[_Callback] = []
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._changes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._told: DynamicRules | None = None

    def add(self, callback: RulesCallback) -> Callable[[], None]:
        """Has `callback` called from now on, until the function that is returned is called."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        added = _Callback(callback, loop)
        self._callbacks.append(added)

        def remove() -> None:
            if added in self._callbacks:
                self._callbacks.remove(added)

        return remove

    def changed(self) -> None:
        """Called by the core, from a thread that must not be held up."""
        self._changes.put(None)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="guard-rules", daemon=True)
                self._thread.start()

    def after_fork(self) -> None:
        """Starts anew in the child, where neither the thread nor the parent's loops run."""
        self._callbacks = [callback for callback in self._callbacks if callback.loop is None]
        self._reset()

    def _run(self) -> None:
        while True:
            self._changes.get()
            try:
                self._tell()
            except Exception:
                _logger.exception("New rules could not be passed on; the next ones will be")

    def _tell(self) -> None:
        time.sleep(_HEAD_START_SECONDS)
        # The end of rules is news to the guard too, which goes back to its configuration.
        _guard_core.update()
        rules = self._current()
        if rules is self._told:
            return
        self._told = rules
        for callback in tuple(self._callbacks):
            callback.call(rules)


class _Callback:
    """One callback and the event loop it belongs to."""

    def __init__(self, callback: RulesCallback, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self._callback = callback
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, rules: DynamicRules | None) -> None:
        if self.loop is None:
            result = self._call(rules)
            if inspect.isawaitable(result):
                asyncio.run(_finish(result))
            return
        # A loop that is closed wants to know nothing any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._start, rules)

    def _start(self, rules: DynamicRules | None) -> None:
        task = asyncio.get_running_loop().create_task(self._call_in_loop(rules))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_in_loop(self, rules: DynamicRules | None) -> None:
        # Only here: a task that the end of its loop cancels must leave no coroutine over.
        result = self._call(rules)
        if inspect.isawaitable(result):
            await _finish(result)

    def _call(self, rules: DynamicRules | None) -> object:
        try:
            return self._callback(rules)
        except Exception:
            _logger.exception(_RAISED)
            return None


async def _finish(result: Awaitable[object]) -> None:
    try:
        await result
    except Exception:
        _logger.exception(_RAISED)
