"""Makes the agent deliver before the process ends, whichever way it ends.

- A normal interpreter exit runs `atexit`.
- Children of multiprocessing leave by `os._exit`, after running their own finalizers.
- Others call `os._exit` directly: children of billiard (celery), of RQ and of a plain `os.fork`.
  Some replace the process with another program. These functions of `os` are therefore wrapped
  and deliver first, in a process that has used the agent.
- A celery child receives SIGTERM earlier, and announces its end by a celery signal.

Nothing is imported.
"""

import atexit
import functools
import multiprocessing
import multiprocessing.util
import os
import sys
from collections.abc import Callable
from typing import Any

from guard_agent import _native
from guard_agent._greenlets import Outcome, start_thread

# Runs after all other multiprocessing finalizers; the standard library uses higher priorities.
_AFTER_ALL_OTHERS = -1000

# Longer than the agent needs to stop. The caller may hold a lock that the agent waits for.
_LIMIT_SECONDS = 3.0


class ProcessEnd:
    """Calls `deliver` once before a process ends, and again in each of its children.

    Args:
        deliver: Shuts the agent down.
        pause: Delivers too, but the process may continue afterwards.
    """

    def __init__(self, deliver: Callable[[], object], pause: Callable[[], object]) -> None:
        self._deliver = deliver
        self._pause = pause
        self._used_in: int | None = None
        self._ended_in: int | None = None
        self._precedes = False
        self._listens_to_celery = False

    def register(self) -> None:
        """Registers for every kind of exit that Python reports."""
        atexit.register(self.come)
        # A child of multiprocessing starts without its parent's finalizers.
        multiprocessing.util.register_after_fork(self, ProcessEnd._register_finalizer)
        if multiprocessing.parent_process() is not None:
            self._register_finalizer()

    def await_use(self) -> None:
        """Marks the agent as used in this process, so that it delivers at the other exits too."""
        self._used_in = _native.generation()
        if not self._precedes:
            self._precedes = True
            _precede("_exit", functools.partial(self._within_limit, self.come))
            for name in ("execv", "execve"):
                _precede(name, functools.partial(self._within_limit, self._pause))
        celery = sys.modules.get("celery.signals")
        if celery is not None and not self._listens_to_celery:
            self._listens_to_celery = True
            celery.worker_process_shutdown.connect(self._hear_celery, weak=False)

    def come(self) -> None:
        """Delivers, unless this process has already done so at its end."""
        here = _native.generation()
        if self._ended_in != here:
            self._ended_in = here
            self._deliver()

    def _register_finalizer(self) -> None:
        multiprocessing.util.Finalize(None, self.come, exitpriority=_AFTER_ALL_OTHERS)

    def _hear_celery(self, **_: Any) -> None:
        self._within_limit(self._pause)

    def _within_limit(self, work: Callable[[], object]) -> None:
        here = _native.generation()
        if self._used_in != here or self._ended_in == here:
            return
        outcome: Outcome[object] = Outcome()
        try:
            start_thread(lambda: outcome.run(work), "guard-end")
        except RuntimeError:
            return
        outcome.wait(_LIMIT_SECONDS)


def _precede(name: str, work: Callable[[], None]) -> None:
    """Wraps a function of `os` so that `work` runs first."""
    function = getattr(os, name)

    @functools.wraps(function)
    def preceded(*args: Any, **kwargs: Any) -> Any:
        work()
        return function(*args, **kwargs)

    setattr(os, name, preceded)
