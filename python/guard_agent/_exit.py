"""The end of the process: whichever way it comes, the agent delivers first.

The interpreter's own end is told by `atexit`. Children of multiprocessing leave by `os._exit`,
after finalizers of its own. Others leave by `os._exit` alone, as those of billiard (celery), of RQ
and of a plain `os.fork` do, or have another program take their place. So these functions of `os`
deliver first, in a process that has used the agent. A child of celery's is sent SIGTERM before it
comes to that, and tells by a signal of celery's that it is about to end. Nothing is imported.
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

# Of multiprocessing's finalizers; those of the standard library are above it.
_AFTER_ALL_OTHERS = -1000

# Beyond what the agent's own end takes: whoever calls may hold a lock that the agent waits for.
_LIMIT_SECONDS = 3.0


class ProcessEnd:
    """Calls `deliver` once before the end of a process, and again in each of its children.

    Args:
        deliver: Ends the agent.
        pause: Delivers as well, while the process may go on.
    """

    def __init__(self, deliver: Callable[[], object], pause: Callable[[], object]) -> None:
        self._deliver = deliver
        self._pause = pause
        self._used_in: int | None = None
        self._ended_in: int | None = None
        self._precedes = False
        self._listens_to_celery = False

    def register(self) -> None:
        """Has it called at every end that Python knows of."""
        atexit.register(self.come)
        # Each child of multiprocessing starts without the finalizers of its parent.
        multiprocessing.util.register_after_fork(self, ProcessEnd._register_finalizer)
        if multiprocessing.parent_process() is not None:
            self._register_finalizer()

    def await_use(self) -> None:
        """Tells that the agent is used in this process: it is to deliver at other ends too."""
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
        """Delivers, unless this process has come to its end before."""
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
    """Has `work` done before a function of `os`."""
    function = getattr(os, name)

    @functools.wraps(function)
    def preceded(*args: Any, **kwargs: Any) -> Any:
        work()
        return function(*args, **kwargs)

    setattr(os, name, preceded)
