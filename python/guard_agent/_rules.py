"""Notifies subscribers of new rules."""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from guard_agent import _guard_core
from guard_agent._greenlets import Lock, callbacks, wait_for
from guard_agent._home import Home, home
from guard_agent.models import DynamicRules

_logger = logging.getLogger("guard_agent")

RulesCallback: TypeAlias = Callable[[DynamicRules | None], object]
"""Called with the rules in force, or None if there are none any more; may be asynchronous."""

# A guard that waited for these same rules is about to apply them itself.
_HEAD_START_SECONDS = 0.05

_RAISED = "A callback of on_rules_updated raised; the agent goes on"


class RulesFeed:
    """Notifies guard-core and the callbacks of new rules, one change after the other.

    Args:
        current: Returns the rules in force.
    """

    def __init__(self, current: Callable[[], DynamicRules | None]) -> None:
        self._current = current
        self._callbacks: list[_Callback] = []
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._changes = 0
        self._is_telling = False
        self._told: DynamicRules | None = None

    def add(self, callback: RulesCallback) -> Callable[[], None]:
        """Calls `callback` from now on, until the returned function is called."""
        added = _Callback(callback, home())
        self._callbacks.append(added)

        def remove() -> None:
            if added in self._callbacks:
                self._callbacks.remove(added)

        return remove

    def changed(self) -> None:
        """Called by the core, from a thread that must not be blocked."""
        with self._lock:
            self._changes += 1
            is_telling, self._is_telling = self._is_telling, True
        if is_telling:
            return
        try:
            callbacks.start(self._tell_all, "guard-rules")
        except RuntimeError as error:
            with self._lock:
                self._is_telling = False
            _logger.warning("New rules could not be passed on (%s); the next ones will be", error)

    def begin_in_child(self) -> None:
        """Restarts in a forked child, where the parent's loops do not run."""
        self._callbacks = [callback for callback in self._callbacks if callback.home is None]
        self._begin()

    def _tell_all(self) -> None:
        """Notifies until there are no more changes."""
        while True:
            told_of = self._changes
            try:
                self._tell()
            except BaseException:
                # Also a SystemExit of a callback: it must not end this thread between two changes.
                _logger.exception("New rules could not be passed on; the next ones will be")
            with self._lock:
                if told_of == self._changes:
                    self._is_telling = False
                    return

    def _tell(self) -> None:
        time.sleep(_HEAD_START_SECONDS)
        # The guard must also hear when rules end: it then returns to its configuration.
        _guard_core.update()
        rules = self._current()
        if rules is self._told:
            return
        self._told = rules
        for callback in tuple(self._callbacks):
            callback.call(rules)


class _Callback:
    """One callback and its event loop."""

    def __init__(self, callback: RulesCallback, where: Home | None) -> None:
        self.home = where
        self._callback = callback

    def call(self, rules: DynamicRules | None) -> None:
        if self.home is not None:
            self.home.start(lambda: self._call_in_loop(rules))
            return
        result = self._call(rules)
        if inspect.isawaitable(result):
            # The event loop runs in a system thread, because greenlets would share one thread.
            wait_for(lambda: asyncio.run(_finish(result)))

    async def _call_in_loop(self, rules: DynamicRules | None) -> None:
        # Call it only here: if the loop ends and cancels the task, no unawaited coroutine remains.
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
